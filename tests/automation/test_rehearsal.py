"""Rules asked about the past, and rules as files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import queries, service
from zhiban.automation.definition import Definition, load_definition
from zhiban.automation.rehearsal import rehearse
from zhiban.automation.rule_files import BadRuleFile, from_yaml, to_yaml
from zhiban.automation.wording import Names
from zhiban.container import ensure_workspace
from zhiban.conversations import replies
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.people import presence
from zhiban.people.contact_fields import add_contact_field
from zhiban.people.presence import Availability

LATER = NOON + timedelta(hours=5)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def _a_day(desk: Desk, tx: Transaction) -> None:
    """Three contacts, with what people do to them; 林晓 comes with the second, and turns busy with the third."""
    lin = Actor("agent", desk.lin)
    seen = (Availability.OFFLINE, Availability.ONLINE, Availability.BUSY)
    for number, text in enumerate(("急急急，在线等", "你好", "你们就是骗子！")):
        at = NOON + timedelta(minutes=number)
        await presence.choose(tx, desk.lin, seen[number], now=at)
        state = await desk.writes(tx, f"wm{number}", text, at=at)
        await conversations.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=at)
        await conversations.take(tx, state.id, by=desk.lin, now=at + timedelta(seconds=5))
        await replies.reply(
            tx, state.id, text="马上看", by=desk.lin, limits=desk.inbox.channel.limits, now=at + timedelta(seconds=9)
        )
        await conversations.set_priority(tx, state.id, priority=Priority.HIGH, by=lin, now=at + timedelta(seconds=10))
        await conversations.resolve(tx, state.id, by=lin, now=at + timedelta(seconds=20))
    for number in range(3):
        await desk.writes(tx, f"wm{number}", "又来了", at=NOON + timedelta(minutes=30 + number))


AWAY = {"kind": "assignee_availability", "availabilities": ["offline", "busy"]}
RULES: tuple[dict[str, Any], ...] = (
    {"on": ["message_created"], "conditions": {"conditions": [{"kind": "message_direction", "direction": "in"}]}},
    {"on": ["message_created"], "conditions": {"conditions": [{"kind": "message_sentiment"}]}},
    {"on": ["conversation_updated"], "conditions": {"conditions": [{"kind": "priority", "priority": 3}]}},
    {"on": ["conversation_opened", "conversation_resolved"]},
    {"on": ["conversation_updated"], "conditions": {"conditions": [{"kind": "status_changed", "to": ["resolved"]}]}},
    {"on": ["contact_created", "conversation_created"]},
    {"on": ["conversation_assigned"], "conditions": {"conditions": [{"kind": "waiting", "minutes": 0}]}},
    {"on": ["message_created"], "conditions": {"conditions": [{"kind": "returning"}]}},
    {"on": ["conversation_resolved"], "conditions": {"conditions": [{"kind": "agents_online", "count": 1}]}},
    {"on": ["conversation_assigned"], "conditions": {"conditions": [AWAY]}},
    {"on": ["message_created"], "conditions": {"conditions": [{**AWAY, "kind": "previous_assignee_availability"}]}},
)


async def test_the_past_is_asked_as_it_was(desk: Desk) -> None:
    """Rules that acted while it happened would act at the same moments when they are rehearsed afterwards."""
    async with desk.database.transaction(desk.workspace_id) as tx:
        definitions: dict[int, Definition] = {}
        for number, rule in enumerate(RULES):
            definition = load_definition({**rule, "actions": [{"kind": "stop"}]})
            # "Stop" does nothing, but no rule after it is asked: each has its turn in a day of its own.
            id_ = await service.add(tx, name=f"规则{number}", definition=definition, by=SYSTEM, now=NOON)
            definitions[id_] = definition
        noted = [{"kind": "add_labels", "labels": [await _label(tx)]}]
        for id_, definition in definitions.items():
            acting = load_definition({**definition.plain(), "actions": noted})
            await service.change(tx, id_, definition=acting, enabled=True, by=SYSTEM, now=NOON)
        await _a_day(desk, tx)
        for id_, definition in definitions.items():
            acted = [(run.conversation_id, run.at, run.trigger) for run in await queries.runs_of(tx, id_, limit=100)]
            found = await rehearse(tx, definition, now=LATER, rule_id=id_)
            told = [(run.conversation_id, run.at, run.trigger) for run in found.runs if run.checked.held]
            assert sorted(told) == sorted(acted), definition
            assert acted
            assert sum(n for _, n in found.conversations) == found.fired == len(acted)
        before = await tx.value("select count(*) from rule_run")
        assert before == await tx.value("select count(*) from rule_run")


async def _label(tx: Transaction, name: str = "看过") -> int:
    return int(
        await tx.value(
            "insert into label (workspace_id, name) values (%(w)s, %(n)s) returning id", w=tx.workspace_id, n=name
        )
    )


async def test_what_cannot_be_told_is_said(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await _a_day(desk, tx)
        many = {"conditions": [{"kind": "assignee_open_count", "count": 1}]}
        definition = load_definition(
            {"on": ["conversation_resolved"], "conditions": many, "actions": [{"kind": "unassign"}]}
        )
        found = await rehearse(tx, definition, now=LATER)
        assert (found.fired, found.unsure) == (0, 3)
        assert list(found.runs[0].checked.failed()) == ["Nobody knows how many conversations they had at that time."]
        assert len((await rehearse(tx, definition, now=LATER, limit=2)).conversations) == 2


async def test_nothing_to_look_at_is_no_mistake(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        definition = load_definition({"on": ["message_created"], "actions": [{"kind": "unassign"}]})
        found = await rehearse(tx, definition, now=LATER)
        assert (found.fired, found.conversations, found.runs) == (0, (), ())


FILE = """\
- name: 没人回复
  enabled: false
  after:
    what: no_reply_from_us
    minutes: 10.0
  then:
  - kind: assign_best
- name: 久等的老客户
  enabled: true
  stops: true
  when:
  - conversation_opened
  if:
    all:
    - kind: priority
      priority: 2
      operator: at_least
    - any:
      - kind: contact_attribute
        name: 版本
        values:
        - 企业版
      - kind: label
        labels:
        - 重点客户
  then:
  - kind: assign_agent
    agent: 林晓
  - kind: set_priority
    priority: 3
"""


async def test_rules_travel_by_name(desk: Desk, db: Database) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await _label(tx, "重点客户")
    with pytest.raises(Conflict, match="no contact field 版本"):
        async with desk.database.transaction(desk.workspace_id) as tx:
            await service.adopt(tx, from_yaml(FILE, await queries.names(tx)), by=SYSTEM, now=NOON)
    async with desk.database.transaction(desk.workspace_id) as tx:
        await add_contact_field(tx, name="版本", kind="text", choices=(), by=SYSTEM, now=NOON)
        wanted = from_yaml(FILE, await queries.names(tx))
        assert await service.adopt(tx, wanted, by=SYSTEM, now=NOON) == (2, 0)
        assert await service.adopt(tx, wanted, by=SYSTEM, now=NOON) == (0, 0)
        waits, rule = [one for one in await queries.rules(tx) if one.name in ("没人回复", "久等的老客户")]
        assert (rule.enabled, rule.stops) == (True, True)
        names = await queries.names(tx)
        assert to_yaml([waits, rule], names) == FILE
        everything = to_yaml(await queries.rules(tx), names)
        assert [one.definition for one in from_yaml(everything, names)] == [
            load_definition(one.definition) for one in await queries.rules(tx)
        ]
    elsewhere = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    async with db.transaction(elsewhere) as tx:
        with pytest.raises(BadRuleFile, match='Nothing here is called "重点客户"'):
            from_yaml(FILE, await queries.names(tx))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x", "is a list"),
        ("- [1]", "is a list"),
        ("- name: x\n  whenever: y", 'no field "whenever"'),
        ("- name: x\n  enabled: vielleicht\n", "true or false"),
        ("- {name: x, when: [message_created], then: [{kind: unassign}], if: {none: []}}", "all: or any:"),
        ("- {name: x, when: [message_created], then: [{kind: unassign}], if: {all: 3}}", "are a list"),
        ("- {name: x, when: [message_created], then: [3]}", "actions.0"),
        ("- &a [*a]", "Aliases"),
        ("- \x00", "not YAML"),
        ("[" * 3000, "50 deep"),
        ("x" * 200_001, "at most"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        from_yaml(text, Names())
