"""What is asked of a tracker happens once: whatever is lost, late, refused or killed in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.tickets.stand import TrackerStand, tracker_stand
from zhiban.channels.pausing import pause_connection, resume_connection
from zhiban.events import ASSISTANT, SYSTEM, Actor, Event, IssueOpened, IssueRefused
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.event_log import Reactions
from zhiban.ports import ConnectionBroken, IssueChange, Repository, TrackerRefused, TryLater
from zhiban.testing.tracker import MemoryBoard
from zhiban.tickets import repositories, tracker_calls
from zhiban.tickets import tracker_outbox as outbox
from zhiban.tickets.tracker_writes import NewComment, NewIssue

ASKER = Actor("contact", 7)


@pytest.fixture
async def stand(db: Database, workspace: int) -> AsyncIterator[TrackerStand]:
    async with tracker_stand(db, workspace) as found:
        yield found


async def opens(
    stand: TrackerStand, *bodies: str, key: str = "draft-1", ticket: int | None = 5, labels: tuple[str, ...] = ()
) -> int:
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        return await outbox.enqueue_issue(
            tx,
            repository,
            title="支付页白屏",
            bodies=bodies or ("五句话",),
            labels=labels,
            ticket_id=ticket,
            client_key=key,
            by=ASKER,
            now=stand.now,
        )


async def test_an_issue_is_opened_and_told_once(stand: TrackerStand) -> None:
    call = await opens(stand, labels=("bug", "no-such-label"))
    assert await opens(stand, labels=("bug", "no-such-label")) == call  # asked again with the same key
    await stand.work()
    await stand.work()
    (issue,) = stand.board.issues.values()
    assert (issue.title, issue.body, issue.labels) == ("支付页白屏", "五句话", ("bug",))
    (opened,) = await stand.facts("issue_opened")
    assert (opened["number"], opened["ticket_id"], opened["call_id"]) == (1, 5, call)
    assert opened["dropped_labels"] == ["no-such-label"]
    assert await stand.rows("select actor_kind, actor_id from event where kind = 'issue_opened'") == [("contact", 7)]
    (changed,) = await stand.facts("issue_changed")
    assert (changed["change"], changed["call_id"]) == ("opened", call)


async def test_what_overflows_follows_as_comments_in_order_also_without_a_ticket(stand: TrackerStand) -> None:
    stand.board.faults.append((TryLater("busy", after=30), False))
    await opens(stand, "一", "二", "三", ticket=None)
    await stand.work()
    assert not stand.board.issues  # the comments waited for their issue
    stand.clock.advance(timedelta(seconds=31))
    await stand.work()
    assert [one.body for one in stand.board.comments["acme/shop", 1]] == ["二", "三"]
    assert not await stand.facts("issue_refused")


async def test_an_answer_that_was_lost_opens_no_second_issue(stand: TrackerStand) -> None:
    stand.board.faults += [(TryLater("502", unknown=True), True), (TryLater("502", unknown=True), False)]
    await opens(stand)
    for _ in range(3):
        await stand.work()
        stand.clock.advance(timedelta(minutes=5))
    assert len(stand.board.issues) == 1
    assert len(await stand.facts("issue_opened")) == 1
    ((attempts,),) = await stand.rows("select attempts from tracker_call")
    assert attempts == 3


async def test_a_pause_is_no_attempt(stand: TrackerStand) -> None:
    stand.board.faults.append((TryLater("secondary limit", after=60), False))
    await opens(stand)
    await stand.work()
    assert await stand.rows("select attempts, tried_at from tracker_call") == [(0, None)]
    stand.clock.advance(timedelta(seconds=59))
    await stand.work()
    assert not stand.board.issues
    stand.clock.advance(timedelta(seconds=2))
    await stand.work()
    assert len(stand.board.issues) == 1


async def test_a_comment_waits_for_the_issue_of_its_ticket(stand: TrackerStand) -> None:
    stand.board.faults.append((TryLater("busy", after=30), False))
    await opens(stand)
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        await outbox.enqueue(
            tx,
            repository,
            NewComment("还有一句"),
            ticket_id=5,
            message_id=99,
            client_key="m99",
            by=ASKER,
            now=stand.now,
        )
    await stand.work()
    assert not stand.board.comments
    stand.clock.advance(timedelta(seconds=31))
    await stand.work()
    assert [one.body for one in stand.board.comments["acme/shop", 1]] == ["还有一句"]
    (told,) = await stand.facts("issue_commented")
    assert told["ours"]
    ((message, comment),) = await stand.rows("select message_id, comment_id from tracker_call where kind = 'comment'")
    assert (message, comment) == (99, told["comment_id"])


async def test_a_refusal_is_told_in_a_sentence_and_what_hangs_on_it_goes_too(stand: TrackerStand) -> None:
    stand.board.repositories[0] = Repository("1", "acme/shop", issues_enabled=False)
    await opens(stand, "一", "二")
    await stand.work()
    refused = await stand.facts("issue_refused")
    assert [(one["wish"], one["reason"], one["ticket_id"]) for one in refused] == [
        ("open", "issues_disabled", 5),
        ("comment", "not_found", 5),
    ]
    assert all(one["sentence"] for one in refused)


async def test_a_repository_that_was_renamed_is_found_under_its_new_name(stand: TrackerStand) -> None:
    repository = await stand.repository()
    await opens(stand)
    stand.board.repositories[0] = Repository("1", "acme/store")
    stand.board.faults.append((TrackerRefused("moved", code=301, moved_to="acme/store"), False))
    stand.board.repositories.append(Repository("2", "acme/shop"))  # where the old name leads now
    await stand.work()
    assert list(stand.board.issues) == [("acme/store", 1)]
    (renamed,) = await stand.facts("repository_renamed")
    assert (renamed["repository_id"], renamed["name"], renamed["previous"]) == (repository, "acme/store", "acme/shop")


async def test_a_revoked_token_is_said_where_operators_look_and_nothing_is_lost(stand: TrackerStand) -> None:
    stand.board.faults.append((ConnectionBroken("Bad credentials", code=401), False))
    await opens(stand)
    await stand.work()
    assert len(await stand.facts("connection_broke")) == 1
    stand.clock.advance(timedelta(minutes=6))
    await stand.work()
    assert len(stand.board.issues) == 1
    assert len(await stand.facts("connection_mended")) == 1


async def test_what_fails_for_a_day_is_given_up_loudly(stand: TrackerStand) -> None:
    await opens(stand)
    for _ in range(2):  # a day counts from the first attempt
        stand.clock.advance(timedelta(hours=25))
        stand.board.faults.append((TryLater("down", after=60), False))
        assert await stand.facts("issue_refused") == []
        await stand.work()
    (refused,) = await stand.facts("issue_refused")
    assert refused["reason"] == "unreachable"
    assert not stand.board.issues


class Broken(MemoryBoard):
    """A board that breaks in a way which no port speaks of, where a title says so."""

    def repository(self, name: str) -> Repository:
        if name == "acme/broken":
            raise ValueError("nobody expected this")
        return super().repository(name)


async def test_an_accident_of_one_call_holds_up_no_other_and_is_given_up_at_last(db: Database, workspace: int) -> None:
    board = Broken(repositories=[Repository("1", "acme/shop"), Repository("2", "acme/broken")])
    async with tracker_stand(db, workspace, board=board) as stand:
        async with db.transaction(workspace) as tx:
            broken = await repositories.keep(tx, stand.connection_id, board.repositories[1], now=stand.now)
            await outbox.enqueue_issue(
                tx, broken, title="x", bodies=["y"], ticket_id=4, client_key="bad", by=ASKER, now=stand.now
            )
        await opens(stand)
        await stand.work()
        assert [one.title for one in board.issues.values()] == ["支付页白屏"]
        for _ in range(10):
            stand.clock.advance(timedelta(minutes=11))
            await stand.work()
        (refused,) = await stand.facts("issue_refused")
        assert (refused["reason"], refused["ticket_id"]) == ("accident", 4)
        assert await stand.rows("select attempts, content ? 'body' from tracker_call where state = 'refused'") == [
            (8, False)
        ]


async def test_who_hears_of_a_refusal_and_fails_holds_up_nobody(stand: TrackerStand) -> None:
    async def fails(_tx: Transaction, event: Event) -> None:
        if isinstance(event, IssueOpened | IssueRefused) and event.ticket_id == 4:
            raise RuntimeError("a handler of ours is wrong")

    stand.database.reactions = Reactions({IssueOpened: (fails,), IssueRefused: (fails,)})
    await opens(stand, key="bad", ticket=4)
    await stand.work()
    await opens(stand, key="good", ticket=5)
    for _ in range(9):
        await stand.work()
        stand.clock.advance(timedelta(minutes=11))
    assert ("good", "done") in await stand.rows("select client_key, state from tracker_call")
    assert len(stand.board.issues) == 2  # what the failing one had opened was found again each time


async def test_what_a_dead_process_held_is_taken_over(stand: TrackerStand) -> None:
    """It was killed between the tracker's answer and our commit: the key finds what it had opened."""
    await opens(stand)
    async with stand.database.transaction(stand.workspace_id) as tx:
        call = await tracker_calls.take(tx, stand.connection_id, process_id=4711, now=stand.now)
    assert call is not None
    opened = await stand.connections.tracker(stand.workspace_id, stand.connection_id)
    assert isinstance(call.write, NewIssue)
    await opened.tracker.open_issue(call.issue_draft("acme/shop", call.write))
    await stand.work()
    assert len(stand.board.issues) == 1
    assert len(await stand.facts("issue_opened")) == 1


async def test_a_living_process_is_left_alone(stand: TrackerStand) -> None:
    await opens(stand, key="one", ticket=1)
    await opens(stand, key="two", ticket=2)
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert await tracker_calls.take(tx, stand.connection_id, process_id=stand.pubsub.process_id, now=stand.now)
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert await tracker_calls.take(tx, stand.connection_id, process_id=4711, now=stand.now) is None


async def test_a_change_is_carried_out_and_told_once(stand: TrackerStand) -> None:
    await opens(stand)
    await stand.work()
    repository = await stand.repository()
    async with stand.database.transaction(stand.workspace_id) as tx:
        await outbox.enqueue(
            tx,
            repository,
            IssueChange(state="closed", reason="not_planned", add_labels=("question",)),
            ticket_id=5,
            client_key="close",
            by=ASSISTANT,
            now=stand.now,
        )
    stand.clock.advance(timedelta(seconds=5))
    await stand.work()
    assert [one["change"] for one in await stand.facts("issue_changed")] == ["opened", "closed", "labels"]
    assert await stand.rows("select state, reason, labels from issue") == [("closed", "not_planned", ["question"])]


async def test_there_must_be_a_repository(stand: TrackerStand) -> None:
    async with stand.database.transaction(stand.workspace_id) as tx:
        with pytest.raises(NotFound):
            await outbox.enqueue(tx, 4711, NewComment("x"), number=1, client_key="k", by=ASKER, now=stand.now)


@pytest.mark.parametrize("tried", [False, True])
async def test_a_long_pause_is_not_held_against_what_waited(stand: TrackerStand, tried: bool) -> None:
    await opens(stand)
    hiccup = (TryLater("GitHub cannot be reached.", after=5), False)
    if tried:
        stand.board.faults.append(hiccup)
        await stand.work()
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert await pause_connection(tx, stand.connection_id, by=SYSTEM, now=stand.now)
    stand.clock.advance(timedelta(hours=60))
    async with stand.database.transaction(stand.workspace_id) as tx:
        assert await resume_connection(tx, stand.connection_id, by=SYSTEM, now=stand.now)
    stand.board.faults.append(hiccup)
    await stand.work()
    assert await stand.rows("select state from tracker_call") == [("queued",)]
    stand.clock.advance(timedelta(seconds=6))
    await stand.work()
    assert await stand.rows("select state from tracker_call") == [("done",)]
