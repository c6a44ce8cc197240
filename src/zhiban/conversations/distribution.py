"""Who is given which conversation. Pure: what waits, who is there and the policies in; pairs out, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zhiban.channels.policy import AssignmentPolicy
from zhiban.conversations.models import ConversationState
from zhiban.kit.frozen_dataclass import frozen_dataclass


@dataclass(slots=True)
class AgentLoad:
    """What an agent has in hand: open conversations by inbox, and how many policies gave them in each fair window.

    `given_at`: when a policy last gave them one.
    """

    agent_id: int
    teams: frozenset[int] = frozenset()
    open: Counter[int] = field(default_factory=Counter)
    lately: Counter[int] = field(default_factory=Counter)  # by the length of the window, in minutes
    given_at: datetime | None = None
    turn: int = 0  # grows when this plan gives them one
    inboxes: frozenset[int] | None = None  # in which they may answer; None: in every one

    def weight(self, policies: Mapping[int, AssignmentPolicy]) -> float:
        """Their open conversations, each counted as the policy of its inbox weighs it."""
        return sum(n * (policies[inbox].weight if inbox in policies else 1.0) for inbox, n in self.open.items())

    def room(self, inbox_id: int, policy: AssignmentPolicy) -> int | None:
        """How many more of this inbox they may be given. None: any number."""
        if self.inboxes is not None and inbox_id not in self.inboxes:
            return 0
        limits = (
            (policy.most, self.open.total()),
            (policy.most_here, self.open[inbox_id]),
            (policy.fair_limit, self.lately[policy.fair_minutes]),
        )
        left = [limit - n for limit, n in limits if limit is not None]
        return max(0, min(left)) if left else None


@frozen_dataclass
class Given:
    """A conversation and the agent who gets it."""

    state: ConversationState
    agent_id: int


class Distribution:
    """Gives conversations away one after the other; each changes what its agent has in hand."""

    def __init__(self, loads: Sequence[AgentLoad], policies: Mapping[int, AssignmentPolicy]) -> None:
        self._loads = loads
        self._policies = policies
        self._turn = 0

    def room(self, inbox_id: int, *, most: int) -> int:
        """How many conversations of this inbox could be given away now, at most so many."""
        policy = self._policies[inbox_id]
        found = 0
        for load in self._loads:
            left = load.room(inbox_id, policy)
            found += most if left is None else left
        return min(found, most)

    def teams(self, inbox_id: int) -> list[int]:
        """Teams of which somebody has room for a conversation of this inbox."""
        policy = self._policies[inbox_id]
        return sorted({team for load in self._loads if load.room(inbox_id, policy) != 0 for team in load.teams})

    def give(self, state: ConversationState, *, refused_by: int | None = None) -> Given | None:
        """The agent who gets it, None when nobody may. Whoever refused it by hand is not asked again."""
        policy = self._policies[state.inbox_id]
        load = min(self._candidates(state, policy, refused_by), key=lambda one: self._order(one, policy), default=None)
        if load is None:
            return None
        self._turn += 1
        load.turn = self._turn
        load.open[state.inbox_id] += 1
        for minutes in {one.fair_minutes for one in self._policies.values()}:
            load.lately[minutes] += 1
        return Given(state, load.agent_id)

    def _candidates(
        self, state: ConversationState, policy: AssignmentPolicy, refused_by: int | None
    ) -> Iterator[AgentLoad]:
        team = state.team_id or policy.team  # the one that a person or a rule chose comes before the inbox's
        for load in self._loads:
            if load.agent_id == refused_by or (team is not None and team not in load.teams):
                continue
            if load.room(state.inbox_id, policy) != 0:
                yield load

    def _order(self, load: AgentLoad, policy: AssignmentPolicy) -> tuple[float, int, float, int]:
        """The smallest is first: by weight where loads are balanced, then whoever has waited longest for one."""
        weight = load.weight(self._policies) if policy.by == "balanced" else 0.0
        given = load.given_at.timestamp() if load.given_at else 0.0
        return weight, load.turn, given, load.agent_id
