"""What each fact does to a conversation's row. Pure; replaying the events of a conversation gives its row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from zhiban.conversations.models import ConversationState, Status
from zhiban.events import (
    ConversationAssigned,
    ConversationAttributesChanged,
    ConversationContactChanged,
    ConversationCreated,
    ConversationEvent,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationMuted,
    ConversationPriorityChanged,
    ConversationResolutionUndone,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationTeamAssigned,
    ConversationUnmuted,
    FlowEnded,
    FlowStarted,
    GroupRenamed,
    MessageReceived,
    NativeSessionChanged,
    ReplyQueued,
    ReplyRequeued,
    StatusChanged,
)
from zhiban.ports import NativeState


def evolve(state: ConversationState, event: ConversationEvent) -> ConversationState:
    """The state after the fact. Facts that concern messages only leave it as it is."""
    match event:
        case MessageReceived():
            return _received(state, event)
        case ReplyQueued():
            return _queued(state, event)
        case ReplyRequeued():
            return replace(state, replies_used=state.replies_used + event.counts)
        case StatusChanged():
            return _status(state, event)
        case NativeSessionChanged():
            return replace(state, native_state=event.state, native_servicer=event.servicer)
        case _:
            return _described(state, event)


def _described(state: ConversationState, event: ConversationEvent) -> ConversationState:
    match event:
        case ConversationAssigned():
            return replace(state, assignee_id=event.to_agent_id)
        case ConversationTeamAssigned():
            return replace(state, team_id=event.to_team_id)
        case ConversationLabelsChanged():
            return replace(state, labels=tuple(sorted((set(state.labels) | set(event.added)) - set(event.removed))))
        case ConversationAttributesChanged():
            filled = {**dict(state.attributes), **event.after}
            return replace(state, attributes=tuple(sorted((name, value) for name, value in filled.items() if value)))
        case ConversationContactChanged():
            return replace(state, contact_id=event.to_contact_id)
        case ConversationPriorityChanged():
            return replace(state, priority=event.priority)
        case GroupRenamed():
            return replace(state, subject=event.name)
        case FlowStarted():
            return replace(state, flow_run_id=event.run_id)
        case FlowEnded():
            return replace(state, flow_run_id=None)
        case ConversationMuted():
            return replace(state, muted=True)
        case ConversationUnmuted():
            return replace(state, muted=False)
        case _:
            return state


def replay(events: Iterable[ConversationEvent]) -> ConversationState:
    """The state that a conversation's facts lead to, the first of which is its creation. Raises ValueError."""
    state: ConversationState | None = None
    for event in events:
        if isinstance(event, ConversationCreated):
            state = born(event)
        elif state is not None:
            state = evolve(state, event)
    if state is None:
        raise ValueError("A conversation's events begin with its creation.")
    return state


def born(event: ConversationCreated) -> ConversationState:
    """The state in which a conversation begins."""
    return ConversationState(
        id=event.conversation_id,
        inbox_id=event.inbox_id or 0,
        contact_id=event.contact_id,
        thread=event.thread,
        status=Status(event.status),
        opened_at=event.at if event.status == Status.OPEN else None,
        last_activity_at=event.at,
        is_group=event.thread_kind == "group",
    )


def _received(state: ConversationState, event: MessageReceived) -> ConversationState:
    state = replace(state, last_activity_at=_later(state.last_activity_at, event.at))
    if not event.from_contact:
        # One of our people answered in the vendor's own client.
        return replace(state, waiting_since=None, first_reply_at=state.first_reply_at or event.at)
    return replace(
        state,
        last_incoming_at=_later(state.last_incoming_at, event.sent_at),
        replies_used=0,
        waiting_since=(state.waiting_since or event.sent_at) if event.counts else state.waiting_since,
        # A contact who writes after the end begins a new session at the vendor.
        native_state=None if state.native_state == NativeState.ENDED else state.native_state,
    )


def _queued(state: ConversationState, event: ReplyQueued) -> ConversationState:
    answered = event.from_person or event.helped is not None
    return replace(
        state,
        last_activity_at=_later(state.last_activity_at, event.at),
        replies_used=state.replies_used + event.counts,
        waiting_since=None if answered else state.waiting_since,
        first_reply_at=(state.first_reply_at or event.at) if event.from_person else state.first_reply_at,
        failures=state.failures if event.helped is None else 0 if event.helped else state.failures + 1,
    )


def _status(state: ConversationState, event: StatusChanged) -> ConversationState:
    status = Status(event.status)
    state = replace(state, resolver_id=None)
    match event:
        case ConversationResolutionUndone():
            return replace(
                state,
                status=status,
                waiting_since=event.waiting_since,
                handoff_reason=event.handoff_reason,
                snoozed_until=event.snoozed_until,
                failures=event.failures,
                resolved_at=event.resolved_at,
            )
        case ConversationSnoozeUndone():
            return replace(state, status=status, snoozed_until=event.snoozed_until)
        case ConversationSnoozed():
            return replace(state, status=status, snoozed_until=event.until)
        case ConversationResolved():
            return replace(
                state,
                status=status,
                resolved_at=event.at,
                resolver_id=event.actor.id if event.actor.kind == "agent" else None,
                snoozed_until=None,
                waiting_since=None,
                handoff_reason=None,
                failures=0,
            )
        case ConversationReturned():
            return replace(state, status=status, handoff_reason=None, snoozed_until=None, failures=0)
    began = _next_cycle(state, event)
    if status is Status.PENDING:
        return replace(began, status=status, handoff_reason=None, snoozed_until=None, failures=0)
    return replace(
        began,
        status=status,
        handoff_reason=event.reason or None,
        # In a group that people have already, the assistant may hand them one question more.
        opened_at=began.opened_at if event.previous == Status.OPEN else event.at,
        snoozed_until=None,
        failures=0,
        waiting_since=_waits_since(began, event),
    )


def _next_cycle(state: ConversationState, event: StatusChanged) -> ConversationState:
    """A resolved conversation that goes on counts anew; one that had never begun does not."""
    if state.status is not Status.RESOLVED or state.resolved_at is None:
        return state
    return replace(state, cycle=event.cycle or state.cycle + 1, first_reply_at=None)


def _waits_since(state: ConversationState, event: StatusChanged) -> datetime | None:
    """Who is handed over waits, whatever the assistant told them before."""
    if not isinstance(event, ConversationHandedOff):
        return state.waiting_since
    return state.waiting_since or state.last_incoming_at or event.at


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
