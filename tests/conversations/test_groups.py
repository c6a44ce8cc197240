"""Groups: who is in them, what they say, what is kept of it. Everything goes in as a channel tells it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.conversations import (
    groups,
    lists,
    outbox,
    participants,
    queries,
    replies,
    sending,
    service,
    transcripts,
    transitions,
)
from zhiban.conversations.group_policy import Consent, GroupPolicy
from zhiban.conversations.ingest import ingest
from zhiban.conversations.list_models import Queue, StatusTab
from zhiban.conversations.merging import access_contact, conversations_with, merge_contacts
from zhiban.conversations.message_search import search_contacts
from zhiban.conversations.models import Author, ConversationState, Status
from zhiban.events import (
    ASSISTANT,
    SYSTEM,
    Actor,
    GroupConfigured,
    GroupConsentChanged,
    GroupMembersJoined,
    GroupMembersLeft,
    GroupRenamed,
    MessageReceived,
)
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.word_search import query
from zhiban.people.contact_search import index_contacts
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import (
    GroupChanged,
    GroupMember,
    Incoming,
    IncomingMessage,
    Kind,
    Limits,
    Media,
    MembersJoined,
    MembersLeft,
    Mention,
    Recalled,
    Refusal,
    SenderRole,
    SendFailed,
)

GROUP = "g-1"
LIMITS = Limits(2000, mentions=True)
REFUSED = Refusal.NOT_IN_GROUP


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


class Group:
    """One group of the desk, told of by its channel."""

    def __init__(self, desk: Desk, tx: Transaction) -> None:
        self.desk = desk
        self.tx = tx
        self.serial = 0

    async def told(self, *items: Incoming) -> ConversationState:
        await ingest(self.tx, self.desk.inbox, items, now=NOON, process_id=1)
        return await self.desk.state(self.tx, GROUP)

    def said(self, who: str, text: str, **more: Any) -> IncomingMessage:
        self.serial += 1
        name = {"zhou": "周周", "wang": "小王"}.get(who, "")
        return IncomingMessage(
            f"g{self.serial}",
            GROUP,
            who,
            SenderRole.CONTACT,
            Kind.TEXT,
            text,
            NOON,
            group=True,
            sender_name=name,
            **more,
        )

    async def states(self) -> list[str]:
        return await self.tx.values("select state from message where direction = 'in' order by id")

    async def names(self, *, gone: bool = False) -> list[str]:
        state = await self.desk.state(self.tx, GROUP)
        return [one.name for one in await participants.participants(self.tx, state.id, gone=gone)]

    async def facts(self, *kinds: type) -> list[Any]:
        state = await self.desk.state(self.tx, GROUP)
        return [one for one in await queries.history(self.tx, state.id) if isinstance(one, kinds)]


async def test_each_member_is_a_contact_of_their_own_and_the_group_is_with_none(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(
            GroupChanged(GROUP, NOON, "青禾用户群"),
            group.said("zhou", "大家早"),
            group.said("wang", "早", mentions=("zhou",), reply_to="g1"),
            group.said("zhou", "@值班 部署在哪里看日志？", mentions_us=True),
        )
        assert (state.is_group, state.contact_id, state.subject, state.status) == (
            True,
            None,
            "青禾用户群",
            Status.RESOLVED,
        )
        assert state.waiting_since is None
        rows = await tx.rows(
            "select m.text, p.name, m.sender_ref, m.mentions, m.reply_to_id is not null from message m "
            "join contact p on p.id = m.sender_contact_id where m.direction = 'in' order by m.id"
        )
        assert rows == [
            ("大家早", "周周", "zhou", [], False),
            ("早", "小王", "wang", [{"id": "zhou"}], True),
            ("@值班 部署在哪里看日志？", "周周", "zhou", [{"us": True}], False),
        ]
        heard = await group.facts(MessageReceived)
        assert {(one.actor.kind, one.actor.ref, one.counts) for one in heard} == {
            ("contact", "zhou", False),
            ("contact", "wang", False),
        }
        assert await group.states() == ["pending"] * 3
        lines = await transcripts.transcript(tx, state.id, notes=False)
        assert [(line.name, line.text) for line in lines][:2] == [("周周", "大家早"), ("小王", "早")]


async def test_one_who_writes_to_us_directly_and_in_the_group_is_one_contact(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        direct = await desk.writes(tx, "zhou", "你好")
        group = Group(desk, tx)
        await group.told(group.said("zhou", "大家好"))
        assert await tx.values("select distinct sender_contact_id from message where direction = 'in'") == [
            direct.contact_id
        ]
        # What they say in the group touches nothing of what they wrote to us.
        assert await desk.state(tx, "zhou") == direct


async def test_a_name_cannot_be_both_a_group_and_a_contact(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, GROUP)
        with pytest.raises(Conflict, match="one name"):
            await Group(desk, tx).told(Group(desk, tx).said("zhou", "大家好"))


async def test_members_come_and_go(desk: Desk) -> None:
    zhou = GroupMember("zhou", "周知远", "周周", "owner", "https://a.example/zhou.png")
    wang, lei = GroupMember("wang", "王小明"), GroupMember("lei", "雷", role="admin")
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        # The first list says who is there already: nobody has come.
        await group.told(GroupChanged(GROUP, NOON, "用户群", (zhou, wang)))
        assert (await group.names(), await group.facts(GroupMembersJoined, GroupRenamed)) == (
            ["周周", "王小明"],
            await group.facts(GroupRenamed),
        )
        joined = MembersJoined(GROUP, (lei, wang), NOON, "zhou", event_id="j1")
        await group.told(joined, joined)
        (came,) = await group.facts(GroupMembersJoined)
        ids = {one.name: one.contact_id for one in await participants.participants(tx, came.conversation_id)}
        assert (came.members, came.by, came.actor.id) == ((ids["雷"],), ids["周周"], ids["周周"])
        await group.told(MembersLeft(GROUP, ("wang", "nobody"), NOON, None, event_id="l1"))
        # A later list finds what nobody told us.
        await group.told(GroupChanged(GROUP, NOON, "开发群", (zhou, GroupMember("xu", "徐"))))
        left = await group.facts(GroupMembersLeft)
        assert [one.members for one in left] == [(ids["王小明"],), (ids["雷"],)]
        assert (await group.names(), len(await group.names(gone=True))) == (["周周", "徐"], 4)
        lines = await tx.values("select content ->> 'what' from message where kind = 'activity' order by id")
        assert lines == ["members_joined", "members_left", "group_renamed", "members_joined", "members_left"]
        # Who speaks is there.
        await group.told(group.said("wang", "我又回来了"))
        assert "小王" in await group.names()


async def test_where_we_are_not_nothing_is_said(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"), MembersLeft(GROUP, (), NOON, "zhou", ourselves=True))
        with pytest.raises(outbox.GroupClosed, match="not in this group"):
            await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=LIMITS, now=NOON)
        silent = await outbox.enqueue(
            tx, state, author=Author.ASSISTANT, actor=ASSISTANT, text="在", key="z1", limits=LIMITS, now=NOON
        )
        assert silent.messages == []
        state = await group.told(MembersJoined(GROUP, (), NOON, "zhou", ourselves=True))
        assert await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=LIMITS, now=NOON)


async def test_that_we_are_out_of_it_is_learnt_by_writing(desk: Desk) -> None:
    """Nobody told us. The vendor refuses the first message; what waits behind it is not tried, and nothing is added."""
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"))
        how: dict[str, Any] = {"author": Author.ASSISTANT, "actor": ASSISTANT, "limits": LIMITS, "now": NOON}
        (first,) = (await outbox.enqueue(tx, state, text="一", key="z1", **how)).messages
        await outbox.enqueue(tx, state, text="二", key="z2", **how)
        await replies.reply(tx, state.id, text="三", by=desk.lin, limits=LIMITS, now=NOON)
        at = NOON + timedelta(minutes=5)
        await sending.record_outcome(tx, desk.inbox, state, first, sending.SendRejected(REFUSED, 1), now=at)
        rows = await tx.rows("select text, state, failure from message where direction = 'out' order by id")
        assert rows == [("一", "failed", REFUSED), ("二", "dropped", REFUSED), ("三", "failed", REFUSED)]
        assert (await groups.chat_of(tx, state.id)).closed == "left"
        assert [one.ourselves for one in await group.facts(GroupMembersLeft)] == [True]
        assert (await outbox.enqueue(tx, state, text="四", key="z4", **how)).messages == []
        # The vendor says it at last; that is no news.
        await group.told(MembersLeft(GROUP, (), at, ourselves=True))
        assert len(await group.facts(GroupMembersLeft)) == 1
        # What members said before comes late and proves nothing. What they say afterwards does.
        await group.told(group.said("wang", "早先说的"))
        assert (await groups.chat_of(tx, state.id)).closed == "left"
        later = replace(group.said("wang", "把你请回来了"), sent_at=at + timedelta(seconds=1))
        state = await group.told(later)
        assert (await groups.chat_of(tx, state.id)).closed is None
        assert [one.ourselves for one in await group.facts(GroupMembersJoined)] == [True]
        assert (await outbox.enqueue(tx, state, text="五", key="z5", **how)).messages


async def test_what_failed_is_not_sent_again_where_nothing_may_be_said(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state, lin = await group.told(group.said("zhou", "大家好")), Actor("agent", desk.lin)
        (id_,) = await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=LIMITS, now=NOON)
        await groups.configure(tx, state.id, GroupPolicy(read_only=True), by=lin, now=NOON)
        with pytest.raises(outbox.GroupClosed, match="read only"):
            await replies.send_again(tx, id_, limits=LIMITS, by=lin, now=NOON)
        await groups.configure(tx, state.id, GroupPolicy(), by=lin, now=NOON)
        await group.told(MembersLeft(GROUP, (), NOON, "zhou", ourselves=True))
        with pytest.raises(outbox.GroupClosed, match="not in this group"):
            await replies.send_again(tx, id_, limits=LIMITS, by=lin, now=NOON)
        await group.told(MembersJoined(GROUP, (), NOON, "zhou", ourselves=True))
        await replies.send_again(tx, id_, limits=LIMITS, by=lin, now=NOON)
        assert await tx.values("select state from message where id = %(id)s", id=id_) == ["queued"]


async def test_a_receipt_may_say_it_too_and_a_contact_is_no_group(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"))
        how: dict[str, Any] = {"author": Author.ASSISTANT, "actor": ASSISTANT, "limits": LIMITS, "now": NOON}
        await outbox.enqueue(tx, state, text="一", key="z1", **how)
        await group.told(SendFailed("z1", GROUP, REFUSED, 0, NOON, "e-1"))
        assert (await groups.chat_of(tx, state.id)).closed == "left"
        # The list of who is there is older than what we found out, and then it is not.
        await group.told(GroupChanged(GROUP, NOON, members=(GroupMember("zhou"),)))
        await group.told(GroupChanged(GROUP, NOON, members=(GroupMember("zhou"),)))
        assert (await groups.chat_of(tx, state.id)).closed == "left"
        await group.told(GroupChanged(GROUP, NOON + timedelta(seconds=1), members=(GroupMember("zhou"),)))
        assert (await groups.chat_of(tx, state.id)).closed is None
        assert [one.ourselves for one in await group.facts(GroupMembersJoined)] == [True]
        alone = IncomingMessage("d1", "zhou", "zhou", SenderRole.CONTACT, Kind.TEXT, "在吗", NOON)
        await ingest(tx, desk.inbox, [alone], now=NOON, process_id=1)
        (id_,) = await tx.values("select id from conversation where kind <> 'group'")
        private = await transitions.lock(tx, id_)
        (asked,) = (await outbox.enqueue(tx, private, text="在", key="z9", **how)).messages
        await sending.record_outcome(tx, desk.inbox, private, asked, sending.SendRejected(REFUSED, 1), now=NOON)
        assert await tx.values("select count(*) from group_chat where left_at is not null") == [0]


async def test_a_group_that_is_only_read_is_never_written_to(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"))
        await replies.reply(tx, state.id, text="稍等", by=desk.lin, limits=LIMITS, now=NOON)
        by = Actor("agent", desk.lin)
        assert await groups.configure(tx, state.id, GroupPolicy(read_only=True), by=by, now=NOON)
        assert not await groups.configure(tx, state.id, GroupPolicy(read_only=True), by=by, now=NOON)
        assert await tx.values("select state from message where direction = 'out'") == ["failed"]
        with pytest.raises(outbox.GroupClosed, match="read only"):
            await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=LIMITS, now=NOON)
        (fact,) = await group.facts(GroupConfigured)
        assert (fact.before, fact.after) == ({"read_only": False}, {"read_only": True})
        direct = await desk.writes(tx, "wm1")
        with pytest.raises(NotFound):
            await groups.configure(tx, direct.id, GroupPolicy(), by=by, now=NOON)


async def test_a_member_may_ask_not_to_be_kept(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"), group.said("wang", "你好"))
        zhou = (await participants.participants(tx, state.id))[0]
        by = Actor("contact", zhou.contact_id)
        assert await groups.set_consent(tx, state.id, zhou.contact_id, Consent.UNSTORED, by=by, now=NOON)
        file = Media("https://files.example/1.png", Kind.IMAGE)
        await group.told(
            group.said("zhou", "我的手机号是13800000000", media=(file,), mentions=("wang",)),
            group.said("zhou", "@值班 可以保存我的消息了", mentions_us=True),
            group.said("wang", "收到"),
        )
        kept = await tx.rows(
            "select text, kind, content, state, mentions from message where direction = 'in' order by id"
        )
        assert kept[2] == ("", "other", {"withheld": True}, "handled", [])
        assert [row[0] for row in kept[3:]] == ["@值班 可以保存我的消息了", "收到"]
        assert await tx.value("select count(*) from attachment") == 0
        (fact,) = await group.facts(GroupConsentChanged)
        assert (fact.member_id, fact.previous, fact.consent) == (zhou.contact_id, "all", "unstored")
        with pytest.raises(NotFound):
            await groups.set_consent(tx, state.id, 10**9, Consent.ALL, by=by, now=NOON)


async def test_who_is_blocked_is_heard_by_nobody_and_the_others_are(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        direct = await desk.writes(tx, "zhou")
        await service.block(tx, direct.id, by=SYSTEM, now=NOON)
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "刷屏"), group.said("wang", "好的"))
        assert (await group.states())[1:] == ["handled", "pending"]
        assert not state.muted


async def test_what_a_member_takes_back_is_theirs(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "说错了"), Recalled("g1", GROUP, SenderRole.CONTACT, NOON))
        recalled = [one for one in await queries.history(tx, state.id) if one.kind() == "message_recalled"]
        sender = await tx.value("select sender_contact_id from message where direction = 'in'")
        assert [one.actor.id for one in recalled] == [sender]


async def test_two_contacts_who_are_one_are_one_member(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"), group.said("wang", "你好"))
        base, other = [one.contact_id for one in await participants.participants(tx, state.id)]
        access = Access(desk.lin, Role.AGENT)
        await merge_contacts(tx, access, base, other, by=Actor("agent", desk.lin), now=NOON)
        assert [one.contact_id for one in await participants.participants(tx, state.id)] == [base]
        assert await tx.values("select distinct sender_contact_id from message where direction = 'in'") == [base]


async def test_a_member_is_found_by_who_sees_the_group_and_by_nobody_else(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(GroupChanged(GROUP, NOON, "用户群"), group.said("zhou", "大家好"))
        (zhou,) = await participants.participants(tx, state.id)
        here = Access(desk.lin, Role.AGENT, (desk.inbox.inbox_id,))
        elsewhere = Access(desk.chen, Role.AGENT, (desk.inbox.inbox_id + 1,))
        assert [one.name for one in await conversations_with(tx, here, zhou.contact_id)] == ["用户群"]
        with pytest.raises(NotFound):
            await access_contact(tx, elsewhere, zhou.contact_id)
        assert await conversations_with(tx, elsewhere, zhou.contact_id) == []
        await index_contacts(tx, [zhou.contact_id])
        found = [await search_contacts(tx, query("周周"), access=one, most=5) for one in (here, elsewhere)]
        assert [[hit.conversations[0].id for hit in each] for each in found] == [[state.id], []]


async def test_a_group_ends_without_words_and_is_not_among_what_was_resolved(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "怎么部署？"))
        await service.hand_off(tx, state.id, reason="nothing_found", actor=ASSISTANT, now=NOON)
        assert (await desk.state(tx, GROUP)).waiting_since == NOON
        await replies.reply(tx, state.id, text="看文档第三章", by=desk.lin, limits=LIMITS, now=NOON)
        await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        assert await tx.value("select count(*) from jobs.procrastinate_jobs where task_name = 'close_session'") == 0
        later = NOON + timedelta(days=30)
        idle = {"before": later, "now": later}
        assert await service.resolve_idle(tx, state.inbox_id, status=Status.PENDING, **idle) == 0
        access = Access(desk.lin, Role.AGENT)
        seen = await lists.conversation_list(
            tx, access, queue=Queue.ALL, tab=StatusTab.RESOLVED, label=None, views=(), view=None, now=NOON
        )
        assert seen.empty


async def test_an_answer_names_members_as_the_channel_can(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        group = Group(desk, tx)
        state = await group.told(group.said("zhou", "大家好"))
        how: dict[str, Any] = {"author": Author.ASSISTANT, "actor": ASSISTANT, "text": "在文档里", "now": NOON}
        named = (Mention("zhou", "周周"),)
        one = await outbox.enqueue(tx, state, key="z1", limits=LIMITS, mentions=named, **how)
        two = await outbox.enqueue(tx, one.state, key="z2", limits=Limits(2000), mentions=named, **how)
    assert [(m.text, m.mentions) for m in (*one.messages, *two.messages)] == [
        ("在文档里", named),
        ("@周周 在文档里", ()),
    ]
