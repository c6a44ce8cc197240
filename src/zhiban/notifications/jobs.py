"""Work after the commit: telling our own people that somebody waits for them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime

from zhiban.channels.connections import Connections
from zhiban.channels.inboxes import card_inbox
from zhiban.conversations.models import Status
from zhiban.conversations.queries import event_by_id
from zhiban.conversations.reasons import handoff_words
from zhiban.events import (
    ConversationCreated,
    ConversationHandedOff,
    ConversationOpened,
    ConversationReopened,
    ConversationStarted,
    StatusChanged,
)
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Enqueued, Job, Task, enqueue_many
from zhiban.notifications.notices import handoff_notice
from zhiban.people.agents import accounts_at
from zhiban.people.contacts import learn_profiles
from zhiban.people.workspaces import workspace_locale
from zhiban.ports import Choice, ConnectionBroken, KnowsContacts, Notice, Notifier, ShowsCards
from zhiban.ports.notifiers import parse_address

log = logging.getLogger(__name__)

NOTIFY_HANDOFF = Job("notify_handoff", attempts=3)
SEND_NOTIFICATION = Job("send_notification", attempts=8, final=(ConnectionBroken,))
NOTIFY_PEOPLE = Job("notify_people", attempts=3)
SEND_NOTICE = Job("send_notice", attempts=8, final=(ConnectionBroken,))

MEMBERS = "members:"  # the address of all agents who have an account at the inbox's own vendor

_WAITING = """
select c.inbox_id, c.status, c.external_id as thread, c.handoff_reason as reason,
  coalesce(c.waiting_since, c.opened_at, c.last_activity_at) as since,
  coalesce(nullif(p.remark, ''), p.name, c.subject) as contact_name, c.kind = 'group' as is_group,
  i.name as inbox_name, (
    select m.text from message m where m.conversation_id = c.id and m.direction = 'in' and m.text <> ''
    order by m.id desc limit 1) as last_words
from conversation c join inbox i on i.workspace_id = c.workspace_id and i.id = c.inbox_id
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id
where c.id = %(id)s"""


@frozen_dataclass
class WaitingContact:
    """Somebody who waits for a person, as the notice tells it."""

    inbox_id: int
    status: str
    thread: str
    reason: str | None
    since: datetime
    contact_name: str  # of a group: its own
    is_group: bool
    inbox_name: str
    last_words: str | None


EXAMPLES = ("feishu", "dingtalk")  # of the hosted schemes, those that are named as examples


@frozen_dataclass
class NotifierRegistry:
    """The ways to our people: addresses for everybody, who knows which kind of address, and channels with cards."""

    addresses: Sequence[str]
    by_scheme: Mapping[str, Notifier]
    other: Notifier
    url: str
    card_kinds: Sequence[str] = ()
    hosted: Set[str] = frozenset()  # schemes of `other` whose addresses name no host

    def notifier(self, address: str) -> Notifier:
        return self.by_scheme.get(parse_address(address)[0], self.other)

    @property
    def examples(self) -> tuple[str, ...]:
        """How addresses begin that people may add themselves: those of our own notifiers, then some of the others."""
        own = sorted(self.by_scheme)
        others = [f"{scheme}://" for scheme in EXAMPLES if scheme in self.hosted]
        return (*(f"{scheme}:" for scheme in own), *others)

    def is_hosted(self, address: str) -> bool:
        """Whether it leads to a service on the internet and nowhere else. Raises Misconfigured."""
        scheme, _ = parse_address(address)
        return scheme in self.by_scheme or scheme in self.hosted


# ---------------------------------------------------------------------------------------- which fact leads to which


def for_status(event: StatusChanged) -> Iterable[Enqueued]:
    """Somebody waits for a person, and nobody of ours knows it yet."""
    unexpected = isinstance(event, ConversationHandedOff) or event.actor.kind == "contact"
    if event.status == Status.OPEN and unexpected:
        yield NOTIFY_HANDOFF.of(
            key=f"{event.conversation_id}:{event.id}", conversation_id=event.conversation_id, event_id=event.id
        )


def for_created(event: ConversationCreated) -> Iterable[Enqueued]:
    """A contact whose first words no assistant reads."""
    if event.status == Status.OPEN:
        yield NOTIFY_HANDOFF.of(conversation_id=event.conversation_id, event_id=event.id)


NOTIFYING: tuple[type[StatusChanged], ...] = (
    ConversationHandedOff,
    ConversationOpened,
    ConversationReopened,
    ConversationStarted,
)


def to_people(conversation_id: int, *, key: str, title: str, text: str) -> Enqueued:
    """Tell whoever is told of handoffs in this conversation's inbox; the same `key` tells once."""
    return NOTIFY_PEOPLE.of(key=key, conversation_id=conversation_id, notice_key=key, title=title, text=text)


class NotificationJobs:
    """What these jobs need, and the jobs."""

    def __init__(
        self, database: Database, connections: Connections, notifiers: NotifierRegistry, texts: Texts, clock: Clock
    ) -> None:
        self._database = database
        self._connections = connections
        self._notifiers = notifiers
        self._texts = texts
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(NOTIFY_HANDOFF, self.notify_handoff),
            Task(SEND_NOTIFICATION, self.send_notification),
            Task(NOTIFY_PEOPLE, self.notify_people),
            Task(SEND_NOTICE, self.send_notice),
        ]

    async def notify_handoff(self, workspace_id: int, conversation_id: int, event_id: int) -> None:
        """Split one notice into a job for every address, so that one that fails does not repeat the others."""
        async with self._database.transaction(workspace_id) as tx:
            waiting = await tx.object(WaitingContact, _WAITING, id=conversation_id)
        if waiting is None or waiting.status != Status.OPEN:
            return
        if not waiting.contact_name and not waiting.is_group:
            await self._fetch_contact_name(workspace_id, waiting.inbox_id, waiting.thread)
        recipients = await self._recipients(workspace_id, waiting.inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await enqueue_many(
                tx,
                [
                    SEND_NOTIFICATION.of(conversation_id=conversation_id, event_id=event_id, recipient=recipient)
                    for recipient in recipients
                ],
            )

    async def _recipients(self, workspace_id: int, inbox_id: int) -> list[str]:
        """Every address as jobs name it, and the members who have an account at the inbox's vendor."""
        recipients = [_named(address) for address in await self._addresses(workspace_id, inbox_id)]
        async with self._database.transaction(workspace_id) as tx:
            cards = await card_inbox(tx, inbox_id, self._notifiers.card_kinds)
            if cards and await accounts_at(tx, cards.vendor, inbox_id=inbox_id):
                recipients.append(MEMBERS)
        return recipients

    async def notify_people(
        self, workspace_id: int, conversation_id: int, notice_key: str, title: str, text: str
    ) -> None:
        """Split a notice into a job for every address, as `notify_handoff` does."""
        async with self._database.transaction(workspace_id) as tx:
            waiting = await tx.object(WaitingContact, _WAITING, id=conversation_id)
        if waiting is None:
            return
        recipients = await self._recipients(workspace_id, waiting.inbox_id)
        async with self._database.transaction(workspace_id) as tx:
            await enqueue_many(
                tx,
                [
                    SEND_NOTICE.of(
                        conversation_id=conversation_id, recipient=one, notice_key=notice_key, title=title, text=text
                    )
                    for one in recipients
                ],
            )

    async def send_notice(
        self, workspace_id: int, conversation_id: int, recipient: str, notice_key: str, title: str, text: str
    ) -> None:
        """Deliver one notice. A wrong address ends the job as a dead letter, which the health page shows."""
        async with self._database.transaction(workspace_id) as tx:
            waiting = await tx.object(WaitingContact, _WAITING, id=conversation_id)
        if waiting is None:
            return
        url = f"{self._notifiers.url}/conversations/{conversation_id}" if self._notifiers.url else None
        notice = Notice(key=notice_key, title=title, text=text, url=url)
        await self._deliver(workspace_id, conversation_id, waiting.inbox_id, notice, recipient)

    async def _addresses(self, workspace_id: int, inbox_id: int) -> list[str]:
        """Those of the installation, then those of the inbox."""
        own = await self._connections.notified(workspace_id, inbox_id)
        return list(dict.fromkeys((*self._notifiers.addresses, *own)))

    async def _fetch_contact_name(self, workspace_id: int, inbox_id: int, thread: str) -> None:
        """Ask for a newcomer's name, so that the notice can say it. Without an answer they stay nameless for now."""
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        if not isinstance(inbox.channel, KnowsContacts):
            return
        try:
            found = await inbox.channel.profiles([thread])
        except ZhibanError as error:
            log.info("A notice goes out without a name: %s", error)
            return
        kind, account = inbox.connection.vendor.namespace(inbox.kind)
        async with self._database.transaction(workspace_id) as tx:
            await learn_profiles(tx, kind, account, found, now=self._clock.now())

    async def send_notification(self, workspace_id: int, conversation_id: int, event_id: int, recipient: str) -> None:
        """Deliver one notice. A wrong address ends the job as a dead letter, which the health page shows."""
        async with self._database.transaction(workspace_id) as tx:
            waiting = await tx.object(WaitingContact, _WAITING, id=conversation_id)
            if waiting is None:
                return
            notice = await self._notice(tx, conversation_id, event_id, waiting)
        await self._deliver(workspace_id, conversation_id, waiting.inbox_id, notice, recipient)

    async def _deliver(
        self, workspace_id: int, conversation_id: int, inbox_id: int, notice: Notice, recipient: str
    ) -> None:
        async with self._database.transaction(workspace_id) as tx:
            cards = await card_inbox(tx, inbox_id, self._notifiers.card_kinds)
            members = await accounts_at(tx, cards.vendor, inbox_id=inbox_id) if cards else []
            texts = await self._words(tx)
        if recipient != MEMBERS:
            # Addresses hold passwords: the job names one by its digest, and one that was taken out gets nothing.
            for address in await self._addresses(workspace_id, inbox_id):
                if _named(address) == recipient:
                    await self._notifiers.notifier(address).notify(address, notice)
            return
        inbox = await self._connections.inbox(workspace_id, cards.id) if cards else None
        if inbox is None or not isinstance(inbox.channel, ShowsCards):
            raise ConnectionBroken("There is no app to send cards with", code=0)
        await inbox.channel.send_handoff(members, notice, button=Choice(f"take:{conversation_id}", texts("接入")))

    async def _words(self, tx: Transaction) -> Texts:
        """The workspace's language: a notice goes to addresses, of whose readers nothing is known."""
        return replace(self._texts, locale=await workspace_locale(tx))

    async def _notice(self, tx: Transaction, conversation_id: int, event_id: int, waiting: WaitingContact) -> Notice:
        event = await event_by_id(tx, event_id)
        question = event.question if isinstance(event, ConversationHandedOff) else ""
        texts, why = await self._words(tx), handoff_words(waiting.reason or "")
        return handoff_notice(
            texts,
            # Of this event, not of the conversation: a second handoff is another notice.
            key=f"handoff-{conversation_id}-{event_id}",
            contact_name=waiting.contact_name,
            contact_id=waiting.thread,
            question=question or waiting.last_words or "",
            reason=texts(why) if why else "",
            waiting_since=waiting.since.astimezone(texts.zone).strftime("%m-%d %H:%M"),
            url=f"{self._notifiers.url}/conversations/{conversation_id}" if self._notifiers.url else None,
            inbox=waiting.inbox_name,
        )


def _named(address: str) -> str:
    """An address for a job: its kind, and a digest instead of what may hold a password."""
    return f"{parse_address(address)[0]}:{hashlib.sha256(address.encode()).hexdigest()[:12]}"
