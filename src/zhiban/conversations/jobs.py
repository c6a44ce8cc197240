"""Jobs about conversations: profiles, friendships, cards, upkeep. Each can run twice without harm."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from zhiban.channels import inboxes
from zhiban.channels.connections import Connections, OpenConnection
from zhiban.conversations.models import Status
from zhiban.conversations.service import lock_conversation, open_for_people, release
from zhiban.events import SYSTEM
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.event_log import CONVERSATION_CHANGED
from zhiban.kit.jobs import Task, later
from zhiban.people.contacts import ensure_contacts, learn_profiles
from zhiban.ports import (
    ContactFollow,
    FeatureOff,
    KnowsContacts,
    ManagesExternalContacts,
    NativeState,
    Profile,
    SendRefused,
    ShowsCards,
    TransfersNatively,
)

log = logging.getLogger(__name__)

PROFILES_AT_ONCE = 100
KEEP_DELIVERIES = timedelta(days=4)  # vendors repeat for three at most
CONTACT_WELCOME = "您好，很高兴认识您！有任何问题，直接发消息给我就好。"  # said unless the connection says otherwise
SOURCE_TAGS = "来源"  # the tag group for where a contact came from


class ConversationJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task("fetch_profiles", self.fetch_profiles, attempts=4),
            Task("learn_native_state", self.learn_native_state, attempts=4),
            Task("welcome_relation", self.welcome_relation, attempts=4, wait=1.0),
            Task("mark_relation", self.mark_relation, attempts=5),
            Task("reconcile_relations", self.reconcile_relations, queue="slow", attempts=3, wait=60),
            Task("reread_contact", self.reread_contact, queue="slow", attempts=4),
            Task("update_card", self.update_card, attempts=3),
            Task("release_conversations", self.release_conversations, attempts=5),
            Task("purge_deliveries", self.purge_deliveries, queue="slow", cron="17 3 * * *"),
            Task("plan_reconciling", self.plan_reconciling, queue="slow", cron="41 4 * * *"),
        ]

    # ---------------------------------------------------------------------------------------------- who they are

    async def fetch_profiles(self, workspace_id: int, inbox_id: int) -> None:
        """Names and pictures of the contacts of this inbox that we know by id only."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, KnowsContacts):
            return
        kind, account = inbox.connection.vendor.namespace(inbox.kind)
        async with self._database.transaction(workspace_id) as tx:
            rows = await tx.rows(
                "select i.external_id from identity i join conversation c on c.workspace_id = i.workspace_id "
                "and c.contact_id = i.contact_id where i.kind = %(kind)s and i.account = %(account)s "
                "and i.profiled_at is null and c.inbox_id = %(inbox)s order by i.id desc limit %(limit)s",
                kind=kind,
                account=account,
                inbox=inbox_id,
                limit=PROFILES_AT_ONCE,
            )
        unknown = [row[0] for row in rows]
        if not unknown:
            return
        found = {profile.external_id: profile for profile in await inbox.channel.profiles(unknown)}
        # Who is not known to the vendor any more is not asked about again.
        profiles = [found.get(external_id) or Profile(external_id, "") for external_id in unknown]
        async with self._database.transaction(workspace_id) as tx:
            contacts = await learn_profiles(tx, kind, account, profiles, now=self._clock.now())
            changed = await tx.rows(
                "select id from conversation where contact_id = any(%(contacts)s::bigint[])", contacts=contacts
            )
            for (conversation_id,) in changed:
                tx.publish_after_commit(CONVERSATION_CHANGED, conversation_id)

    async def learn_native_state(self, workspace_id: int, conversation_id: int) -> None:
        """Ask the vendor who holds the session, after it refused a message of ours."""
        async with self._database.transaction(workspace_id) as tx:
            row = await tx.row("select inbox_id, external_id from conversation where id = %(id)s", id=conversation_id)
        if row is None:
            return
        inbox = await self._connections.inbox(workspace_id, row[0])
        if not isinstance(inbox.channel, TransfersNatively):
            return
        state, servicer = await inbox.channel.native_state(row[1])
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            locked = await lock_conversation(tx, conversation_id)
            await tx.run(
                "update conversation set native_state = %(state)s, native_servicer = %(servicer)s where id = %(id)s",
                state=state,
                servicer=servicer,
                id=conversation_id,
            )
            if state in (NativeState.HUMAN, NativeState.POOL) and locked.status != Status.RESOLVED:
                await open_for_people(tx, locked, actor=SYSTEM, now=now, cause="native")
            tx.publish_after_commit(CONVERSATION_CHANGED, conversation_id)

    # ---------------------------------------------------------------------------------------------- friendships

    async def _relation(
        self, workspace_id: int, relation_id: int
    ) -> tuple[OpenConnection, str, str, str | None, str] | None:
        async with self._database.transaction(workspace_id) as tx:
            row = await tx.row(
                "select r.connection_id, r.member, r.external_id, r.source, c.name from relation r "
                "join contact c on c.workspace_id = r.workspace_id and c.id = r.contact_id where r.id = %(id)s",
                id=relation_id,
            )
        if row is None:
            return None
        connection = await self._connections.connection(workspace_id, row[0])
        return connection, row[1], row[2], row[3], row[4]

    async def welcome_relation(self, workspace_id: int, relation_id: int, code: str, expires: str) -> None:
        """The one welcome to a new friend, within twenty seconds of their adding us."""
        found = await self._relation(workspace_id, relation_id)
        left = (datetime.fromisoformat(expires) - self._clock.now()).total_seconds()
        if found is None or left <= 0 or not isinstance(found[0].vendor, ManagesExternalContacts):
            return
        text = await self._setting(workspace_id, found[0].id, "contact_welcome", found[3], CONTACT_WELCOME)
        if not text:
            return
        try:
            await found[0].vendor.welcome_contact(code, text, left=left)
        except (SendRefused, FeatureOff) as error:
            log.info("A new contact was not welcomed: %s", error)

    async def mark_relation(self, workspace_id: int, relation_id: int) -> None:
        """Learn a new friend's name, tag them by where they came from, and set the remark if one is configured."""
        found = await self._relation(workspace_id, relation_id)
        if found is None:
            return
        connection, member, contact, source, name = found
        if not isinstance(connection.vendor, ManagesExternalContacts):
            return
        try:
            name = name or await connection.vendor.contact_name(contact)
            if source:
                await connection.vendor.tag_contact(member, contact, SOURCE_TAGS, [source[:30]])
            remark = await self._setting(workspace_id, connection.id, "contact_remark", source)
            if remark:
                await connection.vendor.remark_contact(member, contact, _filled(remark, name=name, source=source or ""))
        except (SendRefused, FeatureOff) as error:
            # Half friends cannot be marked yet; the full event comes when the member adds them back.
            log.info("A new contact was not marked: %s", error)
            return
        kind, account = connection.vendor.namespace(connection.vendor.contact_kind)
        async with self._database.transaction(workspace_id) as tx:
            await tx.run(
                "update relation set tags = to_jsonb(array_remove(array[%(source)s::text], null)) where id = %(id)s",
                source=source,
                id=relation_id,
            )
            await learn_profiles(tx, kind, account, [Profile(contact, name)], now=self._clock.now())

    async def _setting(
        self, workspace_id: int, connection_id: int, name: str, source: str | None, default: str = ""
    ) -> str:
        """A text of the connection's configuration: one for this source, or the general one. Empty means none."""
        async with self._database.transaction(workspace_id) as tx:
            config = await tx.value("select config from connection where id = %(id)s", id=connection_id)
        general = (config or {}).get(name, default)
        return str(((config or {}).get(f"{name}_by_source") or {}).get(source or "", general) or "")

    async def reconcile_relations(self, workspace_id: int, connection_id: int) -> None:
        """Read all friendships from the vendor: callbacks get lost, and it says so itself.

        Where the vendor has not opened this to us, the connection remembers why, for information.
        """
        connection = await self._connections.connection(workspace_id, connection_id)
        if not isinstance(connection.vendor, ManagesExternalContacts):
            return
        began = self._clock.now()
        namespace = connection.vendor.namespace(connection.vendor.contact_kind)
        try:
            async for seen in connection.vendor.relations():
                await self._keep_relation(connection, namespace, seen)
        except FeatureOff as error:
            log.info("Friendships of connection %s are not read: %s", connection_id, error)
            await self._note_feature(workspace_id, connection_id, off=error.sentence)
            return
        await self._note_feature(workspace_id, connection_id, off=None)
        async with self._database.transaction(workspace_id) as tx:
            await tx.run(
                "update relation set state = 'ended', removed_at = %(now)s where connection_id = %(connection)s "
                "and removed_at is null and seen_at < %(began)s",
                now=self._clock.now(),
                connection=connection_id,
                began=began,
            )

    async def _note_feature(self, workspace_id: int, connection_id: int, *, off: str | None) -> None:
        async with self._database.transaction(workspace_id) as tx:
            await inboxes.note_contacts_off(tx, connection_id, off)

    async def reread_contact(self, workspace_id: int, connection_id: int, contact: str) -> None:
        """A friendship was edited: read this contact's anew, and nobody else's."""
        connection = await self._connections.connection(workspace_id, connection_id)
        if not isinstance(connection.vendor, ManagesExternalContacts):
            return
        namespace = connection.vendor.namespace(connection.vendor.contact_kind)
        try:
            for seen in await connection.vendor.relations_of(contact):
                await self._keep_relation(connection, namespace, seen)
        except (SendRefused, FeatureOff) as error:
            log.info("A contact was not read again: %s", error)

    async def _keep_relation(self, connection: OpenConnection, namespace: tuple[str, str], seen: ContactFollow) -> None:
        now = self._clock.now()
        kind, account = namespace
        async with self._database.transaction(connection.workspace_id) as tx:
            contacts = await ensure_contacts(tx, kind, account, [seen.contact], now=now)
            await learn_profiles(tx, kind, account, [Profile(seen.contact, seen.name)], now=now)
            await tx.run(
                "insert into relation (workspace_id, connection_id, contact_id, external_id, member, source, remark, "
                "state, added_at, seen_at) values (%(workspace)s, %(connection)s, %(contact)s, %(external)s, "
                "%(member)s, %(source)s, %(remark)s, 'added', %(added)s, %(now)s) "
                "on conflict (workspace_id, connection_id, external_id, member) do update set seen_at = %(now)s, "
                "removed_at = null, state = 'added', remark = excluded.remark, "
                "source = coalesce(relation.source, excluded.source)",
                workspace=connection.workspace_id,
                connection=connection.id,
                contact=contacts[seen.contact],
                external=seen.contact,
                member=seen.member,
                source=seen.source,
                remark=seen.remark,
                added=seen.added_at,
                now=now,
            )

    # --------------------------------------------------------------------------------------------------- upkeep

    async def release_conversations(self, workspace_id: int, agent_id: int) -> None:
        async with self._database.transaction(workspace_id) as tx:
            await release(tx, agent_id, now=self._clock.now())

    async def update_card(self, workspace_id: int, inbox_id: int, code: str, label: str) -> None:
        """Show on a tapped card what became of it."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if isinstance(inbox.channel, ShowsCards):
            await inbox.channel.close_card(code, label)

    async def purge_deliveries(self) -> None:
        """Forget deliveries after four days; a vendor repeats them for three at most. Failed ones stay."""
        before = self._clock.now() - KEEP_DELIVERIES
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                await tx.run(
                    "delete from delivery where state in ('done', 'parked') and received_at < %(before)s", before=before
                )

    async def plan_reconciling(self) -> None:
        """Once a day: read friendships anew for every connection."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                for (connection_id,) in await tx.rows("select id from connection where broken is null"):
                    await later(
                        tx,
                        "reconcile_relations",
                        key=f"relations:{workspace_id}:{connection_id}",
                        queue="slow",
                        connection_id=connection_id,
                    )


def _filled(template: str, **values: str) -> str:
    """`{name}` and `{source}` replaced; nothing else in an operator's text means anything."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template
