"""Jobs of the assistant: telling our people that somebody waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from zhiban.channels.connections import Connections
from zhiban.channels.inboxes import card_inbox
from zhiban.channels.policy import Policy
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Row
from zhiban.kit.errors import ZhibanError
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.jobs import Task, later
from zhiban.notifications.notices import handoff_notice
from zhiban.people.agents import accounts_at
from zhiban.people.contacts import learn_profiles
from zhiban.ports import Choice, ConnectionBroken, KnowsContacts, Notice, Notifier, ShowsCards
from zhiban.ports.notifiers import parse_address

log = logging.getLogger(__name__)

_WAITING = """
select c.inbox_id, c.handoff_reason, coalesce(c.waiting_since, c.opened_at, c.last_activity_at),
  coalesce(nullif(p.remark, ''), p.name, ''), i.name, i.policy, (
    select m.text from message m where m.conversation_id = c.id and m.direction = 'in' and m.text <> ''
    order by m.id desc limit 1), c.status, c.cycle
from conversation c join inbox i on i.workspace_id = c.workspace_id and i.id = c.inbox_id
left join contact p on p.workspace_id = c.workspace_id and p.id = c.contact_id
where c.id = %(id)s"""

MEMBERS = "members:"  # the address of all agents who have an account at the inbox's own vendor

REASONS = {
    "asked": mark("客户要求人工"),
    "word": mark("命中转人工的词"),
    "upset": mark("客户情绪激动"),
    "repeated_failure": mark("多次没有答好"),
    "nothing_found": mark("知识库里没有答案"),
    "cannot_read": mark("收到看不懂的消息"),
    "about_order": mark("客户发来订单"),
    "allowance": mark("可回复条数将用完"),
    "no_answer": mark("没有把握回答"),
    "reply_failed": mark("回复没有送达"),
    "error": mark("助手出错"),
    "late": mark("消息到得太晚"),
    "wrote_again": mark("客户又来信了"),
}


@dataclass(frozen=True, slots=True)
class NotifierRegistry:
    """The ways to our people: addresses for everybody, who knows which kind of address, and channels with cards."""

    addresses: Sequence[str]
    by_scheme: Mapping[str, Notifier]
    other: Notifier
    url: str
    card_kinds: Sequence[str] = ()

    def notifier(self, address: str) -> Notifier:
        return self.by_scheme.get(parse_address(address)[0], self.other)


class AssistantJobs:
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
            Task("notify_handoff", self.notify_handoff, attempts=3),
            Task("send_notification", self.send_notification, attempts=8, final=(ConnectionBroken,)),
        ]

    async def notify_handoff(self, workspace_id: int, conversation_id: int) -> None:
        """Split one handoff into a job for every address, so that one deaf address does not repeat the others."""
        async with self._database.transaction(workspace_id) as tx:
            row = await tx.row(_WAITING, id=conversation_id)
            if row is None or row[7] != "open":
                return
            thread = await tx.value(
                "select external_id from conversation where id = %(id)s and not exists ("
                "select 1 from contact p where p.id = conversation.contact_id and p.name <> '')",
                id=conversation_id,
            )
        if thread is not None:
            await self._fetch_contact_name(workspace_id, row[0], thread)
        async with self._database.transaction(workspace_id) as tx:
            policy = Policy.model_validate(row[5])
            for address in dict.fromkeys((*self._notifiers.addresses, *policy.handoff.notify)):
                await later(tx, "send_notification", conversation_id=conversation_id, address=address)
            cards = await card_inbox(tx, row[0], self._notifiers.card_kinds)
            if cards and await accounts_at(tx, cards.vendor):
                await later(tx, "send_notification", conversation_id=conversation_id, address=MEMBERS)

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

    async def send_notification(self, workspace_id: int, conversation_id: int, address: str) -> None:
        """Deliver one notice. A wrong address ends the job as a dead letter, which the health page shows."""
        async with self._database.transaction(workspace_id) as tx:
            row = await tx.row(_WAITING, id=conversation_id)
            cards = await card_inbox(tx, row[0], self._notifiers.card_kinds) if row else None
            members = await accounts_at(tx, cards.vendor) if cards else []
        if row is None:
            return
        notice = self._notice(conversation_id, row)
        if address != MEMBERS:
            await self._notifiers.notifier(address).notify(address, notice)
            return
        inbox = await self._connections.inbox(workspace_id, cards.id) if cards else None
        if inbox is None or not isinstance(inbox.channel, ShowsCards):
            raise ConnectionBroken("There is no app to send cards with", code=0)
        await inbox.channel.send_handoff(members, notice, button=Choice(f"take:{conversation_id}", "接入"))

    def _notice(self, conversation_id: int, row: Row) -> Notice:
        _, reason, since, name, inbox, _, question, _, cycle = row
        when = since.astimezone(ZoneInfo("Asia/Shanghai")).strftime("%m-%d %H:%M") if since else ""
        return handoff_notice(
            key=f"handoff-{conversation_id}-{cycle}",
            contact_name=str(name),
            question=str(question or ""),
            reason=self._texts(REASONS.get(str(reason), str(reason or ""))),
            waiting_since=when,
            url=f"{self._notifiers.url}/conversations/{conversation_id}" if self._notifiers.url else None,
            inbox=str(inbox),
        )
