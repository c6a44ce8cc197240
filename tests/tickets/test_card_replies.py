"""Whoever quotes a message about an issue acts on it: once, as far as they may, and hears what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.tickets.cards import CardChat, card_chat
from tests.tickets.chat import GROUP, NAMES
from zhiban.conversations.labels import add_label
from zhiban.events import SYSTEM
from zhiban.kit.db import Database
from zhiban.ports import ConnectionBroken, IncomingMessage, Kind, Repository, SenderRole, TrackerRefused, TryLater
from zhiban.tickets import repositories, tracker_calls
from zhiban.tickets.tracker_writes import NewComment


@pytest.fixture
async def group(db: Database, workspace: int) -> AsyncIterator[CardChat]:
    async with card_chat(db, workspace) as found:
        yield found


async def test_words_become_a_comment_once(group: CardChat) -> None:
    card, chat = await group.card(), group.chat
    said = "我这边也是 @octocat\n/close 打我电话 13800006021"
    assert await chat.asks("lu", said, reply_to=card) == ""
    again = IncomingMessage(
        chat.ids[said], GROUP, "lu", SenderRole.CONTACT, Kind.TEXT, said, chat.clock.now(), group=True,
        sender_name=NAMES["lu"], reply_to=card,
    )  # fmt: skip
    await chat.told(again, again)
    await chat.turn()
    (told,) = await group.settles()
    assert told.startswith("@陆知行 已评论到acme/shop #7\nhttps://tracker.test/7#")
    (body,) = group.said()
    assert "13800006021" not in body
    assert "@octocat" not in body
    assert not any(line.startswith("/") for line in body.splitlines())
    assert body.endswith("*via 群聊 · 陆知行*")  # a public repository need not know the group
    # It is our own: neither its webhook nor a look makes it news.
    (comment,) = group.stand.board.comments["acme/shop", 7]
    ((key,),) = await chat.rows("select key from tracker_call")
    await group.comments(comment.body, int(comment.external_id), actor="zhiban", key=key)
    assert await group.news() == []


async def test_a_private_repository_reads_where_it_comes_from(group: CardChat) -> None:
    card = await group.card()
    group.stand.board.repositories[0] = Repository("1", "acme/shop", private=True)
    await group.stand.repository()
    await group.chat.asks("lu", "收到", reply_to=card)
    await group.settles()
    assert group.said()[0].endswith("*via 青禾交流 1 群 · 陆知行*")


async def test_an_attempt_whose_answer_was_lost_and_a_killed_process_comment_once(group: CardChat) -> None:
    stand = group.stand
    await group.chat.asks("lu", "还在丢", reply_to=await group.card())
    async with stand.database.transaction(stand.workspace_id) as tx:  # killed between the answer and our commit
        call = await tracker_calls.take(tx, stand.connection_id, process_id=4711, now=stand.now)
    assert call is not None
    assert isinstance(call.write, NewComment)
    tracker = (await stand.connections.tracker(stand.workspace_id, stand.connection_id)).tracker
    await tracker.comment(call.comment_draft("acme/shop", 7, call.write))
    stand.board.faults.append((TryLater("502", unknown=True), True))
    told = []
    for _ in range(3):
        told += await group.settles()
        group.chat.clock.advance(timedelta(minutes=1))
    assert len(group.said()) == 1
    assert [one.split("\n")[0] for one in told if "已评论" in one] == ["@陆知行 已评论到acme/shop #7"]


async def test_verbs_change_the_issue_and_say_so(group: CardChat) -> None:
    card, chat = await group.card(), group.chat
    for text, answer in (
        ("标签：BUG", "acme/shop #7的标签：bug"),
        ("指派 @chen @nobody", "acme/shop #7指派给：chen\n没有写上：nobody"),
        ("关闭，不做了", "已关闭acme/shop #7"),
        ("重开", "已重新打开acme/shop #7"),
        ("👍", "已在acme/shop #7回了这个表情"),
    ):
        if "BUG" in text:
            await group.happens("opened", number=8, labels=["bug"])
            await group.news()
        chat.clock.advance(timedelta(minutes=1))
        assert await chat.asks("liang", text, reply_to=card) == ""
        (told,) = await group.settles()
        assert told.removeprefix("@梁小满 ").startswith(answer)
    issue = group.stand.board.issues["acme/shop", 7]
    assert (issue.state, issue.labels, issue.assignees) == ("open", ("bug",), ("chen",))
    assert group.stand.board.reactions == {("acme/shop", 7, "", "up")}
    async with chat.database.transaction(chat.workspace_id) as tx:  # which no issue there has: it would be made
        await add_label(tx, name="我们的", color=1, by=SYSTEM, now=chat.clock.now())
    assert "没有这样的标签：我们的" in await chat.asks("liang", "标签 我们的", reply_to=card)
    assert await group.news() == []  # what the group did is told by the answers alone


async def test_a_picture_goes_to_the_comment_of_which_a_card_tells(group: CardChat) -> None:
    await group.card()
    await group.comments("修好了", 31)
    ((card, _),) = await group.news()
    await group.chat.asks("lu", "[爱心]", reply_to=card)
    await group.settles()
    assert group.stand.board.reactions == {("acme/shop", 7, "31", "heart")}
    assert "那边没有这个表情" in await group.chat.asks("lu", "🦊", reply_to=card)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (TrackerRefused("locked", code=403), "没能写成：那条议题锁住了"),
        (TrackerRefused("gone", code=410), "那条议题已经不在了"),
        (TrackerRefused("forbidden", code=403), "那边不让我们写"),
        (
            TrackerRefused("moved", code=301, hint="https://tracker.test/docs/3"),
            "搬走了。\nhttps://tracker.test/docs/3",
        ),
    ],
)
async def test_why_it_is_not_written_is_said_once(group: CardChat, error: TrackerRefused, why: str) -> None:
    group.stand.board.faults.append((error, False))
    await group.chat.asks("lu", "还在丢", reply_to=await group.card())
    (told,) = await group.settles()
    assert why in told
    assert group.said() == []


async def test_a_tracker_that_is_slow_or_refuses_our_credentials_is_told_and_made_up_for(group: CardChat) -> None:
    card, board, clock = await group.card(), group.stand.board, group.chat.clock
    board.faults.append((TryLater("down", after=60), False))
    await group.chat.asks("lu", "第一句", reply_to=card)
    assert await group.settles() == []
    clock.advance(timedelta(seconds=25))
    (told,) = await group.jobs()
    assert "还没有回应" in told
    clock.advance(timedelta(minutes=1))
    assert "已评论" in (await group.settles())[0]
    board.faults.append((ConnectionBroken("Bad credentials", code=401), False))
    await group.chat.asks("lu", "第二句", reply_to=card)
    await group.settles()
    clock.advance(timedelta(seconds=25))
    assert "不认我们的凭据" in (await group.jobs())[0]
    clock.advance(timedelta(minutes=6))
    assert "已评论" in (await group.settles())[0]
    assert len(group.said()) == 2


async def test_two_at_once_both_act(group: CardChat) -> None:
    card = await group.card()
    await group.chat.says("lu", "我也是", reply_to=card)
    await group.chat.says("bei", "加一", reply_to=card)
    assert await group.chat.turn() == []
    assert len(await group.settles()) == 2
    assert [one.split("\n")[0] for one in group.said()] == ["我也是", "加一"]


async def test_what_a_group_forbids_or_has_used_up_is_not_done(group: CardChat) -> None:
    card, chat = await group.card(), group.chat
    assert "只有群管理和提出的人" in await chat.asks("lu", "关闭", reply_to=card)
    await chat.behaves(replies="admins")
    assert "只有群管理可以这样评论" in await chat.asks("lu", "我也是", reply_to=card)
    await chat.behaves(replies="nobody")
    assert "没有开放" in await chat.asks("liang", "我也是", reply_to=card)
    chat.clock.advance(timedelta(minutes=2))
    await chat.behaves(replies_per_member=1)
    assert await chat.asks("lu", "我也是", reply_to=card) == ""
    assert "今天已经写了1次" in await chat.asks("lu", "还有", reply_to=card)
    await chat.asks("bei", "不要引用我", mentions_us=True)
    assert "没有写过去" in await chat.asks("bei", "我也是", reply_to=card)
    async with chat.database.transaction(chat.workspace_id) as tx:
        await repositories.unlink(tx, chat.conversation_id, "acme/shop", by=SYSTEM, now=chat.clock.now())
    assert "已经不和acme/shop绑定" in await chat.asks("liang", "我也是", reply_to=card)
    await group.settles()
    assert [one.split("\n")[0] for one in group.said()] == ["我也是"]
    # Whoever is told no again and again is not answered each time.
    answers = [await chat.asks("yang", "关闭", reply_to=card) for _ in range(5)]
    assert [bool(one) for one in answers] == [True, True, True, False, False]


async def test_talk_among_members_help_and_tickets_are_no_comments(group: CardChat) -> None:
    card, chat = await group.card(), group.chat
    await chat.says("lu", "@老杨 你看看这个", reply_to=card, mentions=("yang",))
    assert await chat.turn() == []
    assert "我是这个群的值班助手" in await chat.asks("lu", "@值班助手 帮助", reply_to=card, mentions_us=True)
    assert "工单草稿" in await chat.asks("lu", "以上2条开工单", reply_to=card)
    assert "已取消" in await chat.asks("lu", "取消")
    await group.settles()
    assert group.said() == []


async def test_a_recalled_message_takes_back_what_it_wrote(group: CardChat) -> None:
    card, chat = await group.card(), group.chat
    await chat.asks("lu", "写错了", reply_to=card)
    await group.settles()
    await chat.asks("bei", "👍", reply_to=card)
    await group.settles()
    await chat.asks("lu", "还没写出去", reply_to=card)
    for text in ("写错了", "还没写出去", "👍"):
        await chat.recalls(chat.ids[text])
    assert await group.settles() == []
    assert group.said() == []
    assert group.stand.board.reactions == set()
    assert "还没写出去" not in str(await chat.rows("select content from tracker_call"))


async def test_what_was_refused_and_is_recalled_then_is_nobodys_to_delete(group: CardChat) -> None:
    card, chat, board = await group.card(), group.chat, group.stand.board
    for text in ("👍", "还在丢"):
        board.faults.append((TrackerRefused("locked", code=403), False))
        await chat.asks("lu", text, reply_to=card)
        assert "没能写成" in (await group.settles())[0]
        board.faults.append((TrackerRefused("forbidden", code=403), False))  # whoever asks is told
        await chat.recalls(chat.ids[text])
        assert await group.settles() == []
        board.faults.clear()
    # A reaction that stands there, and that we may not take away, is called what it is.
    await chat.asks("bei", "[强]", reply_to=card)
    await group.settles()
    board.faults.append((TrackerRefused("forbidden", code=403), False))
    await chat.recalls(chat.ids["[强]"])
    assert "撤掉您的表情" in (await group.settles())[0]


@pytest.mark.parametrize("confidential", [False, True])
async def test_an_answer_to_us_brings_no_issue_back_that_was_taken_away(group: CardChat, confidential: bool) -> None:
    card, chat, board = await group.card(), group.chat, group.stand.board
    await chat.asks("liang", "关闭", reply_to=card)
    place = ("acme/shop", 7)
    board.issues[place] = replace(board.issues[place], title="机密", confidential=confidential)
    if not confidential:
        await group.happens("deleted")
    assert "已关闭" in (await group.settles())[0]
    assert [one["change"] for one in await group.stand.facts("issue_changed")] == ["opened", "removed"]
    assert await chat.rows("select title, removed_at is not null from issue") == [("增量同步丢数据", True)]
    assert "已经不在了" in await chat.asks("liang", "重开", reply_to=card)


async def test_a_comment_is_read_at_tickets_once_it_is_there_and_signed_as_it_is_there(group: CardChat) -> None:
    card, chat = await group.card(), group.chat
    await chat.asks("liang", "以上1条开工单")
    await chat.asks("liang", "加到 #7")
    await group.settles()
    await chat.behaves(signature="anonymous")
    at_tickets = "select name, text from ticket_comment"
    await chat.asks("lu", "我也是", reply_to=card)
    assert await chat.rows(at_tickets) == []
    await group.settles()
    assert await chat.rows(at_tickets) == [("群成员", "我也是")]
    group.stand.board.faults.append((TrackerRefused("locked", code=403), False))
    await chat.asks("lu", "还在丢", reply_to=card)
    await group.settles()
    assert len(await chat.rows(at_tickets)) == 1


async def test_an_old_card_works_after_a_rename_and_a_list_asks_which(group: CardChat) -> None:
    card, board = await group.card(), group.stand.board
    board.repositories[0] = Repository("1", "acme/store")
    board.former["acme/shop"] = "acme/store"
    board.issues["acme/store", 7] = board.issues.pop(("acme/shop", 7))
    async with group.chat.database.transaction(group.chat.workspace_id) as tx:
        await repositories.link(tx, group.chat.conversation_id, "acme/*", by=SYSTEM, now=group.chat.clock.now())
    await group.chat.asks("lu", "改名以后", reply_to=card)
    assert "已评论到acme/store #7" in (await group.settles())[0]
    await group.chat.rows("update message set external_id = 'none' where external_id = %(id)s returning 1", id=card)
    for number in range(20, 30):
        await group.happens("opened", number=number, repository="acme/store")
    listed, _ = (await group.news())[-1]
    asked = await group.chat.asks("lu", "这个要紧", reply_to=listed)
    assert "这条里有好几个议题：#2" in asked
    answers = [await group.chat.asks("bei", f"好的{n}", reply_to=listed) for n in range(5)]
    assert [bool(one) for one in answers] == [True, True, True, False, False]
    # A group hears it six times in a minute, whoever asks; who says which is heard all the same.
    group.chat.clock.advance(timedelta(minutes=2))
    for who, heard in (("lu", 2), ("yang", 2), ("liang", 2), ("bei", 0)):
        for n in range(2):
            await group.chat.says(who, f"这个呢{n}", reply_to=listed)
        assert len(await group.chat.turn()) == heard
    await group.chat.asks("lu", "#29 这个要紧", reply_to=listed)
    board.issues["acme/store", 29] = board.issues["acme/store", 7]
    assert "#29" in (await group.settles())[0]


async def test_a_client_that_quotes_by_words_is_understood(group: CardChat) -> None:
    await group.issue()
    ((_, text),) = await group.news()
    quoted = {"name": "值班助手", "text": text.replace("\n", " ")}
    await group.chat.asks("lu", "我也是", content={"quoted": quoted})
    await group.settles()
    assert len(group.said()) == 1


@pytest.mark.parametrize("before", ["", "[链接]", "[Link] "])
async def test_a_card_that_is_quoted_by_its_title_alone_is_the_issue(group: CardChat, before: str) -> None:
    """As the gateways of WeChat tell it, which know no more of a card."""
    await group.issue(title="<增量>同步 " + "很长" * 60)
    await group.issue(8, "别的")
    await group.news()
    ((title, kind),) = await group.chat.rows(
        "select content ->> 'title', kind from message where author = 'tracker' order by id limit 1"
    )
    assert (kind, title[:17], title[-1], len(title.encode()) <= 128) == ("link", "acme/shop #7 <增量>", "…", True)
    quoted = {"name": "值班助手", "text": before + title}
    await group.chat.asks("lu", "我也是", content={"quoted": quoted})
    await group.settles()
    assert (len(group.said()), group.said(8)) == (1, [])
    # A member who wrote the same is not us.
    await group.chat.asks("bei", title)
    await group.chat.asks("lu", "确实", reply_to=group.chat.ids[title])
    await group.settles()
    assert len(group.said()) == 1


async def test_a_card_that_is_quoted_by_all_that_stands_on_it_is_the_issue(group: CardChat) -> None:
    """As gateways tell it that know our messages, and gave no id when they were sent."""
    await group.issue()
    await group.news()
    ((content,),) = await group.chat.rows("select content from message where author = 'tracker'")
    words = "\n".join(content[part] for part in ("title", "description", "url"))
    await group.chat.asks("lu", "我也是", reply_to="out-99", content={"quoted": {"name": "", "text": words}})
    await group.settles()
    assert len(group.said()) == 1


async def test_of_several_cards_of_one_title_a_picture_goes_to_the_issue(group: CardChat) -> None:
    await group.issue()
    await group.chat.rows("delete from group_news returning 1")
    await group.comments("修好了", 31)
    ((only, _),) = await group.news()
    ((title,),) = await group.chat.rows("select content ->> 'title' from message where author = 'tracker'")
    quoted = {"name": "值班助手", "text": title}
    await group.chat.asks("lu", "[爱心]", content={"quoted": quoted})
    await group.settles()
    await group.comments("又坏了", 32)
    await group.news()
    await group.chat.asks("lu", "👍", content={"quoted": quoted})
    await group.chat.asks("yang", "👎", reply_to=only)
    await group.settles()
    assert group.stand.board.reactions == {
        ("acme/shop", 7, "31", "heart"), ("acme/shop", 7, "", "up"), ("acme/shop", 7, "31", "down"),
    }  # fmt: skip


@pytest.mark.parametrize(("reason", "words"), [("completed", "工单1已完成"), ("not_planned", "工单1那边不打算做")])
async def test_the_end_of_an_issue_is_heard_once_by_all_whom_it_concerns(
    group: CardChat, reason: str, words: str
) -> None:
    chat, stand = group.chat, group.stand
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    opened = await group.settles()
    assert len(opened) == 1
    assert await group.news() == []
    (number,) = (one for _, one in stand.board.issues)
    for _ in range(3):  # a webhook that comes thrice
        await group.happens("closed", number=number, state="closed", reason=reason)
    told = await group.jobs()
    told += [text for _, text in await group.news()]
    (said,) = told
    assert said.startswith("@梁小满 @老杨 @陆知行 ")
    assert words in said
    # Opened again it is the repository's news; who quotes that and closes it hears it as the ticket's.
    chat.clock.advance(timedelta(minutes=1))
    await group.happens("reopened", number=number)
    ((card, text),) = await group.news()
    assert "lin重新打开" in text
    await chat.asks("liang", "关闭", reply_to=card)
    told = await group.settles()
    told += [text for _, text in await group.news()]
    (said,) = told
    assert "工单1已完成" in said
    assert await chat.rows("select state from ticket") == [("done",)]


async def test_whom_a_ticket_names_is_assigned_over_there_or_told_to_be_left_out(group: CardChat) -> None:
    chat = group.chat
    for name, told in (("chen", ""), ("nobody", "没能指派给：nobody")):
        chat.clock.advance(timedelta(minutes=1))
        preview = await chat.asks("liang", f"以上5条开工单，指派 @{name}")
        assert f"指派：{name}" in preview
        await chat.asks("liang", "确认")
        (said,) = await group.settles()
        assert told in said
        assert ("没能指派" in said) == bool(told)
    assert [one.assignees for one in group.stand.board.issues.values()] == [("chen",), ()]
    assert "没有找到陈默" in await chat.asks("liang", "以上5条开工单，指派 @陈默")
