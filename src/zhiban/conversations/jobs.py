"""Work after the commit about conversations: files, profiles, follows, cards. Each piece can run twice without harm."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from zhiban.channels import inboxes
from zhiban.channels.connection_health import note_contacts_off
from zhiban.channels.connections import Connections, OpenInbox
from zhiban.channels.reply_slots import NOTE_UNANSWERED, free_slots
from zhiban.conversations import assignment, contact_follows, surveys, topics, transitions
from zhiban.conversations.changes import ChangeNativeSession, Open
from zhiban.conversations.models import Author, ConversationState, Status
from zhiban.conversations.outbox import allowance_of, enqueue_session_transfer, key_for
from zhiban.conversations.outbox import enqueue as enqueue_message
from zhiban.conversations.queries import last_resolution
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.events import (
    SYSTEM,
    AgentChanged,
    AgentDisabled,
    CardActionReceived,
    ContactFollowed,
    ContactFollowEdited,
    ConversationCreated,
    MessageFailed,
    SurveyRated,
    TeamRemoved,
)
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Enqueued, Job, Task, enqueue_many
from zhiban.people.contacts import learn_profiles, nameless_contacts
from zhiban.ports import (
    FeatureOff,
    KnowsContacts,
    ManagesExternalContacts,
    NativeState,
    Profile,
    Refusal,
    SendRefused,
    ShowsCards,
    TransfersNatively,
)

log = logging.getLogger(__name__)

PROFILES_AT_ONCE = 100
PROFILES_WAIT = timedelta(seconds=2)  # newcomers are looked up together
CONTACT_WELCOME = "您好，很高兴认识您！有任何问题，直接发消息给我就好。"  # said unless the connection says otherwise
SOURCE_TAGS = "来源"  # the tag group for where a contact came from

FETCH_PROFILES = Job("fetch_profiles", attempts=4)
READ_NATIVE_STATE = Job("read_native_state", attempts=4)
CLOSE_SESSION = Job("close_session", attempts=5)
THANK_FOR_RATING = Job("thank_for_rating", attempts=3)
WELCOME_CONTACT = Job("welcome_contact", attempts=4, wait=1.0)
MARK_CONTACT = Job("mark_contact", attempts=5)
RECONCILE_FOLLOWS = Job("reconcile_follows", queue="slow", attempts=3, wait=60)
REREAD_CONTACT = Job("reread_contact", queue="slow", attempts=4)
PLAN_RECONCILING = Job("plan_reconciling", queue="slow", cron="41 4 * * *")
UPDATE_CARD = Job("update_card", attempts=3)
RELEASE_CONVERSATIONS = Job("release_conversations", attempts=5)
RELEASE_TEAM = Job("release_team", queue="slow", attempts=5)


# ---------------------------------------------------------------------------------------- which fact leads to which


def for_created(event: ConversationCreated) -> Iterable[Enqueued]:
    if event.inbox_id is not None:
        yield FETCH_PROFILES.of(key=str(event.inbox_id), at=event.at + PROFILES_WAIT, inbox_id=event.inbox_id)


def for_failed(event: MessageFailed) -> Iterable[Enqueued]:
    if event.reason == Refusal.HUMAN_ACTIVE:
        yield READ_NATIVE_STATE.of(key=str(event.conversation_id), conversation_id=event.conversation_id)


def for_followed(event: ContactFollowed) -> Iterable[Enqueued]:
    if event.welcome_code and event.welcome_until:
        until = event.welcome_until.isoformat()
        yield WELCOME_CONTACT.of(follow_id=event.follow_id, code=event.welcome_code, expires=until)
    yield MARK_CONTACT.of(key=str(event.follow_id), follow_id=event.follow_id)


def for_follow_edited(event: ContactFollowEdited) -> Iterable[Enqueued]:
    yield REREAD_CONTACT.of(
        key=f"{event.connection_id}:{event.external_id}",
        connection_id=event.connection_id,
        contact=event.external_id,
    )


def for_card(event: CardActionReceived) -> Iterable[Enqueued]:
    if event.update_code:
        yield UPDATE_CARD.of(
            inbox_id=event.inbox_id, code=event.update_code, label=event.label, member=event.member or ""
        )


def for_disabled(event: AgentDisabled) -> Iterable[Enqueued]:
    yield RELEASE_CONVERSATIONS.of(agent_id=event.agent_id)


def for_access_changed(event: AgentChanged) -> Iterable[Enqueued]:
    if not event.after.keys().isdisjoint(("role", "inbox_ids")):
        yield RELEASE_CONVERSATIONS.of(agent_id=event.agent_id)


def for_team_removed(event: TeamRemoved) -> Iterable[Enqueued]:
    yield RELEASE_TEAM.of(team_id=event.team_id)


def for_rated(event: SurveyRated) -> Iterable[Enqueued]:
    if event.way == "menu" and event.previous is None:
        yield THANK_FOR_RATING.of(key=str(event.survey_id), survey_id=event.survey_id)


@frozen_dataclass
class SurveyWords:
    """In which language contacts are asked how it was, and where our page is."""

    texts: Texts
    links: SurveyLinks


class ConversationJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock, surveys: SurveyWords) -> None:
        self._surveys = surveys
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(FETCH_PROFILES, self.fetch_profiles),
            Task(THANK_FOR_RATING, self.thank_for_rating),
            Task(READ_NATIVE_STATE, self.read_native_state),
            Task(CLOSE_SESSION, self.close_session),
            Task(WELCOME_CONTACT, self.welcome_contact),
            Task(MARK_CONTACT, self.mark_contact),
            Task(RECONCILE_FOLLOWS, self.reconcile_follows),
            Task(REREAD_CONTACT, self.reread_contact),
            Task(PLAN_RECONCILING, self.plan_reconciling),
            Task(UPDATE_CARD, self.update_card),
            Task(RELEASE_CONVERSATIONS, self.release_conversations),
            Task(RELEASE_TEAM, self.release_team),
            Task(NOTE_UNANSWERED, self.note_unanswered_slot),
        ]

    # ---------------------------------------------------------------------------------------------- who they are

    async def fetch_profiles(self, workspace_id: int, inbox_id: int) -> None:
        """Names and pictures of the contacts of this inbox that we know by id only."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, KnowsContacts):
            return
        kind, account = inbox.connection.vendor.namespace(inbox.kind)
        async with self._database.transaction(workspace_id) as tx:
            unknown = await nameless_contacts(tx, kind, account, limit=PROFILES_AT_ONCE)
        if not unknown:
            return
        found = {profile.external_id: profile for profile in await inbox.channel.profiles(unknown)}
        # Who is not known to the vendor any more is not asked about again.
        profiles = [found.get(external_id) or Profile(external_id, "") for external_id in unknown]
        async with self._database.transaction(workspace_id) as tx:
            changed = await learn_profiles(tx, kind, account, profiles, now=self._clock.now())
            for (conversation_id,) in await tx.rows(
                "select id from conversation where contact_id = any(%(ids)s::bigint[])", ids=changed
            ):
                tx.publish_after_commit(topics.CONVERSATION_CHANGED, conversation_id)

    # ------------------------------------------------------------------------------------------ the vendor's view

    async def read_native_state(self, workspace_id: int, conversation_id: int) -> None:
        """Ask the vendor who holds the session, after it refused a message of ours."""
        async with self._database.transaction(workspace_id) as tx:
            row = await tx.row("select inbox_id, external_id from conversation where id = %(id)s", id=conversation_id)
        if row is None:
            return
        inbox_id, thread = row
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, TransfersNatively):
            return
        native, servicer = await inbox.channel.native_state(thread)
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            known = await transitions.apply(
                tx, conversation_id, ChangeNativeSession(native, servicer), actor=SYSTEM, now=now
            )
            if native in (NativeState.HUMAN, NativeState.POOL) and known.state.status is not Status.RESOLVED:
                await transitions.apply_to(tx, known.state, Open("native"), actor=SYSTEM, now=now)

    async def close_session(
        self, workspace_id: int, conversation_id: int, cycle: int, text: str, survey: int = 0
    ) -> None:
        """Ask how it was in this inbox (`survey`, 0: do not ask), and end the session at the vendor with a last word.

        Nothing of it when the conversation goes on already, and no word where the inbox was paused meanwhile.
        """
        inbox = None if not survey else await self._connections.inbox(workspace_id, survey)
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            state = await transitions.lock(tx, conversation_id)
            if state.status is not Status.RESOLVED or state.cycle != cycle:
                return
            if (await inboxes.inbox_settings(tx, state.inbox_id)).silent:
                inbox, text = None, ""
            if inbox is not None and inbox.settings.survey.ask:
                state = await self._ask(tx, inbox, state, now=now)
            if text or state.native_state in (NativeState.POOL, NativeState.HUMAN):
                key = key_for("closing", workspace_id, state.id, state.cycle)
                await enqueue_session_transfer(tx, state, to="ended", actor=SYSTEM, key=key, now=now, text=text)

    async def _ask(
        self, tx: Transaction, inbox: OpenInbox, state: ConversationState, *, now: datetime
    ) -> ConversationState:
        resolved = await last_resolution(tx, state.id)
        if resolved is None or resolved.reason == "muted":
            return state
        limits, text = inbox.channel.limits, inbox.settings.survey.text
        texts, links = self._surveys.texts, self._surveys.links
        return await surveys.ask(tx, state, resolved, text=text, limits=limits, texts=texts, links=links, now=now)

    async def note_unanswered_slot(self, workspace_id: int, inbox_id: int, thread: str, slot: str, text: str) -> None:
        """Nobody had an answer in time, and the vendor was given these words: they stand in the conversation.

        They are one of the messages that the channel allows, unless other messages still leave room for all of those.
        """
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        limits, now = inbox.channel.limits, self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            id_ = await tx.value(
                "select id from conversation where inbox_id = %(inbox)s and external_id = %(thread)s",
                inbox=inbox_id,
                thread=thread,
            )
            if id_ is None:
                return
            state = await transitions.lock(tx, id_)
            left = allowance_of(state, limits.reply_window).left
            free = await free_slots(tx, inbox.connection.id, thread, now=now)
            await enqueue_message(
                tx,
                state,
                author=Author.SYSTEM,
                actor=SYSTEM,
                text=text,
                key=slot,
                limits=limits,
                now=now,
                most=1,
                counts=left is None or left > free,
            )

    async def thank_for_rating(self, workspace_id: int, survey_id: int) -> None:
        """Thank who tapped a rating in the chat."""
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = (await surveys.survey_of(tx, survey_id)).inbox_id
        limits = (await self._connections.inbox(workspace_id, inbox_id)).channel.limits
        texts, links = self._surveys.texts, self._surveys.links
        async with self._database.transaction(workspace_id) as tx:
            await surveys.thank(tx, survey_id, limits=limits, texts=texts, links=links, now=self._clock.now())

    async def update_card(self, workspace_id: int, inbox_id: int, code: str, label: str, member: str = "") -> None:
        """Show on a tapped card what became of it: on one member's copy, or on all."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if isinstance(inbox.channel, ShowsCards):
            await inbox.channel.close_card(code, label, member=member or None)

    # ---------------------------------------------------------------------------------------- contacts of members

    async def welcome_contact(self, workspace_id: int, follow_id: int, code: str, expires: str) -> None:
        """The one welcome to a new friend, within twenty seconds of their adding us."""
        left = (datetime.fromisoformat(expires) - self._clock.now()).total_seconds()
        async with self._database.transaction(workspace_id) as tx:
            follow = await contact_follows.read(tx, follow_id)
        if follow is None or left <= 0:
            return
        connection = await self._connections.connection(workspace_id, follow.connection_id)
        if not isinstance(connection.vendor, ManagesExternalContacts):
            return
        text = connection.text_for("contact_welcome", follow.source, default=CONTACT_WELCOME)
        if not text:
            return
        try:
            await connection.vendor.welcome_contact(code, text, left=left)
        except (SendRefused, FeatureOff) as error:
            log.info("A new contact was not welcomed: %s", error)

    async def mark_contact(self, workspace_id: int, follow_id: int) -> None:
        """Learn a new friend's name, tag them by where they came from, and set the remark if one is configured."""
        async with self._database.transaction(workspace_id) as tx:
            follow = await contact_follows.read(tx, follow_id)
        if follow is None:
            return
        connection = await self._connections.connection(workspace_id, follow.connection_id)
        vendor = connection.vendor
        if not isinstance(vendor, ManagesExternalContacts):
            return
        try:
            name = follow.name or await vendor.contact_name(follow.external_id)
            if follow.source:
                await vendor.tag_contact(follow.member, follow.external_id, SOURCE_TAGS, [follow.source[:30]])
            if remark := connection.text_for("contact_remark", follow.source):
                filled = _filled(remark, name=name, source=follow.source or "")
                await vendor.remark_contact(follow.member, follow.external_id, filled)
        except (SendRefused, FeatureOff) as error:
            # Half friends cannot be marked yet; the full event comes when the member adds them back.
            log.info("A new contact was not marked: %s", error)
            return
        kind, account = vendor.namespace(vendor.contact_kind)
        async with self._database.transaction(workspace_id) as tx:
            await contact_follows.set_tags(tx, follow_id, [follow.source] if follow.source else [])
            await learn_profiles(tx, kind, account, [Profile(follow.external_id, name)], now=self._clock.now())

    async def reconcile_follows(self, workspace_id: int, connection_id: int) -> None:
        """Read all of them from the vendor: callbacks get lost, and it says so itself.

        Where the vendor has not opened this to us, the connection remembers why, for information.
        """
        connection = await self._connections.connection(workspace_id, connection_id)
        if not isinstance(connection.vendor, ManagesExternalContacts):
            return
        began = self._clock.now()
        off: str | None = None
        try:
            async for seen in connection.vendor.follows():
                async with self._database.transaction(workspace_id) as tx:
                    await contact_follows.keep_seen(tx, connection, seen, now=self._clock.now())
        except FeatureOff as error:
            log.info("Contacts of members of connection %s are not read: %s", connection_id, error)
            off = error.sentence
        async with self._database.transaction(workspace_id) as tx:
            await note_contacts_off(tx, connection_id, off, now=self._clock.now())
            if off is None:
                await contact_follows.end_unseen(tx, connection_id, before=began, now=self._clock.now())

    async def reread_contact(self, workspace_id: int, connection_id: int, contact: str) -> None:
        """A member edited a contact: read this contact's follows anew, and nobody else's."""
        connection = await self._connections.connection(workspace_id, connection_id)
        if not isinstance(connection.vendor, ManagesExternalContacts):
            return
        try:
            for seen in await connection.vendor.follows_of(contact):
                async with self._database.transaction(workspace_id) as tx:
                    await contact_follows.keep_seen(tx, connection, seen, now=self._clock.now())
        except (SendRefused, FeatureOff) as error:
            log.info("A contact was not read again: %s", error)

    async def plan_reconciling(self) -> None:
        """Once a day: read them anew for every connection that works."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                ids = await inboxes.working_connections(tx)
                await enqueue_many(tx, [RECONCILE_FOLLOWS.of(key=str(id_), connection_id=id_) for id_ in ids])

    # ------------------------------------------------------------------------------------------------ our people

    async def release_conversations(self, workspace_id: int, agent_id: int) -> None:
        """What an agent may not answer any more waits for the others. One who may again meanwhile keeps it."""
        async with self._database.transaction(workspace_id) as tx:
            await assignment.release_unanswerable(tx, agent_id, now=self._clock.now())

    async def release_team(self, workspace_id: int, team_id: int) -> None:
        """What a removed team had belongs to no team, a batch at a time."""
        more = True
        while more:
            async with self._database.transaction(workspace_id) as tx:
                more = bool(await assignment.release_team(tx, team_id, now=self._clock.now()))


def _filled(template: str, **values: str) -> str:
    """`{name}` and `{source}` replaced; nothing else in an operator's text means anything."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template
