"""Saved views: what SQL finds is what the conditions say; kept for oneself or for all; never more than one may see."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import open_inbox
from zhiban.automation import saved_views
from zhiban.automation.facts import RuleFacts
from zhiban.automation.saved_views import AssignedToMeCondition, ViewCondition, ViewGroup, load_view
from zhiban.conversations import lists, service
from zhiban.conversations.contact_labels import contact_labels, label_contact_of
from zhiban.conversations.facts import conversation_facts
from zhiban.conversations.labels import remove_label
from zhiban.conversations.list_models import ListView, Queue, StatusTab, ViewCount
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM, Actor
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.people.models import Role
from zhiban.people.permissions import Access

LATER = NOON + timedelta(minutes=30)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def furnish(tx: Transaction, desk: Desk, other_inbox: int) -> dict[str, int]:
    """Open conversations of every kind, and the ids that conditions name."""
    names = {"lin": desk.lin, "chen": desk.chen, "here": desk.inbox.inbox_id, "there": other_inbox}
    for table, name in (("label", "退款"), ("label", "催单"), ("label", "删了"), ("team", "售后"), ("team", "售前")):
        names[name] = await tx.value(
            f"insert into {table} (workspace_id, name) values (%(w)s, %(n)s) returning id", w=desk.workspace_id, n=name
        )
    lin = Actor("agent", desk.lin)
    for number in range(16):
        at = NOON + timedelta(minutes=number * 2)
        state = await desk.writes(tx, f"wm{number}", at=at)
        await service.hand_off(tx, state.id, reason="asked", actor=Actor("assistant"), now=at)
        if number % 3:
            to = desk.lin if number % 3 == 1 else desk.chen
            await service.assign(tx, state.id, to=to, by=lin, now=at)
        if number % 4:
            chosen = {names["退款" if number % 4 > 1 else "催单"], *([names["催单"]] if number % 5 == 0 else [])}
            await service.change_labels(tx, state.id, add=frozenset(chosen), by=lin, now=at)
        if number % 2:
            await service.assign_team(tx, state.id, to=names["售后" if number % 5 else "售前"], by=lin, now=at)
        worn = [names[name] for name, every in (("退款", 3), ("催单", 4), ("删了", 5)) if number % every == 0]
        await label_contact_of(tx, state.id, add=worn, by=lin, now=at)
        await service.set_priority(tx, state.id, priority=Priority(number % 5), by=lin, now=at)
        phone = {"phone": f"138{number}" if number % 2 else str(number)} if number % 3 else {}
        await tx.run(
            "update contact set name = %(name)s, remark = %(remark)s, attributes = %(phone)s::jsonb where id = %(id)s",
            name="" if number == 4 else f"wm{number}", remark="W m19" if number == 5 else "", phone=json.dumps(phone),
            id=state.contact_id,
        )  # fmt: skip
        await tx.run(
            "update conversation set cycle = %(cycle)s, inbox_id = %(inbox)s, "
            "waiting_since = case when %(gone)s then null else waiting_since end where id = %(id)s",
            cycle=1 + number % 2, inbox=names["here" if number % 7 else "there"], gone=number % 6 == 5, id=state.id,
        )  # fmt: skip
    await remove_label(tx, names["删了"], by=SYSTEM, now=NOON)
    return names


CONDITIONS: list[dict[str, Any]] = [
    *({"kind": "assignee", "operator": operator, "agents": ["lin"]} for operator in ("any_of", "none_of")),
    *({"kind": "assignee", "operator": operator} for operator in ("present", "not_present")),
    *({"kind": "team", "operator": operator, "teams": ["售后"]} for operator in ("any_of", "none_of")),
    *({"kind": "team", "operator": operator} for operator in ("present", "not_present")),
    *({"kind": "label", "operator": operator, "labels": ["退款", "催单"]} for operator in ("any_of", "none_of")),
    *({"kind": "label", "operator": operator, "labels": ["催单"]} for operator in ("any_of", "none_of")),
    *({"kind": "label", "operator": operator} for operator in ("present", "not_present")),
    *({"kind": "contact_label", "operator": operator, "labels": ["催单"]} for operator in ("any_of", "none_of")),
    *({"kind": "contact_label", "operator": operator, "labels": ["删了"]} for operator in ("any_of", "none_of")),
    *({"kind": "contact_label", "operator": operator} for operator in ("present", "not_present")),
    *({"kind": "inbox", "operator": operator, "inboxes": ["there"]} for operator in ("any_of", "none_of")),
    *({"kind": kind, "operator": operator, field: value}
      for kind, field, value in (("priority", "priority", 3), ("waiting", "minutes", 14))
      for operator in ("equal", "not_equal", "greater", "less", "at_least", "at_most")),
    {"kind": "returning", "returning": True}, {"kind": "returning", "returning": False},
    {"kind": "assigned_to_me"},
    {"kind": "group", "match": "any", "conditions": [
        {"kind": "priority", "operator": "at_least", "priority": 4},
        {"kind": "group", "conditions": [{"kind": "assigned_to_me"}, {"kind": "waiting", "minutes": 10}]},
    ]},
    {"kind": "group", "match": "any", "conditions": []},
]  # fmt: skip

# Apart: an agent has forty views at most.
OF_CONTACTS: list[dict[str, Any]] = [
    *({"kind": "channel", "operator": operator, "channels": ["wecom"]} for operator in ("any_of", "none_of")),
    {"kind": "channel", "channels": ["webhook"]},
    *({"kind": "contact_name", "operator": operator, "values": ["Ｗ M1", "9"]}
      for operator in ("equal", "not_equal", "contains", "not_contains", "starts_with", "present", "not_present")),
    *({"kind": "contact_attribute", "name": "phone", "operator": operator, "values": ["138", "20"]}
      for operator in ("equal", "contains", "not_contains", "starts_with", "present", "not_present", "greater")),
]  # fmt: skip


def holds(condition: ViewCondition, facts: RuleFacts, me: int) -> bool:
    """As rules decide, and by hand what only views have."""
    match condition:
        case ViewGroup(match=match, conditions=parts):
            found = [holds(part, facts, me) for part in parts]
            return not found or (all(found) if match == "all" else any(found))
        case AssignedToMeCondition():
            return facts.state.assignee_id == me
        case _:
            return condition.holds(facts)


@pytest.mark.parametrize("conditions", [CONDITIONS, OF_CONTACTS], ids=["of conversations", "of contacts"])
async def test_a_list_finds_what_the_conditions_say(desk: Desk, conditions: list[dict[str, Any]]) -> None:
    other = await open_inbox(desk.database, desk.workspace_id, public_id="other", name="别处")
    async with desk.database.transaction(desk.workspace_id) as tx:
        names = await furnish(tx, desk, other.inbox_id)
        everybody = [row.id for row in (await shown(tx, Access(desk.lin, Role.OWNER))).waiting]
        found_facts = {id_: await conversation_facts(tx, id_) for id_ in await tx.values("select id from conversation")}
        facts = {
            id_: RuleFacts(LATER, one, contact_labels=await contact_labels(tx, one.state.contact_id))
            for id_, one in found_facts.items()
            if one is not None
        }

        def known(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: known(one) for key, one in value.items()}
            if isinstance(value, list):
                return [known(one) for one in value]
            return names.get(value, value) if isinstance(value, str) else value

        groups = [load_view({"match": "all", "conditions": [known(one)]}) for one in conditions]
        ids = []
        for number, group in enumerate(groups):
            owner = desk.lin if number < 20 else None
            ids.append(
                await saved_views.add_view(tx, name=f"v{number}", conditions=group, owner_id=owner, by=SYSTEM, now=NOON)
            )
        some = Access(desk.lin, Role.AGENT, (other.inbox_id,))
        for access in (Access(desk.lin, Role.OWNER), some):
            counted = {one.id: one.count for one in (await shown(tx, access)).views}
            for view, group in zip(ids, groups, strict=True):
                wanted = {
                    id_ for id_, one in facts.items() if holds(group, one, desk.lin) and access.sees(one.state.inbox_id)
                }
                page = await shown(tx, access, view)
                assert {row.id for row in page.waiting + page.rest} == wanted, group
                assert counted[view] == len(wanted), group
                order = [row.id for row in page.waiting]
                assert order == [id_ for id_ in everybody if id_ in order], group  # as in any list
        assert (await shown(tx, some, 999)).empty  # one that is gone has nothing in it


async def shown(tx: Transaction, access: Access, view: int | None = None) -> ListView:
    views = await saved_views.list_filters(tx, access.agent_id)
    return await lists.conversation_list(
        tx, access, queue=Queue.ALL, tab=StatusTab.OPEN, limit=50, views=views, view=view, now=LATER
    )


async def test_contacts_are_looked_up_at_once_for_all_views_and_as_they_are_called_now(desk: Desk) -> None:
    access = Access(desk.lin, Role.OWNER)
    async with desk.database.transaction(desk.workspace_id) as tx:
        for number in range(12):
            state = await desk.handed_over(tx, f"wm{number}", at=NOON + timedelta(minutes=number))
            await tx.run("update contact set name = '李Ａ' where id = %(id)s", id=state.contact_id)
        called = load_view({"conditions": [{"kind": "contact_name", "values": ["李a"]}]})
        starts = load_view({"conditions": [{"kind": "contact_name", "operator": "starts_with", "values": ["李"]}]})
        for name, conditions in (("一", called), ("二", starts)):
            await saved_views.add_view(tx, name=name, conditions=conditions, owner_id=None, by=SYSTEM, now=NOON)
        views = await saved_views.list_filters(tx, desk.lin)
        await tx.run("set local enable_seqscan = off")
        scans = "select pg_stat_get_xact_numscans('pk_contact'::regclass)"
        before = await tx.value(scans)
        counted = await lists.view_counts(tx, access, views, now=LATER)
        assert ([one.count for one in counted], await tx.value(scans) - before) == ([12, 12], 1)
        await tx.run("update contact set remark = 'Ｂ王' where id = %(id)s", id=state.contact_id)
        assert [one.count for one in await lists.view_counts(tx, access, views, now=LATER)] == [11, 11]


async def test_tabs_and_the_next_in_a_view(desk: Desk) -> None:
    access = Access(desk.lin, Role.OWNER)
    async with desk.database.transaction(desk.workspace_id) as tx:
        one, other, last = [await desk.handed_over(tx, f"wm{n}", at=NOON + timedelta(minutes=n)) for n in range(3)]
        await service.set_priority(tx, one.id, priority=Priority.HIGH, by=SYSTEM, now=NOON)
        await service.set_priority(tx, last.id, priority=Priority.HIGH, by=SYSTEM, now=NOON)
        await desk.writes(tx, "wm9")  # the assistant's is nobody's yet
        high = load_view({"conditions": [{"kind": "priority", "priority": 3}]})
        view = await saved_views.add_view(tx, name="重要", conditions=high, owner_id=None, by=SYSTEM, now=NOON)
        views = await saved_views.list_filters(tx, desk.lin)
        follows = await lists.next_waiting(tx, access, queue=Queue.ALL, after=one.id, views=views, view=view, now=NOON)
        assert follows == last.id
        await service.resolve(tx, last.id, by=Actor("agent", desk.lin), now=NOON)
        resolved = await lists.conversation_list(
            tx, access, queue=Queue.ALL, tab=StatusTab.RESOLVED, views=views, view=view, now=NOON
        )
        assert [row.id for row in resolved.rest] == [last.id]
        assert (resolved.title, resolved.views) == ("重要", (ViewCount(view, "重要", 1),))
        assert "view=" in resolved.address()
        assert other.id not in await lists.matching(
            tx, access, queue=Queue.ALL, tab=StatusTab.OPEN, limit=9, views=views, view=view, now=NOON
        )


async def test_they_are_kept_for_oneself_or_for_all(desk: Desk) -> None:
    lin, mine = Actor("agent", desk.lin), load_view({"conditions": [{"kind": "assigned_to_me"}]})
    async with desk.database.transaction(desk.workspace_id) as tx:
        shared = await saved_views.add_view(tx, name="大家", conditions=mine, owner_id=None, by=lin, now=NOON)
        own = await saved_views.add_view(tx, name="大家", conditions=mine, owner_id=desk.chen, by=lin, now=NOON)
        assert [one.id for one in await saved_views.saved_views(tx, desk.lin)] == [shared]
        with pytest.raises(NotFound):
            await saved_views.access_view(tx, own, agent_id=desk.lin)
        with pytest.raises(Conflict, match="already"):
            await saved_views.add_view(tx, name="大家", conditions=mine, owner_id=None, by=lin, now=NOON)
        view = await saved_views.access_view(tx, shared, agent_id=desk.lin)
        for _ in range(2):  # twice is once
            waits = load_view({"conditions": [{"kind": "waiting", "minutes": 10}]})
            await saved_views.change_view(tx, view, name="久等", conditions=waits, by=lin, now=NOON)
            view = await saved_views.access_view(tx, shared, agent_id=desk.lin)
        await saved_views.remove_view(tx, view, by=lin, now=NOON)
        await saved_views.remove_view(tx, view, by=lin, now=NOON)
        told = await tx.values("select kind from event where kind like 'saved_view%%' order by id")
    assert told == ["saved_view_added", "saved_view_added", "saved_view_changed", "saved_view_removed"]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([], "at least one"),
        ([{"kind": "message_text", "operator": "contains", "values": ["x"]}], "conditions.conditions.0"),
        ([{"kind": "assignee", "operator": "any_of"}], "with what to compare"),
        ([{"kind": "group", "conditions": [{"kind": "group", "conditions": [{"kind": "group"}]}]}], "3 deep"),
    ],
)
def test_what_no_list_can_be_asked_is_refused(conditions: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(Conflict, match=said):
        load_view({"conditions": conditions})
