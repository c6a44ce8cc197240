"""Which facts stand as a line in the thread. The words are chosen where the line is shown."""

from __future__ import annotations

from typing import Any

from zhiban.events import (
    ContactLabelsChanged,
    ConversationAssigned,
    ConversationAttributesChanged,
    ConversationContactChanged,
    ConversationEvent,
    ConversationFollowersChanged,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationMuted,
    ConversationOpened,
    ConversationPriorityChanged,
    ConversationReopened,
    ConversationResolutionUndone,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationTeamAssigned,
    ConversationUnmuted,
    FlowEnded,
    FlowStarted,
    GroupMembersJoined,
    GroupMembersLeft,
    GroupRenamed,
    MacroApplied,
    SurveyRated,
)

# Consequences of what another line says already.
_UNSAID = ("returned", "undo", "wrote_again", "mentioned")


SHOWN = 20  # members whom one line names


def activity(event: ConversationEvent) -> dict[str, Any] | None:
    """What the line says, as values: `what` happened, `by` whom, and details. None: no line."""
    found = _status_line(event) or _group_line(event) or _flow_line(event) or _other_line(event)
    if found is None:
        return None
    what, details = found
    by = "policy" if event.cause.kind == "policy" else event.actor.kind
    # A rule, a flow or a token is named as it was called then: it may be renamed or gone when somebody reads the line.
    details = {**details, "rule": event.actor.ref if by in ("rule", "flow", "api") else None}
    return {"what": what, "by": by, **{k: v for k, v in details.items() if v not in (None, "")}}


def _status_line(event: ConversationEvent) -> tuple[str, dict[str, Any]] | None:
    match event:
        case ConversationHandedOff(reason=reason):
            return "handed_off", {"reason": reason}
        case ConversationOpened(reason=reason) | ConversationReopened(reason=reason, status="open"):
            return "opened", {"reason": reason}
        case ConversationResolved(reason=reason, unsaid=unsaid):
            return "resolved", {"reason": reason, "unsaid": unsaid}
        case ConversationResolutionUndone():
            return "resolution_undone", {}
        case ConversationSnoozeUndone():
            return "snooze_undone", {}
        case ConversationReturned():
            return "returned", {}
        case ConversationSnoozed(until=until):
            return "snoozed", {"until": until.isoformat()}
        case _:
            return None


def _group_line(event: ConversationEvent) -> tuple[str, dict[str, Any]] | None:
    match event:
        case GroupRenamed(name=name, previous=previous) if previous:
            return "group_renamed", {"name": name}
        case GroupMembersJoined(ourselves=True):
            return "we_joined", {}
        case GroupMembersLeft(ourselves=True):
            return "we_left", {}
        case GroupMembersJoined(members=members):
            return "members_joined", {"members": list(members[:SHOWN]), "n": len(members)}
        case GroupMembersLeft(members=members):
            return "members_left", {"members": list(members[:SHOWN]), "n": len(members)}
        case _:
            return None


def _flow_line(event: ConversationEvent) -> tuple[str, dict[str, Any]] | None:
    match event:
        case FlowStarted(name=name):
            return "flow_started", {"name": name}
        case FlowEnded(outcome=outcome):
            return f"flow_{outcome}", {}
        case _:
            return None


def _other_line(event: ConversationEvent) -> tuple[str, dict[str, Any]] | None:
    match event:
        case ConversationAssigned(to_agent_id=to, reason=reason) if reason not in _UNSAID:
            return "assigned", {"to": to, "reason": reason}
        case ConversationTeamAssigned(to_team_id=to):
            return "team_assigned", {"to": to}
        case (
            ConversationLabelsChanged(added=added, removed=removed) | ContactLabelsChanged(added=added, removed=removed)
        ):
            what = "contact_labels_changed" if isinstance(event, ContactLabelsChanged) else "labels_changed"
            return what, {"added": list(added), "removed": list(removed)}
        case ConversationAttributesChanged(after=after):
            return "attributes_changed", {"fields": list(after)}
        case ConversationPriorityChanged(priority=priority):
            return "priority_changed", {"priority": priority}
        case ConversationFollowersChanged(added=added, removed=removed) if event.reason not in _UNSAID:
            mine = event.actor.kind == "agent" and (*added, *removed) == (event.actor.id,)
            what = "followed" if added else "unfollowed"
            return f"{what}_self" if mine else what, {"agents": [*added, *removed]}
        case SurveyRated(previous=previous) if previous != event.rating:
            return ("rated_again" if previous else "rated"), {"rating": event.rating, "comment": event.comment}
        case MacroApplied(name=name):
            return "macro_applied", {"macro": name}
        case ConversationContactChanged():
            return "contact_merged", {}
        case ConversationMuted():
            return "muted", {}
        case ConversationUnmuted():
            return "unmuted", {}
        case _:
            return None
