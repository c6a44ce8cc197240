"""Whatever happens to a conversation, in whatever order: its events tell exactly what became of its row.

Messages, vendor events, verbs of the desk, outcomes of sending, and timers are drawn at random and go in through the
public functions. After every step the row must be what its events lead to, each changed column must have its event, no
event may have changed nothing, and the state must be a legal one.

Where every step is one act of one person, more is certain: since when who waits, when a person answered first, what
each agent has not read (`Expected`, which knows nothing of events), and that each change has exactly one event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.conversations.kernel_expectations import Expected, unread_of
from tests.conversations.kernel_story import Story, begin, group_step, plain_step, step
from tests.conversations.test_decisions import assert_legal

from zhiban.bootstrap import reactions
from zhiban.conversations import (
    transitions,
)
from zhiban.conversations.evolution import born, evolve, replay
from zhiban.conversations.models import ConversationState
from zhiban.conversations.queries import history
from zhiban.events import (
    ConversationAssigned,
    ConversationAttributesChanged,
    ConversationContactChanged,
    ConversationCreated,
    ConversationEvent,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationMuted,
    ConversationPriorityChanged,
    ConversationTeamAssigned,
    ConversationUnmuted,
    FlowEnded,
    FlowStarted,
    GroupRenamed,
    StatusChanged,
)
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.postgres.provisioning import DatabaseUrls

MUST_CHANGE = (
    StatusChanged,
    ConversationAssigned,
    ConversationTeamAssigned,
    ConversationLabelsChanged,
    ConversationPriorityChanged,
    ConversationAttributesChanged,
    ConversationMuted,
    ConversationUnmuted,
    ConversationContactChanged,
    GroupRenamed,
    FlowStarted,
    FlowEnded,
)

# What people and the kernel decide about a conversation; the rest follows from its messages.
DECIDED = (
    "status", "assignee_id", "team_id", "labels", "priority", "attributes", "muted", "contact_id", "subject",
)  # fmt: skip


async def check(
    tx: Transaction, id_: int, before: ConversationState | None, known: int
) -> tuple[ConversationState, int]:
    """The row is what its events say, and each of the new ones says something."""
    row = await transitions.lock(tx, id_)
    events = [event for event in await history(tx, id_) if isinstance(event, ConversationEvent)]
    assert replay(events) == row
    assert (row.is_group, row.contact_id is None) in ((True, True), (False, False))
    borne = "select label_id from conversation_label where conversation_id = %(id)s order by 1"
    assert tuple(await tx.values(borne, id=id_)) == row.labels
    state = before
    for event in events[known:]:
        if state is None:
            assert isinstance(event, ConversationCreated)
            state = born(event)
            continue
        after = evolve(state, event)
        one_more_question = state.is_group and isinstance(event, ConversationHandedOff)
        if isinstance(event, MUST_CHANGE) and not one_more_question:
            assert after != state, f"{event.kind()} changed nothing"
        if isinstance(event, StatusChanged):
            assert (event.previous, event.status) == (state.status, after.status)
        assert (event.assignee_id, event.team_id) == (state.assignee_id, state.team_id)
        state = after
    changed = [] if before is None else [f.name for f in fields(row) if getattr(row, f.name) != getattr(before, f.name)]
    assert not changed or len(events) > known, f"{changed} changed without an event"
    assert_legal(row)
    running = await tx.values("select id from flow_run where conversation_id = %(id)s and ended_at is null", id=id_)
    assert running == ([] if row.flow_run_id is None else [row.flow_run_id])
    return row, len(events)


async def play(story: Story, steps: list[tuple[str, int, int]]) -> None:
    before: ConversationState | None = None
    known = 0
    for what, who, seconds in steps:
        story.now += timedelta(seconds=seconds)
        with suppress(Conflict, NotFound):
            async with story.database.transaction(story.workspace_id) as tx:
                await story.do(tx, what, who)
        async with story.database.transaction(story.workspace_id) as tx:
            conversation_id = await story.conversation(tx)
            if conversation_id is not None:
                before, known = await check(tx, conversation_id, before, known)


async def check_once(
    tx: Transaction, id_: int, before: ConversationState, after: ConversationState, known: int
) -> None:
    """Of what people decide, each that is different was changed by exactly one of the new events, the rest by none."""
    state, changes = before, dict.fromkeys(DECIDED, 0)
    for event in [event for event in await history(tx, id_) if isinstance(event, ConversationEvent)][known:]:
        then = evolve(state, event)
        for name in DECIDED:
            changes[name] += getattr(then, name) != getattr(state, name)
        state = then
    assert changes == {name: int(getattr(before, name) != getattr(after, name)) for name in DECIDED}


async def play_plainly(story: Story, steps: list[tuple[str, int, int]]) -> None:
    """Steps that each are one act: what they lead to is known without the log."""
    before: ConversationState | None = None
    known, expected = 0, Expected(story.agents)
    for what, who, seconds in steps:
        story.now += timedelta(seconds=seconds)
        done = False
        with suppress(Conflict, NotFound):
            async with story.database.transaction(story.workspace_id) as tx:
                await story.do(tx, what, who)
            done = True
        async with story.database.transaction(story.workspace_id) as tx:
            conversation_id = await story.conversation(tx)
            if conversation_id is None:
                continue
            if done:
                expected.take(what, story.agents[who % 2], story.now)
            row, events = await check(tx, conversation_id, before, known)
            unread = {agent: await unread_of(tx, agent, conversation_id) for agent in story.agents}
            found = (row.status.value, row.waiting_since, row.first_reply_at, unread)
            assert found == (expected.status, expected.waiting_since, expected.first_reply_at, expected.unread), what
            if before is not None:
                await check_once(tx, conversation_id, before, row, known)
            before, known = row, events


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as found:
        yield found


def test_the_events_of_a_conversation_are_its_row(urls: DatabaseUrls, runner: asyncio.Runner) -> None:
    database = Database(urls.app, work_size=2, page_size=1)
    database.reactions = reactions()

    async def opened() -> Callable[..., Story]:
        await database.open()
        return await begin(database)

    story = runner.run(opened())

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(plain_step, min_size=3, max_size=30))
    @example([("writes", 0, 5), ("resolve", 0, 5), ("servicer writes", 0, 5)])  # answered first by the vendor's client
    def run_plainly(steps: list[tuple[str, int, int]]) -> None:
        runner.run(play_plainly(story(), steps))

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(step, min_size=3, max_size=30))
    def run(steps: list[tuple[str, int, int]]) -> None:
        runner.run(play(story(), steps))

    @settings(
        max_examples=max(20, settings.default.max_examples // 3), deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(group_step, min_size=3, max_size=25))
    def run_in_a_group(steps: list[tuple[str, int, int]]) -> None:
        runner.run(play(story(group=True), steps))

    try:
        run_plainly()  # first, while no rule is awake
        run()
        run_in_a_group()
    finally:
        runner.run(database.close())
