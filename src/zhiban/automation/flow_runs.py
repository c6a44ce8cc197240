"""What becomes of a flow that has begun: it follows what the contact says, and ends in one way or another.

However it ends, the end is a fact (`FlowEnded`), and `close` is what follows from it: the run is over, and what was
answered stands as a note for whoever goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from zhiban.automation.action_context import ActionContext
from zhiban.automation.attempts import attempt
from zhiban.automation.definition import BadDefinition
from zhiban.automation.facts import RuleFacts
from zhiban.automation.flow_asking import actor_of, cause_of, note_progress
from zhiban.automation.flow_definition import FlowDefinition, load_flow
from zhiban.automation.flow_queries import FlowRun, run_of
from zhiban.automation.flow_talk import FlowProgress, GivenAnswer, summary
from zhiban.channels.inboxes import settings_of
from zhiban.conversations import replies, transitions
from zhiban.conversations import service as conversations
from zhiban.conversations.attributes import set_attributes
from zhiban.conversations.changes import EndFlow
from zhiban.conversations.facts import conversation_facts
from zhiban.conversations.models import ConversationState, Status
from zhiban.events import FlowEnded
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.kit.json_safe import json_safe
from zhiban.people.contact_card import change_contact, contact_card
from zhiban.people.contact_fields import STANDARD, contact_fields
from zhiban.ports import Limits

REASON = "flow"
ABOUT_TO_BE_READ = timedelta(minutes=1)

_CLOSE = """
update flow_run set ended_at = %(now)s, outcome = %(outcome)s where id = %(id)s and ended_at is null returning id"""

_NOTE = "update flow_run set actions = actions || %(done)s::jsonb where id = %(id)s"


async def keep_answers(
    tx: Transaction, run: FlowRun, state: ConversationState, progress: FlowProgress, *, now: datetime
) -> None:
    """Keep what was answered just now where its step says; the run notes what could not be kept there.

    Rules may answer that and take the conversation over: then the flow has ended with what was answered until now.
    """
    await note_progress(tx, run, progress, now=now)
    known = {one.step for one in run.progress.answers}
    failed = []
    for answer in progress.answers:
        if answer.step not in known and answer.save:
            try:
                async with tx.savepoint():
                    await _keep(tx, run, state, answer, now=now)
            except (Conflict, NotFound) as error:
                about = {"kind": "save", "save": answer.save}
                failed.append({"action": about, "outcome": "failed", "error": error.sentence})
    await _note(tx, run, failed)


async def _keep(tx: Transaction, run: FlowRun, state: ConversationState, answer: GivenAnswer, *, now: datetime) -> None:
    of, _, field = answer.save.partition(":")
    by, cause = actor_of(run), cause_of(run)
    if of == "conversation":
        await set_attributes(tx, state.id, {field: answer.value}, by=by, now=now, cause=cause)
    elif state.contact_id is not None:
        if field not in {"name", *(one.name for one in (*STANDARD, *await contact_fields(tx)))}:
            raise Conflict(mark(f"There is no field {field} of contacts."))
        card = await contact_card(tx, state.contact_id)
        name = answer.value if field == "name" else card.name
        values = {} if field == "name" else {field: answer.value}
        await change_contact(tx, card.id, name=name, remark=card.remark, values=values, by=by, now=now)


async def finish(
    tx: Transaction, run: FlowRun, outcome: str, *, limits_of: Callable[[str], Limits], now: datetime
) -> None:
    """It ends, and what is to be done at its end is done. Somebody has the conversation then."""
    await end(tx, run, outcome, now=now)
    found = await conversation_facts(tx, run.conversation_id)
    if found is None:
        return
    done: list[dict[str, Any]] = []
    for position, action in enumerate(_definition(run).actions):
        context = ActionContext(
            tx=tx,
            facts=RuleFacts(now, found),
            limits=limits_of(found.channel),
            actor=actor_of(run),
            cause=cause_of(run),
            name=run.name,
            reason=REASON,
            key=f"flow-{run.id}",
            run_id=None,
            position=position,
            now=now,
        )
        done.append(await attempt(action, context))
    await _note(tx, run, done)
    await settle(tx, run, now=now)


async def end(tx: Transaction, run: FlowRun, outcome: str, *, now: datetime) -> None:
    """It talks no more."""
    await transitions.apply(
        tx, run.conversation_id, EndFlow(outcome, run.name), actor=actor_of(run), now=now, cause=cause_of(run)
    )


async def settle(tx: Transaction, run: FlowRun, *, now: datetime) -> None:
    """Where no assistant answers, a conversation that nobody has after a flow is people's."""
    state = await transitions.lock(tx, run.conversation_id)
    if state.status is Status.PENDING and not (await settings_of(tx, state.inbox_id)).assistant:
        await conversations.open_for_people(
            tx, state.id, actor=actor_of(run), now=now, reason=REASON, cause=cause_of(run)
        )


async def time_out(tx: Transaction, due: FlowRun, *, limits_of: Callable[[str], Limits], now: datetime) -> bool:
    """The contact has been silent for too long. False when somebody else has seen to it, or they have written."""
    state = await transitions.lock(tx, due.conversation_id)
    run = await run_of(tx, due.id)
    if run.ended_at is not None or run.due_at > now:
        return False
    asked_at = run.due_at - timedelta(minutes=run.definition["minutes"])
    written = state.last_incoming_at is not None and state.last_incoming_at > asked_at
    if written and now < run.due_at + ABOUT_TO_BE_READ:
        return False
    try:
        when = "people" if run.removed else _definition(run).when_silent
    except BadDefinition:
        when = "people"
    if when == "finish":
        await finish(tx, run, "silent", limits_of=limits_of, now=now)
        return True
    await end(tx, run, "silent", now=now)
    if when == "people":
        await conversations.hand_off(tx, state.id, reason=REASON, actor=actor_of(run), now=now, cause=cause_of(run))
    await settle(tx, run, now=now)
    return True


async def postpone(tx: Transaction, run_id: int, *, until: datetime) -> None:
    """Look at this run again then, and not before."""
    await tx.run("update flow_run set due_at = %(until)s where id = %(id)s", id=run_id, until=until)


async def close(tx: Transaction, event: FlowEnded) -> None:
    """The handler of the end: the run is over, and what was answered is a note for colleagues."""
    if await tx.value(_CLOSE, id=event.run_id, outcome=event.outcome, now=event.at) is None:
        return
    run = await run_of(tx, event.run_id)
    if run.answers:
        await replies.add_note(
            tx,
            run.conversation_id,
            text=summary(run.name, run.progress.answers),
            by=actor_of(run),
            now=event.at,
            cause=event.consequence(),
        )


def _definition(run: FlowRun) -> FlowDefinition:
    """Raises BadDefinition where this version knows a part of it no more."""
    return load_flow(run.definition)


async def _note(tx: Transaction, run: FlowRun, done: Sequence[dict[str, Any]]) -> None:
    if done:
        await tx.run(_NOTE, id=run.id, done=json_safe(list(done)))
