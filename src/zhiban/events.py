"""Everything that can happen, in the past tense. Each fact is a row of the event log, written with the change itself.

A fact carries ids and plain values, never objects, in fields of its own. Reports, live updates, rules, webhooks and the
audit log read this one log. Fields that reports ask for are columns of the row; all others are stored in `data`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.event_base import (
    ASSISTANT,
    COLUMNS,
    DIRECT,
    SYSTEM,
    TIMER,
    Actor,
    ActorKind,
    Cause,
    CauseKind,
    ConversationEvent,
    Event,
    MessageFact,
    StatusChanged,
    decode,
)
from zhiban.event_connections import (
    AccountsAssigned,
    ConnectionAdded,
    ConnectionBroke,
    ConnectionChanged,
    ConnectionMended,
    ConnectionPaused,
    ConnectionRemoved,
    ConnectionResumed,
    ContactReadingResumed,
    ContactReadingStopped,
    InboxAdded,
    InboxBroke,
    InboxConfigured,
    InboxMended,
    InboxPaused,
    InboxRemoved,
    InboxResumed,
)
from zhiban.event_contacts import (
    ContactEdited,
    ContactFieldAdded,
    ContactFieldRemoved,
    ContactLabelsChanged,
    ContactsMerged,
    MemberBlocked,
    MemberLabelsChanged,
    MemberUnblocked,
)
from zhiban.event_data import ClockDoubted, DataExported, DataForgotten, FileDownloaded, RetentionChanged
from zhiban.event_desk import (
    ConversationFieldAdded,
    ConversationFieldRemoved,
    ConversationFollowersChanged,
    LabelAdded,
    LabelChanged,
    LabelRemoved,
    MacroAdded,
    MacroChanged,
    MacroRemoved,
    MessageTranslated,
    SavedViewAdded,
    SavedViewChanged,
    SavedViewRemoved,
    SnippetAdded,
    SnippetChanged,
    SnippetRemoved,
)
from zhiban.event_flows import FlowAdded, FlowChanged, FlowEnded, FlowRemoved, FlowStarted
from zhiban.event_gaps import GapClosed, GapMerged, GapQuestionMoved, GapRecorded, GapReopened
from zhiban.event_gateways import GatewayChanged, GatewayGapNoted
from zhiban.event_groups import (
    GroupAnswersSilenced,
    GroupConfigured,
    GroupConsentChanged,
    GroupMembersJoined,
    GroupMembersLeft,
    GroupRenamed,
)
from zhiban.event_knowledge import (
    ArticleChanged,
    ArticlesRemoved,
    ArticleVersionRemoved,
    EvidenceRecorded,
    ImportDecided,
    ImportRequested,
    KnowledgeBaseAdded,
    PhrasingAdded,
    PhrasingApproved,
    PhrasingRejected,
    PhrasingRemoved,
    ReplyKept,
    SourcesImported,
    SynonymsChanged,
    ThresholdsMoved,
)
from zhiban.event_people import (
    AgentBecameAvailable,
    AgentBecameBusy,
    AgentChanged,
    AgentDisabled,
    AgentEnabled,
    AgentInvited,
    AgentJoined,
    AgentWentOffline,
    ApiTokenCreated,
    ApiTokenRevoked,
    AvailabilityChosen,
    JoinLinkCreated,
    LoginLinked,
    LoginUnlinked,
    NotificationSettingsChanged,
    NotifierTested,
    PasswordChanged,
    RecoveryCodesCreated,
    RecoveryCodeUsed,
    SecondFactorEnrolled,
    SecondFactorFailed,
    SecondFactorRemoved,
    SecondFactorRequired,
    SessionRevoked,
    SignedIn,
    SignedOut,
    SignInFailed,
    SignInProviderAdded,
    SignInProviderChanged,
    SignInProviderRemoved,
    TeamChanged,
    TeamCreated,
    TeamRemoved,
    WorkspaceRenamed,
)
from zhiban.event_rules import RuleAdded, RuleChanged, RuleRemoved
from zhiban.event_surveys import SurveyAsked, SurveyRated
from zhiban.event_tickets import (
    FilePublished,
    FileWithdrawn,
    TicketChanged,
    TicketCommented,
    TicketDrafted,
    TicketDraftEnded,
    TicketLinked,
    TicketMessagesAdded,
    TicketOpened,
    TicketRemindersChanged,
    TicketUndone,
    TicketUnlinked,
    TicketWatchersChanged,
)
from zhiban.event_trackers import (
    IssueChanged,
    IssueCommentChanged,
    IssueCommented,
    IssueOpened,
    IssueRefused,
    IssueWritten,
    MemberLoginBound,
    MemberLoginEnded,
    MirroringPaused,
    MirroringResumed,
    RepositoryAliased,
    RepositoryLinked,
    RepositoryRenamed,
    RepositoryUnlinked,
)

__all__ = ["ASSISTANT", "COLUMNS", "DIRECT", "FACTS", "SYSTEM", "TIMER", "Actor", "ActorKind", "Cause", "CauseKind"]
__all__ += ["ConversationEvent", "Event", "MessageFact", "StatusChanged", "decode"]
__all__ += ["ArticleChanged", "ArticlesRemoved", "EvidenceRecorded", "PhrasingAdded", "PhrasingApproved"]
__all__ += ["ImportDecided", "ImportRequested", "PhrasingRejected", "PhrasingRemoved", "SourcesImported"]
__all__ += ["ContactEdited", "ContactFieldAdded", "ContactFieldRemoved", "ContactLabelsChanged", "ContactsMerged"]
__all__ += ["MemberBlocked", "MemberLabelsChanged", "MemberUnblocked"]
__all__ += [
    "ArticleVersionRemoved",
    "KnowledgeBaseAdded",
    "ReplyKept",
    "RuleAdded",
    "RuleChanged",
    "RuleRemoved",
    "SynonymsChanged",
]
__all__ += ["AccountsAssigned", "ConnectionAdded", "ConnectionBroke", "ConnectionChanged", "ConnectionMended"]
__all__ += ["ConnectionPaused", "ConnectionResumed", "ContactReadingResumed", "ContactReadingStopped", "InboxBroke"]
__all__ += ["GroupAnswersSilenced", "InboxResumed", "ThresholdsMoved"]
__all__ += ["ConnectionRemoved", "InboxAdded", "InboxConfigured", "InboxMended", "InboxPaused", "InboxRemoved"]
__all__ += ["IssueChanged", "IssueCommented", "IssueOpened", "IssueRefused", "IssueWritten", "RepositoryLinked"]
__all__ += ["IssueCommentChanged", "MemberLoginBound", "MemberLoginEnded", "MirroringPaused", "MirroringResumed"]
__all__ += ["RepositoryAliased", "RepositoryRenamed", "RepositoryUnlinked"]
__all__ += ["MessageTranslated", "SavedViewAdded", "SavedViewChanged", "SavedViewRemoved", "SessionRevoked"]
__all__ += ["MacroAdded", "MacroChanged", "MacroRemoved", "SnippetAdded", "SnippetChanged", "SnippetRemoved"]
__all__ += ["ClockDoubted", "DataExported", "DataForgotten", "FileDownloaded", "RetentionChanged"]
__all__ += ["LabelAdded", "LabelChanged", "LabelRemoved"]
__all__ += ["ConversationFieldAdded", "ConversationFieldRemoved"]
__all__ += ["ConversationFollowersChanged", "SurveyAsked", "SurveyRated"]
__all__ += ["FlowAdded", "FlowChanged", "FlowEnded", "FlowRemoved", "FlowStarted"]
__all__ += ["GroupConfigured", "GroupConsentChanged", "GroupMembersJoined", "GroupMembersLeft", "GroupRenamed"]
__all__ += ["GatewayChanged", "GatewayGapNoted"]
__all__ += ["GapClosed", "GapMerged", "GapQuestionMoved", "GapRecorded", "GapReopened"]
__all__ += ["TicketChanged", "TicketCommented", "TicketDraftEnded", "TicketDrafted", "TicketLinked", "TicketOpened"]
__all__ += ["FilePublished", "FileWithdrawn"]
__all__ += ["TicketMessagesAdded", "TicketRemindersChanged", "TicketUndone", "TicketUnlinked", "TicketWatchersChanged"]
__all__ += ["AgentBecameAvailable", "AgentBecameBusy", "AgentChanged", "AgentDisabled", "AgentEnabled", "AgentInvited"]
__all__ += ["ApiTokenCreated", "ApiTokenRevoked"]
__all__ += ["AgentJoined", "AgentWentOffline", "AvailabilityChosen", "JoinLinkCreated", "PasswordChanged"]
__all__ += ["RecoveryCodeUsed", "RecoveryCodesCreated", "SecondFactorEnrolled", "SecondFactorFailed"]
__all__ += ["SecondFactorRemoved", "SecondFactorRequired", "WorkspaceRenamed"]
__all__ += ["LoginLinked", "LoginUnlinked", "NotificationSettingsChanged", "NotifierTested"]
__all__ += ["SignInProviderAdded", "SignInProviderChanged", "SignInProviderRemoved"]
__all__ += ["SignInFailed", "SignedIn", "SignedOut", "TeamChanged", "TeamCreated", "TeamRemoved"]

# ------------------------------------------------------------------------------------------------- conversations


class ConversationCreated(ConversationEvent):
    """A thread was seen for the first time in this inbox; `status` is where it begins."""

    status: str
    thread: str = ""
    thread_kind: str = "direct"


class ConversationStarted(StatusChanged):
    """A contact who had only entered the chat wrote for the first time."""


class ConversationHandedOff(StatusChanged):
    """The assistant gave the conversation to people. `question` is what the contact wanted to know, if anything."""

    question: str = ""
    message_id: int | None = None


class ConversationOpened(StatusChanged):
    """A pending conversation needs a person now, without the assistant having handed it over."""


class ConversationReopened(StatusChanged):
    """A resolved or snoozed conversation goes on; after `resolved` a new cycle begins."""


class ConversationReturned(StatusChanged):
    """A person gave the conversation back to the assistant."""


class ConversationSnoozed(StatusChanged):
    """Out of sight until a moment."""

    until: datetime
    was_snoozed_until: datetime | None = None


class ConversationSnoozeUndone(StatusChanged):
    """The agent who snoozed took it back at once; everything is as before."""

    snoozed_until: datetime | None = None


class ConversationResolved(StatusChanged):
    """Done, until the contact writes again. Keeps what an undo restores; `opened_at` is where this work began.

    `unsaid`: why the words that belong to it could not be said, such as window_closed; empty: they were.
    """

    opened_at: datetime | None = None
    was_waiting_since: datetime | None = None
    was_snoozed_until: datetime | None = None
    was_handoff_reason: str | None = None
    was_failures: int = 0
    was_resolved_at: datetime | None = None
    unsaid: str = ""


class ConversationResolutionUndone(StatusChanged):
    """The agent who resolved took it back at once; everything is as before."""

    waiting_since: datetime | None = None
    handoff_reason: str | None = None
    snoozed_until: datetime | None = None
    failures: int = 0
    resolved_at: datetime | None = None


class ConversationAssigned(ConversationEvent):
    """The assignee changed; None: nobody."""

    to_agent_id: int | None
    reason: str = ""


class ConversationTeamAssigned(ConversationEvent):
    """The team changed; None: no team."""

    to_team_id: int | None


class ConversationLabelsChanged(ConversationEvent):
    """Labels came or went, by id."""

    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


class ConversationAttributesChanged(ConversationEvent):
    """What is filled in of the conversation; values before and after by the names of fields, None for nothing."""

    before: dict[str, str | None]
    after: dict[str, str | None]


class ConversationPriorityChanged(ConversationEvent):
    """0 none, 1 low, 2 normal, 3 high, 4 urgent."""

    priority: int
    previous: int
    reason: str = ""


class ConversationMuted(ConversationEvent):
    """What the contact writes is kept and calls nobody."""


class ConversationUnmuted(ConversationEvent):
    """What the contact writes calls somebody again."""


class MacroApplied(ConversationEvent):
    """An agent let a macro act; what it changed names it as the cause. `key` recognises a repeat."""

    macro_id: int
    name: str
    key: str = ""


class NativeSessionChanged(ConversationEvent):
    """The session changed hands in the vendor's own view. `vendor_event_id` recognises a repeat."""

    state: str | None
    previous: str | None
    servicer: str | None = None
    previous_servicer: str | None = None
    vendor_event_id: str | None = None


class ConversationContactChanged(ConversationEvent):
    """The contact turned out to be somebody whom we knew already: `contact_id` was merged into `to_contact_id`."""

    to_contact_id: int


class ContactCreated(ConversationEvent):
    """Somebody wrote to us for the first time; `conversation_id` is the conversation that they began."""


class ContactEntered(ConversationEvent):
    """A contact opened the chat. Scene and parameter are data of the link they came by."""

    scene: str | None = None
    scene_param: str | None = None
    vendor_event_id: str | None = None


# ------------------------------------------------------------------------------------------------------ messages


class MessageReceived(MessageFact):
    """A contact, a group member or a servicer wrote. `counts` is false for what calls nobody (muted, old history)."""

    sent_at: datetime
    from_contact: bool = True
    counts: bool = True
    files: int = 0


class MessageRecalled(MessageFact):
    """Somebody took a message back."""


class ReplyQueued(MessageFact):
    """A message of ours was stored and waits to be sent.

    `counts`: it uses one of the replies that the channel allows. `from_person`: it ends the contact's waiting.
    `helped`: whether the assistant's words answered something; None leaves its failures as they are.
    """

    counts: bool = True
    from_person: bool = False
    helped: bool | None = None


class ReplyRequeued(MessageFact):
    """A message that had failed is sent again."""

    counts: bool = True


class MessageSent(MessageFact):
    """The channel took our message; not `confirmed`: it may have, as its answer was lost, and is not asked again."""

    confirmed: bool = True


class MessageDelivered(MessageFact):
    """The channel says that it arrived, or was read."""

    receipt: Literal["delivered", "read"] = "delivered"


class MessageFailed(MessageFact):
    """Our message will not reach the contact; `reason` is a stable word, `code` the vendor's number."""

    reason: str
    code: int = 0


class MessageDropped(MessageFact):
    """Unsent words of the assistant were thrown away, because a person took over."""


class NoteAdded(MessageFact):
    """An agent wrote something for colleagues only. `mentioned`: the agents whom it names."""

    mentioned: tuple[int, ...] = ()


# ------------------------------------------------------------------------------------- contacts and what vendors say


class ContactFollowed(Event):
    """A contact and a member of ours added each other. `state`: added or half_added; `source`: the link they came by.

    `welcome_code` allows one welcome until `welcome_until`.
    """

    contact_id: int
    follow_id: int
    state: str
    member: str
    source: str | None = None
    welcome_code: str | None = None
    welcome_until: datetime | None = None


class ContactFollowEdited(Event):
    """A member changed how they call or tag a contact in the vendor's client."""

    contact_id: int | None
    connection_id: int
    external_id: str
    member: str


class ContactUnfollowed(Event):
    """A contact or a member of ours ended it, or a transfer to another member failed."""

    contact_id: int | None
    state: str
    member: str
    reason: str | None = None


class CardActionReceived(Event):
    """One of our people tapped a button on a card we sent; `label` is what the card is to show now."""

    action: str
    inbox_id: int
    conversation_id: int | None = None
    update_code: str | None = None
    label: str = ""
    member: str | None = None  # whose copy of the card changes; None: everybody's


class VendorEventReceived(Event):
    """Anything else the vendor told us, as plain values."""

    name: str
    inbox_id: int | None = None
    content: dict[str, object] | None = None


class EntrySkipped(Event):
    """One entry of a vendor's page could not be stored and was left out."""

    inbox_id: int
    what: str
    external_id: str = ""


_ABSTRACT = (Event, ConversationEvent, StatusChanged, MessageFact)
FACTS: tuple[type[Event], ...] = tuple(
    one
    for one in tuple(globals().values())
    if isinstance(one, type) and issubclass(one, Event) and one not in _ABSTRACT
)
