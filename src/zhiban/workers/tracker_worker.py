"""Carries out what we write to trackers: one call at a time for a connection, in order for each ticket and issue."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import psycopg

from zhiban.channels.connection_health import mark_broken, mark_mended
from zhiban.channels.connections import Connections
from zhiban.channels.pausing import paused_connections
from zhiban.kit.background_tasks import BackgroundTasks
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable, ZhibanError
from zhiban.kit.pubsub import PubSub
from zhiban.ports import (
    ConnectionBroken,
    IssueChange,
    MemberBindingEnded,
    TakesReactions,
    Tracker,
    TrackerRefused,
    TryLater,
)
from zhiban.tickets import issues, logins
from zhiban.tickets import tracker_calls as calls
from zhiban.tickets.member_accounts import MemberAccounts
from zhiban.tickets.repositories import access_repository
from zhiban.tickets.tracker_calls import Erasable, TrackerCall
from zhiban.tickets.tracker_writes import Erasure, NewComment, NewIssue, NewReaction
from zhiban.workers.scheduler import DueWork

log = logging.getLogger(__name__)

FIRST_WAIT = 5.0  # seconds after an attempt that may have been carried out; each further wait is twice as long
LONGEST_WAIT = 600.0
ATTEMPT_SECONDS = calls.LEASE.total_seconds() - 20  # nobody else may begin while an attempt of ours goes on
BROKEN_WAIT = 300.0  # until the credentials that the tracker refuses are tried again
GIVE_UP = timedelta(hours=24)  # what could not be done for so long is refused, and somebody is told
ACCIDENTS = 8  # attempts that end in an error of our own; then it is refused, and somebody is told
REFUSED = 401  # the code of credentials that are not taken
SHORT_WAIT = 2.0  # a wait that is waited here, because the next call would wait just as long


class TrackerWorker:
    """Writes to trackers for this process; any number of processes may do so."""

    def __init__(self, database: Database, connections: Connections, pubsub: PubSub, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._pubsub = pubsub
        self._clock = clock
        self._accounts = MemberAccounts(database, connections, clock)
        self._woken: set[tuple[int, int]] = set()
        self._running: set[tuple[int, int]] = set()
        self._tasks = BackgroundTasks()
        self._closing = False

    def due_work(self) -> DueWork:
        return DueWork("trackers", calls.ANY_DUE, self.run_workspace)

    async def close(self, *, within: float = 5.0) -> None:
        """Finish the calls that are under way; those behind them wait for the next process."""
        self._closing = True
        await self._tasks.close(within=within)

    async def run_once(self) -> None:
        """Take up whatever is due, in every workspace."""
        for workspace_id in await self._database.workspaces():
            await self.run_workspace(workspace_id)

    async def run_workspace(self, workspace_id: int) -> None:
        """Take up whatever is due in this workspace."""
        async with self._database.transaction(workspace_id) as tx:
            due = await calls.due(tx, now=self._clock.now())
            paused = await paused_connections(tx) if due else set()
        for connection_id in due:
            if connection_id not in paused:
                self.wake(workspace_id, connection_id)

    def wake(self, workspace_id: int, connection_id: int) -> None:
        """There is something to write for this connection."""
        if self._closing:
            return
        key = (workspace_id, connection_id)
        self._woken.add(key)
        if key not in self._running:
            self._running.add(key)
            self._tasks.start(self._run(key))

    async def _run(self, key: tuple[int, int]) -> None:
        try:
            while key in self._woken and not self._closing:
                self._woken.discard(key)
                while not self._closing and await self._one(*key):
                    pass
        except (psycopg.Error, ZhibanError) as error:
            log.warning("Writing to tracker %s goes on later: %s", key[1], str(error).strip())
        except Exception:  # one tracker's accident must not silence the others
            log.exception("Writing to tracker %s goes on later.", key[1])
        finally:
            self._running.discard(key)

    async def _one(self, workspace_id: int, connection_id: int) -> bool:
        """Carry one call out. False when there is none to be taken now."""
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if connection_id in await paused_connections(tx):
                return False
            call = await calls.take(tx, connection_id, process_id=self._pubsub.process_id, now=now)
        if call is None:
            return False
        try:
            return await self._attempt(workspace_id, connection_id, call)
        except Exception as error:  # what is wrong with one call must not hold up those behind it
            log.exception("Call %s of tracker %s failed.", call.id, connection_id)
            await self._accident(workspace_id, call, error)
            return True

    async def _attempt(self, workspace_id: int, connection_id: int, call: TrackerCall) -> bool:
        """Try once, and keep what came of it. False when the next call has to wait, too."""
        try:
            tracker = (await self._connections.tracker(workspace_id, connection_id)).tracker
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if call.login_id is None:
                    await self._carry_out(workspace_id, tracker, call)
                else:
                    await self._as_member(workspace_id, tracker, call, call.login_id)
        except TrackerRefused as error:
            await self._refused(workspace_id, call, error)
        except (calls.IssueNotOpen, NotFound) as error:
            async with self._database.transaction(workspace_id) as tx:
                await calls.settle_refused(tx, call, "not_found", error.sentence, now=self._clock.now())
        except (ConnectionBroken, Misconfigured) as error:
            async with self._database.transaction(workspace_id) as tx:
                await mark_broken(tx, connection_id, error.sentence, now=self._clock.now())
            await self._put_off(workspace_id, call, BROKEN_WAIT, error.sentence, sent=False)
        except TimeoutError:
            late = TryLater("The tracker does not answer in time.", unknown=True)
            return await self._later(workspace_id, call, late)
        except Unavailable as error:
            return await self._later(workspace_id, call, error)
        else:
            async with self._database.transaction(workspace_id) as tx:
                await mark_mended(tx, connection_id, now=self._clock.now())
        return True

    async def _as_member(self, workspace_id: int, tracker: Tracker, call: TrackerCall, login_id: int) -> None:
        """Under their own account. What is wrong with that is not wrong with the connection."""
        try:
            own = await self._accounts.tracker_of(workspace_id, tracker, login_id)
        except MemberBindingEnded:
            await self._without_account(workspace_id, call, revoked=True)
            return
        try:
            await self._carry_out(workspace_id, own, call)
        except ConnectionBroken as error:
            await self._without_account(workspace_id, call, revoked=getattr(error, "code", 0) == REFUSED)

    async def _carry_out(self, workspace_id: int, tracker: Tracker, call: TrackerCall) -> None:
        write = call.write
        async with self._database.transaction(workspace_id) as tx:
            repository = (await access_repository(tx, call.repository_id)).name
            number = 0 if isinstance(write, NewIssue | Erasure) else await calls.target(tx, call)
        match write:
            case NewIssue():
                opened = await tracker.open_issue(call.issue_draft(repository, write))
                async with self._database.transaction(workspace_id) as tx:
                    await calls.settle_opened(tx, call, opened, now=self._clock.now())
            case NewComment():
                issue_id = await self._known(workspace_id, tracker, call.repository_id, repository, number)
                comment = await tracker.comment(call.comment_draft(repository, number, write))
                async with self._database.transaction(workspace_id) as tx:
                    await calls.settle_commented(tx, call, issue_id, comment, now=self._clock.now())
            case NewReaction():
                issue_id = await self._known(workspace_id, tracker, call.repository_id, repository, number)
                reaction = await _reacting(tracker).react(repository, number, write.reaction, comment=write.comment)
                async with self._database.transaction(workspace_id) as tx:
                    await calls.settle_reacted(tx, call, issue_id, reaction, now=self._clock.now())
            case IssueChange():
                changed = await tracker.update(repository, number, write)
                async with self._database.transaction(workspace_id) as tx:
                    await calls.settle_changed(tx, call, changed, now=self._clock.now())
            case Erasure(call_id=written):
                async with self._database.transaction(workspace_id) as tx:
                    place = await calls.erasable(tx, written)
                if place is not None:
                    await _erase(tracker, repository, place)
                async with self._database.transaction(workspace_id) as tx:
                    await calls.settle_erased(tx, call, place, now=self._clock.now())

    async def _known(
        self, workspace_id: int, tracker: Tracker, repository_id: int, repository: str, number: int
    ) -> int:
        """The row of the issue, which the tracker is asked for where we do not know it."""
        async with self._database.transaction(workspace_id) as tx:
            row = await issues.issue_numbered(tx, repository_id, number)
        if row is not None:
            return row.id
        issue = await tracker.issue(repository, number)
        async with self._database.transaction(workspace_id) as tx:
            issue_id = await issues.note(tx, repository_id, issue, quietly=True, now=self._clock.now())
        if issue_id is None:
            raise TrackerRefused("not_found", hint="The issue is confidential.")
        return issue_id

    async def _without_account(self, workspace_id: int, call: TrackerCall, *, revoked: bool) -> None:
        """The member's account cannot be used. `revoked`: they took their word back and are bound no more.

        What they say is said under our name. What the tracker would have let them change or not is not changed with
        rights of ours, and nobody but them can take their reaction back.
        """
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            row = await logins.read_login(tx, call.login_id or 0)
            if revoked and row is not None:
                await logins.end(tx, row, "revoked", now=now)
            if await calls.may_be_ours(tx, call):
                await calls.write_as_ours(tx, call, now=now)
            else:
                await calls.settle_refused(tx, call, "revoked", "The member's account cannot be used.", now=now)

    async def _refused(self, workspace_id: int, call: TrackerCall, error: TrackerRefused) -> None:
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if error.moved_to:
                await calls.moved(tx, call, error.moved_to, now=now)
            else:
                await calls.settle_refused(tx, call, error.reason, error.hint or error.sentence, now=now)

    async def _later(self, workspace_id: int, call: TrackerCall, error: Unavailable) -> bool:
        sent = getattr(error, "unknown", False)
        after = float(getattr(error, "after", 0.0))
        if sent:
            after = max(after, min(FIRST_WAIT * 2.0 ** (call.attempts - 1), LONGEST_WAIT))
        await self._put_off(workspace_id, call, after or FIRST_WAIT, error.sentence, sent=sent)
        if isinstance(error, TryLater) and not sent and after <= SHORT_WAIT:
            await asyncio.sleep(after)
            return True
        return call.login_id is not None  # one member's pause is nobody else's

    async def _accident(self, workspace_id: int, call: TrackerCall, error: Exception) -> None:
        """Wait ever longer, and give up at last. Where even that fails, it only waits: others go before it."""
        now = self._clock.now()
        after = timedelta(seconds=min(FIRST_WAIT * 2.0 ** (call.attempts - 1), LONGEST_WAIT))
        problem = f"An unexpected {type(error).__name__}."  # without its words: they may be somebody's
        async with self._database.transaction(workspace_id) as tx:
            await calls.put_off(tx, call, until=now + after, problem=problem, sent=True, now=now)
        if call.attempts < ACCIDENTS and now - call.begun_at <= GIVE_UP:
            return
        try:
            async with self._database.transaction(workspace_id) as tx:
                await calls.settle_refused(tx, call, "accident", "It failed again and again.", now=now)
        except Exception:  # whoever hears of it may be what is broken
            log.exception("Call %s cannot even be given up.", call.id)

    async def _put_off(self, workspace_id: int, call: TrackerCall, after: float, problem: str, *, sent: bool) -> None:
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            if now - call.begun_at > GIVE_UP:
                await calls.settle_refused(tx, call, "unreachable", problem, now=now)
            else:
                await calls.put_off(tx, call, until=now + timedelta(seconds=after), problem=problem, sent=sent, now=now)


def _reacting(tracker: Tracker) -> TakesReactions:
    if not isinstance(tracker, TakesReactions):
        raise TrackerRefused("unsupported", hint="This tracker has no reactions.")
    return tracker


async def _erase(tracker: Tracker, repository: str, place: Erasable) -> None:
    if place.is_comment:
        await tracker.delete_comment(repository, place.number, place.external_id)
    else:
        await _reacting(tracker).take_back_reaction(repository, place.number, place.external_id, comment=place.comment)
