"""Who is chosen for a conversation: by load or in turn, within limits and teams."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zhiban.channels.policy import AssignmentPolicy
from zhiban.conversations.distribution import AgentLoad, Distribution
from zhiban.conversations.models import ConversationState, Status

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


def waits(id_: int, inbox: int = 1, team: int | None = None) -> ConversationState:
    return ConversationState(id_, inbox, None, f"t{id_}", Status.OPEN, team_id=team, waiting_since=NOON)


def load(id_: int, n: int = 0, *, inbox: int = 1, teams: tuple[int, ...] = (), ago: int | None = None) -> AgentLoad:
    given = None if ago is None else NOON - timedelta(minutes=ago)
    return AgentLoad(id_, frozenset(teams), Counter({inbox: n}), given_at=given)


def policy(by: str = "balanced", **more: Any) -> AssignmentPolicy:
    return AssignmentPolicy.model_validate({"by": by, **more})


@pytest.mark.parametrize(
    ("loads", "policies", "asked", "expected"),
    [
        pytest.param([load(1, 2), load(2, 1)], {1: policy()}, [waits(1)], [2], id="fewest open"),
        pytest.param([load(1, 1, ago=1), load(2, 1, ago=9)], {1: policy()}, [waits(1)], [2], id="tie: longest without"),
        pytest.param([load(2, 5), load(1, 5)], {1: policy()}, [waits(1), waits(2), waits(3)], [1, 2, 1], id="evenly"),
        pytest.param(
            [load(1, 0, ago=1), load(2, 9, ago=2), load(3, 9)],
            {1: policy("round_robin")},
            [waits(n) for n in range(4)],
            [3, 2, 1, 3],
            id="in turn, whatever they have",
        ),
        pytest.param(
            [load(1, 3, inbox=2), load(2, 2, inbox=1)],
            {1: policy(), 2: policy("off", weight=0.5)},
            [waits(1)],
            [1],
            id="an inbox that weighs little",
        ),
        pytest.param([load(1, 3, inbox=2)], {1: policy(most=3)}, [waits(1)], [None], id="full by what others gave"),
        pytest.param([load(1, 3, inbox=2)], {1: policy(most_here=1)}, [waits(1), waits(2)], [1, None], id="full here"),
        pytest.param(
            [load(1), load(2)], {1: policy(fair_limit=1)}, [waits(n) for n in range(3)], [1, 2, None], id="fair"
        ),
        pytest.param(
            [load(1), load(2, 9, teams=(7,))],
            {1: policy(team=7)},
            [waits(1), waits(2, team=8)],
            [2, None],
            id="the conversation's team comes before the inbox's",
        ),
    ],
)
def test_who_is_chosen(
    loads: list[AgentLoad], policies: dict[int, AssignmentPolicy], asked: list[ConversationState], expected: list[int]
) -> None:
    distribution = Distribution(loads, policies)
    given = [distribution.give(one) for one in asked]
    assert [one.agent_id if one else None for one in given] == expected
