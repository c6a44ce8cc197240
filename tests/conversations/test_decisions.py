"""What every change means in every status, with plain values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from zhiban.conversations import changes as c
from zhiban.conversations.decisions import decide
from zhiban.conversations.models import ConversationState, Status
from zhiban.events import (
    Actor,
    ConversationHandedOff,
    ConversationOpened,
    ConversationReopened,
    ConversationResolved,
    ConversationSnoozed,
    ConversationStarted,
    FlowEnded,
    GroupMembersJoined,
    GroupMembersLeft,
    GroupRenamed,
    MessageReceived,
)
from zhiban.kit.errors import Conflict

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
LIN = Actor("agent", 7)
XIAOMING = Actor("contact", 3)
WEI = Actor("servicer", ref="wei")


def state(status: Status, **more: object) -> ConversationState:
    """A conversation as it is found in this status."""
    found = ConversationState(id=1, inbox_id=2, contact_id=3, thread="wm1", status=status, last_activity_at=NOW)
    match status:
        case Status.PENDING:
            found = replace(found, waiting_since=NOW)
        case Status.OPEN:
            found = replace(found, waiting_since=NOW, opened_at=NOW, handoff_reason="asked", assignee_id=7)
        case Status.SNOOZED:
            found = replace(found, snoozed_until=NOW + timedelta(hours=1), opened_at=NOW, assignee_id=7)
        case Status.RESOLVED:
            found = replace(found, resolved_at=NOW - timedelta(days=1))
    return replace(found, **more)  # type: ignore[arg-type]


def wrote(at: datetime = NOW, *, by: Actor = XIAOMING, **more: object) -> c.MessagesArrived:
    return c.MessagesArrived((c.Arrived(11, at, by, from_contact=by.kind == "contact"),), **more)  # type: ignore[arg-type]


def tapped(at: datetime = NOW) -> c.MessagesArrived:
    return c.MessagesArrived((c.Arrived(11, at, XIAOMING, aside=True),))


BEFORE = c.BeforeResolution("open", 7, NOW, "asked", None, 0, None)
OLD = NOW - timedelta(hours=1)

# change, then what comes out of pending, open, snoozed and resolved; "!" is refused, "=" changes nothing at all.
TABLE: list[tuple[str, c.Change, tuple[str, str, str, str]]] = [
    ("contact writes", wrote(), ("pending", "open", "open", "pending")),
    ("assistant off", wrote(assistant=False), ("open", "open", "open", "open")),
    ("late", wrote(OLD), ("open", "open", "open", "open")),
    ("history", wrote(OLD, history=True), ("pending", "open", "snoozed", "resolved")),
    ("blocked", wrote(blocked=True), ("resolved", "resolved", "snoozed", "resolved")),
    ("servicer writes", wrote(by=WEI), ("open", "open", "open", "open")),
    ("enters", c.EnterChat(), ("pending", "open", "snoozed", "resolved")),
    ("hand off", c.HandOffToPeople("asked"), ("open", "=", "=", "=")),
    ("open", c.Open("reopened"), ("open", "=", "open", "open")),
    ("take", c.Open("taken", take_by=9), ("open", "open", "open", "open")),
    ("assign", c.Assign(9), ("open", "open", "snoozed", "resolved")),
    ("un-assign", c.Assign(None), ("=", "open", "snoozed", "=")),
    ("team", c.AssignTeam(4), ("pending", "open", "snoozed", "resolved")),
    ("no team", c.AssignTeam(None), ("=", "=", "=", "=")),
    ("label", c.ChangeLabels(frozenset({5})), ("pending", "open", "snoozed", "resolved")),
    ("no label", c.ChangeLabels(remove=frozenset({5})), ("=", "=", "=", "=")),
    ("priority", c.SetPriority(4), ("pending", "open", "snoozed", "resolved")),
    ("same priority", c.SetPriority(0), ("=", "=", "=", "=")),
    ("filled in", c.SetAttributes((("版本", "企业版"),)), ("pending", "open", "snoozed", "resolved")),
    ("empty as it was", c.SetAttributes((("版本", ""),)), ("=", "=", "=", "=")),
    ("contact", c.ChangeContact(8), ("pending", "open", "snoozed", "resolved")),
    ("same contact", c.ChangeContact(3), ("=", "=", "=", "=")),
    ("flow begins", c.BeginFlow(3, 6, "退换登记"), ("pending", "pending", "pending", "!")),
    ("flow ends where none runs", c.EndFlow("finished", "退换登记"), ("!", "!", "!", "!")),
    ("macro", c.NoteMacro(3, "结案", "k"), ("pending", "open", "snoozed", "resolved")),
    ("followers", c.NoteFollowers(added=(9,)), ("pending", "open", "snoozed", "resolved")),
    ("contact labels", c.NoteContactLabels(added=(9,)), ("pending", "open", "snoozed", "resolved")),
    ("survey", c.NoteSurvey(1, 9, "menu"), ("pending", "open", "snoozed", "resolved")),
    ("rating", c.NoteRating(1, 1, 9, None, 5, None, None, "menu"), ("pending", "open", "snoozed", "resolved")),
    ("taps a rating late", tapped(OLD), ("pending", "open", "snoozed", "resolved")),
    ("taps a rating", tapped(), ("pending", "open", "snoozed", "resolved")),
    ("snooze", c.Snooze(NOW + timedelta(hours=2)), ("snoozed", "snoozed", "snoozed", "!")),
    ("snooze into the past", c.Snooze(NOW), ("!", "!", "!", "!")),
    ("resolve", c.Resolve("agent"), ("resolved", "resolved", "resolved", "=")),
    ("undo", c.UndoResolve(BEFORE), ("!", "!", "!", "open")),
    ("undo snooze", c.UndoSnooze(c.BeforeSnooze("pending", None, None)), ("!", "!", "pending", "!")),
    ("reopen", c.Open("reopened", take_by=9), ("open", "open", "open", "open")),
    ("return", c.ReturnToAssistant(), ("=", "pending", "pending", "pending")),
    ("mute", c.Mute(), ("resolved", "resolved", "resolved", "resolved")),
    ("unmute", c.Unmute(), ("=", "=", "=", "=")),
    ("reply", c.QueueReply((12,)), ("pending", "open", "snoozed", "resolved")),
    ("again", c.RequeueReply(12), ("pending", "open", "snoozed", "resolved")),
    ("renamed", c.RenameGroup("用户群"), ("pending", "open", "snoozed", "resolved")),
    ("members", c.NoteMembers((4,), True), ("pending", "open", "snoozed", "resolved")),
    ("native", c.ChangeNativeSession("human", "wei"), ("pending", "open", "snoozed", "resolved")),
]
CASES = [
    (name, change, status, outcome)
    for name, change, outcomes in TABLE
    for status, outcome in zip(Status, outcomes, strict=True)
]


def test_every_kind_of_change_stands_in_the_table() -> None:
    assert {type(change) for _, change, _ in TABLE} == set(get_args(c.Change))


@pytest.mark.parametrize(("name", "change", "status", "outcome"), CASES, ids=[f"{n}-{s}" for n, _, s, _ in CASES])
def test_every_change_in_every_status(name: str, change: c.Change, status: Status, outcome: str) -> None:
    before = state(status)
    if outcome == "!":
        with pytest.raises(Conflict):
            decide(before, change, NOW, actor=LIN)
        return
    decision = decide(before, change, NOW, actor=LIN)
    if outcome == "=":
        assert decision.events == ()
        assert decision.state == before
        return
    assert decision.events
    assert decision.state.status == outcome
    assert_legal(decision.state)


def assert_legal(found: ConversationState) -> None:
    """What holds in every state that can be reached."""
    assert (found.snoozed_until is not None) == (found.status is Status.SNOOZED)
    if found.status is Status.PENDING:
        assert found.assignee_id is None
        assert found.handoff_reason is None
    if found.status is Status.RESOLVED:
        assert found.waiting_since is None
    if found.resolver_id is not None:
        assert found.status is Status.RESOLVED
    if found.is_group:
        assert found.status is not Status.PENDING
    if found.flow_run_id is not None:
        assert (found.status, found.is_group, found.muted) == (Status.PENDING, False, False)
    assert found.cycle >= 1
    assert found.replies_used >= 0


LEAVES_THE_ASSISTANT: list[tuple[c.Change, Actor, Status]] = [
    (c.Open("taken", take_by=7), LIN, Status.OPEN),
    (c.Assign(7), LIN, Status.OPEN),
    (c.HandOffToPeople("word"), Actor("rule", 2), Status.OPEN),
    (c.Resolve("idle"), Actor("timer"), Status.RESOLVED),
    (c.Snooze(NOW + timedelta(hours=1)), LIN, Status.SNOOZED),
    (c.Mute(), LIN, Status.RESOLVED),
    (wrote(by=WEI), WEI, Status.OPEN),
    (wrote(OLD), XIAOMING, Status.OPEN),
]


@pytest.mark.parametrize(("change", "actor", "status"), LEAVES_THE_ASSISTANT)
def test_a_flow_ends_with_whatever_takes_the_conversation_out_of_the_assistants_hands(
    change: c.Change, actor: Actor, status: Status
) -> None:
    after = decide(state(Status.PENDING, flow_run_id=6), change, NOW, actor=actor)
    (ended,) = [event for event in after.events if isinstance(event, FlowEnded)]
    assert (ended.run_id, ended.outcome) == (6, "interrupted")
    assert (after.state.status, after.state.flow_run_id) == (status, None)


def test_in_a_flow_the_contact_is_heard_also_where_no_assistant_answers() -> None:
    after = decide(state(Status.PENDING, flow_run_id=6), wrote(assistant=False, flow_run_id=6), NOW, actor=XIAOMING)
    assert (after.state.status, after.state.flow_run_id, after.effects.wake) == (Status.PENDING, 6, True)
    assert after.effects.handled == ()


def test_what_led_to_a_flow_is_no_answer_to_it() -> None:
    after = decide(state(Status.PENDING, flow_run_id=6), wrote(), NOW, actor=XIAOMING)
    assert (after.state.status, after.state.flow_run_id, after.effects.handled) == (Status.PENDING, 6, (11,))


NO_FLOW = [
    (state(Status.PENDING, is_group=True), LIN),
    (state(Status.PENDING, flow_run_id=6), LIN),
    (state(Status.PENDING, muted=True), LIN),
    (state(Status.RESOLVED), LIN),
    (state(Status.OPEN), Actor("rule", 2)),  # 林晓 has it
    (state(Status.SNOOZED, assignee_id=None), Actor("rule", 2)),
    (state(Status.OPEN, assignee_id=None, native_state="human"), LIN),
]


@pytest.mark.parametrize(("before", "actor"), NO_FLOW)
def test_where_no_flow_begins(before: ConversationState, actor: Actor) -> None:
    with pytest.raises(Conflict):
        decide(before, c.BeginFlow(3, 8, "退换登记"), NOW, actor=actor)


def test_a_rule_begins_a_flow_where_nobody_has_taken_it_yet_and_what_waited_is_heard() -> None:
    after = decide(state(Status.OPEN, assignee_id=None), c.BeginFlow(3, 8, "登记"), NOW, actor=Actor("rule", 2))
    assert (after.state.status, after.state.flow_run_id) == (Status.PENDING, 8)
    assert (after.effects.heard, after.effects.requeue) == (True, False)


def test_a_returning_contact_begins_a_new_cycle() -> None:
    before = state(Status.RESOLVED, cycle=2, first_reply_at=OLD, failures=1, assignee_id=7)
    after = decide(before, wrote(), NOW, actor=XIAOMING)
    assert [type(event) for event in after.events][:2] == [MessageReceived, ConversationReopened]
    assert after.state.cycle == 3
    assert after.events[1].cycle == 3
    assert after.state.first_reply_at is None
    assert after.state.failures == 0
    assert after.state.assignee_id is None
    assert after.state.waiting_since == NOW
    assert after.effects.wake


def test_the_first_words_after_a_welcome_reopen_nothing() -> None:
    entered = state(Status.RESOLVED, resolved_at=None)
    after = decide(entered, wrote(), NOW, actor=XIAOMING)
    assert isinstance(after.events[-1], ConversationStarted)
    assert after.state.status is Status.PENDING
    assert after.state.cycle == 1


def test_a_contact_who_writes_again_does_not_move_back_in_the_queue() -> None:
    waiting = state(Status.OPEN, waiting_since=OLD)
    after = decide(waiting, wrote(), NOW, actor=XIAOMING)
    assert after.state.waiting_since == OLD


def test_a_persons_reply_ends_the_waiting_and_is_the_first_of_its_cycle_once() -> None:
    waiting = state(Status.OPEN)
    after = decide(waiting, c.QueueReply((12,), from_person=True), NOW, actor=LIN)
    assert after.state.waiting_since is None
    assert after.state.first_reply_at == NOW
    assert after.state.replies_used == 1
    later = NOW + timedelta(minutes=5)
    again = decide(after.state, c.QueueReply((13,), from_person=True), later, actor=LIN)
    assert again.state.first_reply_at == NOW


def test_an_answer_of_the_assistant_is_no_first_reply() -> None:
    after = decide(state(Status.PENDING), c.QueueReply((12,), helped=True), NOW, actor=Actor("assistant"))
    assert after.state.first_reply_at is None
    assert after.state.waiting_since is None
    assert after.state.failures == 0
    again = decide(after.state, c.QueueReply((13,), helped=False), NOW, actor=Actor("assistant"))
    assert again.state.failures == 1


def test_who_is_handed_over_waits_whatever_the_assistant_said() -> None:
    answered = state(Status.PENDING, waiting_since=None, last_incoming_at=OLD)
    after = decide(answered, c.HandOffToPeople("repeated_failure"), NOW, actor=Actor("assistant"))
    assert isinstance(after.events[0], ConversationHandedOff)
    assert after.state.waiting_since == OLD
    assert after.effects.cancel_assistant


def test_an_undone_resolution_leaves_no_trace_in_the_row() -> None:
    before = state(Status.OPEN, waiting_since=OLD, failures=1, cycle=4)
    resolved = decide(before, c.Resolve(), NOW, actor=LIN)
    event = resolved.events[0]
    assert isinstance(event, ConversationResolved)
    freed = decide(resolved.state, c.Assign(None, "resolved"), NOW, actor=Actor("system"))
    undo = c.UndoResolve(
        c.BeforeResolution(
            event.previous,
            event.assignee_id,
            event.was_waiting_since,
            event.was_handoff_reason,
            event.was_snoozed_until,
            event.was_failures,
            event.was_resolved_at,
        )
    )
    assert decide(freed.state, undo, NOW, actor=LIN).state == before


@pytest.mark.parametrize("status", [Status.PENDING, Status.OPEN, Status.SNOOZED])
def test_undone_snoozing_leaves_no_trace_in_the_row(status: Status) -> None:
    before = state(status, failures=1)
    snoozed = decide(before, c.Snooze(NOW + timedelta(hours=3)), NOW, actor=LIN)
    event = snoozed.events[0]
    assert isinstance(event, ConversationSnoozed)
    freed = decide(snoozed.state, c.Assign(None, "snoozed"), NOW, actor=Actor("system"))
    undo = c.UndoSnooze(c.BeforeSnooze(event.previous, event.assignee_id, event.was_snoozed_until))
    after = decide(freed.state, undo, NOW, actor=LIN)
    assert after.state == before
    assert after.effects.requeue is (status is Status.PENDING)


def test_taking_a_pending_conversation_opens_and_assigns_it() -> None:
    after = decide(state(Status.PENDING), c.Open("taken", take_by=7), NOW, actor=LIN)
    assert isinstance(after.events[0], ConversationOpened)
    assert after.state.assignee_id == 7


def test_what_people_hold_in_the_vendors_client_cannot_be_given_back() -> None:
    with pytest.raises(Conflict, match="vendor's client"):
        decide(state(Status.OPEN, native_state="human"), c.ReturnToAssistant(), NOW, actor=LIN)


def test_an_open_question_goes_back_to_the_assistant_with_the_conversation() -> None:
    assert decide(state(Status.OPEN), c.ReturnToAssistant(), NOW, actor=LIN).effects.requeue
    answered = state(Status.OPEN, waiting_since=None)
    assert not decide(answered, c.ReturnToAssistant(), NOW, actor=LIN).effects.requeue


# ---------------------------------------------------------------------------------------------------------- groups

EVERY = [Status.OPEN, Status.SNOOZED, Status.RESOLVED]


def group(status: Status = Status.RESOLVED, **more: object) -> ConversationState:
    return state(status, contact_id=None, is_group=True, waiting_since=None, **more)


@pytest.mark.parametrize("status", EVERY)
def test_talk_in_a_group_calls_nobody_and_wakes_the_worker(status: Status) -> None:
    before = group(status)
    after = decide(before, wrote(), NOW, actor=XIAOMING)
    assert [(type(event), event.counts) for event in after.events if isinstance(event, MessageReceived)] == [
        (MessageReceived, False)
    ]
    assert len(after.events) == 1
    assert replace(after.state, last_incoming_at=None) == replace(before, last_activity_at=NOW)
    assert (after.effects.wake, after.effects.handled) == (True, ())


@pytest.mark.parametrize(
    ("found", "change"),
    [
        (group(muted=True), wrote()),
        (group(), wrote(assistant=False)),
        (group(), wrote(OLD)),
        (group(), tapped()),
    ],
    ids=["muted", "assistant off", "late", "of somebody blocked"],
)
def test_what_nobody_is_to_look_at_in_a_group_is_heard_only(found: ConversationState, change: c.Change) -> None:
    after = decide(found, change, NOW, actor=XIAOMING)
    assert (after.state.status, after.effects.wake, after.effects.handled) == (Status.RESOLVED, False, (11,))


def test_a_colleague_who_writes_in_the_vendors_client_takes_no_group() -> None:
    after = decide(group(), wrote(by=WEI), NOW, actor=WEI)
    assert (after.state.status, after.state.native_state) == (Status.RESOLVED, None)


def test_a_group_is_handed_over_from_wherever_it_is_and_once_more_while_people_have_it() -> None:
    asks = c.HandOffToPeople("nothing_found", "怎么部署？", 11)
    first = decide(group(), asks, NOW, actor=Actor("assistant"))
    assert (first.state.status, first.state.waiting_since, first.state.cycle) == (Status.OPEN, NOW, 2)
    assert not first.effects.cancel_assistant
    later = NOW + timedelta(minutes=5)
    answered = replace(first.state, waiting_since=None, first_reply_at=NOW)
    second = decide(answered, asks, later, actor=Actor("assistant"))
    assert [type(event) for event in second.events] == [ConversationHandedOff]
    assert (second.state.opened_at, second.state.waiting_since, second.state.cycle) == (NOW, later, 2)


@pytest.mark.parametrize("status", EVERY)
def test_given_back_a_group_is_done(status: Status) -> None:
    after = decide(group(status), c.ReturnToAssistant(), NOW, actor=LIN)
    assert (after.state.status, after.state.assignee_id) == (Status.RESOLVED, group(status).assignee_id)
    assert not after.effects.requeue


def test_what_is_told_of_a_group_is_one_fact_each() -> None:
    named = decide(group(), c.RenameGroup("青禾用户群"), NOW, actor=WEI)
    assert [type(event) for event in named.events] == [GroupRenamed]
    assert named.state.subject == "青禾用户群"
    assert not decide(named.state, c.RenameGroup("青禾用户群"), NOW, actor=WEI).events
    came = decide(group(), c.NoteMembers((4, 5), True, 3), NOW, actor=XIAOMING)
    assert [(type(event), event.members, event.by) for event in came.events if isinstance(event, GroupMembersJoined)]
    gone = decide(group(), c.NoteMembers((), False, ourselves=True), NOW, actor=WEI)
    assert [(type(event), event.ourselves) for event in gone.events if isinstance(event, GroupMembersLeft)] == [
        (GroupMembersLeft, True)
    ]
    assert not decide(group(), c.NoteMembers((), True), NOW, actor=WEI).events
