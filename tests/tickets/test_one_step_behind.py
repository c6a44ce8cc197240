"""What happens a moment before or after it should: people and we ourselves leave, many ask at once, names are traps."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.tickets.cards import CardChat, card_chat
from tests.tickets.chat import GROUP, NAMES
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database
from zhiban.kit.i18n import Texts
from zhiban.ports import GroupMember, IncomingMessage, Kind, MembersJoined, MembersLeft, Repository, SenderRole
from zhiban.tickets import confirming, drafts, repositories
from zhiban.tickets.confirming import Confirmation, TicketRequester
from zhiban.tickets.queries import ticket_numbered
from zhiban.tickets.tracker_jobs import TrackerJobs


@pytest.fixture
async def group(db: Database, workspace: int) -> AsyncIterator[CardChat]:
    async with card_chat(db, workspace) as found:
        yield found


async def test_we_are_removed_from_the_group_and_invited_again(group: CardChat) -> None:
    chat = group.chat
    await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    await group.settles()
    assert "工单草稿" in await chat.asks("lu", "以上2条开工单")
    await chat.told(MembersLeft(GROUP, (), chat.clock.now(), "liang", ourselves=True))
    await group.happens("closed", number=1, state="closed")
    await group.issue(7)
    assert await group.jobs() == []
    assert await group.news() == []
    assert await chat.rows("select count(*) from message where state in ('queued', 'failed')") == [(0,)]
    assert await chat.rows("select state from ticket") == [("done",)]
    await chat.told(MembersJoined(GROUP, (), chat.clock.now(), "liang", ourselves=True))
    # The draft still waits, the group is linked as before, and hears what happens from now on.
    assert "已开工单2" in await chat.asks("lu", "确认")
    assert len(await group.settles()) == 1
    await group.comments("看到了", 1)
    assert [text for _, text in await group.news() if "lin：看到了" in text]


async def test_a_member_leaves_between_what_they_said_and_the_command_about_it(group: CardChat) -> None:
    chat = group.chat
    said = await chat.says("lu", "重启以后也丢")
    await chat.told(MembersLeft(GROUP, ("lu",), chat.clock.now()))
    assert "陆知行：重启以后也丢" in await chat.asks("liang", "这条开工单", reply_to=said)
    # Nor is the command lost with who wrote it: an admin answers for it.
    await chat.asks("yang", "以上1条开工单，标题：切换以后")
    await chat.told(MembersLeft(GROUP, ("yang",), chat.clock.now()))
    await chat.asks("liang", "1")
    await group.settles()
    (issue,) = group.stand.board.issues.values()
    assert "重启以后也丢" in issue.body
    await group.happens("closed", number=issue.number, state="closed", title=issue.title)
    (told,) = await group.jobs()
    assert told.startswith("@梁小满 工单1已完成")  # who is not there is not called


async def test_a_group_of_five_hundred_in_which_thirty_ask_within_a_minute(group: CardChat) -> None:
    chat = group.chat
    many = tuple(GroupMember(f"m{n}", f"成员{n}") for n in range(500))
    await chat.told(MembersJoined(GROUP, many, chat.clock.now()))
    shown: list[str] = []
    for n in range(30):
        chat.clock.advance(timedelta(seconds=2))
        said = IncomingMessage(
            f"c{n}", GROUP, f"m{n}", SenderRole.CONTACT, Kind.TEXT, "以上3条开工单", chat.clock.now(),
            group=True, sender_name=f"成员{n}",
        )  # fmt: skip
        await chat.told(said)
        shown += await chat.turn()
    assert len(shown) == 6
    assert all(text.count("\n") < 12 and "内容3条" in text for text in shown)
    # Whoever was not heard is heard a minute later, and their commands are in nobody's draft.
    chat.clock.advance(timedelta(minutes=1))
    assert "+1，等修" in await chat.asks("bei", "以上1条开工单")
    assert await chat.rows("select count(*) from ticket_draft where lines::text like '%%开工单%%'") == [(0,)]


TRAPS = ("以上5条开工单", "不要开工单", "1", "@octocat", "<b>x</b>", "/close", "acme/shop#7", "[CQ:at,qq=all]")


async def test_a_nickname_that_is_a_command_or_markup_is_only_a_name(
    group: CardChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = group.chat
    for number, trap in enumerate(TRAPS, 1):
        chat.clock.advance(timedelta(minutes=2))
        monkeypatch.setitem(NAMES, f"trap{number}", trap)
        await chat.says(f"trap{number}", f"还是丢数据{number}")
        for text in (f"@{trap} 你看看", f"@{trap}\u2005你看看", f"你看看 @{trap}"):
            assert await chat.asks("lu", text, mentions=(f"trap{number}",)) == ""
        assert f"{trap}：还是丢数据{number}" in await chat.asks(f"trap{number}", "以上4条开工单")
        assert f"已开工单{number}" in await chat.asks(f"trap{number}", "确认")
        await group.settles()
        issue = group.stand.board.issues["acme/shop", number]
        assert f"还是丢数据{number}" in issue.body
        assert not re.search(r"@octocat|shop#7|<b>|(?m:^\s*/)", f"{issue.title}\n{issue.body}")


async def test_who_asked_in_the_group_hears_there_what_a_colleague_decided(group: CardChat) -> None:
    chat = group.chat
    by = Actor("agent", 1)
    for place, words in enumerate(("已开工单1：切换后丢数据", "已加到工单1", "已取消，没有开工单。")):
        chat.clock.advance(timedelta(minutes=2))
        await chat.says("lu", f"又来一次{place}")
        assert "工单草稿" in await chat.asks("lu", "以上1条开工单，标题：切换后丢数据")
        async with chat.database.transaction(chat.workspace_id) as tx:
            (draft,) = await drafts.open_drafts(tx, chat.conversation_id, now=chat.clock.now())
            asker = TicketRequester(draft.requester.contact_id, draft.requester.name)
            lines, now = draft.wish.lines, chat.clock.now()
            yes = Confirmation(draft, lines, asker, chat.inbox.inbox_id, "alias", Texts("zh"), by, now)
            if place == 0:
                await confirming.file_draft(tx, yes)
            elif place == 1:
                await confirming.join_draft(tx, yes, await ticket_numbered(tx, 1))
            else:
                await drafts.end(tx, draft, "cancelled", by=by, now=now)
        told = await group.settles()
        assert told[0].startswith(f"@陆知行 {words}")
        assert len(told) == (2 if place == 0 else 1)  # and once where its issue is
        assert await chat.asks("lu", "确认") == ""


@pytest.mark.parametrize("both", [False, True])
async def test_a_repository_is_renamed_or_given_to_somebody_else_and_its_groups_go_along(
    group: CardChat, both: bool
) -> None:
    chat, board = group.chat, group.stand.board
    links = "select pattern, settings from repository_link"
    if both:
        board.repositories.append(Repository("2", "qinghe/store"))
        await group.stand.repository("qinghe/store")
        async with chat.database.transaction(chat.workspace_id) as tx:
            await repositories.link(tx, chat.conversation_id, "qinghe/store", by=SYSTEM, now=chat.clock.now())
        await chat.rows("update repository set removed_at = now() where name = 'qinghe/store' returning 1")
        board.repositories.pop()
    board.repositories[0] = Repository("1", "qinghe/store")
    await group.happens("opened", number=8, repository="qinghe/store", title="改名以后")
    assert await chat.rows(links) == [("qinghe/store", {})]
    ((_, card),) = await group.news()
    assert card.startswith("qinghe/store #8 改名以后")
    assert "仓库：qinghe/store" in await chat.asks("liang", "以上5条开工单")
    await chat.asks("liang", "确认")
    assert "已建到qinghe/store" in (await group.settles())[0]
    facts = await group.stand.facts("repository_linked", "repository_unlinked")
    assert [(one["kind"], one["pattern"]) for one in facts][-1] == (
        ("repository_unlinked", "acme/shop") if both else ("repository_linked", "qinghe/store")
    )


async def test_a_name_that_another_tracker_has_as_well_goes_on_meaning_that_one(group: CardChat) -> None:
    chat = group.chat
    await chat.rows(
        "with c as (insert into connection (workspace_id, public_id, vendor, name, secrets, part) "
        "select workspace_id, 'second', vendor, '', secrets, part from connection where part = 'tracker' "
        "returning workspace_id, id) "
        "insert into repository (workspace_id, connection_id, external_id, name, private, issues_enabled, archived, "
        "created_at) select workspace_id, id, '1', 'Acme/shop', false, true, false, now() from c returning 1"
    )
    group.stand.board.repositories[0] = Repository("1", "qinghe/store")
    for _ in range(2):
        await group.stand.repository("qinghe/store")
    links = await chat.rows("select pattern, settings from repository_link order by id")
    assert links == [("acme/shop", {}), ("qinghe/store", {})]
    facts = await group.stand.facts("repository_linked", "repository_unlinked")
    assert [(one["kind"], one["pattern"]) for one in facts][-1] == ("repository_linked", "qinghe/store")
    # The other one is renamed, too: now nobody is called that any more.
    other = await chat.rows("select id from repository where name = 'Acme/shop'")
    async with chat.database.transaction(chat.workspace_id) as tx:
        await repositories.rename(tx, other[0][0], "acme/store", now=chat.clock.now())
    assert [pattern for (pattern,) in await chat.rows("select pattern from repository_link order by id")] == [
        "acme/store",
        "qinghe/store",
    ]


async def test_repositories_that_take_each_others_names_keep_their_groups(group: CardChat) -> None:
    """Though one sync tells of both; and of a group that is linked with either, each goes on in its own way."""
    chat, board, stand = group.chat, group.stand.board, group.stand
    shop, store = Repository("1", "acme/shop"), Repository("2", "acme/store")
    board.repositories[:] = [shop, store]
    jobs = TrackerJobs(stand.database, stand.connections, chat.clock)
    await jobs.sync_tracker(stand.workspace_id, stand.connection_id)
    async with chat.database.transaction(chat.workspace_id) as tx:
        for pattern, mode in (("acme/shop", "all"), ("acme/store", "list")):
            settings = {"mode": mode}
            await repositories.link(
                tx, chat.conversation_id, pattern, settings=settings, by=SYSTEM, now=chat.clock.now()
            )
    for shop_name, store_name in (
        ("acme/store", "acme/shop"),
        ("Acme/Shop", "acme/store"),
        ("acme/store", "acme/depot"),
    ):
        board.repositories[:] = [replace(shop, name=shop_name), replace(store, name=store_name)]
        await jobs.sync_tracker(stand.workspace_id, stand.connection_id)
        links = "select pattern, settings ->> 'mode' from repository_link order by id"
        assert await chat.rows(links) == [(shop_name, "all"), (store_name, "list")]
    assert await stand.facts("repository_unlinked") == []


async def test_a_title_of_markup_is_words_in_the_group_and_when_it_is_quoted(group: CardChat) -> None:
    title = "<img src=x onerror=alert(1)> [CQ:at,qq=all] 丢数据\n/close"
    await group.issue(7, title=title)
    ((card, text),) = await group.news()
    assert text.split("\n")[0] == f"acme/shop #7 {' '.join(title.split())}"
    await group.chat.asks("lu", "我也是", reply_to=card)
    await group.settles()
    (said,) = group.said()
    assert "onerror" not in said
