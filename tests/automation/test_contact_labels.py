"""Rules and macros that look at the labels of contacts, hear of them, and put them on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import macros, queries, service
from zhiban.automation.definition import load_definition
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.rehearsal import rehearse
from zhiban.automation.rule_files import from_yaml, to_yaml
from zhiban.automation.wording import Names
from zhiban.conversations.contact_labels import contact_labels, label_contact_of
from zhiban.conversations.labels import add_label, remove_label
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database, Transaction
from zhiban.ports import Limits


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        for rule in await queries.rules(tx):
            await service.remove(tx, rule.id, by=SYSTEM, now=NOON)
    return desk


async def rule(tx: Transaction, on: str, given: dict[str, Any], *actions: dict[str, Any]) -> int:
    told = {"on": [on], "conditions": {"conditions": [given]}, "actions": list(actions)}
    return await service.add(tx, name=on, definition=load_definition(told), enabled=True, by=SYSTEM, now=NOON)


async def test_a_label_put_on_sets_off_one_rule_which_sets_off_another_and_none_answers_itself(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        vip, owes, urgent = [await add_label(tx, name=name, color=1, by=SYSTEM, now=NOON) for name in "甲乙丙"]
        on = "contact_labelled"
        first = await rule(
            tx, on, {"kind": "contact_label_changed", "labels": [vip]}, {"kind": "add_contact_labels", "labels": [owes]}
        )
        second = await rule(
            tx,
            on,
            {"kind": "contact_label", "labels": [owes]},
            {"kind": "add_contact_labels", "labels": [urgent]},
            {"kind": "remove_contact_labels", "labels": [vip]},
            {"kind": "set_priority", "priority": 4},
        )
        state = await desk.handed_over(tx, "wm1")
        await label_contact_of(tx, state.id, add=[vip], by=Actor("agent", desk.lin), now=NOON)
        after = await desk.state(tx, "wm1")
        assert (await contact_labels(tx, state.contact_id), after.priority) == ((owes, urgent), Priority.URGENT)
        runs = await queries.runs_about(tx, state.id)
        acted = [one for one in runs if one.outcome == "acted"]
        # What the second does changes labels again: it does not hear that from itself, and finds nothing left to do.
        assert [one.rule_id for one in acted][:2] == [first, second]
        assert [one["outcome"] for one in acted[-1].actions] == ["unchanged"] * 3
        (seen,) = acted[1].conditions["parts"]
        assert (seen["seen"], seen["held"]) == ([vip, owes], True)
        gone = {"conditions": [{"kind": "contact_label_changed", "change": "removed", "labels": [vip]}]}
        told = load_definition({"on": [on], "conditions": gone, "actions": [{"kind": "unassign"}]})
        assert (await rehearse(tx, told, now=NOON)).fired == 1


async def test_a_macro_labels_the_contact_and_says_what_is_gone(desk: Desk) -> None:
    lin = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        vip = await add_label(tx, name="大客户", color=1, by=SYSTEM, now=NOON)
        told = load_macro([{"kind": "add_contact_labels", "labels": [vip]}])
        id_ = await macros.add_macro(tx, name="记为大客户", definition=told, owner_id=None, by=lin, now=NOON)
        macro = await macros.access_macro(tx, id_, agent_id=desk.lin)
        state = await desk.handed_over(tx, "wm1")

        async def run(key: str) -> Any:
            return await macros.run_macro(
                tx, macro, state.id, agent_id=desk.lin, limits_of=lambda _: Limits(2000), key=key, now=NOON
            )

        assert (await run("1"), await run("2"), await run("1")) == (("done",), ("unchanged",), None)
        assert await contact_labels(tx, state.contact_id) == (vip,)
        await remove_label(tx, vip, by=SYSTEM, now=NOON)
        with pytest.raises(macros.MacroFailed, match="no such label any more"):
            await run("3")


async def test_rehearsal_and_files_know_them(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        vip = await add_label(tx, name="大客户", color=1, by=SYSTEM, now=NOON)
        states = [await desk.handed_over(tx, f"wm{n}") for n in range(3)]
        await label_contact_of(tx, states[1].id, add=[vip], by=SYSTEM, now=NOON)
        id_ = await rule(
            tx,
            "message_created",
            {"kind": "contact_label", "labels": [vip]},
            {"kind": "add_contact_labels", "labels": [vip]},
        )
        found = await queries.rules(tx)
        definition = load_definition(found[0].definition)
        rehearsed = await rehearse(tx, definition, now=NOON, rule_id=id_)
        assert {run.conversation_id for run in rehearsed.runs} == {states[1].id}
        assert rehearsed.unsure == 0
        written = to_yaml(found, Names(labels={vip: "大客户"}))
        assert written.count("大客户") == 2
        (read,) = from_yaml(written, Names(labels={9: "大客户"}))
        assert read.definition.actions[0].stored()["labels"] == (9,)
