"""Stories of one contact or one group, told by steps that are drawn at random; see test_kernel_property."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import strategies as st
from tests.conversations.kernel_rules import FILLED, FLOW, MACROS, RULES
from tests.twin import WindowedChannel, open_inbox

from zhiban.automation import flow_asking, flow_runs, macros
from zhiban.automation.definition import load_definition
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flow_queries import run_of, silent_runs
from zhiban.automation.flow_talk import Ask
from zhiban.automation.flows import add_flow
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.queries import rules
from zhiban.automation.service import add as add_rule
from zhiban.automation.service import switch as switch_rule
from zhiban.channels.connections import OpenInbox
from zhiban.channels.policy import AssignmentPolicy
from zhiban.container import ensure_workspace
from zhiban.conversations import (
    assignment,
    attributes,
    bulk,
    bulk_undo,
    followers,
    replies,
    sending,
    service,
    surveys,
    transitions,
)
from zhiban.conversations.changes import Resolve, SetPriority, Snooze
from zhiban.conversations.contact_labels import label_contact_of
from zhiban.conversations.ingest import ingest
from zhiban.conversations.merging import merge_contacts
from zhiban.conversations.models import Priority, Status
from zhiban.conversations.outbox import QueuedMessage
from zhiban.conversations.queries import last_resolution
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.events import DIRECT, SYSTEM, Actor
from zhiban.kit.db import Database, Transaction
from zhiban.kit.i18n import Texts
from zhiban.people import presence
from zhiban.people.contacts import ensure_contacts
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.people.presence import Availability
from zhiban.ports import (
    Entered,
    GroupChanged,
    GroupMember,
    IncomingMessage,
    Kind,
    MembersJoined,
    MembersLeft,
    NativeState,
    Recalled,
    Refusal,
    SenderRole,
    SendFailed,
    SessionChanged,
)

START = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
LIMITS = WindowedChannel.limits


def giving(inbox: OpenInbox) -> dict[int, AssignmentPolicy]:
    return {inbox.inbox_id: AssignmentPolicy(by="balanced", most=2, offline_minutes=10)}


STEPS = (
    "writes", "writes", "writes late", "servicer writes", "enters", "recalls", "session human", "session ended",
    "send fails", "hand off", "reply", "reply", "note", "take", "assign", "un-assign", "team", "label", "priority",
    "fill in", "fill in", "label contact", "undo snooze",
    "snooze", "snooze over", "resolve", "resolve", "undo", "reopen", "return", "block", "unblock", "sent", "refused",
    "again", "idle", "comes", "comes", "leaves", "give away", "give away", "best", "rule", "macro", "macro",
    "bulk", "bulk", "merge", "asks", "asks", "taps", "taps", "follow",
    "flow", "flow", "flow", "flow goes on", "flow ends", "silent",
)  # fmt: skip

# What there is in a group: no session at the vendor, nobody who enters or is blocked, and members.
GROUP_STEPS = (
    "writes", "writes", "writes late", "servicer writes", "recalls", "send fails", "hand off", "hand off", "reply",
    "note", "take", "assign", "un-assign", "team", "label", "priority", "fill in", "snooze", "snooze over", "resolve",
    "undo", "undo snooze",
    "reopen", "return", "sent", "refused", "again", "idle", "comes", "leaves", "give away", "best",
    "rule", "macro", "bulk", "follow", "flow", "renamed", "listed", "joins", "goes", "we join", "we go",
)  # fmt: skip

# Each of these is one act of one person, who says nothing besides.
PLAIN_STEPS = (
    "writes", "writes", "writes", "writes late", "servicer writes", "servicer writes", "hand off", "hand off",
    "reply", "reply", "note", "take", "assign", "un-assign", "team", "label", "priority", "fill in", "resolve",
    "resolve", "undo", "reopen", "block", "unblock", "reads", "reads", "follow",
)  # fmt: skip

plain_step = st.tuples(st.sampled_from(PLAIN_STEPS), st.integers(0, 2), st.integers(1, 900))
step = st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.integers(1, 4000))
group_step = st.tuples(st.sampled_from(GROUP_STEPS), st.integers(0, 2), st.integers(1, 4000))


@dataclass
class Story:
    """One contact, or one group, and the steps that were drawn for them."""

    database: Database
    inbox: OpenInbox
    workspace_id: int
    agents: tuple[int, int]
    team: int
    labels: tuple[int, int]
    thread: str
    ids: Iterator[int]
    flow: int
    now: datetime = START
    group: bool = False

    def says(self, *, at: datetime | None = None, role: SenderRole = SenderRole.CONTACT) -> IncomingMessage:
        number = next(self.ids)
        writer = f"member-{number % 4}" if self.group else self.thread
        sender = writer if role is SenderRole.CONTACT else "wei"
        said = IncomingMessage(f"m{number}", self.thread, sender, role, Kind.TEXT, f"第{number}句", at or self.now)
        return replace(said, group=self.group, sender_name=f"{number % 3}号" if self.group else "")

    async def conversation(self, tx: Transaction) -> int | None:
        found: int | None = await tx.value("select id from conversation where external_id = %(t)s", t=self.thread)
        return found

    async def ingest(self, tx: Transaction, *items: Any) -> None:
        await ingest(tx, self.inbox, items, now=self.now, process_id=1)

    async def message(self, tx: Transaction, condition: str) -> tuple[Any, ...] | None:
        return await tx.row(
            "select m.id, m.author, m.kind, m.text, m.content, m.external_id, m.attempts, m.sent_at, m.agent_id "
            "from message m join conversation c on c.id = m.conversation_id "
            f"where c.external_id = %(thread)s and {condition} order by m.id desc limit 1",
            thread=self.thread,
        )

    async def do(self, tx: Transaction, what: str, who: int) -> None:
        """One step. What makes no sense now is refused, which is fine: then nothing may have changed."""
        vendor = await self._vendor(tx, what) or await self._members(tx, what, who)
        conversation_id = await self.conversation(tx)
        if vendor or conversation_id is None:
            return
        if not await self._outcome(tx, what, who, conversation_id):
            await self._verb(tx, what, who, conversation_id)

    async def _vendor(self, tx: Transaction, what: str) -> bool:
        match what:
            case "writes":
                await self.ingest(tx, self.says(), self.says())
            case "writes late":
                await self.ingest(tx, self.says(at=self.now - timedelta(hours=2)))
            case "taps":
                survey = await tx.value(
                    "select s.id from survey s join conversation c on c.id = s.conversation_id "
                    "where c.external_id = %(thread)s order by s.id desc limit 1",
                    thread=self.thread,
                )
                if survey is not None:
                    choice = f"csat_{survey}_{1 + self.now.second % 5}"
                    await self.ingest(tx, replace(self.says(), choice=choice))
            case "servicer writes":
                await self.ingest(tx, self.says(role=SenderRole.AGENT))
            case "enters":
                await self.ingest(tx, Entered(self.thread, self.now, "code", event_id=f"e{next(self.ids)}"))
            case "recalls":
                last = await self.message(tx, "m.direction = 'in'")
                if last is not None:
                    await self.ingest(tx, Recalled(last[5], self.thread, SenderRole.CONTACT, self.now))
            case "session human":
                change = SessionChanged(self.thread, NativeState.HUMAN, self.now, "wei", event_id=f"e{next(self.ids)}")
                await self.ingest(tx, change)
            case "session ended":
                await self.ingest(
                    tx, SessionChanged(self.thread, NativeState.ENDED, self.now, event_id=f"e{next(self.ids)}")
                )
            case _:
                return False
        return True

    async def _members(self, tx: Transaction, what: str, who: int) -> bool:
        some = tuple(GroupMember(f"member-{n}", f"{n}号", role="admin" if n else "owner") for n in range(who + 1))
        event = f"e{next(self.ids)}"
        match what:
            case "renamed":
                await self.ingest(tx, GroupChanged(self.thread, self.now, f"{who}群"))
            case "listed":
                await self.ingest(tx, GroupChanged(self.thread, self.now, members=some))
            case "joins" | "we join":
                joined = MembersJoined(self.thread, some, self.now, "member-3", what == "we join", event)
                await self.ingest(tx, joined, joined)
            case "goes" | "we go":
                gone = tuple(one.external_id for one in some)
                left = MembersLeft(self.thread, gone, self.now, None, what == "we go", event)
                await self.ingest(tx, left, left)
            case _:
                return False
        return True

    async def _outcome(self, tx: Transaction, what: str, who: int, conversation_id: int) -> bool:
        match what:
            case "send fails":
                last = await self.message(tx, "m.direction = 'out' and m.state = 'sent'")
                if last is not None:
                    failed = SendFailed(last[5], self.thread, "refused_by_contact", 1, self.now)
                    await self.ingest(tx, failed)
            case "sent" | "refused":
                last = await self.message(tx, "m.state = 'queued'")
                if last is not None:
                    id_, author, kind, text, content, key, attempts, sent_at, agent_id = last
                    queued = QueuedMessage(id_, author, kind, text, content, key, attempts, sent_at, agent_id)
                    outcome = (
                        sending.SendSucceeded(NativeState.ENDED if kind == "move" else None)
                        if what == "sent"
                        else sending.SendRejected(Refusal.HUMAN_ACTIVE, 95018)
                    )
                    state = await transitions.lock(tx, conversation_id)
                    await sending.record_outcome(tx, self.inbox, state, queued, outcome, now=self.now)
            case "again":
                last = await self.message(tx, "m.state = 'failed' and m.direction = 'out'")
                if last is not None:
                    actor = Actor("agent", self.agents[0])
                    await replies.send_again(tx, last[0], limits=LIMITS, by=actor, now=self.now)
            case "rule":
                for number, rule in enumerate(await rules(tx)):
                    on = number % 3 == self.now.second % 3
                    await switch_rule(tx, rule.id, on=on, by=SYSTEM, now=self.now)
            case "snooze over":
                await service.wake_snoozed(tx, now=self.now)
            case "idle":
                for status in (Status.PENDING, Status.OPEN):
                    before = self.now - timedelta(minutes=30)
                    ending = service.IdleEnding("先到这里" if who else "", "", self.labels[who % 2], LIMITS)
                    inbox, now = self.inbox.inbox_id, self.now
                    await service.resolve_idle(tx, inbox, status=status, before=before, now=now, ending=ending)
            case _:
                return False
        return True

    async def _verb(self, tx: Transaction, what: str, who: int, id_: int) -> None:
        agent, now = self.agents[who % 2], self.now
        lin, assistant = Actor("agent", agent), Actor("assistant")
        add, remove = frozenset({self.labels[who % 2]}), frozenset({self.labels[0]})
        later = now + timedelta(minutes=30)
        team = self.team if who else None
        verbs: dict[str, Callable[[], Awaitable[object]]] = {
            "hand off": lambda: service.hand_off(
                tx, id_, reason="asked", actor=assistant, now=now, notice="请稍候", limits=LIMITS
            ),
            "reply": lambda: replies.reply(tx, id_, text="在的", by=agent, limits=LIMITS, now=now),
            "note": lambda: replies.add_note(tx, id_, text="记一下", by=lin, now=now),
            "take": lambda: service.take(tx, id_, by=agent, now=now),
            "assign": lambda: service.assign(tx, id_, to=agent, by=lin, now=now),
            "un-assign": lambda: service.assign(tx, id_, to=None, by=lin, now=now),
            "team": lambda: service.assign_team(tx, id_, to=team, by=lin, now=now),
            "label": lambda: service.change_labels(tx, id_, add=add, remove=remove, by=lin, now=now),
            "label contact": lambda: label_contact_of(tx, id_, add=add, remove=remove, by=lin, now=now),
            "fill in": lambda: attributes.set_attributes(tx, id_, FILLED[who], by=lin, now=now),
            "priority": lambda: service.set_priority(tx, id_, priority=Priority(who * 2), by=lin, now=now),
            "snooze": lambda: service.snooze(tx, id_, until=later, by=lin, now=now),
            "resolve": lambda: service.resolve(tx, id_, by=lin, now=now),
            "undo": lambda: service.undo_resolve(tx, id_, by=agent, now=now),
            "undo snooze": lambda: service.undo_snooze(tx, id_, by=agent, now=now),
            "reopen": lambda: service.reopen(tx, id_, by=agent, now=now),
            "comes": lambda: presence.choose(tx, agent, Availability.ONLINE, now=now),
            "leaves": lambda: presence.choose(tx, agent, Availability.OFFLINE, now=now),
            "give away": lambda: self._give_away(tx),
            "bulk": lambda: self._bulk(tx, who, agent, id_),
            "macro": lambda: self._macro(tx, who, agent, id_),
            "best": lambda: assignment.assign_best(tx, id_, by=Actor("rule", 1), now=now),
            "return": lambda: service.return_to_assistant(tx, id_, by=lin, now=now),
            "block": lambda: service.block(tx, id_, by=lin, now=now),
            "unblock": lambda: service.unblock(tx, id_, by=lin, now=now),
            "merge": lambda: self._merge(tx, agent, id_),
            "asks": lambda: self._asks(tx, id_),
            "follow": lambda: self._follow(tx, agent, id_),
            "flow": lambda: flow_asking.start(tx, self.flow, id_, by=lin, now=now, cause=DIRECT, limits=LIMITS),
            "silent": lambda: self._fall_silent(tx),
            "flow goes on": lambda: self._flow_goes_on(tx, id_, ended=False),
            "flow ends": lambda: self._flow_goes_on(tx, id_, ended=True),
            "reads": lambda: self._reads(tx, agent, id_),
        }
        await verbs[what]()

    async def _fall_silent(self, tx: Transaction) -> None:
        for due in await silent_runs(tx, now=self.now, limit=100):
            await flow_runs.time_out(tx, due, limits_of=lambda _: LIMITS, now=self.now)

    async def _flow_goes_on(self, tx: Transaction, id_: int, *, ended: bool) -> None:
        state = await transitions.lock(tx, id_)
        if state.flow_run_id is None:
            return
        run = await run_of(tx, state.flow_run_id)
        if ended:
            await flow_runs.finish(tx, run, "finished", limits_of=lambda _: LIMITS, now=self.now)
        else:
            again = (next(self.ids),)
            await flow_asking.ask(tx, run, Ask(run.progress), limits=LIMITS, now=self.now, key=again)

    async def _macro(self, tx: Transaction, who: int, agent: int, id_: int) -> None:
        macro = (await macros.macros(tx, agent))[who % len(MACROS)]
        key = str(next(self.ids))
        await macros.run_macro(tx, macro, id_, agent_id=agent, limits_of=lambda _: LIMITS, key=key, now=self.now)

    async def _bulk(self, tx: Transaction, who: int, agent: int, id_: int) -> None:
        access, ids, later = Access(agent, Role.AGENT), [id_, 10**9], self.now + timedelta(minutes=30)
        match (who + self.now.second) % 4:
            case 0:
                done = await bulk.change_many(tx, access, ids, Resolve("agent"), now=self.now)
            case 1:
                done = await bulk.change_many(tx, access, ids, Snooze(later), SetPriority(4), now=self.now)
            case 2:
                done = await bulk_undo.undo_resolutions(tx, access, ids, now=self.now)
            case _:
                done = await bulk.assign_many(tx, access, ids, to=self.agents[who % 2], now=self.now)
        assert sorted((*done.changed, *done.unchanged, *done.refused)) == ids

    async def _merge(self, tx: Transaction, agent: int, id_: int) -> None:
        """The contact turns out to be somebody who wrote elsewhere."""
        name = f"wm-{next(self.ids)}"
        base = (await ensure_contacts(tx, "elsewhere", "1", [name], now=self.now))[name].id
        contact = (await transitions.lock(tx, id_)).contact_id
        assert contact is not None
        by = Actor("agent", agent)
        assert await merge_contacts(tx, Access(agent, Role.AGENT), base, contact, by=by, now=self.now) == 1

    async def _asks(self, tx: Transaction, id_: int) -> None:
        state, resolved = await transitions.lock(tx, id_), await last_resolution(tx, id_)
        if resolved is not None and state.status is Status.RESOLVED:
            how = {"texts": Texts("zh"), "links": SurveyLinks("", b"k"), "now": self.now}
            limits = replace(LIMITS, menus=True)
            await surveys.ask(tx, state, resolved, text="满意吗？", limits=limits, **how)

    async def _follow(self, tx: Transaction, agent: int, id_: int) -> None:
        by = Actor("agent", agent)
        if not await followers.add_followers(tx, id_, [agent], by=by, now=self.now):
            await followers.remove_follower(tx, id_, agent, by=by, now=self.now)

    async def _reads(self, tx: Transaction, agent: int, id_: int) -> None:
        last = await self.message(tx, "true")
        if last is not None:
            await replies.mark_read(tx, id_, agent_id=agent, message_id=last[0])

    async def _give_away(self, tx: Transaction) -> None:
        await assignment.release_offline(tx, giving(self.inbox), now=self.now)
        await assignment.assign_waiting(tx, giving(self.inbox), now=self.now)


async def begin(database: Database) -> Callable[..., Story]:
    """A shop with two agents, a team, labels, fields, rules that sleep, and macros. Returns what begins a story."""
    workspace_id = await ensure_workspace(database, "default", "青禾商店", "zh")
    inbox = await open_inbox(database, workspace_id, welcome="您好", closing="再见")
    async with database.transaction(workspace_id) as tx:
        agents = [
            await tx.value(
                "insert into agent (workspace_id, email, name, role) values (%(w)s, %(e)s, %(e)s, 'agent') "
                "returning id",
                w=workspace_id,
                e=f"{name}@qinghe.example",
            )
            for name in ("lin", "chen")
        ]
        team = await tx.value(
            "insert into team (workspace_id, name) values (%(w)s, '售后') returning id", w=workspace_id
        )
        labels = [
            await tx.value(
                "insert into label (workspace_id, name) values (%(w)s, %(n)s) returning id", w=workspace_id, n=name
            )
            for name in ("退款", "催单")
        ]
        for name, kind in (("版本", "text"), ("期限", "date")):
            await attributes.add_conversation_field(tx, name=name, kind=kind, by=SYSTEM, now=START)
        flow = await add_flow(tx, name="登记", definition=load_flow(FLOW), enabled=True, by=SYSTEM, now=START)
        for number, definition in enumerate(RULES):
            rule = load_definition(definition)
            await add_rule(tx, name=f"规则{number}", definition=rule, enabled=False, by=SYSTEM, now=START)
        for number, actions in enumerate(MACROS):
            made = load_macro(actions)
            await macros.add_macro(tx, name=f"宏{number}", definition=made, owner_id=None, by=SYSTEM, now=START)
    ids = count(1)

    def story(group: bool = False) -> Story:
        thread = f"{'group' if group else 'wm'}{next(ids)}"
        both, borne = (agents[0], agents[1]), (labels[0], labels[1])
        return Story(database, inbox, workspace_id, both, team, borne, thread, ids, flow, group=group)

    return story
