"""Who plays which part. The tables below are the only place that names integrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from zhiban.assistant import handlers as assistant_handlers
from zhiban.assistant.answering import LEEWAY
from zhiban.assistant.direct_answers import DirectAnswers
from zhiban.assistant.group_welcome import GroupJobs, plan_welcome
from zhiban.assistant.metering import MeteredModel, Prices
from zhiban.assistant.turn_context import AssistantDeps
from zhiban.automation.engine import RuleEngine
from zhiban.automation.flow_runs import close as close_flow_run
from zhiban.automation.jobs import AutomationJobs
from zhiban.automation.rule_book import RuleBook
from zhiban.automation.rule_webhooks import RuleWebhooks, WebhookSetup
from zhiban.automation.triggers import TRIGGERING
from zhiban.automation.waiting import wait_in_existing
from zhiban.channels import jobs as channel_jobs
from zhiban.channels.connections import Builder, Connections, TrackerBuilder
from zhiban.channels.jobs import ChannelJobs
from zhiban.conversations import attachment_jobs, away, group_reading
from zhiban.conversations import handlers as conversation_handlers
from zhiban.conversations import jobs as conversation_jobs
from zhiban.conversations.attachment_jobs import AttachmentJobs
from zhiban.conversations.away import AwayJobs
from zhiban.conversations.group_reading import GroupReader
from zhiban.conversations.jobs import ConversationJobs, SurveyWords
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.conversations.transcript_mails import TranscriptMails
from zhiban.events import (
    FACTS,
    AgentBecameAvailable,
    AgentBecameBusy,
    AgentChanged,
    AgentDisabled,
    AgentWentOffline,
    CardActionReceived,
    ConnectionAdded,
    ConnectionChanged,
    ConnectionRemoved,
    ConnectionResumed,
    ContactFollowed,
    ContactFollowEdited,
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationOpened,
    ConversationReopened,
    ConversationResolutionUndone,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationStarted,
    ConversationTeamAssigned,
    Event,
    EvidenceRecorded,
    FlowEnded,
    GroupConfigured,
    GroupConsentChanged,
    GroupMembersJoined,
    GroupMembersLeft,
    InboxAdded,
    IssueChanged,
    IssueCommentChanged,
    IssueCommented,
    IssueOpened,
    IssueRefused,
    IssueWritten,
    MessageFailed,
    MessageRecalled,
    MessageReceived,
    MirroringPaused,
    MirroringResumed,
    NativeSessionChanged,
    NoteAdded,
    RuleAdded,
    RuleChanged,
    RuleRemoved,
    SurveyRated,
    TeamChanged,
    TeamRemoved,
    TicketChanged,
    TicketCommented,
    TicketDraftEnded,
    TicketOpened,
)
from zhiban.integrations import openai, sentence_encoder
from zhiban.integrations.apprise import HOSTED_SCHEMES, AppriseNotifier
from zhiban.integrations.gitea.integration import GITEA
from zhiban.integrations.gitee.integration import GITEE
from zhiban.integrations.github.integration import GITHUB
from zhiban.integrations.gitlab.integration import GITLAB
from zhiban.integrations.oidc import OidcClient
from zhiban.integrations.onebot import ONEBOT
from zhiban.integrations.s3 import S3FileStore
from zhiban.integrations.smtp import PORTS, SmtpConfig, SmtpMailer
from zhiban.integrations.standard_webhooks import signed_headers
from zhiban.integrations.telegram import TelegramConfig, TelegramNotifier
from zhiban.integrations.webhook import WEBHOOK
from zhiban.integrations.wechaty import WECHATY
from zhiban.integrations.wecom.bot_integration import WECOM_BOT
from zhiban.integrations.wecom.config import WeComSettings
from zhiban.integrations.wecom.integration import WECOM
from zhiban.integrations.wecom.robot import GroupRobot
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Misconfigured
from zhiban.kit.event_log import Handler, JobsOf, Reactions
from zhiban.kit.file_store import FileStore, FolderFileStore, PostgresFileStore
from zhiban.kit.http import Http
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Task
from zhiban.kit.settings import Settings
from zhiban.knowledge import learning_jobs
from zhiban.knowledge.jobs import KnowledgeJobs
from zhiban.knowledge.learning_jobs import LearningJobs
from zhiban.knowledge.upload_jobs import UploadJobs
from zhiban.knowledge.vectors import NO_EMBEDDERS, QUERY_SECONDS, Embedders
from zhiban.notifications import handlers as notification_handlers
from zhiban.notifications import jobs as notification_jobs
from zhiban.notifications.jobs import NotificationJobs, NotifierRegistry
from zhiban.notifications.personal import PersonalJobs
from zhiban.ports import (
    Breakers,
    ChannelKind,
    ChatModel,
    Embedder,
    Integration,
    Limits,
    Notifier,
    Polls,
    ShowsCards,
    Streams,
    TokenStore,
    Tracker,
    TrackerIntegration,
    Vendor,
)
from zhiban.ports.identity import IdentityClient
from zhiban.ports.mail import Mailer
from zhiban.ports.notifiers import parse_addresses
from zhiban.tickets import group_news, issue_vectors, tracker_jobs
from zhiban.tickets import handlers as ticket_handlers
from zhiban.tickets.issue_vectors import IssueVectorJobs
from zhiban.tickets.jobs import TicketJobs
from zhiban.tickets.login_jobs import LoginJobs
from zhiban.tickets.masking import partly
from zhiban.tickets.publishing_jobs import PublishingJobs
from zhiban.tickets.tracker_jobs import TrackerJobs

# Whom contacts write through. The first is the one that `zhiban inbox add` proposes.
CHANNELS: dict[str, Integration] = {each.name: each for each in (WECOM, WECOM_BOT, WEBHOOK, WECHATY, ONEBOT)}

# Where issues live.
TRACKERS: dict[str, TrackerIntegration] = {each.name: each for each in (GITHUB, GITLAB, GITEA, GITEE)}

KINDS: dict[str, ChannelKind] = {one.kind: one for each in CHANNELS.values() for one in each.kinds}

# Channels that must be asked for news, because their webhooks carry none.
POLLED_KINDS = [one.kind for one in KINDS.values() if Polls in one.talents]

# Vendors that are listened to, because they call nobody.
STREAMED_VENDORS = [each.name for each in CHANNELS.values() if Streams in each.talents]


def limits_of(kind: str) -> Limits:
    """What a kind of channel takes; of one that this version does not know, nothing can be sent anyway."""
    return KINDS[kind].limits if kind in KINDS else Limits(text=100_000)


def names() -> dict[str, Callable[[str], str]]:
    """What templates call a kind of channel, and the picture they draw for it."""
    return {
        "channel_label": lambda kind: KINDS[kind].label if kind in KINDS else kind,
        "channel_icon": lambda kind: KINDS[kind].icon if kind in KINDS else "globe",
    }


def channel_labels() -> dict[str, str]:
    """What each kind of channel is called."""
    return {one.kind: one.label for one in KINDS.values()}


def member_labels() -> dict[str, str]:
    """Vendors where agents have accounts of their own, with what such an account is called."""
    return {each.name: each.member_label for each in CHANNELS.values() if each.member_label}


def integrations() -> list[Integration | TrackerIntegration]:
    """Everybody who can be connected, and calls us then."""
    return [*CHANNELS.values(), *TRACKERS.values()]


def vendor(http: Http, clock: Clock) -> Builder:
    """Builds the vendor that a connection row names."""

    def build(
        name: str, config: Mapping[str, Any], secrets: Mapping[str, Any], tokens: TokenStore, breakers: Breakers
    ) -> Vendor:
        if name not in CHANNELS:
            raise Misconfigured(f"This version does not know the vendor {name}.")
        return CHANNELS[name].build(http, clock, config, secrets, tokens, breakers)

    return build


def tracker(http: Http, clock: Clock) -> TrackerBuilder:
    """Builds the tracker that a connection row names."""

    def build(
        name: str, config: Mapping[str, Any], secrets: Mapping[str, Any], tokens: TokenStore, breakers: Breakers
    ) -> Tracker:
        if name not in TRACKERS:
            raise Misconfigured(f"This version does not know the vendor {name}.")
        return TRACKERS[name].build(http, clock, config, secrets, tokens, breakers)

    return build


def model(settings: Settings, http: Http, breakers: Breakers | None = None) -> ChatModel | None:
    """The language model, when there is a key or an address of one's own."""
    if not settings.has_model:
        return None
    config = openai.ModelConfig(
        base=settings.llm_address,
        model=settings.llm_model_name,
        key=settings.llm_api_key,
        timeout=settings.llm_timeout,
    )
    return openai.OpenAIChat(config, http, breakers=breakers)


def embedders(settings: Settings, http: Http, breakers: Breakers | None = None) -> Embedders:
    """Who makes vectors, and who made those of before: a base keeps them until the new ones are complete."""

    def local() -> Embedder | None:
        return sentence_encoder.SentenceEncoder() if sentence_encoder.installed() else None

    def remote(name: str) -> Embedder | None:
        if not settings.embedding_api_base or not name:
            return None
        config = openai.ModelConfig(base=settings.embedding_api_base, model=name, key=settings.embedding_api_key)
        # A little less than a turn waits, so that the embedder itself learns that it was too slow.
        return openai.OpenAIEmbedder(config, http, breakers=breakers, query_seconds=QUERY_SECONDS * 0.9)

    @cache
    def named(name: str) -> Embedder | None:
        return local() if name == sentence_encoder.NAME else remote(name)

    def remotely(name: str) -> bool:
        return name != sentence_encoder.NAME

    match settings.embedder:
        case "local":
            return Embedders(local(), named, remote=remotely)
        case "openai":
            return Embedders(remote(settings.embedding_model), named, remote=remotely)
        case _:
            return NO_EMBEDDERS


def file_store(settings: Settings, database: Database, clock: Clock) -> FileStore:
    """Where FILE_STORE says that the files of messages lie. Raises Misconfigured."""
    match settings.file_store.partition(":")[0]:
        case "folder":
            return FolderFileStore(settings.files_folder)
        case "s3":
            return S3FileStore.from_settings(settings)
        case _:
            return PostgresFileStore(database, clock)


def assistant_deps(settings: Settings, http: Http, breakers: Breakers, embedders: Embedders) -> AssistantDeps:
    """What the assistant works with. `breakers` leave a model alone that hangs, for all processes."""
    asked = model(settings, http, breakers)
    prices = Prices(settings.llm_price_input, settings.llm_price_output)
    return AssistantDeps(
        model=MeteredModel(asked, prices) if asked is not None else None,
        embedders=embedders,
        top_k=settings.kb_top_k,
        threshold=settings.kb_similarity_threshold,
        # The model keeps to its time itself, and learns from it; the leeway only makes sure.
        model_seconds=settings.llm_timeout + LEEWAY,
        price_input=settings.llm_price_input,
        price_output=settings.llm_price_output,
    )


def notifiers(settings: Settings, http: Http, url: str) -> NotifierRegistry:
    """The ways to our own people. Raises Misconfigured when NOTIFICATION_CHANNEL is wrong."""
    telegram = TelegramNotifier(
        TelegramConfig(token=settings.telegram_bot_token, base=settings.telegram_api_base), http
    )
    robot = GroupRobot(http, settings.part(WeComSettings).wecom_api_base)
    by_scheme: dict[str, Notifier] = {"telegram": telegram, "wecom-robot": robot}
    parse_addresses(settings.notification_channel)
    return NotifierRegistry(
        addresses=settings.notification_channel.split() if settings.notification_enabled else (),
        by_scheme=by_scheme,
        other=AppriseNotifier(),
        hosted=HOSTED_SCHEMES,
        url=url,
        card_kinds=[one.kind for one in KINDS.values() if ShowsCards in one.talents],
    )


def mailer(settings: Settings) -> Mailer | None:
    """Who sends mails to people outside; None where no operator named a mail server."""
    if not settings.smtp_host:
        return None
    security = settings.smtp_security
    return SmtpMailer(
        SmtpConfig(
            host=settings.smtp_host,
            port=settings.smtp_port or PORTS[security],
            security=security,
            sender=settings.smtp_from,
            user=settings.smtp_user,
            password=settings.smtp_password,
            trust=settings.smtp_trust,
        )
    )


def identity_client(settings: Settings, http: Http, clock: Clock) -> IdentityClient:
    """Asks identity providers who a visitor is."""
    return OidcClient(http, clock, settings.zhiban_private_hosts.split())


def webhook_setup(settings: Settings, url: str) -> WebhookSetup:
    """How rules call other programs."""
    return WebhookSetup(signed_headers, settings.zhiban_private_hosts.split(), url)


# Which fact is followed by what at once, in the same transaction and in this order.
HANDLERS: dict[type[Event], tuple[Handler, ...]] = {
    ConversationHandedOff: (
        conversation_handlers.count_handoff,
        assistant_handlers.record_gap,
        assistant_handlers.record_refused_suggestions,
    ),
    ConversationResolved: (
        conversation_handlers.close_session,
        assistant_handlers.record_refused_suggestions,
        notification_handlers.tell_followers_of_end,
        notification_handlers.settle_unassigned,
    ),
    FlowEnded: (close_flow_run,),
    ConversationAssigned: (notification_handlers.tell_assignee, notification_handlers.settle_unassigned),
    NoteAdded: (notification_handlers.tell_mentioned,),
    MessageRecalled: (ticket_handlers.forget_frozen,),
    GroupConfigured: (ticket_handlers.forget_unwanted,),
    GroupConsentChanged: (ticket_handlers.forget_published,),
    ConnectionRemoved: (ticket_handlers.forget_repositories,),
    ConnectionResumed: (ticket_handlers.begin_again,),
    IssueOpened: (ticket_handlers.note_opened,),
    IssueRefused: (ticket_handlers.note_refused,),
    IssueWritten: (ticket_handlers.note_written,),
    IssueChanged: (ticket_handlers.follow_issue, group_news.note_change),
    IssueCommented: (ticket_handlers.take_comment, group_news.note_comment),
    IssueCommentChanged: (ticket_handlers.follow_comment, group_news.follow_comment),
    MirroringPaused: (ticket_handlers.tell_of_pause,),
    MirroringResumed: (group_news.note_resumed,),
    TicketOpened: (ticket_handlers.tell_of_opened,),
    TicketChanged: (ticket_handlers.follow_ticket,),
    TicketCommented: (ticket_handlers.tell_watchers,),
    TicketDraftEnded: (ticket_handlers.tell_of_draft,),
    GroupMembersJoined: (plan_welcome,),
    GroupMembersLeft: (notification_handlers.tell_of_lost_group,),
}

# After these somebody may wait for an agent, or an agent may have room: see conversations/assignment.py.
ASSIGNING: tuple[type[Event], ...] = (
    ConversationCreated,
    ConversationStarted,
    ConversationHandedOff,
    ConversationOpened,
    ConversationReopened,
    ConversationResolutionUndone,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationResolved,
    ConversationAssigned,
    ConversationTeamAssigned,
    ConversationLabelsChanged,
    NativeSessionChanged,
    AgentBecameAvailable,
    AgentChanged,
    TeamChanged,
)

# Which fact leads to which work after the commit.
JOBS: dict[type[Event], tuple[JobsOf, ...]] = {
    MessageReceived: (attachment_jobs.for_received,),
    MessageFailed: (conversation_jobs.for_failed,),
    ConversationCreated: (conversation_jobs.for_created, notification_jobs.for_created),
    **dict.fromkeys(notification_jobs.NOTIFYING, (notification_jobs.for_status,)),
    **dict.fromkeys((ConversationOpened, ConversationHandedOff), (notification_jobs.for_status, away.for_given)),
    ContactFollowed: (conversation_jobs.for_followed,),
    ContactFollowEdited: (conversation_jobs.for_follow_edited,),
    CardActionReceived: (conversation_jobs.for_card,),
    SurveyRated: (conversation_jobs.for_rated,),
    AgentDisabled: (conversation_jobs.for_disabled,),
    AgentChanged: (conversation_jobs.for_access_changed,),
    TeamRemoved: (conversation_jobs.for_team_removed,),
    InboxAdded: (channel_jobs.for_added, group_reading.for_added),
    EvidenceRecorded: (learning_jobs.for_evidence,),
    IssueChanged: (issue_vectors.for_changed,),
    ConnectionAdded: (tracker_jobs.for_connected,),
    ConnectionChanged: (tracker_jobs.for_connected,),
    ConnectionResumed: (tracker_jobs.for_connected,),
}


def rule_engine() -> RuleEngine:
    """Asks the rules of all workspaces; one for each process, as it remembers them."""
    return RuleEngine(RuleBook(), limits_of)


def reactions(rules: RuleEngine | None = None) -> Reactions:
    """The tables, with what follows many facts: rules are asked, policies look whether to assign, desks learn of it."""
    rules = rules or rule_engine()
    screens, assigning = conversation_handlers.update_screens, conversation_handlers.wake_assignment
    asked: dict[type[Event], tuple[Handler, ...]] = {
        **dict.fromkeys(TRIGGERING, (rules.react,)),
        **dict.fromkeys((RuleAdded, RuleChanged), (rules.book.forget_changed, wait_in_existing)),
        RuleRemoved: (rules.book.forget_changed,),
        **dict.fromkeys((AgentBecameAvailable, AgentBecameBusy, AgentWentOffline), (rules.note_presence,)),
    }
    handlers: dict[type[Event], tuple[Handler, ...]] = {
        kind: (
            *HANDLERS.get(kind, ()),
            *asked.get(kind, ()),
            *((assigning,) if kind in ASSIGNING else ()),
            *((screens,) if issubclass(kind, ConversationEvent) else ()),
        )
        for kind in FACTS
    }

    async def cut(tx: Transaction, event: ConversationEvent) -> None:
        """In a chain that is too long nothing new begins; what ended is closed all the same."""
        if isinstance(event, FlowEnded):
            await close_flow_run(tx, event)
        await rules.cut(tx, event)

    return Reactions(handlers, JOBS, cut)


def tasks(
    database: Database,
    connections: Connections,
    clock: Clock,
    files: FileStore,
    notifiers: NotifierRegistry,
    texts: Texts,
    survey_links: SurveyLinks,
    embedders: Embedders,
    threshold: float | None,
    rules: RuleEngine,
    webhooks: RuleWebhooks,
    mailer: Mailer | None,
    chat_model: ChatModel | None,
) -> list[Task]:
    """Every job there is."""
    return [
        *ChannelJobs(database, connections, clock).tasks(),
        *ConversationJobs(database, connections, clock, SurveyWords(texts, survey_links)).tasks(),
        *AttachmentJobs(database, connections, clock, files).tasks(),
        *AwayJobs(database, connections, clock).tasks(),
        *TranscriptMails(database, mailer, clock, partly).tasks(),
        *GroupReader(database, connections, clock).tasks(),
        *NotificationJobs(database, connections, notifiers, texts, clock).tasks(),
        *PersonalJobs(database, connections, notifiers, clock).tasks(),
        *AutomationJobs(database, rules.book, webhooks, clock).tasks(),
        *PublishingJobs(database, files, clock, url=survey_links.url).tasks(),
        *TicketJobs(database, connections, clock, chat_model).tasks(),
        *TrackerJobs(database, connections, clock).tasks(),
        *IssueVectorJobs(database, embedders).tasks(),
        *LoginJobs(database, connections, clock).tasks(),
        *KnowledgeJobs(database, clock, embedders).tasks(),
        *UploadJobs(database, clock, files, embedders).tasks(),
        *GroupJobs(database, connections, clock).tasks(),
        *LearningJobs(database, clock, DirectAnswers(database, embedders, threshold=threshold)).tasks(),
    ]
