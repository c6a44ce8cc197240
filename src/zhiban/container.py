"""What one process opens and closes: its connections to the database, its pub/sub and, when it works, its workers."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from importlib import import_module

from zhiban import bootstrap
from zhiban.assistant.asides import Asides
from zhiban.assistant.group_turn import GroupAssistant
from zhiban.assistant.responding import AssistantsByKind
from zhiban.assistant.turn import Assistant
from zhiban.automation.definition import build_schema
from zhiban.automation.engine import RuleEngine
from zhiban.automation.flow_responder import FlowResponder
from zhiban.automation.rule_webhooks import RuleWebhooks
from zhiban.automation.shipped import install_shipped
from zhiban.automation.topics import RULES_CHANGED
from zhiban.channels import inboxes
from zhiban.channels.connections import Connections
from zhiban.channels.delivery_store import DeliveryStore
from zhiban.channels.service import connect, discover
from zhiban.channels.sockets import SocketRegistry
from zhiban.channels.topics import ACCOUNT_WAITING, CONFIG, DELIVERY_WAITING, TRACKER_DELIVERY_WAITING
from zhiban.conversations.outgoing_files import OutgoingFiles
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.conversations.topics import ASSIGNMENT_DUE, CONVERSATION_WAITING
from zhiban.kit.breaker_store import BreakerStore
from zhiban.kit.clock import Clock, SystemClock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.file_store import FileStore
from zhiban.kit.http import Http
from zhiban.kit.i18n import Texts, to_locale
from zhiban.kit.jobs import Jobs
from zhiban.kit.memory import return_free_memory
from zhiban.kit.patterns import compile_patterns
from zhiban.kit.pubsub import PubSub
from zhiban.kit.settings import Settings
from zhiban.kit.vault import Vault
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.jobs import enqueue_rebuilds
from zhiban.knowledge.vectors import Embedders
from zhiban.people.service import SESSIONS
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.tickets.issue_search import IssueFinder
from zhiban.tickets.issue_vectors import enqueue_embedding
from zhiban.tickets.responder import TicketCommands, help_line
from zhiban.tickets.topics import TRACKER_CALL_WAITING
from zhiban.workers.account_poller import AccountPoller
from zhiban.workers.assigner import Assigner
from zhiban.workers.conversation_worker import ConversationWorker
from zhiban.workers.delivery_processor import DeliveryProcessor
from zhiban.workers.flow_timer import FlowTimer
from zhiban.workers.maintenance import Maintenance
from zhiban.workers.news_reader import NewsReader
from zhiban.workers.recovery import Recovery
from zhiban.workers.report_counter import ReportCounter
from zhiban.workers.retention import Retention
from zhiban.workers.rule_timer import RuleTimer
from zhiban.workers.scheduler import Scheduler
from zhiban.workers.search_indexer import SearchIndexer
from zhiban.workers.stream_listener import StreamListener
from zhiban.workers.tracker_worker import TrackerWorker

log = logging.getLogger(__name__)

DEFAULT_WORKSPACE = "default"


@dataclass(slots=True)
class App:
    """Everything a process shares. Open it before use; `work` starts answering."""

    settings: Settings
    clock: Clock
    database: Database
    vault: Vault
    http: Http
    pubsub: PubSub
    breakers: BreakerStore
    connections: Connections
    sockets: SocketRegistry
    deliveries: DeliveryStore
    files: FileStore
    embedders: Embedders
    rules: RuleEngine
    url: str
    workers: Workers | None = None

    @classmethod
    def build(cls, settings: Settings, urls: DatabaseUrls, *, url: str = "", clock: Clock | None = None) -> App:
        """Put the parts together; nothing is opened yet. Raises Misconfigured."""
        now = clock or SystemClock()
        database = Database(urls.app)
        vault = Vault.from_settings(settings)
        http = Http()
        # While this process works itself, it tells the others only what it cannot do.
        local = (
            CONVERSATION_WAITING,
            ACCOUNT_WAITING,
            DELIVERY_WAITING,
            TRACKER_DELIVERY_WAITING,
            TRACKER_CALL_WAITING,
            ASSIGNMENT_DUE,
        )
        pubsub = PubSub(urls.app, local_topics=local, sure_topics=(CONFIG, RULES_CHANGED, SESSIONS))
        database.publish = pubsub.publish
        rules = bootstrap.rule_engine()
        database.reactions = bootstrap.reactions(rules)
        breakers = BreakerStore(database, pubsub, now)
        sockets = SocketRegistry(database, pubsub, now)
        connections = Connections(
            database,
            vault,
            now,
            breakers,
            build=bootstrap.vendor(http, now),
            build_tracker=bootstrap.tracker(http, now),
            calls=sockets.calls,
        )
        pubsub.subscribe(CONFIG, connections.forget)
        pubsub.on_gap(connections.forget_all)
        pubsub.subscribe(RULES_CHANGED, rules.book.forget)
        pubsub.on_gap(rules.book.forget_all)
        return cls(
            settings=settings,
            clock=now,
            database=database,
            vault=vault,
            http=http,
            pubsub=pubsub,
            breakers=breakers,
            connections=connections,
            sockets=sockets,
            deliveries=DeliveryStore(database, connections, pubsub),
            files=bootstrap.file_store(settings, database, now),
            embedders=bootstrap.embedders(settings, http, breakers.of(NO_WORKSPACE, "model/")),
            rules=rules,
            url=settings.zhiban_url or url,
        )

    @property
    def survey_links(self) -> SurveyLinks:
        """The addresses under which contacts rate us: only where an operator said how we are reached from outside."""
        return SurveyLinks(self.settings.zhiban_url, self.vault.derive("surveys"))

    def start_workers(self) -> None:
        """Let this process answer, not only receive and show. Call it before `open`."""
        self.workers = Workers.of(self)

    async def open(self) -> None:
        """Reach the database, make what the settings name, and begin to work."""
        await self.database.open()
        await self.http.__aenter__()
        await ensure_default(self)
        await self.pubsub.open()
        if self.workers is not None:
            await discover_accounts(self)
            await self.workers.start()
        _spare_the_collector()

    async def close(self) -> None:
        """Finish what runs, then let go, from the outside to the inside."""
        await self.deliveries.close()
        if self.workers is not None:
            await self.workers.close()
        await self.breakers.close()
        await self.pubsub.close()
        await self.http.__aexit__(None, None, None)
        await self.database.close()

    async def __aenter__(self) -> App:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@dataclass(slots=True)
class Workers:
    """What answers: workers for conversations, accounts, deliveries, trackers, assignment; recovery, timers, jobs."""

    database: Database
    conversation_worker: ConversationWorker
    account_poller: AccountPoller
    delivery_processor: DeliveryProcessor
    news_reader: NewsReader
    tracker_worker: TrackerWorker
    stream_listener: StreamListener
    assigner: Assigner
    recovery: Recovery
    maintenance: Maintenance
    search_indexer: SearchIndexer
    report_counter: ReportCounter
    retention: Retention
    scheduler: Scheduler
    jobs: Jobs

    @classmethod
    def of(cls, app: App) -> Workers:
        deps = bootstrap.assistant_deps(app.settings, app.http, app.breakers.of(NO_WORKSPACE, "model/"), app.embedders)
        answering = AssistantsByKind(
            Assistant(app.database, app.clock, deps), GroupAssistant(app.database, app.clock, deps, also=(help_line,))
        )
        finder = IssueFinder(app.connections.tracker, app.embedders)
        public = bool(app.survey_links.url)
        commands = TicketCommands(answering, app.database, app.clock, deps.model, finder, public=public)
        asides = Asides(app.database, deps)
        assistant = FlowResponder(commands, app.database, app.clock, bootstrap.limits_of, asides)
        outgoing = OutgoingFiles(app.database, app.files, app.clock)
        conversation_worker = ConversationWorker(
            app.database, app.connections, app.pubsub, app.clock, assistant, outgoing
        )
        account_poller = AccountPoller(app.database, app.connections, conversation_worker, app.pubsub, app.clock)
        delivery_processor = DeliveryProcessor(
            app.database, app.connections, conversation_worker, app.pubsub, app.clock
        )
        news_reader = NewsReader(app.database, app.connections, app.clock)
        tracker_worker = TrackerWorker(app.database, app.connections, app.pubsub, app.clock)
        app.pubsub.subscribe(TRACKER_DELIVERY_WAITING, news_reader.wake)
        app.pubsub.subscribe(TRACKER_CALL_WAITING, tracker_worker.wake)
        stream_listener = StreamListener(
            app.database,
            app.connections,
            conversation_worker,
            app.pubsub,
            app.clock,
            vendors=bootstrap.STREAMED_VENDORS,
        )
        app.pubsub.subscribe(CONVERSATION_WAITING, conversation_worker.wake)
        app.pubsub.subscribe(ACCOUNT_WAITING, account_poller.wake)
        app.pubsub.subscribe(DELIVERY_WAITING, delivery_processor.wake)
        assigner = Assigner(app.database, app.clock)
        app.pubsub.subscribe(ASSIGNMENT_DUE, assigner.wake)
        app.pubsub.subscribe(CONFIG, assigner.reconfigured)
        recovery = Recovery(
            app.database,
            conversation_worker,
            account_poller,
            delivery_processor,
            news_reader,
            app.pubsub,
            app.clock,
            polled_kinds=bootstrap.POLLED_KINDS,
        )
        maintenance = Maintenance(app.database, bootstrap.limits_of, app.clock)
        rule_timer = RuleTimer(app.database, app.rules, app.clock)
        flow_timer = FlowTimer(app.database, app.clock, bootstrap.limits_of)
        scheduler = Scheduler(
            app.database,
            app.clock,
            of_workspaces=[
                each.due_work()
                for each in (recovery, tracker_worker, stream_listener, maintenance, rule_timer, flow_timer)
            ],
            of_installation=[recovery.due_jobs()],
        )
        ways = bootstrap.notifiers(app.settings, app.http, app.url)
        tasks = bootstrap.tasks(
            app.database,
            app.connections,
            app.clock,
            app.files,
            ways,
            Texts(app.settings.zhiban_locale),
            app.survey_links,
            app.embedders,
            app.settings.kb_similarity_threshold,
            app.rules,
            RuleWebhooks(app.database, app.http, app.vault, app.clock, bootstrap.webhook_setup(app.settings, app.url)),
            bootstrap.mailer(app.settings),
            deps.model,
        )
        return cls(
            app.database,
            conversation_worker,
            account_poller,
            delivery_processor,
            news_reader,
            tracker_worker,
            stream_listener,
            assigner,
            recovery,
            maintenance,
            SearchIndexer(app.database, app.clock),
            ReportCounter(app.database, app.clock),
            Retention(app.database, app.files, app.clock),
            scheduler,
            Jobs(app.database.dsn, tasks),
        )

    async def start(self) -> None:
        term_priors()  # an installation without it says so now, not to the first contact
        await self.jobs.open()
        await self.jobs.start()
        await enqueue_rebuilds(self.database)
        await enqueue_embedding(self.database)
        await self.recovery.start()
        await self.scheduler.start()
        await self.maintenance.start()
        await self.search_indexer.start()
        await self.report_counter.start()
        await self.retention.start()
        await self.assigner.start()

    async def close(self) -> None:
        await self.assigner.close()
        await self.retention.close()
        await self.report_counter.close()
        await self.search_indexer.close()
        await self.maintenance.close()
        await self.scheduler.close()
        await self.recovery.close()
        await self.stream_listener.close()
        await self.account_poller.close()
        await self.delivery_processor.close()
        await self.news_reader.close()
        await self.tracker_worker.close()
        await self.conversation_worker.close()
        await self.jobs.close()


# ------------------------------------------------------------------------------------- what the settings describe


def load_the_rest() -> None:
    """Load what the first call to a vendor and the first rule would have to wait for, a quarter of a second or less.

    Nobody has to wait for it: it may run in a thread once the process is ready.
    """
    compile_patterns()
    import_module("aiohttp")
    build_schema()
    _spare_the_collector()


def _spare_the_collector() -> None:
    """Leave out what was loaded by now: it stays for good, and looking through it costs answers 50 ms each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return_free_memory()


async def ensure_default(app: App) -> int:
    """The default workspace, and its connections as the environment describes them. Returns the workspace."""
    workspace_id = await ensure_workspace(app.database, DEFAULT_WORKSPACE, "值班", app.settings.zhiban_locale)
    for integration in bootstrap.CHANNELS.values():
        values = integration.environment(app.settings)
        if values is not None:
            async with app.database.transaction(workspace_id) as tx:
                await connect(tx, app.vault, integration, values, now=app.clock.now())
    return workspace_id


async def discover_accounts(app: App) -> None:
    """Accounts may have been given to us while nobody of us was running: look for them in the background."""
    for workspace_id in await app.database.workspaces():
        async with app.database.transaction(workspace_id) as tx:
            for row in await inboxes.connections(tx):
                if row.removed_at is None:
                    await discover(tx, row.id)


async def ensure_workspace(database: Database, slug: str, name: str, locale: str) -> int:
    """The workspace of this slug, created when it is new."""
    async with database.transaction(NO_WORKSPACE) as tx:
        known = await tx.value(
            "select workspace_id from directory where kind = 'workspace' and key = %(slug)s", slug=slug
        )
        if known is not None:
            return int(known)
        workspace_id = int(await tx.value("select nextval(pg_get_serial_sequence('workspace', 'workspace_id'))"))
    async with database.transaction(workspace_id) as tx:
        ours = await tx.run(
            "insert into directory (kind, key, workspace_id) values ('workspace', %(slug)s, %(id)s) "
            "on conflict do nothing",
            slug=slug,
            id=workspace_id,
        )
        if ours:
            await tx.run(
                "insert into workspace (workspace_id, slug, name, locale) "
                "values (%(id)s, %(slug)s, %(name)s, %(locale)s)",
                id=workspace_id,
                slug=slug,
                name=name,
                locale=locale,
            )
            await install_shipped(tx, Texts(to_locale(locale)), now=await tx.value("select now()"))
            return workspace_id
    return await ensure_workspace(database, slug, name, locale)
