"""What follows from facts about conversations at once, in the same transaction. `bootstrap.HANDLERS` says which."""

from __future__ import annotations

from zhiban.channels.inboxes import inbox_settings
from zhiban.conversations import service, topics
from zhiban.conversations.jobs import CLOSE_SESSION
from zhiban.conversations.models import Status
from zhiban.conversations.reasons import Reason
from zhiban.events import (
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    ConversationHandedOff,
    ConversationReopened,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationStarted,
    Event,
    NativeSessionChanged,
)
from zhiban.kit import metrics
from zhiban.kit.db import Transaction
from zhiban.kit.jobs import enqueue
from zhiban.ports import NativeState


async def update_screens(tx: Transaction, event: ConversationEvent) -> None:
    """Tell open desks, once this is committed, which conversation changed."""
    tx.publish_after_commit(topics.CONVERSATION_CHANGED, event.conversation_id)


async def count_handoff(tx: Transaction, event: ConversationHandedOff) -> None:
    """Count it, once this is committed."""
    tx.after_commit(lambda: metrics.handoff(event.reason))


async def wake_assignment(tx: Transaction, event: Event) -> None:
    """Once this is committed, let policies look: something may wait for an agent now, or an agent may have room."""
    match event:
        case ConversationCreated() | ConversationStarted() | ConversationReopened():
            due = event.status == Status.OPEN
        case ConversationResolved() | ConversationSnoozed() | ConversationReturned() | ConversationAssigned():
            due = event.assignee_id is not None
        case NativeSessionChanged(state=state):
            due = state not in (NativeState.POOL, NativeState.HUMAN)
        case _:
            due = True
    if due:
        tx.publish_after_commit(topics.ASSIGNMENT_DUE, 0)


async def close_session(tx: Transaction, event: ConversationResolved) -> None:
    """Ask how it was, say the inbox's closing words and end the session, when that cannot be taken back any more.

    With people holding the session in the vendor's client it ends there too: otherwise the assistant could never answer
    again. What the vendor ended itself needs nothing. A group goes on whatever becomes of one question: there it is not
    asked or said. What was idle has words of its own where the policy says so, which were said before it was resolved
    unless only the end of the session lets us speak. An inbox that is paused or for reading only says nothing.
    """
    if event.reason == "native" or event.inbox_id is None or event.cycle is None:
        return
    settings = await inbox_settings(tx, event.inbox_id)
    policy = settings.policy
    survey = policy.survey.ask and event.reason != "muted"
    found = await tx.row("select native_state, kind from conversation where id = %(id)s", id=event.conversation_id)
    native, kind = found or (None, "direct")
    if kind == "group":
        return
    held = native in (NativeState.POOL, NativeState.HUMAN)
    idle = policy.auto_resolve.text if event.reason == Reason.IDLE else ""
    text = (idle if held else "") if idle else policy.closing
    if settings.silent:
        text, survey = "", False
    if not text and not survey and not held:
        return
    undoable = event.actor.kind == "agent"
    at = event.at + service.CLOSING_WAITS if undoable else None
    asked_in = event.inbox_id if survey else 0
    await enqueue(
        tx,
        CLOSE_SESSION.of(conversation_id=event.conversation_id, cycle=event.cycle, text=text, survey=asked_in, at=at),
    )
