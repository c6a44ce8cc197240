"""Deletes what an organisation does not want to keep any longer: small steps, once a day, beside everything else.

A run goes on where a process was killed, because what a step has deleted, counted and come to is one commit. Any number
of processes may be at it; each step is done by one of them. Files go after the commit, when nobody names them any more;
what a process that was killed has left of them, `remove_unreferenced_files` takes at night.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime

from zhiban.assistant import service as assistant
from zhiban.automation import service as automation
from zhiban.automation.flows import forget_answers_in
from zhiban.channels import delivery_store, reply_slots
from zhiban.conversations import retention as conversations
from zhiban.conversations.attachment_jobs import UNREFERENCED
from zhiban.events import TIMER, Actor
from zhiban.kit import event_log
from zhiban.kit.background_tasks import RepeatedTask, attempt
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Unavailable
from zhiban.kit.file_store import FileStore
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.notifications import service as notifications
from zhiban.people.retention import (
    RetentionRun,
    RetentionTimes,
    begin_run,
    earliest,
    end_run,
    last_run,
    lock_run,
    note_step,
    retention_times,
)
from zhiban.tickets import retention as tickets

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
PAUSE_SECONDS = 0.2  # between two steps, for whoever else needs the database
AT_ONCE = 1000  # rows of a step, but for messages
MOST = 100_000  # what a preview counts at most


@frozen_dataclass
class _RetentionStep:
    """What a step has deleted, by kind; whether there is more of it."""

    counts: Mapping[str, int]
    more: bool
    files: Sequence[str] = ()
    messages: tuple[datetime, int] | None = None
    events_id: int | None = None
    earlier_id: int | None = None


_Forget = Callable[[Transaction, RetentionTimes, RetentionRun, datetime], Awaitable[_RetentionStep]]


class Retention:
    """The deleter of this process."""

    def __init__(self, database: Database, files: FileStore, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._clock = clock
        self._rounds = RepeatedTask(self.run_due, every=EVERY_SECONDS, name="retention", what="Retention", log=log)

    async def start(self) -> None:
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def run_due(self) -> None:
        """Carry on or begin what is due in every workspace."""
        for workspace_id in await self._database.workspaces():
            await attempt(self.run_once(workspace_id), what=f"Retention of workspace {workspace_id}", log=log)

    async def run_once(
        self, workspace_id: int, *, due_only: bool = True, by: Actor = TIMER, pause: float = PAUSE_SECONDS
    ) -> RetentionRun | None:
        """One run to its end. None where none is due, or where another process is at it."""
        async with self._database.transaction(workspace_id) as tx:
            if not await begin_run(tx, by=by, now=self._clock.now(), due_only=due_only):
                return None
        for forget in _STEPS:
            more = True
            while more:
                done = await self._step(workspace_id, forget)
                if done is None:
                    return None
                more = done.more
                if more:
                    await asyncio.sleep(pause)
        async with self._database.transaction(workspace_id) as tx:
            run = await lock_run(tx)
            if run is not None:
                await end_run(tx, run, by=by, now=self._clock.now())
            return run

    async def _step(self, workspace_id: int, forget: _Forget) -> _RetentionStep | None:
        async with self._database.transaction(workspace_id) as tx:
            run = await lock_run(tx)
            if run is None:
                return None
            # By the moment in which the run began: whatever a clock does meanwhile, it deletes nothing more.
            now = min(run.started_at, await earliest(tx, self._clock.now()))
            done = await forget(tx, await retention_times(tx), run, now)
            await note_step(
                tx, run, done.counts, messages=done.messages, events_id=done.events_id, earlier_id=done.earlier_id
            )
        await self._remove(workspace_id, done.files, stored_before=now - UNREFERENCED)
        return done

    async def _remove(self, workspace_id: int, files: Sequence[str], *, stored_before: datetime) -> None:
        """A file that was stored again within a day may be on its way to another message: it is left for the night."""
        async with self._database.transaction(workspace_id) as tx:
            unused = await conversations.unused_files(tx, files) if files else []
        try:
            for sha256 in unused:
                await self._files.remove(workspace_id, sha256, stored_before=stored_before)
        except Unavailable as error:
            log.warning("Files of deleted messages are left for the night: %s", error)


async def _messages(tx: Transaction, times: RetentionTimes, run: RetentionRun, now: datetime) -> _RetentionStep:
    before = times.before("messages", now=now)
    if before is None:
        return _RetentionStep({}, more=False)
    gone = await conversations.forget_messages(
        tx, before=before, after=(run.messages_at, run.messages_id), run_began=run.started_at, now=now
    )
    return _RetentionStep(await _with_what_repeats_them(tx, gone), gone.more, files=gone.files, messages=gone.to)


async def _earlier(tx: Transaction, times: RetentionTimes, run: RetentionRun, now: datetime) -> _RetentionStep:
    before = times.before("messages", now=now)
    if before is None:
        return _RetentionStep({}, more=False)
    gone = await conversations.forget_earlier(
        tx, before=before, after=run.earlier_id, run_began=run.started_at, now=now
    )
    return _RetentionStep(
        await _with_what_repeats_them(tx, gone), gone.more, files=gone.files, earlier_id=gone.looked_to
    )


async def _with_what_repeats_them(tx: Transaction, gone: conversations.ForgottenMessages) -> dict[str, int]:
    """Turns, answers to flows, alerts and words in facts go with the messages. Returns what is counted of it all."""
    turns = await assistant.forget_turns_in(tx, gone.until)
    await forget_answers_in(tx, gone.until)
    await notifications.forget_in(tx, gone.until)
    await event_log.forget_words(tx, gone.until)
    return {"messages": gone.messages, "conversations": gone.new_conversations, "turns": turns}


async def _turns(tx: Transaction, times: RetentionTimes, _: RetentionRun, now: datetime) -> _RetentionStep:
    before = times.before("turns", now=now)
    n = 0 if before is None else await assistant.forget_turns(tx, before=before, limit=AT_ONCE)
    return _RetentionStep({"turns": n}, n > 0)


async def _rule_runs(tx: Transaction, times: RetentionTimes, _: RetentionRun, now: datetime) -> _RetentionStep:
    before = times.before("rule_runs", now=now)
    n = 0 if before is None else await automation.forget_runs(tx, before=before, limit=AT_ONCE)
    return _RetentionStep({"rule_runs": n}, n > 0)


async def _tickets(tx: Transaction, times: RetentionTimes, _: RetentionRun, now: datetime) -> _RetentionStep:
    before = times.before("tickets", now=now)
    n = 0 if before is None else await tickets.forget_words(tx, before=before, limit=AT_ONCE, now=now)
    return _RetentionStep({"tickets": n}, n > 0)


async def _deliveries(tx: Transaction, times: RetentionTimes, _: RetentionRun, now: datetime) -> _RetentionStep:
    n = 0
    await reply_slots.forget_old(tx, now=now)
    for name, states in _DELIVERIES.items():
        before = times.before(name, now=now)
        if before is not None:
            n += await delivery_store.forget_deliveries(tx, states=states, before=before, limit=AT_ONCE)
    return _RetentionStep({"deliveries": n}, n > 0)


async def _events(tx: Transaction, _: RetentionTimes, run: RetentionRun, now: datetime) -> _RetentionStep:
    looked_to, n = await event_log.forget(tx, after=run.events_id, limit=AT_ONCE, now=now)
    return _RetentionStep({"events": n}, looked_to is not None, events_id=looked_to)


_DELIVERIES = {"deliveries": delivery_store.HANDLED, "failed_deliveries": delivery_store.FAILED}
_STEPS: tuple[_Forget, ...] = (_messages, _earlier, _turns, _rule_runs, _tickets, _deliveries, _events)


# --------------------------------------------------------------------------------------------------------- preview


@frozen_dataclass
class RetentionPreview:
    """What a run would delete now, by kind; `MOST` stands for that many or more. Nothing of what stays for ever."""

    counts: Mapping[str, int] = field(default_factory=dict)
    conversations: int = 0


async def preview(tx: Transaction, times: RetentionTimes, *, now: datetime) -> RetentionPreview:
    """Of facts, at most so many: those of conversations in hand and those that no report has counted yet stay."""
    run, now = await last_run(tx), await earliest(tx, now)
    counts: dict[str, int] = {}
    conversation_count = 0
    if (before := times.before("messages", now=now)) is not None:
        after = (run.messages_at, run.messages_id) if run else (datetime.fromtimestamp(0, before.tzinfo), 0)
        counts["messages"], conversation_count = await conversations.count_messages(
            tx, before=before, after=after, most=MOST
        )
    if (before := times.before("turns", now=now)) is not None:
        counts["turns"] = await assistant.count_turns(tx, before=before, most=MOST)
    if (before := times.before("rule_runs", now=now)) is not None:
        counts["rule_runs"] = await automation.count_runs(tx, before=before, most=MOST)
    if (before := times.before("tickets", now=now)) is not None:
        counts["tickets"] = await tickets.count_forgettable(tx, before=before, most=MOST)
    for name, states in _DELIVERIES.items():
        if (before := times.before(name, now=now)) is not None:
            counts[name] = await delivery_store.count_deliveries(tx, states=states, before=before, most=MOST)
    if (before := times.before("events", now=now)) is not None:
        counts["events"] = await event_log.count_before(tx, before, most=MOST)
    return RetentionPreview(counts, conversation_count)
