"""The part of the decisions that follow what a vendor tells of a conversation; see `decisions`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zhiban.conversations import changes as c
from zhiban.conversations.effects import NO_EFFECTS
from zhiban.conversations.evolution import evolve
from zhiban.conversations.models import ConversationState
from zhiban.events import (
    Actor,
    Cause,
    ContactEntered,
    ConversationEvent,
    GroupMembersJoined,
    GroupMembersLeft,
    GroupRenamed,
    NativeSessionChanged,
)


class FactCollector:
    """Collects the facts of one change; each changes the state on which the next is decided."""

    def __init__(self, state: ConversationState, actor: Actor, now: datetime, cause: Cause) -> None:
        self.state = state
        self.actor = actor
        self.now = now
        self.cause = cause
        self.events: list[ConversationEvent] = []
        self.effects = NO_EFFECTS

    def _about(self, actor: Actor | None = None) -> dict[str, Any]:
        """What every fact about this conversation says."""
        return {"actor": actor or self.actor, "at": self.now, "cause": self.cause, **self.state.about()}

    def _record(self, event: ConversationEvent) -> None:
        self.events.append(event)
        self.state = evolve(self.state, event)


class VendorDecisions(FactCollector):
    """Decides what the news of a vendor means."""

    def _vendor_says(self, change: c.ChangeNativeSession | c.EnterChat | c.RenameGroup | c.NoteMembers) -> None:
        match change:
            case c.RenameGroup(name=name):
                if name != self.state.subject:
                    self._record(GroupRenamed(**self._about(), name=name, previous=self.state.subject))
            case c.NoteMembers():
                self._members(change)
            case c.ChangeNativeSession():
                self._native(
                    change.state,
                    change.servicer,
                    previous_servicer=change.previous_servicer,
                    vendor_event_id=change.vendor_event_id,
                )
            case c.EnterChat():
                self._record(
                    ContactEntered(
                        **self._about(),
                        scene=change.scene,
                        scene_param=change.scene_param,
                        vendor_event_id=change.vendor_event_id,
                    )
                )

    def _members(self, change: c.NoteMembers) -> None:
        """Those who are known to have come or gone already are left out by whoever tells."""
        if change.members or change.ourselves:
            fact = GroupMembersJoined if change.joined else GroupMembersLeft
            self._record(
                fact(
                    **self._about(),
                    members=change.members,
                    by=change.by,
                    ourselves=change.ourselves,
                    vendor_event_id=change.vendor_event_id,
                )
            )

    def _native(
        self,
        to: str | None,
        servicer: str | None,
        *,
        previous_servicer: str | None = None,
        vendor_event_id: str | None = None,
    ) -> None:
        state = self.state
        if vendor_event_id is None and (state.native_state, state.native_servicer) == (to, servicer):
            return
        self._record(
            NativeSessionChanged(
                **self._about(),
                state=to,
                previous=state.native_state,
                servicer=servicer,
                previous_servicer=previous_servicer or state.native_servicer,
                vendor_event_id=vendor_event_id,
            )
        )
