"""When a rule is asked: after which facts, and after which time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from zhiban.events import (
    ContactCreated,
    ContactLabelsChanged,
    ConversationAssigned,
    ConversationAttributesChanged,
    ConversationCreated,
    ConversationEvent,
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
    ConversationStarted,
    ConversationTeamAssigned,
    ConversationUnmuted,
    MessageReceived,
    NoteAdded,
    ReplyQueued,
)
from zhiban.kit.i18n import mark


class Trigger(StrEnum):
    """The kinds of facts after which a rule may be asked."""

    CONVERSATION_CREATED = "conversation_created"
    CONVERSATION_UPDATED = "conversation_updated"  # status, assignee, team, labels, priority or muting changed
    CONVERSATION_OPENED = "conversation_opened"  # people have it now, whoever saw to that
    CONVERSATION_RESOLVED = "conversation_resolved"
    CONVERSATION_SNOOZED = "conversation_snoozed"
    CONVERSATION_HANDED_OFF = "conversation_handed_off"
    CONVERSATION_ASSIGNED = "conversation_assigned"  # to somebody
    MESSAGE_CREATED = "message_created"  # of the contact, of ours, or a note
    CONTACT_CREATED = "contact_created"
    CONTACT_LABELLED = "contact_labelled"  # a label was put on the contact or taken off; asked about one conversation


TRIGGER_LABELS: Mapping[Trigger, str] = {
    Trigger.CONVERSATION_CREATED: mark("会话新建"),
    Trigger.CONVERSATION_UPDATED: mark("会话有变化"),
    Trigger.CONVERSATION_OPENED: mark("会话变为进行中"),
    Trigger.CONVERSATION_RESOLVED: mark("会话变为已解决"),
    Trigger.CONVERSATION_SNOOZED: mark("会话被搁置"),
    Trigger.CONVERSATION_HANDED_OFF: mark("助手转交人工"),
    Trigger.CONVERSATION_ASSIGNED: mark("会话分配给人"),
    Trigger.MESSAGE_CREATED: mark("有新消息"),
    Trigger.CONTACT_CREATED: mark("有新联系人"),
    Trigger.CONTACT_LABELLED: mark("联系人的标签有变化"),
}

_UPDATED = frozenset({Trigger.CONVERSATION_UPDATED})
_OPENED = _UPDATED | {Trigger.CONVERSATION_OPENED}
_MESSAGE = frozenset({Trigger.MESSAGE_CREATED})

# What each fact may set off. An undone resolution restores what was, therefore it opens nothing.
_MAY: Mapping[type[ConversationEvent], frozenset[Trigger]] = {
    ConversationCreated: frozenset({Trigger.CONVERSATION_CREATED}),
    ContactCreated: frozenset({Trigger.CONTACT_CREATED}),
    ContactLabelsChanged: frozenset({Trigger.CONTACT_LABELLED}),
    ConversationStarted: _OPENED,
    ConversationReopened: _OPENED,
    ConversationOpened: _OPENED,
    ConversationHandedOff: _OPENED | {Trigger.CONVERSATION_HANDED_OFF},
    ConversationReturned: _UPDATED,
    ConversationResolutionUndone: _UPDATED,
    ConversationSnoozeUndone: _UPDATED,
    ConversationResolved: _UPDATED | {Trigger.CONVERSATION_RESOLVED},
    ConversationSnoozed: _UPDATED | {Trigger.CONVERSATION_SNOOZED},
    ConversationAssigned: _UPDATED | {Trigger.CONVERSATION_ASSIGNED},
    ConversationTeamAssigned: _UPDATED,
    ConversationLabelsChanged: _UPDATED,
    ConversationAttributesChanged: _UPDATED,
    ConversationPriorityChanged: _UPDATED,
    ConversationMuted: _UPDATED,
    ConversationUnmuted: _UPDATED,
    MessageReceived: _MESSAGE,
    ReplyQueued: _MESSAGE,
    NoteAdded: _MESSAGE,
}
TRIGGERING: tuple[type[ConversationEvent], ...] = tuple(_MAY)

_ONLY: Mapping[Trigger, Callable[[ConversationEvent], bool]] = {
    Trigger.CONVERSATION_OPENED: lambda event: getattr(event, "status", None) == "open",
    Trigger.CONVERSATION_ASSIGNED: lambda event: getattr(event, "to_agent_id", None) is not None,
    # Old history that is read for the first time, and what a muted contact writes, calls nobody, no rule either.
    Trigger.MESSAGE_CREATED: lambda event: not isinstance(event, MessageReceived) or event.counts,
}


def may_trigger(kind: type[ConversationEvent]) -> frozenset[Trigger]:
    """What facts of this kind can set off."""
    return _MAY.get(kind, frozenset())


def triggers_of(event: ConversationEvent) -> frozenset[Trigger]:
    """What this fact sets off."""
    return frozenset(one for one in may_trigger(type(event)) if one not in _ONLY or _ONLY[one](event))
