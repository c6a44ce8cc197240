"""What is filled in of conversations: by hand, by rules and macros, asked by rules and by views, told by the log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import service as rules
from zhiban.automation.condition_fields import value_sql
from zhiban.automation.definition import load_definition
from zhiban.automation.operators import CannotTell, value_holds
from zhiban.conversations import service
from zhiban.conversations.attributes import (
    add_conversation_field,
    attributes_of,
    conversation_fields,
    remove_conversation_field,
    set_attributes,
)
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    found = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        for name, kind, choices in (
            ("版本", "list", ["企业版", "个人版"]),
            ("期限", "date", []),
            ("席位", "number", []),
        ):
            await add_conversation_field(tx, name=name, kind=kind, choices=choices, by=SYSTEM, now=NOON)
    return found


async def test_every_change_is_one_fact_and_a_value_fits_its_field(desk: Desk) -> None:
    lin = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        id_ = (await desk.handed_over(tx, "马骁")).id
        wishes: tuple[dict[str, str], ...] = (
            {"版本": "企业版", "席位": " 12.0 "},
            {"版本": "企业版", "席位": "12"},  # which it is already
            {"版本": "", "期限": "2026-12-31"},
        )
        for values in wishes:
            await set_attributes(tx, id_, values, by=lin, now=NOON)
        for wrong in ({"版本": "旗舰版"}, {"期限": "明天"}, {"席位": "many"}, {"没有": "x"}):
            with pytest.raises(Conflict):
                await set_attributes(tx, id_, wrong, by=lin, now=NOON)
        assert await attributes_of(tx, id_) == {"席位": "12", "期限": "2026-12-31"}
        told = await tx.values("select data from event where kind = 'conversation_attributes_changed' order by id")
        assert told == [
            {"before": {"版本": None, "席位": None}, "after": {"版本": "企业版", "席位": "12"}},
            {"before": {"版本": "企业版", "期限": None}, "after": {"版本": None, "期限": "2026-12-31"}},
        ]
        lines = await tx.values(
            "select content -> 'fields' from message where content ->> 'what' = 'attributes_changed'"
        )
        assert lines == [["版本", "席位"], ["版本", "期限"]]
        seats = next(one for one in await conversation_fields(tx) if one.name == "席位")
        await remove_conversation_field(tx, seats.id, by=lin, now=NOON)
        with pytest.raises(Conflict):
            await set_attributes(tx, id_, {"席位": "13"}, by=lin, now=NOON)
        assert (await attributes_of(tx, id_))["席位"] == "12"


async def test_a_rule_fills_in_and_another_reads_it(desk: Desk) -> None:
    fills = {
        "on": ["conversation_handed_off"],
        "actions": [{"kind": "set_attribute", "name": "版本", "value": "企业版"}],
    }
    reads: dict[str, Any] = {
        "on": ["conversation_updated"],
        "conditions": {"conditions": [{"kind": "attribute", "name": "版本", "values": ["企业版"]}]},
        "actions": [{"kind": "set_priority", "priority": 4}],
    }
    wrong = {"on": ["conversation_handed_off"], "actions": [{"kind": "set_attribute", "name": "没有", "value": "x"}]}
    async with desk.database.transaction(desk.workspace_id) as tx:
        await add_conversation_field(tx, name="没有", kind="text", by=SYSTEM, now=NOON)
        for name, made in (("填", fills), ("看", reads), ("错", wrong)):
            await rules.add(tx, name=name, definition=load_definition(made), enabled=True, by=SYSTEM, now=NOON)
        gone = next(one for one in await conversation_fields(tx) if one.name == "没有")
        await remove_conversation_field(tx, gone.id, by=SYSTEM, now=NOON)
        state = await desk.writes(tx, "马骁")
        await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=NOON)
        state = await desk.state(tx, "马骁")
        assert (state.attributes, int(state.priority)) == ((("版本", "企业版"),), 4)
        runs = await tx.rows("select r.name, u.outcome from rule_run u join rule r on r.id = u.rule_id order by u.id")
        assert sorted(runs) == [("填", "acted"), ("看", "acted"), ("错", "failed")]


VALUES = (
    None,
    "",
    "企业版",
    " Ａbc ",
    "abcdef",
    "12",
    "-3.5",
    "1e2",
    "12个",
    "9" * 60,
    "2026-11-20",
    "2026-10-31",
    "2026-02-30x",
    "100%_",
)
WANTED: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((operator, ("ABC", "企业")) for operator in ("equal", "not_equal", "contains", "not_contains", "starts_with")),
    *((operator, ("%_",)) for operator in ("equal", "contains", "not_contains", "starts_with")),
    *((operator, ("12",)) for operator in ("greater", "less", "days_before")),
    ("days_before", ("0",)),
    ("present", ()),
    ("not_present", ()),
)  # fmt: skip


async def test_a_view_finds_what_a_rule_would(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        for operator, wanted in WANTED:
            params: dict[str, object] = {"now": NOON + timedelta(minutes=1)}

            def bind(value: object, params: dict[str, object] = params) -> str:
                params[f"p{len(params)}"] = value
                return f"%(p{len(params) - 1})s"

            sql = value_sql(operator, "v.value", wanted, bind)
            found = await tx.rows(
                f"select value, {sql} from unnest(%(values)s::text[]) as v(value)", values=list(VALUES), **params
            )
            for value, holds in found:
                try:
                    expected = value_holds(operator, wanted, value, now=NOON + timedelta(minutes=1))  # type: ignore[arg-type]
                except CannotTell:
                    expected = False
                if value == "9" * 60:  # a number for rules, and too long to be asked of a list
                    continue
                assert bool(holds) == expected, (operator, wanted, value)
