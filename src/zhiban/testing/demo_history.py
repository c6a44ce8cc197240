"""A desk that has been in use: colleagues, two weeks of conversations, a queue, tickets, snippets, a macro, a view.

Made with the verbs of the product and dated back, in an inbox of its own, so that the report and the lists show what
they show after two weeks. Nothing here is ever sent to anybody.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from zhiban.automation import macros, saved_views
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flows import add_flow
from zhiban.automation.macro_definition import load_macro
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import replies, service
from zhiban.conversations.labels import add_label
from zhiban.conversations.models import Priority
from zhiban.conversations.snippets import add_snippet
from zhiban.events import ASSISTANT, Cause
from zhiban.kit.background_tasks import RepeatedTask
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.event_log import Reactions
from zhiban.knowledge import queries
from zhiban.people import presence, teams
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.testing import demo_talk
from zhiban.testing.demo_talk import Waiting
from zhiban.testing.demo_tickets import promise
from zhiban.testing.script import Script

log = logging.getLogger(__name__)

DAYS = 13  # so that all of it stands in the report of the last fourteen days
# The shop's day, in conversations an hour: mornings and evenings are busy.
_HOURS = {9: 3, 10: 5, 11: 4, 12: 2, 13: 2, 14: 3, 15: 4, 16: 3, 17: 2, 18: 2, 19: 3, 20: 3, 21: 1, 23: 1}
_SHOP = ZoneInfo("Asia/Shanghai")
_COLLEAGUES = (("陈默", "chen", Role.SUPERVISOR), ("苏禾", "su", Role.AGENT), ("马骁", "ma", Role.AGENT))
_TEAMS = (("售后", ("苏禾", "马骁")), ("订单与物流", ("陈默", "苏禾")))
_BEAT_SECONDS = 20.0  # as a page of the desk does
ONLINE = ("陈默", "苏禾")  # they have the desk open as long as the demonstration runs


@dataclass
class _ToldStory:
    """An answer of the assistant, from the sample knowledge."""

    question: str
    answer: str
    title: str


@dataclass
class History:
    """Writes the two weeks before `now`. `owner` is the colleague whom the visitor plays."""

    script: Script
    owner: str
    now: datetime
    dice: random.Random

    @classmethod
    def of(cls, inbox: OpenInbox, *, owner: str, owner_id: int, now: datetime) -> History:
        script = Script(workspace_id=inbox.workspace_id, limits=inbox.channel.limits, prefix="demo-")
        script.inbox = inbox
        script.agents[owner] = owner_id
        return cls(script, owner, now, random.Random(20261120))

    async def write(self, database: Database, reactions: Reactions, *, base_id: int) -> int:
        """All of it. Returns how many conversations there are. `reactions` without jobs: nobody is to be notified."""
        usual, database.reactions = database.reactions, reactions
        try:
            # All of it or nothing: what is half written would stay so.
            async with database.transaction(self.script.workspace_id) as tx:
                labels, told = await self._furnish(tx), await _sample(tx, base_id)
                for began in self._moments():
                    await self._past(tx, began, told, labels)
                await self._read(tx)
                for waiting in sorted(demo_talk.QUEUE, key=lambda one: -one.minutes):
                    await self._present(tx, waiting, labels)
                await promise(tx, self.script, labels, by=self.owner, now=self.now)
                # What a script says is handled; no worker has to look at it.
                await tx.run("update message set state = 'handled' where state = 'pending'")
                await tx.run("update conversation_work set leased_by = null, lease_expires_at = null, retry_at = null")
        finally:
            database.reactions = usual
        return len(self.script.conversations)

    async def _furnish(self, tx: Transaction) -> dict[str, int]:
        """Colleagues, teams, labels, snippets, a macro, a flow, a view. Returns the labels."""
        now = self.now - timedelta(days=DAYS + 1)
        for name, mail, role in _COLLEAGUES:
            self.script.agents[name] = await add_agent(
                tx, email=f"{mail}@zhiban.example", name=name, role=role, password_hash=None
            )
        by = self.script.by(self.owner)
        for name, members in _TEAMS:
            await teams.create(tx, name=name, members=[self.script.agents[one] for one in members], by=by, now=now)
        names = dict.fromkeys(talk.label for talk in demo_talk.TALKS)
        labels = {name: await add_label(tx, name=name, color=n % 6 + 1, by=by, now=now) for n, name in enumerate(names)}
        for name, text in demo_talk.SNIPPETS:
            await add_snippet(tx, name=name, text=text, owner_id=None, by=by, now=now)
        done = load_macro(
            [
                {"kind": "add_labels", "labels": [labels["退款"]]},
                {"kind": "send_message", "text": "退款已经办好，按原路退回，请您留意到账。"},
                {"kind": "set_status", "status": "resolved"},
            ]
        )
        await macros.add_macro(tx, name="退款已办好", definition=done, owner_id=None, by=by, now=now)
        asks = load_flow(
            {
                "steps": [
                    {
                        "kind": "choice",
                        "question": "您想怎么处理？",
                        "name": "想要",
                        "options": ["退货", "换货", "维修"],
                    },
                    {"kind": "text", "question": "请说一下商品和遇到的问题。", "name": "问题"},
                    {"kind": "file", "question": "方便的话拍张照片发来。", "name": "照片", "optional": True},
                    {"kind": "phone", "question": "留个电话，办好了告诉您。", "name": "电话", "save": "contact:phone"},
                ],
                "actions": [{"kind": "add_labels", "labels": [labels["质量"]]}, {"kind": "hand_off", "to": "people"}],
                "minutes": 30,
            }
        )
        await add_flow(tx, name="退换登记", definition=asks, enabled=True, by=by, now=now)
        waited = saved_views.load_view(
            {"kind": "group", "conditions": [{"kind": "waiting", "operator": "at_least", "minutes": 10}]}
        )
        await saved_views.add_view(tx, name="等了十分钟以上", conditions=waited, owner_id=None, by=by, now=now)
        return labels

    def _moments(self) -> Sequence[datetime]:
        """When conversations began, oldest first; weekends are quieter, and none ends after now."""
        first = (self.now.astimezone(_SHOP) - timedelta(days=DAYS)).replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        for day in range(DAYS + 1):
            date = first + timedelta(days=day)
            share = 0.12 if date.weekday() >= 5 else 0.22
            hours = [hour for hour, usual in _HOURS.items() for _ in range(usual) if self.dice.random() < share]
            found += [date + timedelta(hours=hour, minutes=self.dice.randrange(60)) for hour in hours]
        return sorted(one.astimezone(UTC) for one in found if one < self.now - timedelta(hours=6))

    async def _past(self, tx: Transaction, began: datetime, told: Sequence[_ToldStory], labels: dict[str, int]) -> None:
        """One conversation, begun and ended: six of ten by the assistant alone."""
        busy = {one.who for one in demo_talk.QUEUE}
        who = self.dice.choice([one for one in demo_talk.CONTACTS if one not in busy])
        if self.dice.random() < 0.6:
            one = self.dice.choice(told)
            await self.script.says(tx, who, one.question, at=began)
            sure = round(self.dice.uniform(0.78, 0.97), 2)
            await self.script.answers(
                tx, who, one.answer, at=began + timedelta(seconds=1), confidence=sure, citations=[{"title": one.title}]
            )
            conversation, ended = self.script.conversations[who], began + timedelta(hours=4)
            await service.resolve(tx, conversation, by=ASSISTANT, now=ended, reason="idle", cause=Cause("timer"))
            return
        await self._by_a_person(tx, who, began, labels)

    async def _read(self, tx: Transaction) -> None:
        """Whom the visitor plays has read what is over."""
        rows = await tx.rows("select conversation_id, max(id) from message group by conversation_id")
        for conversation_id, last in rows:
            await replies.mark_read(tx, conversation_id, agent_id=self.script.agents[self.owner], message_id=last)

    async def _by_a_person(self, tx: Transaction, who: str, began: datetime, labels: dict[str, int]) -> None:
        talk, agent = self.dice.choice(demo_talk.TALKS), self.dice.choice(list(self.script.agents))
        await self.script.says(tx, who, talk.asked, at=began)
        reason = "asked" if self.dice.random() < 0.3 else "nothing_found"
        await self.script.hands_off(tx, who, at=began + timedelta(seconds=2), reason=reason)
        at = began + timedelta(minutes=self.dice.choice((1, 2, 2, 3, 4, 6, 9, 15, 40)))
        conversation, by = self.script.conversations[who], self.script.by(agent)
        await service.take(tx, conversation, by=self.script.agents[agent], now=at)
        await self.script.replies(tx, who, talk.replied, by=agent, at=at + timedelta(minutes=1))
        at += timedelta(minutes=self.dice.randrange(2, 12))
        if self.dice.random() < 0.35:
            more = self.dice.randrange(len(demo_talk.FURTHER))
            await self.script.says(tx, who, demo_talk.FURTHER[more], at=at)
            at += timedelta(minutes=self.dice.randrange(1, 20))
            await self.script.replies(tx, who, demo_talk.FURTHER_REPLIES[more], by=agent, at=at)
        if talk.thanks:
            at += timedelta(minutes=self.dice.randrange(1, 30))
            await self.script.says(tx, who, talk.thanks, at=at)
        await service.change_labels(tx, conversation, add=frozenset({labels[talk.label]}), by=by, now=at)
        await service.resolve(tx, conversation, by=by, now=at + timedelta(minutes=2))

    async def _present(self, tx: Transaction, one: Waiting, labels: dict[str, int]) -> None:
        """Somebody who waits for us, or for whom we wait."""
        script, mine = self.script, self.script.by(self.owner)
        began = self.now - timedelta(minutes=one.minutes)
        await script.says(tx, one.who, one.asked, at=began)
        await script.hands_off(tx, one.who, at=began + timedelta(seconds=2), reason=one.reason)
        conversation = script.conversations[one.who]
        step = min(timedelta(minutes=one.minutes) / 5, timedelta(minutes=4))
        if one.label:
            await service.change_labels(
                tx, conversation, add=frozenset({labels[one.label]}), by=mine, now=began + timedelta(seconds=5)
            )
        if one.urgent:
            await service.set_priority(tx, conversation, priority=Priority.URGENT, by=mine, now=began + step / 2)
        if one.agent:
            await service.take(tx, conversation, by=script.agents[one.agent], now=began + step)
        if one.note:
            await replies.add_note(tx, conversation, text=one.note, by=mine, now=began + step * 2)
        if one.replied:
            await script.replies(tx, one.who, one.replied, by=one.agent, at=began + step * 2)
        if one.then:
            await script.says(tx, one.who, one.then, at=began + step * 3)
        if one.snoozed:
            until = self.now + timedelta(hours=20)
            await service.snooze(tx, conversation, until=until, by=script.by(one.agent), now=began + step * 4)


async def _sample(tx: Transaction, base_id: int) -> list[_ToldStory]:
    rows = await queries.articles(tx, base_id, limit=200)
    return [
        _ToldStory(row.title.rstrip("？"), row.answer, row.title) for row in rows if row.answer and "？" in row.title
    ]


async def is_written(tx: Transaction) -> bool:
    """Whether the two weeks are there already."""
    return bool(
        await tx.value("select 1 from agent where email = %(email)s", email=f"{_COLLEAGUES[0][1]}@zhiban.example")
    )


class Colleagues:
    """Those of them who have the desk open as long as the demonstration runs."""

    def __init__(self, database: Database, workspace_id: int, clock: Clock) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self._clock = clock
        self._rounds = RepeatedTask(
            self._beat, every=_BEAT_SECONDS, name="demo colleagues", what="The colleagues of the demonstration", log=log
        )

    async def start(self) -> None:
        await self._beat()
        self._rounds.start()

    async def close(self) -> None:
        await self._rounds.close()

    async def _beat(self) -> None:
        async with self._database.transaction(self._workspace_id) as tx:
            rows = await tx.rows("select id from agent where name = any(%(names)s) order by id", names=list(ONLINE))
            for (agent_id,) in rows:
                await presence.beat(tx, agent_id, now=self._clock.now())
