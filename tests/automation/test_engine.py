"""Rules that work: in the transaction of the change, once for each fact, with a stored run that says why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel
from zhiban.automation import queries, service
from zhiban.automation.actions import ACTIONS
from zhiban.automation.definition import load_definition
from zhiban.automation.engine import RuleEngine
from zhiban.automation.models import RuleRun
from zhiban.automation.rule_book import RuleBook
from zhiban.bootstrap import reactions
from zhiban.conversations import outbox, replies, transitions
from zhiban.conversations import queries as conversation_queries
from zhiban.conversations import service as conversations
from zhiban.conversations.action_files import add_action_file
from zhiban.conversations.attributes import add_conversation_field
from zhiban.conversations.contact_labels import contact_labels, label_contact_of
from zhiban.conversations.draft_files import StoredContent
from zhiban.conversations.models import Author, ConversationState, Priority, Status
from zhiban.events import SYSTEM, Actor, RuleChanged
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.people import presence
from zhiban.people.presence import Availability
from zhiban.ports import Limits
from zhiban.tickets.models import TicketState
from zhiban.tickets.service import set_state

RESOLVED = ["conversation_resolved"]
UPDATED = ["conversation_updated"]
MESSAGE = ["message_created"]


@dataclass
class Rules:
    """A desk without the rules that come with the program, and a shorthand for new ones."""

    desk: Desk
    label: int
    other_label: int
    team: int

    async def add(
        self, tx: Transaction, name: str, on: list[str], *actions: dict[str, Any], given: Any = (), stops: bool = False
    ) -> int:
        definition = load_definition({"on": on, "conditions": {"conditions": list(given)}, "actions": list(actions)})
        return await service.add(tx, name=name, definition=definition, enabled=True, stops=stops, by=SYSTEM, now=NOON)

    async def runs(self, tx: Transaction, conversation_id: int) -> list[RuleRun]:
        return await queries.runs_about(tx, conversation_id)


@pytest.fixture
async def rules(db: Database, workspace: int) -> Rules:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        for rule in await queries.rules(tx):
            await service.remove(tx, rule.id, by=SYSTEM, now=NOON)
        labels = [await label_called(tx, name) for name in ("退款", "催单")]
        team = await tx.value("insert into team (workspace_id, name) values (%(w)s, '售后') returning id", w=workspace)
    return Rules(desk, labels[0], labels[1], team)


async def label_called(tx: Transaction, name: str) -> int:
    await tx.run(
        "insert into label (workspace_id, name) values (%(w)s, %(n)s) on conflict do nothing", w=tx.workspace_id, n=name
    )
    return int(await tx.value("select id from label where name = %(n)s", n=name))


def outcomes(run: RuleRun) -> list[str]:
    return [action["outcome"] for action in run.actions]


# Each action: its fields, and what the conversation (which 林晓 has, and is open; see PREPARED) is like afterwards.
ACTION_TABLE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("assign_agent", {"agent": "chen"}, {"assignee_id": "chen"}),
    ("assign_best", {}, {"assignee_id": "chen"}),
    ("assign_last_agent", {}, {"assignee_id": "lin"}),
    ("unassign", {}, {"assignee_id": None}),
    ("assign_team", {"team": "team"}, {"team_id": "team"}),
    ("remove_team", {}, {"team_id": None}),
    ("add_labels", {"labels": ["label"]}, {"labels": ("label",)}),
    ("remove_labels", {"labels": ["label"]}, {"labels": ()}),
    ("add_contact_labels", {"labels": ["label"]}, {}),
    ("remove_contact_labels", {"labels": ["label"]}, {}),
    ("set_status", {"status": "resolved"}, {"status": Status.RESOLVED}),
    ("set_status", {"status": "open"}, {"status": Status.OPEN}),
    ("set_priority", {"priority": 4}, {"priority": Priority.URGENT}),
    ("set_attribute", {"name": "版本", "value": "企业版"}, {"attributes": (("版本", "企业版"),)}),
    ("add_followers", {"agents": ["chen"]}, {}),
    ("snooze", {"minutes": 30}, {"status": Status.SNOOZED, "snoozed_until": NOON + timedelta(minutes=30)}),
    ("mute", {}, {"muted": True, "status": Status.RESOLVED}),
    ("hand_off", {"to": "assistant"}, {"status": Status.PENDING, "assignee_id": None}),
    ("hand_off", {"to": "people"}, {"status": Status.OPEN}),
    ("send_message", {"text": "{{contact.name}}您好"}, {"replies_used": 1}),
    ("send_attachment", {"files": ["file"], "text": "{{contact.name}}您好"}, {"replies_used": 2}),
    ("add_note", {"text": "记一下"}, {}),
    ("notify", {"text": "{{contact.name}}在等"}, {}),
    ("notify_agents", {"text": "{{contact.name}}在等", "to": "agents", "agents": ["lin"]}, {}),
    ("mail_transcript", {"to": "address", "address": "zhou@example.com"}, {}),
    ("open_ticket", {"title": "{{contact.name}}的事", "owner": "assignee", "priority": 3, "labels": ["label"]}, {}),
    ("call_webhook", {"url": "https://program.example/hook"}, {}),
    ("stop", {}, {}),
]


async def _nobodys(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await conversations.assign(tx, state.id, to=None, by=SYSTEM, now=NOON)


async def _nobodys_and_last_of_one_who_is_there(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await _nobodys(rules, tx, state)
    await presence.choose(tx, rules.desk.lin, Availability.ONLINE, now=NOON)


async def _of_the_team(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await conversations.assign_team(tx, state.id, to=rules.team, by=SYSTEM, now=NOON)


async def _resolved(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await conversations.resolve(tx, state.id, by=SYSTEM, now=NOON)


async def _labelled(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await conversations.change_labels(tx, state.id, add=frozenset({rules.label}), by=SYSTEM, now=NOON)


async def _contact_labelled(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await label_contact_of(tx, state.id, add=[rules.label], by=SYSTEM, now=NOON)


async def _the_assistants(rules: Rules, tx: Transaction, state: ConversationState) -> None:
    await conversations.return_to_assistant(tx, state.id, by=SYSTEM, now=NOON)


# What is done before, by the action and its most telling field: otherwise it would find nothing to do.
PREPARED: dict[tuple[str, ...], Callable[[Rules, Transaction, ConversationState], Awaitable[None]]] = {
    ("assign_best",): _nobodys,
    ("assign_last_agent",): _nobodys_and_last_of_one_who_is_there,
    ("remove_team",): _of_the_team,
    ("remove_labels",): _labelled,
    ("remove_contact_labels",): _contact_labelled,
    ("set_status", "open"): _resolved,
    ("hand_off", "people"): _the_assistants,
}
LATER = dict.fromkeys(("send_message", "send_attachment", "notify", "call_webhook", "mail_transcript"), "queued")


def test_every_action_is_in_the_table() -> None:
    # Where flows begin, and where not, is told in test_flows.
    assert {kind for kind, _, _ in ACTION_TABLE} | {"start_flow"} == set(ACTIONS)


async def test_each_action_does_what_the_button_does(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await add_action_file(tx, StoredContent("0" * 64, 1, b"1", "价目.txt"), by=None, now=NOON)
    desk.database.reactions = reactions(RuleEngine(RuleBook(), lambda _: WindowedChannel.limits))
    ids = {"lin": desk.lin, "chen": desk.chen, "team": rules.team, "label": rules.label, "file": table.id}

    def known(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(known(one) for one in value)
        return ids.get(value, value) if isinstance(value, str) else value

    async with desk.database.transaction(desk.workspace_id) as tx:
        await presence.choose(tx, desk.chen, Availability.ONLINE, now=NOON)
        await add_conversation_field(tx, name="版本", kind="text", by=SYSTEM, now=NOON)
        for number, (kind, fields, wanted) in enumerate(ACTION_TABLE):
            state = await desk.handed_over(tx, f"wm{number}")
            prepare = PREPARED.get((kind,)) or PREPARED.get((kind, str(fields.get("status") or fields.get("to"))))
            if prepare is not None:
                await prepare(rules, tx, state)
            state_before = await desk.state(tx, f"wm{number}")
            action = {"kind": kind, **{name: known(value) for name, value in fields.items()}}
            rule = await rules.add(tx, kind, ["conversation_updated"], action)
            await conversations.set_priority(tx, state.id, priority=Priority.LOW, by=Actor("agent", desk.lin), now=NOON)
            after = await desk.state(tx, f"wm{number}")
            assert {name: getattr(after, name) for name in wanted} == {k: known(v) for k, v in wanted.items()}, kind
            (run,) = await rules.runs(tx, state.id)
            assert (run.rule_id, run.outcome) == (rule, "acted")
            assert action.items() <= run.actions[0]["action"].items()
            events = [one for one in await conversation_queries.history(tx, state.id) if one.actor.kind == "rule"]
            assert {(one.actor.id, one.actor.ref, one.cause.kind, one.cause.id, one.cause.depth) for one in events} <= {
                (rule, kind, "rule", rule, 1)
            }
            assert outcomes(run) == [LATER.get(kind, "done")], kind
            elsewhere = kind in ("stop", "notify", "notify_agents", "call_webhook", "mail_transcript")
            assert bool(events) is not elsewhere, kind
            changed = {name: getattr(state_before, name) for name in wanted} != {k: known(v) for k, v in wanted.items()}
            assert changed is bool(wanted), kind
            borne = await contact_labels(tx, state.contact_id)
            assert borne == ((rules.label,) if kind == "add_contact_labels" else ()), kind
            await service.remove(tx, rule, by=SYSTEM, now=NOON)


async def test_who_is_snoozed_is_told_of_once_and_no_other_change_is(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        rule = await rules.add(tx, "搁置了", ["conversation_snoozed"], {"kind": "add_labels", "labels": [rules.label]})
        state = await desk.handed_over(tx, "wm1")
        lin = Actor("agent", desk.lin)
        await conversations.set_priority(tx, state.id, priority=Priority.LOW, by=lin, now=NOON)
        assert await rules.runs(tx, state.id) == []
        await conversations.snooze(tx, state.id, until=NOON + timedelta(hours=1), by=lin, now=NOON)
        (run,) = await rules.runs(tx, state.id)
        assert (run.rule_id, run.trigger, outcomes(run)) == (rule, "conversation_snoozed", ["done"])
        assert (await desk.state(tx, "wm1")).labels == (rules.label,)
        await conversations.undo_snooze(tx, state.id, by=desk.lin, now=NOON)
        assert len(await rules.runs(tx, state.id)) == 1


async def test_rules_are_asked_in_their_order_and_see_what_those_before_did(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        first = await rules.add(tx, "标为紧急", RESOLVED, {"kind": "set_priority", "priority": 4})
        second = await rules.add(
            tx, "紧急的加标签", RESOLVED, {"kind": "add_labels", "labels": [rules.label]},
            given=[{"kind": "priority", "priority": 4}], stops=True,
        )  # fmt: skip
        await rules.add(tx, "轮不到", RESOLVED, {"kind": "unassign"})
        state = await desk.handed_over(tx, "wm1")
        await conversations.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        assert [run.rule_id for run in await rules.runs(tx, state.id)] == [first, second]
        # The other way round the second sees no urgency yet.
        await service.move(tx, second, up=True, by=SYSTEM, now=NOON)
        other = await desk.handed_over(tx, "wm2")
        await conversations.resolve(tx, other.id, by=Actor("agent", desk.lin), now=NOON)
        assert [run.rule_id for run in await rules.runs(tx, other.id)][:1] == [first]
        assert (await desk.state(tx, "wm2")).labels == ()


async def test_an_action_that_cannot_be_done_leaves_nothing_and_stops_nobody(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(
            tx, "几件事", RESOLVED,
            {"kind": "snooze", "minutes": 5},  # refused: it is resolved
            {"kind": "assign_team", "team": 999},  # refused by the database
            {"kind": "add_labels", "labels": [999]},
            {"kind": "assign_agent", "agent": 999},
            {"kind": "set_priority", "priority": 4},
        )  # fmt: skip
        state = await desk.handed_over(tx, "wm1")
        await conversations.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
    async with desk.database.transaction(desk.workspace_id) as tx:
        after = await desk.state(tx, "wm1")
        assert (after.status, after.priority, after.team_id) == (Status.RESOLVED, Priority.URGENT, None)
        (run,) = await rules.runs(tx, state.id)
        assert run.outcome == "failed"
        assert outcomes(run) == ["failed", "failed", "failed", "failed", "done"]
        assert run.actions[0]["error"] == "It is resolved; reopen it before you put it off."


async def test_a_condition_that_cannot_be_told_is_a_failed_run_and_never_no_match(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(
            tx, "慢模式", MESSAGE, {"kind": "unassign"},
            given=[{"kind": "message_text", "operator": "matches", "values": ["(a|aa)+$"]}],
        )  # fmt: skip
        state = await desk.writes(tx, "wm1", "a" * 60 + "!")
        (run,) = await rules.runs(tx, state.id)
        assert (run.outcome, run.reason) == ("failed", "The pattern takes too long for this text.")
        assert run.conditions["parts"][0]["held"] is None
        assert run.actions == []
        await desk.writes(tx, "wm1", "你好")  # does not hold: no run
        assert len(await rules.runs(tx, state.id)) == 1


async def test_a_rule_does_not_hear_itself_and_loops_are_cut_and_told(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        added = [{"kind": "label_changed", "change": "added", "labels": [rules.label]}]
        removed = [{"kind": "label_changed", "change": "removed", "labels": [rules.label]}]
        ping = await rules.add(tx, "去掉", UPDATED, {"kind": "remove_labels", "labels": [rules.label]}, given=added)
        pong = await rules.add(tx, "加上", UPDATED, {"kind": "add_labels", "labels": [rules.label]}, given=removed)
        state = await desk.handed_over(tx, "wm1")
        lin = Actor("agent", desk.lin)
        await conversations.change_labels(tx, state.id, add=frozenset({rules.label}), by=lin, now=NOON)
        runs = await rules.runs(tx, state.id)
        assert [(run.rule_id, run.outcome, run.reason) for run in runs] == [
            (ping, "acted", ""),
            (pong, "acted", ""),
            (ping, "cut", "loop"),
        ]


async def test_a_rule_that_changes_what_it_listens_to_acts_once(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        rule = await rules.add(tx, "总是紧急", UPDATED, {"kind": "set_priority", "priority": 4})
        state = await desk.writes(tx, "wm1")
        await conversations.take(tx, state.id, by=desk.lin, now=NOON + timedelta(seconds=1))  # opened and assigned
        assert [(run.rule_id, run.outcome) for run in await rules.runs(tx, state.id)] == [(rule, "acted")]


async def test_a_long_chain_is_cut_at_the_depth_of_the_log(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        labels = [await label_called(tx, f"级{number}") for number in range(8)]
        for low in range(7):
            await rules.add(
                tx, f"第{low}级", UPDATED, {"kind": "add_labels", "labels": [labels[low + 1]]},
                given=[{"kind": "label_changed", "labels": [labels[low]]}],
            )  # fmt: skip
        state = await desk.handed_over(tx, "wm1")
        by = Actor("agent", desk.lin)
        await conversations.change_labels(tx, state.id, add=frozenset({labels[0]}), by=by, now=NOON)
        runs = await rules.runs(tx, state.id)
        assert [run.outcome for run in runs] == ["acted"] * 5 + ["cut"]
        assert runs[-1].reason == "too_deep"
        history = await conversation_queries.history(tx, state.id)
        depths = [one.cause.depth for one in history if one.cause.kind == "rule"]
        assert depths == [1, 2, 3, 4, 5]


async def test_two_rules_in_two_conversations_do_not_silence_each_other(rules: Rules) -> None:
    """Muting a contact resolves all their conversations: the rule is asked for each of them."""
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(tx, "标", RESOLVED, {"kind": "add_labels", "labels": [rules.label]})
        one, other = await desk.handed_over(tx, "wm1"), await desk.handed_over(tx, "wm2")
        await tx.run("update conversation set contact_id = %(c)s where id = %(id)s", c=one.contact_id, id=other.id)
        await conversations.block(tx, one.id, by=Actor("agent", desk.lin), now=NOON)
        assert [(await desk.state(tx, who)).labels for who in ("wm1", "wm2")] == [(rules.label,)] * 2


async def test_messages_of_every_direction_can_set_a_rule_off(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(tx, "每条消息", MESSAGE, {"kind": "add_note", "text": "{{contact.name}}看到了"})
        state = await desk.writes(tx, "wm1")
        await replies.reply(
            tx, state.id, text="在的", by=desk.lin, limits=desk.inbox.channel.limits, now=NOON + timedelta(seconds=1)
        )
        await replies.add_note(tx, state.id, text="记", by=Actor("agent", desk.lin), now=NOON + timedelta(seconds=2))
        runs = await rules.runs(tx, state.id)
        assert [run.facts["event"] for run in runs] == ["message_received", "reply_queued", "note_added"]
        # Its own notes were no reason to write more of them.
        assert await tx.value("select count(*) from message where author = 'rule'") == 3


async def test_a_contact_who_writes_for_the_first_time_is_new_once(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(tx, "新客", ["contact_created"], {"kind": "add_labels", "labels": [rules.label]})
        await rules.add(tx, "新会话", ["conversation_created"], {"kind": "set_priority", "priority": 1})
        state = await desk.writes(tx, "wm1")
        await desk.writes(tx, "wm1", "还在吗", at=NOON + timedelta(minutes=1))
        assert [run.trigger for run in await rules.runs(tx, state.id)] == ["conversation_created", "contact_created"]


async def test_a_rule_that_changed_elsewhere_is_never_acted_on_as_it_was(
    rules: Rules, urls: Any, workspace: int
) -> None:
    """Another process has switched the rule off, and its notice was lost."""
    desk = rules.desk
    async with desk.database.transaction(workspace) as tx:
        rule = await rules.add(tx, "取消", RESOLVED, {"kind": "unassign"})
        changed = await rules.add(tx, "标", RESOLVED, {"kind": "add_labels", "labels": [rules.label]})
        state = await desk.handed_over(tx, "wm1")
        await conversations.set_priority(tx, state.id, priority=Priority.LOW, by=SYSTEM, now=NOON)  # rules are known
    async with Database(urls.app, work_size=1, page_size=1) as elsewhere:
        elsewhere.reactions = reactions()
        async with elsewhere.transaction(workspace) as tx:
            await service.switch(tx, rule, on=False, by=SYSTEM, now=NOON)
            definition = load_definition(
                {"on": RESOLVED, "actions": [{"kind": "add_labels", "labels": [rules.other_label]}]}
            )
            await service.change(tx, changed, definition=definition, by=SYSTEM, now=NOON)
    async with desk.database.transaction(workspace) as tx:
        await conversations.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
        after = await desk.state(tx, "wm1")
        assert (after.assignee_id, after.labels) == (desk.lin, (rules.other_label,))
        (run,) = await rules.runs(tx, state.id)
        assert (run.rule_id, run.revision) == (changed, 2)


async def test_a_workspace_without_a_rule_for_it_asks_the_database_nothing(
    db: Database, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule that comes with the program listens to resolutions; a message costs no statement more."""
    desk = await open_desk(db, workspace)
    counted: list[str] = []
    execute = Transaction._execute

    async def counting(self: Transaction, sql: str, params: dict[str, Any]) -> Any:
        counted.append(sql)
        return await execute(self, sql, params)

    async with desk.database.transaction(desk.workspace_id) as tx:
        await desk.writes(tx, "wm0")  # now the rules are known
    monkeypatch.setattr(Transaction, "_execute", counting)
    spent = []
    for with_rules in (True, False):
        counted.clear()
        if not with_rules:
            desk.database.reactions = None
        async with desk.database.transaction(desk.workspace_id) as tx:
            await desk.writes(tx, "wm0", "还在吗")
        spent.append([sql for sql in counted if "procrastinate" not in sql])
    assert spent[0] == spent[1]
    assert not any("rule" in sql for sql in spent[0])


async def test_what_a_rule_does_is_undone_with_what_set_it_off(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(tx, "取消", RESOLVED, {"kind": "unassign"})
        state = await desk.handed_over(tx, "wm1")

    async def accident() -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await conversations.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
            assert len(await rules.runs(tx, state.id)) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await accident()
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert (await desk.state(tx, "wm1")).assignee_id == desk.lin
        assert await rules.runs(tx, state.id) == []


async def test_changes_of_rules_are_facts_and_meet_no_stale_form(rules: Rules) -> None:
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        rule = await rules.add(tx, "取消", RESOLVED, {"kind": "unassign"})
        await service.change(tx, rule, name="解决后取消", revision=1, by=Actor("agent", desk.lin), now=NOON)
        with pytest.raises(Conflict, match="Somebody changed this rule meanwhile"):
            await service.change(tx, rule, name="别的", revision=1, by=SYSTEM, now=NOON)
        with pytest.raises(Conflict, match="a name of at most"):
            await service.change(tx, rule, name=" ", by=SYSTEM, now=NOON)
        with pytest.raises(Conflict, match="Look at them again"):
            await service.order(tx, [rule, rule], by=SYSTEM, now=NOON)
        row = await tx.row("select actor_id, data from event where kind = %(k)s order by id desc", k=RuleChanged.kind())
        assert row is not None
        told = {"rule_id": rule, "revision": 2, "before": {"name": "取消"}, "after": {"name": "解决后取消"}}
        assert row == (desk.lin, told)
        assert (await service.change(tx, rule, name="解决后取消", by=SYSTEM, now=NOON)).revision == 2  # nothing changed


async def test_a_verb_of_two_steps_goes_on_from_what_a_rule_made_of_the_first(rules: Rules) -> None:
    """A reply takes the conversation, then queues the words; a rule that snoozes what is taken is not overwritten."""
    desk = rules.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        await rules.add(tx, "接了就搁置", ["conversation_assigned"], {"kind": "snooze", "minutes": 30})
        await rules.add(tx, "不变", ["conversation_assigned"], {"kind": "set_priority", "priority": 0})
        state = await desk.writes(tx, "wm1")
        await replies.reply(tx, state.id, text="在的", by=desk.lin, limits=desk.inbox.channel.limits, now=NOON)
        after = await desk.state(tx, "wm1")
        assert (after.status, after.assignee_id, after.waiting_since) == (Status.SNOOZED, desk.lin, None)


async def test_a_rule_promises_once_and_hears_nothing_of_it(rules: Rules) -> None:
    desk = rules.desk
    asked = {"kind": "open_ticket", "messages": 5, "owner": "assignee", "priority": 3, "days": 2}
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.handed_over(tx, "wm1")
        await rules.add(tx, "投诉开工单", MESSAGE, asked)
        await desk.writes(tx, "wm1", "你们的发票一直开不出来，打我电话 13800006021")
        await desk.writes(tx, "wm1", "还有人吗")
    async with desk.database.transaction(desk.workspace_id) as tx:
        ((ticket_id, title, *rest),) = await tx.rows("select id, title, owner_id, priority, due_at, state from ticket")
        assert rest == [state.assignee_id, 3, NOON + timedelta(days=2), "open"]
        assert "发票一直开不出来" in title
        assert "13800006021" not in title
        assert sorted(outcomes(run) for run in await rules.runs(tx, state.id)) == [["done"], ["unchanged"]]
        said = await tx.values(
            "select text from ticket_message where ticket_id = %(id)s order by message_id", id=ticket_id
        )
        assert said[-1] == "你们的发票一直开不出来，打我电话 13800006021"
        await set_state(tx, ticket_id, TicketState.DONE, by=SYSTEM, now=NOON)
        # What we say about the ticket is no reason for another; what the contact says then is.
        locked = await transitions.lock(tx, state.id)
        told = {"text": "工单1已完成", "key": "told", "limits": Limits(2000), "now": NOON}
        await outbox.enqueue(tx, locked, author=Author.TRACKER, actor=Actor("tracker"), **told)
        assert await tx.value("select count(*) from ticket") == 1
        await desk.writes(tx, "wm1", "又开不出来了")
        assert await tx.value("select count(*) from ticket") == 2
