"""Begins flows and puts their questions: rows and messages of the transaction that leads to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from zhiban.automation.flow_queries import FlowRun, access_flow, run_of
from zhiban.automation.flow_steps import load_steps
from zhiban.automation.flow_talk import Ask, FlowProgress, spoken
from zhiban.automation.texts import filled_with
from zhiban.conversations import transitions
from zhiban.conversations.changes import BeginFlow
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import QueueResult, ReplyWindowClosed, allowance_of, enqueue, key_for
from zhiban.events import Actor, Cause
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.kit.json_safe import json_safe
from zhiban.people.contacts import contact_name
from zhiban.ports import Limits

_BEGIN = """
insert into flow_run (workspace_id, flow_id, revision, conversation_id, depth, started_at, due_at)
values (%(workspace)s, %(flow)s, %(revision)s, %(conversation)s, %(depth)s, %(now)s, %(due)s) returning id"""

_PROGRESS = """
update flow_run set step = %(step)s, tries = %(tries)s, answers = %(answers)s::jsonb, due_at = %(due)s
where id = %(id)s"""


async def start(
    tx: Transaction, flow_id: int, conversation_id: int, *, by: Actor, now: datetime, cause: Cause, limits: Limits
) -> int:
    """Let a flow talk with the contact from now on, and ask its first question. Returns the id of the run.

    What the contact wrote until now is no answer to it. Raises NotFound; Conflict where the flow is off, another one
    is running, people have the conversation, or the chain that led here is too long; ReplyWindowClosed.
    """
    flow = await access_flow(tx, flow_id)
    if not flow.enabled:
        raise Conflict(mark("This flow is switched off."))
    depth = cause.depth + 1
    # Deeper than that nothing reacts any more, not even to the end of it.
    if depth >= event_log.DEEPEST - 1:
        raise Conflict(mark("Rules and flows have started each other too often."))
    state = await transitions.lock(tx, conversation_id)
    # Whom a conversation begins with at this moment, has written what opens the window.
    begins = state.last_incoming_at is None and state.last_activity_at == now
    if not begins and (reason := allowance_of(state, limits.reply_window).closed(now)):
        raise ReplyWindowClosed(reason)
    run_id: int = await tx.value(
        _BEGIN,
        workspace=tx.workspace_id,
        flow=flow.id,
        revision=flow.revision,
        conversation=conversation_id,
        depth=depth,
        now=now,
        due=now + patience(flow.definition),
    )
    await transitions.apply_to(tx, state, BeginFlow(flow.id, run_id, flow.name), actor=by, now=now, cause=cause)
    await ask(tx, await run_of(tx, run_id), Ask(FlowProgress()), limits=limits, now=now, key=("begin",))
    return run_id


def patience(definition: Mapping[str, Any]) -> timedelta:
    """How long a contact may be silent."""
    return timedelta(minutes=definition["minutes"])


def actor_of(run: FlowRun) -> Actor:
    return Actor("flow", run.flow_id, run.name)


def cause_of(run: FlowRun) -> Cause:
    return Cause("flow", run.flow_id, run.depth)


async def ask(
    tx: Transaction, run: FlowRun, asking: Ask, *, limits: Limits, now: datetime, key: tuple[object, ...]
) -> QueueResult:
    """Ask where it stands; nothing where a rule took the conversation over just now. `key` is unique within the run."""
    progress = asking.progress
    await note_progress(tx, run, progress, now=now)
    state = await transitions.lock(tx, run.conversation_id)
    if state.flow_run_id != run.id:
        return QueueResult([], state)
    step = load_steps(run.definition["steps"])[progress.step]
    name = "" if state.contact_id is None else await contact_name(tx, state.contact_id)
    question = filled_with(step.question, name=name, conversation_id=state.id)
    said = spoken(step, progress.step, question=question, problem=asking.problem, run_id=run.id, limits=limits)
    left = allowance_of(state, limits.reply_window).left
    return await enqueue(
        tx,
        state,
        author=Author.FLOW,
        actor=actor_of(run),
        text=said.text,
        key=key_for("flow", tx.workspace_id, run.id, *key),
        limits=limits,
        now=now,
        kind=said.kind,
        choices=said.choices,
        # Whoever takes the conversation over has questions dropped that are not sent yet.
        content={"flow_step": progress.step},
        most=None if left is None else max(left - limits.reserved, 1),
        helped=True,
        cause=cause_of(run),
    )


async def note_progress(tx: Transaction, run: FlowRun, progress: FlowProgress, *, now: datetime) -> None:
    """Note how far it has come; the contact has time to answer from now on."""
    await tx.run(
        _PROGRESS,
        id=run.id,
        step=progress.step,
        tries=progress.tries,
        answers=json_safe([asdict(one) for one in progress.answers]),
        due=now + patience(run.definition),
    )
