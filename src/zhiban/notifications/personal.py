"""Reaching single agents without the desk: a card in the vendor's app where they have an account, or Telegram.

Only ways whose far end we know: an address that an agent may type in must lead nowhere into our own network.
"""

from __future__ import annotations

import logging
import re

from zhiban.channels.connections import Connections
from zhiban.channels.inboxes import card_inbox_at
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.failures import only_logged
from zhiban.kit.i18n import Texts, to_locale
from zhiban.kit.jobs import Job, Task
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.notifications.models import NotificationKind, Way
from zhiban.notifications.preferences import note_reached, settings_of
from zhiban.notifications.queries import notification
from zhiban.notifications.service import TELL_AGENT, forget_old
from zhiban.notifications.watching import watch_connections
from zhiban.notifications.wording import line_of, title_of
from zhiban.people.agents import AgentRow, agent_row
from zhiban.people.permissions import access_of
from zhiban.ports import Choice, ConnectionBroken, Notice, SendRefused, ShowsCards

log = logging.getLogger(__name__)

MEMBER = "member:"  # address of a member of ours at a vendor: "member:" and the vendor's name
_TELEGRAM = re.compile(r"telegram:(-?)[0-9]{1,19}", re.ASCII)
# Of these the agent is the one to act, and may take the conversation at once.
_TO_TAKE = (
    NotificationKind.ASSIGNED,
    NotificationKind.WAITING,
    NotificationKind.UNASSIGNED,
    NotificationKind.RULE,
)

TRY_PERSONAL = Job("try_personal", attempts=3)
WATCH_CONNECTIONS = Job("watch_connections", cron="* * * * *", attempts=1)
FORGET_NOTIFICATIONS = Job("forget_notifications", queue="slow", cron="41 3 * * *")


def check_personal(address: str, accounts: dict[str, str]) -> str:
    """The address as it is stored; `accounts` are the agent's ids at vendors. Raises Conflict."""
    address = address.strip()
    if address.startswith(MEMBER):
        if address.removeprefix(MEMBER) in accounts:
            return address
        raise Conflict("You have no account there that a card could be sent to.")
    chat = _TELEGRAM.fullmatch(address)
    if address and chat is None:
        raise Conflict("A Telegram chat is named by its number.")
    if chat and chat[1]:
        raise Conflict("Groups have negative numbers; what is told here is for one person.")
    return address


class PersonalJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, notifiers: NotifierRegistry, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._notifiers = notifiers
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(TELL_AGENT, self.tell_agent),
            Task(TRY_PERSONAL, self.try_personal),
            Task(FORGET_NOTIFICATIONS, self.forget),
            Task(WATCH_CONNECTIONS, self.watch),
        ]

    async def tell_agent(self, workspace_id: int, notification_id: int) -> None:
        """Tell an agent what they have not read yet, if they still want to be told so and still see it."""
        async with self._database.transaction(workspace_id) as tx:
            agent_id = await tx.value(
                "select agent_id from notification where id = %(id)s and read_at is null", id=notification_id
            )
            if agent_id is None:
                return
            agent = await agent_row(tx, agent_id)
            access = access_of(agent.id, agent.role, agent.inbox_ids)
            told, chosen = await notification(tx, access, notification_id), await settings_of(tx, agent_id)
            texts = await _texts(tx, agent_id)
        if told is None or agent.disabled_at is not None:
            return
        if Way.PERSONAL not in chosen.ways[NotificationKind(told.kind)]:
            return
        notice = Notice(
            key=f"notification-{notification_id}",
            title=title_of(told, texts),
            text=line_of(told, texts),
            url=self._url(told.path),
        )
        takes = NotificationKind(told.kind) in _TO_TAKE
        button = Choice(f"take:{told.conversation_id}", texts("接入")) if takes else None
        await self._reach(workspace_id, agent, chosen.address, notice, button)

    async def try_personal(self, workspace_id: int, agent_id: int, notice_key: str) -> None:
        """Send a word to the address that an agent chose, so that they see that it arrives."""
        async with self._database.transaction(workspace_id) as tx:
            agent, chosen = await agent_row(tx, agent_id), await settings_of(tx, agent_id)
            texts = await _texts(tx, agent_id)
        notice = Notice(
            key=notice_key,
            title=texts("值班：试一试"),
            text=texts("{name}，以后的提醒会发到这里。", name=agent.name),
            url=self._url("/me/notifications"),
        )
        await self._reach(workspace_id, agent, chosen.address, notice, None)

    async def forget(self) -> None:
        """Forget what is old."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                await forget_old(tx, now=self._clock.now())

    async def watch(self) -> None:
        """Tell whoever runs this of connections that fell silent."""
        for workspace_id in await self._database.workspaces():
            with only_logged(log, f"The connections of workspace {workspace_id} are looked at later."):
                async with self._database.transaction(workspace_id) as tx:
                    await watch_connections(tx, now=self._clock.now())

    def _url(self, path: str) -> str | None:
        return self._notifiers.url + path if self._notifiers.url else None

    async def _reach(
        self,
        workspace_id: int,
        agent: AgentRow,
        address: str,
        notice: Notice,
        button: Choice | None,
    ) -> None:
        """Deliver, and let the agent know where that is of no use: only they can mend it. Raises TryLater."""
        if not address:
            return
        trouble = ""
        try:
            check_personal(address, agent.accounts)  # a group may have been named before that was refused
            await self._deliver(workspace_id, address, agent.accounts, notice, button)
        except (Conflict, ConnectionBroken, SendRefused) as error:
            log.info("Agent %s is not reached without the desk: %s", agent.id, error)
            trouble = error.sentence
        async with self._database.transaction(workspace_id) as tx:
            await note_reached(tx, agent.id, address, trouble=trouble)

    async def _deliver(
        self,
        workspace_id: int,
        address: str,
        accounts: dict[str, str],
        notice: Notice,
        button: Choice | None,
    ) -> None:
        if not address.startswith(MEMBER):
            await self._notifiers.notifier(address).notify(address, notice)
            return
        vendor = address.removeprefix(MEMBER)
        async with self._database.transaction(workspace_id) as tx:
            cards = await card_inbox_at(tx, vendor, self._notifiers.card_kinds)
        if cards is None:
            raise ConnectionBroken("There is no app to send cards with", code=0)
        inbox = await self._connections.inbox(workspace_id, cards.id)
        if not isinstance(inbox.channel, ShowsCards):
            raise ConnectionBroken("There is no app to send cards with", code=0)
        await inbox.channel.send_handoff([accounts[vendor]], notice, button=button)


async def _texts(tx: Transaction, agent_id: int) -> Texts:
    locale = await tx.value("select locale from agent where id = %(id)s", id=agent_id)
    return Texts(to_locale(locale))
