"""How the last message went, its fact and the lease are written in one statement: what it must not do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.twin import open_inbox
from tests.waiting import LOCK_AWAITED

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import outbox, replies, sending, transitions, work_state
from zhiban.conversations.changes import Open
from zhiban.conversations.ingest import ingest
from zhiban.conversations.models import Author, ConversationState, Status
from zhiban.conversations.outbox import QueuedMessage, enqueue
from zhiban.events import ASSISTANT, Actor
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.ports import (
    Incoming,
    IncomingMessage,
    Kind,
    Limits,
    LinkCard,
    Recalled,
    Receipt,
    Refusal,
    SenderRole,
    SendFailed,
    SendRefused,
    TryLater,
)
from zhiban.testing.channel import MemoryChannel, MemoryPlace

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
PROCESS = 7


@dataclass
class Line:
    """One conversation that process 7 works on, with what is queued in it."""

    database: Database
    inbox: OpenInbox
    workspace_id: int
    state: ConversationState

    async def queue(self, key: str) -> tuple[QueuedMessage, int]:
        """A queued reply of the assistant, and the revision of the work after it."""
        async with self.database.transaction(self.workspace_id) as tx:
            state = await transitions.lock(tx, self.state.id)
            result = await enqueue(
                tx, state, author=Author.ASSISTANT, actor=ASSISTANT, text=key, key=key, limits=Limits(2000), now=NOON
            )
        assert result.revision is not None
        return result.messages[0], result.revision

    async def sent(self, message: QueuedMessage, revision: int, *, process: int = PROCESS) -> bool:
        async with self.database.transaction(self.workspace_id) as tx:
            return await sending.record_outcome(
                tx,
                self.inbox,
                self.state,
                message,
                sending.SendSucceeded(),
                now=NOON,
                leave=sending.WorkHold(process, revision),
            )

    async def card(self, key: str) -> QueuedMessage:
        """A queued card with a link."""
        async with self.database.transaction(self.workspace_id) as tx:
            state = await transitions.lock(tx, self.state.id)
            limits = MemoryChannel.limits
            how = {"author": Author.TRACKER, "actor": Actor("tracker"), "key": key, "limits": limits, "now": NOON}
            result = await enqueue(tx, state, text=WORDS, link=CARD, **how)  # type: ignore[arg-type]
        return result.messages[0]

    async def dispatches(
        self, channel: MemoryChannel, message: QueuedMessage, *, now: datetime = NOON
    ) -> sending.SendOutcome:
        inbox = replace(self.inbox, channel=channel)
        return await sending.dispatch(inbox, "wm1", message, None, now=now)  # type: ignore[arg-type]

    async def records(self, message: QueuedMessage, outcome: sending.SendOutcome) -> None:
        async with self.database.transaction(self.workspace_id) as tx:
            await sending.record_outcome(tx, self.inbox, self.state, message, outcome, now=NOON)

    async def stored(self, message: QueuedMessage) -> tuple[str, dict[str, str], str]:
        """Its kind, its content and its state."""
        async with self.database.transaction(self.workspace_id) as tx:
            (found,) = await tx.rows("select kind, content, state from message where id = %(id)s", id=message.id)
        return found

    async def holder(self) -> int | None:
        async with self.database.transaction(self.workspace_id) as tx:
            holder: int | None = await tx.value("select leased_by from conversation_work")
        return holder

    async def facts(self) -> int:
        async with self.database.transaction(self.workspace_id) as tx:
            return int(await tx.value("select count(*) from event where kind = 'message_sent'"))


def a_channel() -> tuple[MemoryPlace, MemoryChannel]:
    place = MemoryPlace()
    return place, MemoryChannel(place)


async def _arrives(tx: Transaction, inbox: OpenInbox, key: str) -> None:
    message = IncomingMessage(key, "wm1", "wm1", SenderRole.CONTACT, Kind.TEXT, "在吗", NOON)
    await ingest(tx, inbox, [message], now=NOON, process_id=PROCESS)


@pytest.fixture
async def line(db: Database, workspace: int) -> Line:
    inbox = await open_inbox(db, workspace)
    async with db.transaction(workspace) as tx:
        await _arrives(tx, inbox, "m1")
        await tx.run("update message set state = 'handled'")
        conversation_id = await tx.value("select id from conversation")
        state = await transitions.lock(tx, conversation_id)
    return Line(db, inbox, workspace, state)


async def test_the_last_one_gives_the_lease_back(line: Line) -> None:
    message, revision = await line.queue("z1")
    assert await line.holder() == PROCESS
    assert await line.sent(message, revision)
    assert (await line.holder(), await line.facts()) == (None, 1)


async def test_the_lease_stays_while_another_waits(line: Line) -> None:
    first, _ = await line.queue("z1")
    second, revision = await line.queue("z2")
    assert not await line.sent(first, revision)
    assert (await line.holder(), await line.facts()) == (PROCESS, 1)
    assert await line.sent(second, revision)
    assert (await line.holder(), await line.facts()) == (None, 2)


async def test_the_lease_stays_when_something_came(line: Line) -> None:
    message, revision = await line.queue("z1")
    async with line.database.transaction(line.workspace_id) as tx:
        await _arrives(tx, line.inbox, "m2")
        await tx.run("update message set state = 'handled' where state = 'pending'")
    assert not await line.sent(message, revision)
    assert await line.holder() == PROCESS


async def test_nobody_gives_back_what_another_process_holds(line: Line) -> None:
    message, revision = await line.queue("z1")
    assert not await line.sent(message, revision, process=8)
    assert await line.holder() == PROCESS


async def test_what_the_vendor_called_failed_before_is_no_fact(line: Line) -> None:
    message, revision = await line.queue("z1")
    async with line.database.transaction(line.workspace_id) as tx:
        await tx.run("update message set state = 'failed' where id = %(id)s", id=message.id)
    assert await line.sent(message, revision)
    assert (await line.holder(), await line.facts()) == (None, 0)


async def _until_somebody_waits(database: Database) -> None:
    """Until a statement of ours waits for a lock that another transaction holds."""
    async with asyncio.timeout(30), database.page_transaction(NO_WORKSPACE) as tx:
        while not await tx.value(LOCK_AWAITED):  # noqa: ASYNC110 - it happens in PostgreSQL
            await asyncio.sleep(0.01)


async def _told(line: Line, item: Incoming) -> None:
    async with line.database.transaction(line.workspace_id) as tx:
        await ingest(tx, line.inbox, [item], now=NOON, process_id=PROCESS)


_NEWS: dict[str, Incoming] = {
    "read": Receipt("z1", "wm1", "read", NOON),
    "taken back": Recalled("z1", "wm1", SenderRole.AGENT, NOON),
    "failed": SendFailed("z1", "wm1", Refusal.REFUSED_BY_CONTACT, 1, NOON),
}


@pytest.mark.parametrize("what", ["sent", *_NEWS])
async def test_a_colleague_and_the_vendor_meet_at_one_message_without_a_deadlock(line: Line, what: str) -> None:
    """A verb locks the conversation, its work and then the messages; so does everything that begins at a message."""
    message, revision = await line.queue("z1")
    if what != "sent":
        async with line.database.transaction(line.workspace_id) as tx:
            await tx.run("update message set state = 'sent' where id = %(id)s", id=message.id)
    async with line.database.transaction(line.workspace_id) as tx:
        state = await transitions.lock(tx, line.state.id)
        await work_state.bump(tx, line.state.id)
        news = _NEWS.get(what)
        other = asyncio.ensure_future(_told(line, news) if news else line.sent(message, revision))
        await _until_somebody_waits(line.database)
        await tx.run("update message set content = content where id = %(id)s", id=message.id)
        await transitions.apply_to(tx, state, Open("taken"), actor=ASSISTANT, now=NOON)
    await other
    async with line.database.transaction(line.workspace_id) as tx:
        row = await tx.row("select state, read_at, recalled_at from message where id = %(id)s", id=message.id)
    assert row is not None
    told = {"sent": row[0] == "sent", "read": row[1], "taken back": row[2], "failed": row[0] == "failed"}
    assert told[what], row


CARD = LinkCard("acme/shop #7 丢数据", "lin新开", "https://github.test/acme/shop/issues/7")
WORDS = "acme/shop #7 丢数据\nlin新开\nhttps://github.test/acme/shop/issues/7"


async def test_a_card_that_the_vendor_will_not_have_goes_as_its_words(line: Line) -> None:
    place, channel = a_channel()
    message = await line.card("z1")
    assert (message.kind, message.text) == ("link", WORDS)
    place.faults.append((SendRefused(Refusal.KIND_FORBIDDEN), False))
    assert await line.dispatches(channel, message) == sending.SendSucceeded(plainly=True)
    assert [(one.kind, one.text, one.link) for one in place.arrived] == [(Kind.TEXT, WORDS, None)]
    await line.records(message, sending.SendSucceeded(plainly=True))
    assert await line.stored(message) == ("text", {}, "sent")
    # A gateway that takes cards gets the next one.
    other = await line.card("z2")
    assert await line.dispatches(channel, other) == sending.SendSucceeded()
    assert place.arrived[-1].link == CARD
    await line.records(other, sending.SendSucceeded())
    kind, content, _ = await line.stored(other)
    assert (kind, content["url"]) == ("link", CARD.url)


async def test_whoever_cannot_be_written_to_is_not_written_words_either(line: Line) -> None:
    place, channel = a_channel()
    message = await line.card("z1")
    place.faults.append((SendRefused(Refusal.BLOCKED), False))
    assert await line.dispatches(channel, message) == sending.SendRejected(Refusal.BLOCKED, 0)
    assert place.arrived == []


async def test_words_that_have_to_wait_are_tried_again_in_the_place_of_the_card(line: Line) -> None:
    place, channel = a_channel()
    message = await line.card("z1")
    for _ in range(2):
        place.faults.append((SendRefused(Refusal.UNKNOWN), False))
    place.faults.insert(1, (TryLater("busy", after=3), False))
    assert await line.dispatches(channel, message) == sending.Deferred(3)
    assert await line.dispatches(channel, message) == sending.SendSucceeded(plainly=True)
    assert len(place.arrived) == 1


async def test_only_who_holds_the_conversation_tries_what_may_not_be_repeated_and_only_once(line: Line) -> None:
    message, revision = await line.queue("z1")

    async def tries(process: int = PROCESS) -> bool:
        async with line.database.transaction(line.workspace_id) as tx:
            return await sending.try_once(tx, message, process=process, now=NOON)

    assert [await tries(8), await tries(), await tries()] == [False, True, False]
    await line.records(message, sending.Deferred(3))
    assert await tries()
    picky = MemoryChannel(MemoryPlace())
    picky.limits = replace(picky.limits, repeats=False)  # type: ignore[misc]
    again = replace(message, tried=True)
    assert await line.dispatches(picky, again) == sending.SendSucceeded(confirmed=False)
    assert await line.dispatches(MemoryChannel(MemoryPlace()), again) == sending.SendSucceeded()
    await line.sent(message, revision)
    assert not await tries()


async def test_last_words_whose_answer_was_lost_are_not_said_again_either(line: Line) -> None:
    place, channel = a_channel()
    channel.limits = replace(channel.limits, repeats=False)  # type: ignore[misc]
    goodbye = QueuedMessage(9, Author.SYSTEM, "move", "", {"to": "ended", "say": "再见"}, "z9", 0, NOON)
    place.faults.append((TryLater("lost", unknown=True), True))
    assert await line.dispatches(channel, goodbye) == sending.SendSucceeded(confirmed=False)
    place.faults.append((TryLater("busy", after=3), False))
    assert await line.dispatches(channel, goodbye) == sending.Deferred(3)
    assert await line.dispatches(channel, replace(goodbye, external_id="z10")) == sending.SendSucceeded()
    assert [one.text for one in place.arrived] == ["再见", "再见"]


async def test_what_was_called_failed_while_it_was_tried_can_be_sent_again(line: Line) -> None:
    """As where the vendor says so before it answers, or where the group was set to be read only."""
    message, revision = await line.queue("z1")
    async with line.database.transaction(line.workspace_id) as tx:
        assert await sending.try_once(tx, message, process=PROCESS, now=NOON)
    await _told(line, SendFailed("z1", "wm1", Refusal.REFUSED_BY_CONTACT, 1, NOON))
    await line.sent(message, revision)
    async with line.database.transaction(line.workspace_id) as tx:
        by = Actor("agent", 1)
        await replies.send_again(tx, message.id, limits=MemoryChannel.limits, by=by, now=NOON)
        (found,) = await tx.rows("select state, tried_at from message where id = %(id)s", id=message.id)
    assert found == ("queued", None)


async def test_whether_the_words_of_a_refused_card_arrived_may_be_unknown(line: Line) -> None:
    place, channel = a_channel()
    channel.limits = replace(channel.limits, repeats=False)  # type: ignore[misc]
    message = await line.card("z1")
    place.faults += [(SendRefused(Refusal.KIND_FORBIDDEN), False), (TryLater("lost", unknown=True), True)]
    outcome = await line.dispatches(channel, message)
    assert outcome == sending.SendSucceeded(plainly=True, confirmed=False)
    await line.records(message, outcome)
    assert await line.stored(message) == ("text", {}, "sent")


async def test_a_card_that_failed_for_no_known_reason_is_not_followed_by_its_words_where_both_would_stand(
    line: Line,
) -> None:
    place, channel = a_channel()
    channel.limits = replace(channel.limits, repeats=False)  # type: ignore[misc]
    message = await line.card("z1")
    place.faults.append((SendRefused(Refusal.UNKNOWN), True))
    assert await line.dispatches(channel, message) == sending.SendRejected(Refusal.UNKNOWN, 0)
    assert [one.link for one in place.arrived] == [CARD]


async def test_a_goodbye_that_may_have_arrived_is_not_said_again_where_that_would_be_heard(line: Line) -> None:
    place, channel = a_channel()
    channel.limits = replace(channel.limits, repeats=False)  # type: ignore[misc]
    message = QueuedMessage(1, "system", "move", "", {"to": "ended", "say": "再见"}, "z1", 0, NOON)
    place.faults.append((TryLater("lost", unknown=True), True))
    assert await line.dispatches(channel, message) == sending.SendSucceeded(confirmed=False)
    place.faults.append((TryLater("busy", after=3), False))
    assert await line.dispatches(channel, message) == sending.Deferred(3)


async def test_a_goodbye_that_had_to_wait_is_not_said_later(line: Line) -> None:
    """As when the vendor let nothing through for an hour."""
    place, channel = a_channel()
    async with line.database.transaction(line.workspace_id) as tx:
        how = {"to": "ended", "actor": ASSISTANT, "key": "z1", "now": NOON, "text": "再见"}
        await outbox.enqueue_session_transfer(tx, line.state, **how)  # type: ignore[arg-type]
        (id_,) = await tx.values("select id from message where kind = 'move'")
    goodbye = QueuedMessage(id_, "system", "move", "", {"to": "ended", "say": "再见"}, "z1", 3, NOON)
    late = await line.dispatches(channel, goodbye, now=NOON + timedelta(hours=1))
    assert late == sending.NothingToSend()
    await line.records(goodbye, late)
    assert (await line.stored(goodbye))[2] == "dropped"
    assert place.arrived == []
    assert await line.dispatches(channel, goodbye, now=NOON + timedelta(minutes=9)) == sending.SendSucceeded()
    assert [one.text for one in place.arrived] == ["再见"]


def test_nobody_who_goes_on_is_bid_goodbye(line: Line) -> None:
    ends = QueuedMessage(1, "system", "move", "", {"to": "ended", "say": "再见"}, "z1", 3, NOON)
    hands_over = replace(ends, content={"to": "pool"})
    assert [sending.goes_on(one, line.state) for one in (ends, hands_over)] == [True, False]
    assert not sending.goes_on(ends, replace(line.state, status=Status.RESOLVED))


async def test_naming_a_conversation_waits_for_nobody_who_changes_it(line: Line) -> None:
    """Whoever tells several groups of something would wait in a ring with what is heard in them."""
    async with line.database.transaction(line.workspace_id) as changing:
        await transitions.lock(changing, line.state.id)
        async with line.database.transaction(line.workspace_id) as naming:
            await naming.run("set local lock_timeout = '1s'")
            await naming.run(
                "insert into survey (workspace_id, conversation_id, inbox_id, cycle, asked_at) "
                "values (%(workspace)s, %(conversation)s, %(inbox)s, 1, %(now)s)",
                workspace=line.workspace_id,
                conversation=line.state.id,
                inbox=line.inbox.inbox_id,
                now=NOON,
            )
