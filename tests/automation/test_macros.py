"""Macros: by hand, all or nothing, through the verbs of the buttons, by the agent, with the macro as the cause."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from zhiban.automation import macros, queries, service
from zhiban.automation.definition import load_definition
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.macros import MacroFailed, MacroRow
from zhiban.automation.run_view import run_views
from zhiban.automation.wording import RuleWording
from zhiban.conversations.models import Priority, Status
from zhiban.conversations.queries import history
from zhiban.events import SYSTEM, Actor, ConversationEvent, MacroApplied
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import Texts


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def made(tx: Transaction, desk: Desk, *actions: dict[str, Any], owner: int | None = None) -> MacroRow:
    macro_id = await macros.add_macro(
        tx, name=f"宏{len(await macros.macros(tx, desk.lin))}", definition=load_macro(actions), owner_id=owner,
        by=SYSTEM, now=NOON,
    )  # fmt: skip
    return await macros.access_macro(tx, macro_id, agent_id=desk.lin)


async def run(tx: Transaction, desk: Desk, macro: MacroRow, conversation: int, key: str = "k") -> Any:
    return await macros.run_macro(
        tx, macro, conversation, agent_id=desk.lin, limits_of=lambda _: desk.inbox.channel.limits, key=key, now=NOON
    )


async def test_it_acts_as_the_agent_would_and_every_fact_names_it(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, "wm1")
        await tx.run("update contact set name = '周予安', remark = '难缠的周总'")
        rule = await service.add(
            tx, name="紧急要留意", enabled=True, by=SYSTEM, now=NOON,
            definition=load_definition({"on": ["conversation_updated"],
                                        "conditions": {"conditions": [{"kind": "priority_changed", "direction": "up"}]},
                                        "actions": [{"kind": "add_note", "text": "留意"}]}),
        )  # fmt: skip
        macro = await made(
            tx, desk, {"kind": "set_priority", "priority": 4}, {"kind": "send_message", "text": "{{contact.name}}您好"},
            {"kind": "add_note", "text": "记一下"}, {"kind": "assign_me"},
        )  # fmt: skip
        assert await run(tx, desk, macro, state.id) == ("done", "queued", "done", "unchanged")
        after = await desk.state(tx, "wm1")
        # The message is the agent's: it answers the contact, and takes the conversation over.
        assert (after.status, after.assignee_id, after.priority) == (Status.OPEN, desk.lin, Priority.URGENT)
        assert (after.waiting_since, after.first_reply_at) == (None, NOON)
        sent = await tx.rows(
            "select author, agent_id, text from message where direction = 'out' or kind = 'note' order by id"
        )
        assert sent == [("rule", None, "留意"), ("agent", desk.lin, "周予安您好"), ("agent", desk.lin, "记一下")]
        facts = [one for one in await history(tx, state.id) if isinstance(one, ConversationEvent)]
        mine = facts[[isinstance(one, MacroApplied) for one in facts].index(True) :]
        assert {(one.actor.kind, one.actor.id, one.cause.kind, one.cause.id, one.cause.depth) for one in mine} == {
            ("agent", desk.lin, "macro", macro.id, 0),
            ("rule", rule, "rule", rule, 1),
        }
        lines = await tx.values("select content ->> 'macro' from message where content ->> 'what' = 'macro_applied'")
        assert lines == [macro.name]
        # Whoever asks why the rule acted is told of the macro.
        (ran,) = [one for one in await queries.runs_about(tx, state.id) if one.rule_id == rule]
        words = RuleWording(Texts(), await queries.names(tx))
        (view,) = await run_views(tx, [ran], words, {})
        assert view.because == f"由宏“{macro.name}”引起"
        assert await run(tx, desk, macro, state.id) is None  # the same click once more
        (use,) = await macros.uses_of(tx, macro.id)
        assert (use.agent_id, use.conversation_id) == (desk.lin, state.id)


REFUSED = [
    ([{"kind": "set_status", "status": "resolved"}, {"kind": "snooze", "minutes": 5}], 1, "It is resolved"),
    ([{"kind": "unassign"}, {"kind": "assign_team", "team": 999}], 1, "not there any more"),
    ([{"kind": "assign_agent", "agent": 999}], 0, "no such agent"),
    ([{"kind": "set_priority", "priority": 4}, *[{"kind": "send_message", "text": "一"}] * 6], 6, "used up"),
]


@pytest.mark.parametrize(("actions", "position", "why"), REFUSED, ids=["verb", "database", "gone", "channel"])
async def test_what_cannot_be_done_whole_changes_nothing_and_says_why(
    desk: Desk, actions: list[dict[str, Any]], position: int, why: str
) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        macro = await made(tx, desk, *actions)
        before = len(await history(tx, state.id)), await tx.value("select count(*) from message")
    with pytest.raises(MacroFailed, match=why) as failed:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await run(tx, desk, macro, state.id)
    assert failed.value.position == position
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await desk.state(tx, "wm1") == state
        assert (len(await history(tx, state.id)), await tx.value("select count(*) from message")) == before


async def test_they_are_kept_for_oneself_or_for_all(desk: Desk) -> None:
    lin, chen = Actor("agent", desk.lin), desk.chen
    take = load_macro([{"kind": "assign_me"}])
    async with desk.database.transaction(desk.workspace_id) as tx:
        shared = await made(tx, desk, {"kind": "assign_me"})
        own = await macros.add_macro(tx, name=shared.name, definition=take, owner_id=chen, by=lin, now=NOON)
        assert [one.id for one in await macros.macros(tx, desk.lin)] == [shared.id]
        assert [one.id for one in await macros.macros(tx, chen)] == [own, shared.id]
        with pytest.raises(NotFound):
            await macros.access_macro(tx, own, agent_id=desk.lin)
        with pytest.raises(Conflict, match="already"):
            await macros.add_macro(tx, name=shared.name.upper(), definition=take, owner_id=None, by=lin, now=NOON)
        resolve = load_macro([{"kind": "set_status", "status": "resolved"}])
        for name, definition in (("收尾", resolve), ("收尾", resolve)):  # twice is once
            row = await macros.access_macro(tx, shared.id, agent_id=desk.lin)
            await macros.change_macro(
                tx, row, name=name, definition=definition, revision=row.revision, by=lin, now=NOON
            )
        with pytest.raises(Conflict, match="meanwhile"):
            await macros.change_macro(tx, shared, name="x", definition=take, revision=1, by=lin, now=NOON)
        row = await macros.access_macro(tx, shared.id, agent_id=desk.lin)
        await macros.remove_macro(tx, row, by=lin, now=NOON)
        await macros.remove_macro(tx, row, by=lin, now=NOON)
        told = await tx.rows("select kind, data -> 'after' ->> 'name' from event where kind like 'macro%%' order by id")
    assert told == [("macro_added", None), ("macro_added", None), ("macro_changed", "收尾"), ("macro_removed", None)]
    with pytest.raises(Conflict, match="actions"):
        load_macro([{"kind": "stop"}])
    with pytest.raises(Conflict, match="no variable"):
        load_macro([{"kind": "add_note", "text": "{{agent.password}}"}])
