"""What an agent did to many conversations at once, taken back: each as it was before, where nobody was quicker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from zhiban.conversations.bulk import BulkResult, Planning, apply_planned, states_to_change
from zhiban.conversations.changes import (
    Assign,
    AssignTeam,
    Change,
    Open,
    ReturnToAssistant,
    SetPriority,
    UndoResolve,
    UndoSnooze,
)
from zhiban.conversations.models import ConversationState, Priority, Status
from zhiban.conversations.queries import last_resolutions, last_snoozes
from zhiban.conversations.service import before_resolution, before_snooze
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.people.permissions import Access, check_may_answer
from zhiban.people.teams import access_team

ASSISTANT, NOBODY = "assistant", "nobody"


def holder_of(state: ConversationState) -> str:
    """Whose turn it is: the assistant's, nobody's, or an agent's by id."""
    return ASSISTANT if state.status is Status.PENDING else str(state.assignee_id or NOBODY)


def has_holder(state: ConversationState) -> bool:
    """Whether it is somebody's turn: what is snoozed or resolved has its own way back."""
    return state.status in (Status.OPEN, Status.PENDING)


def giving_back(to: str, *, by: int) -> tuple[Change, ...]:
    """What makes it that one's turn again, in the words of `holder_of`, where `by` undoes it."""
    if to == ASSISTANT:
        return (ReturnToAssistant(),)
    if to == NOBODY:
        return Open("reopened"), Assign(None)
    return (Open("taken", take_by=by),) if to == str(by) else (Open("reopened"), Assign(int(to)))


async def undo_snoozes(tx: Transaction, access: Access, ids: Sequence[int], *, now: datetime) -> BulkResult:
    """Everything as it was before this agent snoozed them, where it is not too late. Raises NotAllowed."""
    states, refused = await states_to_change(tx, access, ids)
    snoozes = await last_snoozes(tx, [state.id for state in states])

    def back(state: ConversationState) -> tuple[Change, ...]:
        return (UndoSnooze(before_snooze(snoozes.get(state.id), by=access.agent_id, now=now)),)

    return await apply_planned(tx, access, _planned(states, back, refused), refused, now=now)


async def undo_resolutions(tx: Transaction, access: Access, ids: Sequence[int], *, now: datetime) -> BulkResult:
    """Everything as it was before this agent resolved them, where it is not too late. Raises NotAllowed."""
    states, refused = await states_to_change(tx, access, ids)
    resolutions = await last_resolutions(tx, [state.id for state in states])

    def back(state: ConversationState) -> tuple[Change, ...]:
        return (UndoResolve(before_resolution(resolutions.get(state.id), by=access.agent_id, now=now)),)

    return await apply_planned(tx, access, _planned(states, back, refused), refused, now=now)


async def undo_assignments(
    tx: Transaction, access: Access, before: Mapping[int, str], *, given: str, now: datetime
) -> BulkResult:
    """Give each back to whose it was `before` (`holder_of`), where it is still whose it was `given` to.

    Raises NotAllowed.
    """
    states, refused = await states_to_change(tx, access, list(before))
    for to, inbox_id in sorted({(before[one.id], one.inbox_id) for one in states if before[one.id].isdecimal()}):
        try:
            await check_may_answer(tx, int(to), inbox_id)
        except (Conflict, NotFound) as error:
            theirs = [one.id for one in states if (before[one.id], one.inbox_id) == (to, inbox_id)]
            refused |= dict.fromkeys(theirs, error.sentence)

    def back(state: ConversationState) -> tuple[Change, ...]:
        if holder_of(state) != given:
            raise Conflict(mark("Somebody has assigned it anew already."))
        if not has_holder(state):
            raise Conflict(mark("Somebody has taken it up again already."))
        return giving_back(before[state.id], by=access.agent_id)

    return await apply_planned(tx, access, _planned(states, back, refused), refused, now=now)


async def undo_teams(
    tx: Transaction, access: Access, before: Mapping[int, int | None], *, given: int | None, now: datetime
) -> BulkResult:
    """Give each back to the team that had it, where there is that one and it is still whose it was `given` to.

    Raises NotAllowed.
    """
    gone: dict[int | None, str] = {}
    for to in sorted({to for to in before.values() if to is not None}):  # locked before what it is given, as elsewhere
        try:
            await access_team(tx, to)
        except NotFound as error:
            gone[to] = error.sentence
    states, refused = await states_to_change(tx, access, list(before))
    refused |= {one.id: gone[before[one.id]] for one in states if before[one.id] in gone}

    def back(state: ConversationState) -> tuple[Change, ...]:
        if state.team_id != given:
            raise Conflict(mark("Somebody has assigned it anew already."))
        return (AssignTeam(before[state.id]),)

    return await apply_planned(tx, access, _planned(states, back, refused), refused, now=now)


async def undo_priorities(
    tx: Transaction, access: Access, before: Mapping[int, Priority], *, given: Priority, now: datetime
) -> BulkResult:
    """The priority that each had before, where it still has the one that it was `given`. Raises NotAllowed."""
    states, refused = await states_to_change(tx, access, list(before))

    def back(state: ConversationState) -> tuple[Change, ...]:
        check_priority(state, given)
        return (SetPriority(before[state.id]),)

    return await apply_planned(tx, access, _planned(states, back, refused), refused, now=now)


def check_priority(state: ConversationState, given: Priority) -> None:
    """Raises Conflict where it has another one than it was given."""
    if state.priority != given:
        raise Conflict(mark("Somebody has chosen another priority already."))


def _planned(
    states: Sequence[ConversationState],
    back: Callable[[ConversationState], tuple[Change, ...]],
    refused: dict[int, str],
) -> Planning:
    """What is to be done to each that is not refused, or why it cannot be."""
    planned: dict[int, tuple[ConversationState, Sequence[Change]]] = {}
    for state in states:
        if state.id in refused:
            continue
        try:
            planned[state.id] = state, back(state)
        except Conflict as error:
            refused[state.id] = error.sentence
    return planned
