"""A command in a group becomes a draft, and the draft a ticket, by the word of whoever asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.tickets.chat import GROUP, NAMES, Chat, group_chat
from zhiban.kit.db import Database
from zhiban.ports import GroupChanged, GroupMember, IncomingMessage, Kind, SenderRole
from zhiban.tickets import drafts


@pytest.fixture
async def chat(db: Database, workspace: int) -> AsyncIterator[Chat]:
    async with group_chat(db, workspace) as found:
        yield found


async def tickets(chat: Chat) -> list[tuple[int, str, str, int]]:
    found = await chat.rows(
        "select number, title, state, (select count(*) from ticket_message m where m.ticket_id = t.id)::int "
        "from ticket t order by number"
    )
    return [tuple(row) for row in found]  # type: ignore[misc]


async def test_five_messages_become_a_ticket_after_a_look(chat: Chat) -> None:
    preview = await chat.asks("liang", "@值班 以上五条开工单", mentions_us=True)
    assert "工单草稿" in preview
    assert "标题：昨晚主库切了一次，增量同步丢了两三秒的数据" in preview
    assert "内容5条，隐去了1个手机号" in preview
    assert "13800006021" not in preview
    assert "3 老杨：日志里有 binlog position skipped，打我电话" in preview
    assert await tickets(chat) == []

    await chat.says("yang", "后来又说的，不会混进来")
    assert await chat.asks("liang", "1") == await chat.asks("liang", "ok") == ""  # said to whom?
    filed = await chat.asks("liang", "确认")
    assert "已开工单1：昨晚主库切了一次" in filed
    assert await tickets(chat) == [(1, "昨晚主库切了一次，增量同步丢了两三秒的数据", "open", 5)]
    lines = await chat.rows("select name, alias, text, quoted_name, quoted from ticket_message order by message_id")
    assert lines[1] == (
        "陆知行",
        "陆知行",
        "我这边也是，切换后位点会跳",
        "老杨",
        "昨晚主库切了一次，增量同步丢了两三秒的数据",
    )
    assert "13800006021" in lines[2][2]  # the store keeps it; what leaves does not
    assert not await chat.rows("select 1 from ticket_draft where lines <> '[]'")


async def test_it_is_changed_by_words_before_it_is_filed(chat: Chat) -> None:
    await chat.asks("liang", "以上5条开工单")
    assert "标题：主从切换后丢数据" in await chat.asks("liang", "改标题 主从切换后丢数据")
    shorter = await chat.asks("liang", "去掉第3条")
    assert "内容4条：" in shorter
    assert "binlog" not in shorter
    assert "只有4条" in await chat.asks("liang", "去掉第9条")
    assert "内容3条：" in await chat.asks("liang", "去掉最后一条")
    assert "已开工单1：主从切换后丢数据" in await chat.asks("liang", "确认")
    assert await tickets(chat) == [(1, "主从切换后丢数据", "open", 3)]
    assert await chat.asks("liang", "确认") == ""  # nothing waits for it


async def test_what_is_not_to_be_in_it_is_said_with_the_command(chat: Chat) -> None:
    preview = await chat.asks("liang", "以上5条开工单，去掉第1条")
    assert "内容4条" in preview
    assert "说明" not in preview
    assert "主库" not in preview  # nor is it called by what is not in it
    preview = await chat.asks("liang", "以上5条开工单，除了第9条")
    assert "内容5条" in preview
    assert "草稿里只有5条" in preview
    await chat.behaves(files_at_once=True)
    assert "草稿里只有5条" in await chat.asks("liang", "以上5条开工单，除了第9条")
    assert "至少要留一条" in await chat.asks("liang", "以上1条开工单，去掉第1条")
    assert await tickets(chat) == []
    filed = await chat.asks("liang", "以上5条开工单，去掉最后一条")
    assert "已开工单1" in filed
    assert "10分钟内回复“撤销”" in filed  # nobody was asked
    assert (await tickets(chat))[0][3] == 4
    assert "已撤销工单1" in await chat.asks("liang", "撤销")


async def test_what_is_said_about_something_else_is_heard_and_not_answered(chat: Chat) -> None:
    for text in ("1", "2", "取消", "撤销", "改标题 x", "加到 #12"):
        assert await chat.asks("lu", text) == ""
    assert await chat.rows("select 1 from message where state = 'pending'") == []


async def test_only_who_asked_or_an_admin_says_yes(chat: Chat) -> None:
    preview = await chat.asks("lu", "以上2条开工单")
    assert "内容2条" in preview
    assert await chat.asks("bei", "1") == ""  # a mere number of somebody else means nothing
    assert "陆知行发起的" in await chat.asks("bei", "@值班 确认", mentions_us=True)
    assert await tickets(chat) == []
    assert "已开工单1" in await chat.asks("liang", "@值班 确认", mentions_us=True)
    assert await chat.rows("select requester from ticket") == [("陆知行",)]


async def test_the_same_command_of_two_at_once_is_two_drafts(chat: Chat) -> None:
    """Both are written before either is answered, in one batch and in the same second."""
    now = chat.clock.now() + timedelta(seconds=10)
    await chat.told(
        *(
            IncomingMessage(
                f"same-{who}", GROUP, who, SenderRole.CONTACT, Kind.TEXT, "以上5条开工单", now,
                group=True, sender_name=NAMES[who],
            )
            for who in ("liang", "lu")
        )
    )  # fmt: skip
    shown = await chat.turn()
    assert ["工单草稿" in one and "内容5条" in one for one in shown] == [True, True]
    drafted = "select requester, jsonb_array_length(lines) from ticket_draft where state = 'open' order by 1"
    assert await chat.rows(drafted) == [("梁小满", 5), ("陆知行", 5)]
    await chat.says("lu", "确认")
    await chat.says("liang", "取消")
    assert len(await chat.turn()) == 2
    assert await chat.rows("select requester from ticket") == [("陆知行",)]
    assert await chat.rows("select distinct state from ticket_draft order by 1") == [("cancelled",), ("filed",)]


async def test_a_command_in_what_is_forwarded_is_nobodys(chat: Chat) -> None:
    command = "以上5条开工单"
    items = [{"sender": "老杨", "text": command}]
    for text in (command, "@值班 " + command, ""):
        more = {"kind": Kind.MERGED, "content": {"title": "群聊的聊天记录", "items": items}}
        assert await chat.asks("liang", text, mentions_us=True, **more) == ""
    assert await chat.rows("select 1 from ticket_draft") == []
    assert "工单草稿" in await chat.asks("liang", command)


async def test_two_at_once_do_not_collide(chat: Chat) -> None:
    await chat.says("liang", "以上5条开工单")
    await chat.says("lu", "以上1条提个bug，标题：另一件事")
    both = "\n".join(await chat.turn())
    assert both.count("工单草稿") == 2
    assert "内容1条" in both
    await chat.says("lu", "1")
    await chat.says("liang", "1")
    await chat.turn()
    assert [row[1:] for row in await tickets(chat)] == [
        ("另一件事", "open", 1),
        ("昨晚主库切了一次，增量同步丢了两三秒的数据", "open", 5),
    ]


async def test_what_is_recalled_does_not_go_along(chat: Chat) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.recalls(chat.ids["回退到 2.3.6 就没事"])
    assert "已开工单1" in await chat.asks("liang", "1")
    assert (await tickets(chat))[0][3] == 4
    await chat.recalls("g1")
    texts = await chat.rows("select text, recalled_at is not null from ticket_message order by message_id")
    assert texts[0] == ("", True)
    # What quoted it keeps its words: they were said by somebody else. The quotation goes.
    assert texts[1][0] == "我这边也是，切换后位点会跳"
    assert await chat.rows("select 1 from ticket_message where quoted <> '' or quoted_name <> ''") == []
    assert "主库" not in (await tickets(chat))[0][1]


async def test_a_draft_is_not_called_by_what_it_lost(chat: Chat) -> None:
    assert "标题：昨晚主库" in await chat.asks("liang", "以上5条开工单")
    shorter = await chat.asks("liang", "去掉第1条")
    assert "内容4条" in shorter
    assert "标题：昨晚主库" not in shorter
    await chat.asks("liang", "以上5条开工单")
    await chat.recalls("g1")
    filed = await chat.asks("liang", "确认")
    assert "已开工单1" in filed
    assert "主库" not in filed
    kept = await chat.rows("select text, quoted from ticket_message union all select title, summary from ticket")
    assert not any("主库切了一次" in words for row in kept for words in row)


async def test_what_colleagues_wrote_of_a_contact_is_not_told(chat: Chat) -> None:
    await chat.rows("update contact set remark = '难缠' where name = '老杨' returning 1")
    assert "难缠" not in await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    assert await chat.rows("select 1 from ticket_message where '难缠' in (name, alias, quoted_name)") == []


async def test_a_draft_ends_by_itself_and_by_a_word(chat: Chat) -> None:
    await chat.asks("liang", "以上5条开工单")
    assert "已取消" in await chat.asks("liang", "2")
    await chat.asks("liang", "以上5条开工单")
    chat.clock.advance(timedelta(minutes=11))
    assert await chat.asks("liang", "1") == ""
    async with chat.database.transaction(chat.workspace_id) as tx:
        assert await drafts.expire(tx, now=chat.clock.now()) == 1
    assert await chat.rows("select state from ticket_draft order by id") == [("cancelled",), ("expired",)]


async def test_a_draft_that_is_too_old_and_not_ended_yet_stands_in_nobodys_way(chat: Chat) -> None:
    assert await chat.asks("lu", "以上5条开工单")
    chat.clock.advance(timedelta(minutes=11))
    await chat.says("yang", "还是丢数据")
    assert await chat.asks("lu", "以上2条开工单")
    assert await chat.rows("select state from ticket_draft order by id") == [("expired",), ("open",)]
    assert await tickets(chat) == []


async def test_a_ticket_is_taken_back_within_ten_minutes(chat: Chat) -> None:
    await chat.asks("lu", "以上5条开工单")
    await chat.asks("lu", "1")
    assert await chat.asks("bei", "撤销") == ""
    assert "已撤销工单1" in await chat.asks("lu", "撤销")
    assert (await chat.rows("select state, summary from ticket")) == [("cancelled", "")]
    assert await chat.rows("select 1 from ticket_message where text <> '' or quoted <> ''") == []
    await chat.asks("lu", "以上5条开工单")
    await chat.asks("lu", "1")
    chat.clock.advance(timedelta(minutes=11))
    assert await chat.asks("lu", "撤销") == ""


async def test_only_the_newest_ticket_is_taken_back_by_a_word_that_names_none(chat: Chat) -> None:
    for _ in range(2):
        await chat.asks("lu", "以上2条开工单")
        await chat.asks("lu", "1")
    assert "已撤销工单2" in await chat.asks("lu", "撤销")
    # Whoever says it twice did not see the answer, or has another one in mind, which has to be named.
    again = await chat.asks("lu", "撤销")
    assert "工单2已经撤销了" in again
    assert "“撤销1”" in again
    assert [state for _, _, state, _ in await tickets(chat)].count("cancelled") == 1
    assert "已撤销工单1" in await chat.asks("lu", "撤销1")
    assert (await chat.asks("lu", "撤销")).endswith("工单2已经撤销了。")
    assert (await chat.asks("lu", "撤销1")).endswith("工单1已经撤销了。")
    # A ticket of somebody else in between is nobody's last one but theirs.
    await chat.asks("lu", "以上2条开工单")
    await chat.asks("lu", "1")
    await chat.asks("bei", "以上2条开工单")
    await chat.asks("bei", "1")
    assert "已撤销工单3" in await chat.asks("lu", "撤销")


async def test_a_draft_that_waits_is_not_taken_for_the_ticket_before_it(chat: Chat) -> None:
    await chat.asks("lu", "以上2条开工单")
    await chat.asks("lu", "1")
    await chat.asks("lu", "以上3条开工单")
    asked = await chat.asks("lu", "撤销")
    assert "没有确认的草稿" in asked
    assert "“撤销1”" in asked
    assert await chat.rows("select 1 from ticket where state = 'cancelled'") == []
    await chat.asks("lu", "2")
    assert "已撤销工单1" in await chat.asks("lu", "撤销")


async def test_what_cannot_be_taken_is_asked_back(chat: Chat) -> None:
    assert "1到50" in await chat.asks("liang", "以上0条开工单")
    assert "1到50" in await chat.asks("liang", "以上99条开工单")
    assert "没有找到“王五”" in await chat.asks("liang", "从王五那条开始开工单")
    assert "请引用" in await chat.asks("liang", "@值班 这条开工单", mentions_us=True)
    assert "内容1条" in await chat.asks("liang", "这条开工单", reply_to="g4")
    assert "只有5条可以用" in await chat.asks("liang", "以上20条开工单")


async def test_a_group_says_who_may_and_how_often(chat: Chat) -> None:
    await chat.behaves(files="nobody")
    assert "没有开放" in await chat.asks("liang", "以上5条开工单")
    await chat.behaves(files="admins")
    assert "只有群管理" in await chat.asks("lu", "以上5条开工单")
    assert "工单草稿" in await chat.asks("liang", "以上5条开工单")
    await chat.behaves(files_at_once=True, files_per_member=2, files_per_group=3)
    for _ in range(2):
        assert "已开工单" in await chat.asks("lu", "以上5条开工单")
    assert "您今天已经开了2张" in await chat.asks("lu", "以上5条开工单")
    assert "已开工单3" in await chat.asks("yang", "以上1条开工单")
    assert "这个群今天已经开了3张" in await chat.asks("bei", "以上1条开工单")
    await chat.behaves(read_only=True)
    assert await chat.asks("bei", "以上1条开工单") == ""


async def test_a_message_is_put_to_a_ticket_that_there_is(chat: Chat) -> None:
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "1")
    await chat.says("lu", "2.4.1 也有")
    await chat.asks("lu", "以上1条开工单")
    assert "没有找到可以加的 #9" in await chat.asks("lu", "加到 #9")
    assert "已加到工单1" in await chat.asks("lu", "加到 #1")
    assert (await tickets(chat))[0][3] == 6
    assert await chat.rows("select state from ticket_draft order by id") == [("filed",), ("joined",)]


async def test_who_does_not_want_to_be_quoted_is_not(chat: Chat) -> None:
    await chat.rows("update participant set consent = 'unquoted' where nickname = '老杨' returning 1")
    preview = await chat.asks("liang", "以上5条开工单")
    assert "只有2条可以用" in preview
    await chat.asks("liang", "1")
    assert await chat.rows("select distinct name from ticket_message") == [("陆知行",)]
    assert await chat.rows("select 1 from ticket_message where quoted like '%%主库%%'") == []


async def test_in_english_it_is_answered_in_english(chat: Chat) -> None:
    preview = await chat.asks("liang", "file the last 2 messages as a ticket")
    assert "Ticket draft" in preview
    assert "opened" in await chat.asks("liang", "ok")


async def test_a_turn_that_is_repeated_makes_one_ticket_and_one_answer(chat: Chat) -> None:
    """Killed between any two lines: nothing is stored, or all of it; and what is taken up again finds it done."""
    await chat.says("liang", "以上5条开工单")
    async with chat.database.transaction(chat.workspace_id) as tx:
        first = await chat.snapshot(tx)
        prepared = await chat.commands.prepare(tx, first)
    async with chat.database.transaction(chat.workspace_id) as tx:
        second = await chat.snapshot(tx)
        again = await chat.commands.prepare(tx, second)
    await chat.commands.respond(first, prepared)
    await chat.commands.respond(second, again)
    assert await chat.rows("select count(*)::int from ticket_draft") == [(1,)]
    assert await chat.rows("select count(*)::int from message where direction = 'out'") == [(1,)]
    # A database that lost its last second knows the vendor's id again.
    await chat.rows("update message set state = 'pending' where text like '以上5条%%' returning 1")
    assert await chat.turn() == []
    assert await chat.rows("select count(*)::int from ticket_draft") == [(1,)]


async def test_our_name_typed_by_hand_counts_in_front_of_a_command_and_only_as_ours(chat: Chat) -> None:
    async def asks(text: str, who: str = "liang") -> str:
        return await chat.asks(who, text)

    assert await asks("@值班 以上三条开工单") == ""  # nobody knows what our account is called
    await chat.rows(
        "insert into gateway_state (workspace_id, connection_id, state, account, account_name, since) "
        "values (%(w)s, %(c)s, 'online', 'wxid_bot', '值班助手', now()) returning 1",
        w=chat.workspace_id,
        c=chat.inbox.connection.id,
    )
    for text in ("@值 以上三条开工单", "@助手 以上三条开工单", "@值班 今天谁在？", "@值班表 以上三条开工单"):
        assert await asks(text) == "", text
    for text in ("@值班 以上三条开工单", "@值班助手 以上三条开工单", " @值班\u2005以上两条开工单"):
        assert "确认" in await asks(text), text
        assert "已取消" in await chat.asks("liang", "@值班助手 取消", mentions_us=True)
    # A colleague whose name begins so is meant as much as we are.
    members = tuple(GroupMember(id_, name, name) for id_, name in {**NAMES, "zhi": "值班员小李"}.items())
    await chat.told(GroupChanged(GROUP, chat.clock.now(), "青禾交流 1 群", members))
    assert await asks("@值班 以上三条开工单") == ""
    assert "确认" in await asks("@值班助 以上三条开工单")
