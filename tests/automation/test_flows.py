"""Flows on real rows: who may start one, how it ends, and that rules and flows do not call each other for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.assistant.asides import Asides
from zhiban.assistant.turn_context import AssistantDeps
from zhiban.automation import flow_asking, flow_runs, flows, macros, queries, service
from zhiban.automation.definition import load_definition
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flow_files import from_yaml, to_yaml
from zhiban.automation.flow_queries import FlowRun, access_flow, run_of, silent_runs
from zhiban.automation.flow_queries import flow_runs as runs_of
from zhiban.automation.flow_responder import FlowResponder
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.macros import MacroFailed
from zhiban.automation.rule_files import BadRuleFile
from zhiban.automation.wording import RuleWording
from zhiban.conversations import service as conversations
from zhiban.conversations.attributes import add_conversation_field
from zhiban.conversations.models import ConversationState, Status
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage
from zhiban.events import DIRECT, SYSTEM, Actor, Cause
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts
from zhiban.knowledge.vectors import NO_EMBEDDERS
from zhiban.people import presence
from zhiban.people.presence import Availability
from zhiban.ports import Limits
from zhiban.workers.flow_timer import FlowTimer
from zhiban.workers.scheduler import Scheduler

# An assistant without a model, vectors and knowledge.
ASSISTANT = AssistantDeps(
    model=None, embedders=NO_EMBEDDERS, top_k=3, threshold=None, model_seconds=0, price_input=0, price_output=0
)
ASK_NUMBER = {"question": "单号是多少？", "name": "单号", "kind": "number"}
ASK_PHONE = {"question": "手机号呢？", "name": "手机号", "kind": "phone"}
HAND_OFF = {"kind": "hand_off", "to": "people"}


class Nobody:
    """An inner responder that must not be asked."""

    async def prepare(self, tx: Transaction, snapshot: ConversationSnapshot) -> object:
        raise AssertionError("A flow answers here.")

    async def respond(self, snapshot: ConversationSnapshot, prepared: object) -> None:
        raise AssertionError("A flow answers here.")

    def fallback_text(self, snapshot: ConversationSnapshot) -> str:
        raise AssertionError("A flow answers here.")


@dataclass
class Flows:
    """A desk without shipped rules, and shorthands."""

    desk: Desk

    @property
    def limits(self) -> Limits:
        return self.desk.inbox.channel.limits

    def limits_of(self, _kind: str) -> Limits:
        return self.limits

    async def add(self, tx: Transaction, name: str = "登记", *steps: dict[str, Any], **more: Any) -> int:
        definition = load_flow({"steps": list(steps or (ASK_NUMBER, ASK_PHONE)), "actions": [HAND_OFF], **more})
        return await flows.add_flow(tx, name=name, definition=definition, enabled=True, by=SYSTEM, now=NOON)

    async def rule(self, tx: Transaction, on: str, *actions: dict[str, Any], given: Any = ()) -> int:
        definition = load_definition({"on": [on], "conditions": {"conditions": list(given)}, "actions": list(actions)})
        return await service.add(tx, name=f"规则{on}", definition=definition, enabled=True, by=SYSTEM, now=NOON)

    async def start(self, tx: Transaction, flow: int, state: ConversationState, **more: Any) -> FlowRun:
        by = {"by": Actor("agent", self.desk.lin), "cause": DIRECT, **more}
        return await run_of(tx, await flow_asking.start(tx, flow, state.id, now=NOON, limits=self.limits, **by))

    async def says(self, who: str, text: str, *, at: datetime = NOON) -> None:
        """The contact answers, and the flow hears it."""
        desk = self.desk
        async with desk.database.transaction(desk.workspace_id) as tx:
            state = await desk.writes(tx, who, text, at=at)
            rows = await tx.objects(
                PendingMessage,
                "select id, external_id, kind, text, choice, content, sent_at from message "
                "where conversation_id = %(id)s and state = 'pending' order by id",
                id=state.id,
            )
            revision = await tx.value(
                "select revision from conversation_work where conversation_id = %(id)s", id=state.id
            )
            await tx.run(
                "update conversation_work set leased_by = 1, lease_expires_at = %(at)s where conversation_id = %(id)s",
                id=state.id,
                at=at + timedelta(minutes=5),
            )
        snapshot = ConversationSnapshot(
            desk.workspace_id, desk.inbox, state, who, pending=rows, revision=revision, process_id=1
        )
        responder = FlowResponder(
            Nobody(), desk.database, SetClock(at), self.limits_of, Asides(desk.database, ASSISTANT)
        )
        async with desk.database.transaction(desk.workspace_id) as tx:
            prepared = await responder.prepare(tx, snapshot)
        await responder.respond(snapshot, prepared)
        assert snapshot.stored


@pytest.fixture
async def found(db: Database, workspace: int) -> Flows:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        for rule in await queries.rules(tx):
            await service.remove(tx, rule.id, by=SYSTEM, now=NOON)
    return Flows(desk)


async def said_by_us(tx: Transaction, conversation_id: int) -> list[tuple[str, str, str]]:
    return await tx.rows(
        "select author, state, text from message where conversation_id = %(id)s and direction = 'out' order by id",
        id=conversation_id,
    )


async def test_a_macro_starts_one_for_the_agent_who_has_the_conversation(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(tx)
        state = await desk.handed_over(tx, "wm1")
        definition = load_macro([{"kind": "start_flow", "flow": flow}])
        macro_id = await macros.add_macro(tx, name="问资料", definition=definition, owner_id=None, by=SYSTEM, now=NOON)
        macro = await macros.access_macro(tx, macro_id, agent_id=desk.lin)
        run = {"agent_id": desk.lin, "limits_of": found.limits_of, "now": NOON}
        assert await macros.run_macro(tx, macro, state.id, key="1", **run) == ("queued",)
        after = await desk.state(tx, "wm1")
        assert (after.status, after.assignee_id, after.flow_run_id) == (Status.PENDING, None, 1)
        assert await said_by_us(tx, state.id) == [("flow", "queued", "单号是多少？")]
    with pytest.raises(MacroFailed, match="running here already"):
        async with desk.database.transaction(desk.workspace_id) as tx:
            await macros.run_macro(tx, macro, state.id, key="2", **run)
    async with desk.database.transaction(desk.workspace_id) as tx:
        words = RuleWording(Texts(), await queries.names(tx))
        assert definition.label(words) == "开始流程“登记”"


async def test_an_agent_may_give_it_back_to_themselves_at_the_end(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        for agent in (desk.lin, desk.chen):
            await presence.choose(tx, agent, Availability.ONLINE, now=NOON)
        flow = await found.add(tx, "登记", ASK_NUMBER, actions=[{"kind": "assign_last_agent"}])
        await found.start(tx, flow, await desk.handed_over(tx, "wm1"))
    await found.says("wm1", "88")
    async with desk.database.transaction(desk.workspace_id) as tx:
        after = await desk.state(tx, "wm1")
        assert (after.status, after.assignee_id) == (Status.OPEN, desk.lin)


async def test_a_rule_leaves_a_running_flow_and_a_person_alone(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(tx)
        await found.rule(tx, "message_created", {"kind": "start_flow", "flow": flow})
        taken = await desk.handed_over(tx, "wm2")  # its first message began one, and 林晓 took it
        assert [run.outcome for run in await runs_of(tx, flow)] == ["interrupted"]
        await desk.writes(tx, "wm2", "还在吗")
        assert (await desk.state(tx, "wm2")).assignee_id == desk.lin
        await desk.writes(tx, "wm1", "退货")
        state = await desk.writes(tx, "wm1", "退货")
        assert [run.outcome for run in await runs_of(tx, flow)] == [None, "interrupted"]
        outcomes = [[one["outcome"] for one in run.actions] for run in await queries.runs_about(tx, state.id)]
        assert outcomes == [["queued"], ["unchanged"]]
        refused = (await queries.runs_about(tx, taken.id))[-1].actions[0]
        assert refused["error"] == "A colleague has this conversation; a flow does not talk over them."


async def test_who_takes_over_has_an_unsent_question_dropped(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, "wm1")
        await found.start(tx, await found.add(tx), state)
        await conversations.take(tx, state.id, by=desk.chen, now=NOON)
        assert await said_by_us(tx, state.id) == [("flow", "dropped", "单号是多少？")]


async def test_handed_off_with_nobody_there_a_rule_may_let_a_flow_ask_first(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(tx)
        given = [{"kind": "agents_online", "operator": "equal", "count": 0}]
        await found.rule(tx, "conversation_handed_off", {"kind": "start_flow", "flow": flow}, given=given)
        state = await desk.writes(tx, "wm1")
        await conversations.hand_off(
            tx, state.id, reason="asked", actor=Actor("assistant"), now=NOON, notice="已转人工", native_to="pool",
            limits=found.limits,
        )  # fmt: skip
        # First what was said about the handoff, then the question; and the session stays ours meanwhile.
        assert await said_by_us(tx, state.id) == [
            ("assistant", "queued", "已转人工"),
            ("flow", "queued", "单号是多少？"),
        ]
        assert await tx.value("select count(*) from message where kind = 'move'") == 0
        assert (await desk.state(tx, "wm1")).status is Status.PENDING
    await found.says("wm1", "88")
    await found.says("wm1", "13800138000")
    async with desk.database.transaction(desk.workspace_id) as tx:
        # The end of the flow hands over again, which is no reason to begin again.
        after = await desk.state(tx, "wm1")
        assert (after.status, after.flow_run_id) == (Status.OPEN, None)
        assert len(await runs_of(tx, flow)) == 1
        last = (await queries.runs_about(tx, after.id))[-1]
        assert last.actions[0]["error"] == "What led here is this flow itself; it does not start itself again."


async def test_two_flows_that_start_each_other_through_rules_come_to_an_end(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        red, blue = [
            await tx.value("insert into label (workspace_id, name) values (%(w)s, %(n)s) returning id",
                           w=desk.workspace_id, n=name)
            for name in ("红", "蓝")
        ]  # fmt: skip
        add = {label: {"kind": "add_labels", "labels": [label]} for label in (red, blue)}
        drop = {label: {"kind": "remove_labels", "labels": [label]} for label in (red, blue)}
        first = await found.add(tx, "甲", ASK_NUMBER, actions=[drop[red], add[blue]])
        second = await found.add(tx, "乙", ASK_NUMBER, actions=[drop[blue], add[red]])
        for label, flow in ((red, first), (blue, second)):
            given = [{"kind": "label_changed", "change": "added", "labels": [label]}]
            await found.rule(tx, "conversation_updated", {"kind": "start_flow", "flow": flow}, given=given)
        state = await desk.writes(tx, "wm1")
        await conversations.change_labels(tx, state.id, add=frozenset({red}), by=Actor("agent", desk.lin), now=NOON)
    asked = 0
    for _ in range(10):
        async with desk.database.transaction(desk.workspace_id) as tx:
            if (await desk.state(tx, "wm1")).flow_run_id is None:
                break
        await found.says("wm1", str(asked))
        asked += 1
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await desk.state(tx, "wm1")).flow_run_id is None
        assert 1 <= asked <= 3
        last = (await queries.runs_about(tx, state.id))[-1]
        assert last.outcome in ("failed", "cut")


async def test_of_two_who_start_one_at_once_one_is_told_that_another_runs(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow, state = await found.add(tx), await desk.writes(tx, "wm1")

    async def start() -> bool:
        try:
            async with desk.database.transaction(desk.workspace_id) as tx:
                await found.start(tx, flow, state)
        except Conflict:
            return False
        return True

    assert sorted(await asyncio.gather(start(), start(), start())) == [False, False, True]
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert len(await runs_of(tx, flow)) == 1
        assert len(await said_by_us(tx, state.id)) == 1


async def test_what_cannot_be_kept_where_it_belongs_stands_in_the_note_and_the_run_says_why(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(
            tx, "登记", {**ASK_NUMBER, "save": "conversation:没有这一项"}, {**ASK_PHONE, "save": "contact:phone"},
            {"question": "贵姓？", "name": "称呼", "kind": "text", "save": "contact:name"},
            {"question": "鞋码？", "name": "鞋码", "kind": "number", "save": "contact:鞋码"},
        )  # fmt: skip
        await found.start(tx, flow, await desk.writes(tx, "wm1"))
    for said in ("88", "13800138000", "周予安", "42"):
        await found.says("wm1", said)
    async with desk.database.transaction(desk.workspace_id) as tx:
        (run,) = await runs_of(tx, flow)
        assert [(one["action"]["kind"], one["outcome"]) for one in run.actions] == [
            ("save", "failed"), ("save", "failed"), ("hand_off", "done"),
        ]  # fmt: skip
        assert [one.get("error") for one in run.actions] == [
            "There is no field 没有这一项 of conversations.", "There is no field 鞋码 of contacts.", None,
        ]  # fmt: skip
        assert await tx.rows("select name, attributes ->> 'phone' from contact") == [("周予安", "13800138000")]
        assert await tx.values("select text from message where kind = 'note'") == [
            "登记\n单号：88\n手机号：13800138000\n称呼：周予安\n鞋码：42"
        ]


async def test_a_rule_that_hears_an_answer_may_take_over_and_then_nothing_more_is_asked(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await add_conversation_field(tx, name="单号", kind="text", by=SYSTEM, now=NOON)
        given = [{"kind": "attribute", "name": "单号", "operator": "present"}]
        await found.rule(tx, "conversation_updated", HAND_OFF, given=given)
        flow = await found.add(tx, "登记", {**ASK_NUMBER, "save": "conversation:单号"}, ASK_PHONE)
        state = await desk.writes(tx, "wm1")
        await found.start(tx, flow, state)
    await found.says("wm1", "88")
    async with desk.database.transaction(desk.workspace_id) as tx:
        after = await desk.state(tx, "wm1")
        assert (after.status, after.flow_run_id, dict(after.attributes)) == (Status.OPEN, None, {"单号": "88"})
        assert [text for _, _, text in await said_by_us(tx, state.id)] == ["单号是多少？"]
        assert await tx.values("select text from message where kind = 'note'") == ["登记\n单号：88"]
        assert [run.outcome for run in await runs_of(tx, flow)] == ["interrupted"]


async def test_silence_counts_from_the_last_question_and_not_while_an_answer_waits(found: Flows) -> None:
    desk, minute = found.desk, timedelta(minutes=1)
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(tx, minutes=10, when_silent="people")
        await found.start(tx, flow, await desk.writes(tx, "wm1"))
    await found.says("wm1", "88", at=NOON + 9 * minute)

    async def due(at: datetime) -> list[bool]:
        async with desk.database.transaction(desk.workspace_id) as tx:
            waiting = await silent_runs(tx, now=at, limit=10)
            return [await flow_runs.time_out(tx, one, limits_of=found.limits_of, now=at) for one in waiting]

    assert await due(NOON + 18 * minute) == []
    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "wm1", "13800138000", at=NOON + 19 * minute - timedelta(seconds=1))
    assert await due(NOON + 19 * minute) == [False]  # it is about to be read
    assert await due(NOON + 21 * minute) == [True]
    assert await due(NOON + 21 * minute) == []
    async with desk.database.transaction(desk.workspace_id) as tx:
        after = await desk.state(tx, "wm1")
        assert (after.status, after.handoff_reason, after.flow_run_id) == (Status.OPEN, "flow", None)
        assert [run.outcome for run in await runs_of(tx, flow)] == ["silent"]


async def test_one_that_cannot_be_ended_keeps_no_other_waiting(found: Flows) -> None:
    desk, late = found.desk, NOON + timedelta(minutes=11)
    async with desk.database.transaction(desk.workspace_id) as tx:
        broken, sound = [await found.add(tx, name, minutes=10) for name in ("坏的", "好的")]
        for flow, who in ((broken, "wm1"), (sound, "wm2")):
            await found.start(tx, flow, await desk.writes(tx, who))
        await tx.run("update flow_version set definition = '{}' where flow_id = %(id)s", id=broken)
    timer = FlowTimer(desk.database, SetClock(late), found.limits_of)
    (due,) = await Scheduler(desk.database, SetClock(late), of_workspaces=[timer.due_work()]).due(desk.workspace_id)
    assert await due.run(desk.workspace_id) == 1
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert [run.outcome for run in await runs_of(tx, sound)] == ["silent"]
        (left,) = await runs_of(tx, broken)
        assert (left.outcome, left.due_at) == (None, late + timedelta(minutes=10))


async def test_whoever_does_not_want_to_go_on_may_be_left_to_the_assistant(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(tx, when_cancelled="assistant")
        state = await desk.writes(tx, "wm1")
        await found.start(tx, flow, state)
    await found.says("wm1", "算了")
    async with desk.database.transaction(desk.workspace_id) as tx:
        after = await desk.state(tx, "wm1")
        assert (after.status, after.flow_run_id) == (Status.PENDING, None)
        assert "转人工" in (await said_by_us(tx, state.id))[-1][2]


async def test_what_may_not_begin_says_why(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow, state = await found.add(tx), await desk.writes(tx, "wm1")
        with pytest.raises(NotFound):
            await found.start(tx, 999, state)
        with pytest.raises(Conflict, match="too often"):
            await found.start(tx, flow, state, cause=Cause("rule", 1, 4))
        await flows.change_flow(tx, flow, enabled=False, by=SYSTEM, now=NOON)
        with pytest.raises(Conflict, match="switched off"):
            await found.start(tx, flow, state)
        await flows.change_flow(tx, flow, enabled=True, by=SYSTEM, now=NOON)
        await tx.run("update conversation set last_incoming_at = %(at)s", at=NOON - timedelta(days=3))
        with pytest.raises(Conflict, match="until they write again"):
            await found.start(tx, flow, state)
        assert await runs_of(tx, flow) == []


async def test_they_are_kept_by_name_and_changed_by_one_at_a_time(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        flow = await found.add(tx, "登记")
        with pytest.raises(Conflict, match="already"):
            await found.add(tx, "登记")
        before = await access_flow(tx, flow)
        after = await flows.change_flow(tx, flow, name="登 记", revision=before.revision, by=SYSTEM, now=NOON)
        assert (after.name, after.revision) == ("登 记", 2)
        with pytest.raises(Conflict, match="meanwhile"):
            await flows.change_flow(tx, flow, name="别的", revision=before.revision, by=SYSTEM, now=NOON)
        unchanged = await flows.change_flow(tx, flow, name="登 记", by=SYSTEM, now=NOON)
        assert unchanged.revision == 2
        await flows.remove_flow(tx, flow, by=SYSTEM, now=NOON)
        await found.add(tx, "登 记")
        kinds = await tx.values("select kind from event where kind like 'flow_%%' order by id")
        assert kinds == ["flow_added", "flow_changed", "flow_removed", "flow_added"]


FILE = """
- name: 退换登记
  enabled: true
  ask:
  - kind: choice
    question: 要怎么处理？
    options:
    - 退货
    - 换货
  - kind: code
    question: 订单号？
    optional: true
    pattern: DD\\d{8}
  then:
  - kind: assign_team
    team: 售后
  minutes: 30
  when_silent: people
"""


async def test_a_file_of_flows_is_read_and_written_with_names(found: Flows) -> None:
    desk = found.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        team = await tx.value(
            "insert into team (workspace_id, name) values (%(w)s, '售后') returning id", w=desk.workspace_id
        )
        names = await queries.names(tx)
        wanted = from_yaml(FILE, names)
        assert await flows.adopt_flows(tx, wanted, by=SYSTEM, now=NOON) == (1, 0)
        (row,) = await flows.flows(tx)
        assert row.definition["actions"] == [{"team": team, "kind": "assign_team"}]
        assert to_yaml([row], names).strip() == FILE.strip()
        assert await flows.adopt_flows(tx, wanted, by=SYSTEM, now=NOON) == (0, 0)
        longer = from_yaml(FILE.replace("minutes: 30", "minutes: 40"), names)
        assert await flows.adopt_flows(tx, longer, by=SYSTEM, now=NOON) == (0, 1)
        for broken in ("minutes: 30\n  shoe: 1", "then: 5"):
            with pytest.raises(BadRuleFile):
                from_yaml(FILE.replace("minutes: 30", broken), names)
        words = RuleWording(Texts(), names)
        assert wanted[0].definition.label(words) == (
            "依次问要怎么处理？（选一个：退货或换货）、订单号？（编号），然后交给小组售后；对方超过30分钟没有回复，就转交人工"
        )
