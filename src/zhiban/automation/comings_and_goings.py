"""When agents came and went, as the log tells: for the rehearsal of rules that wait for them, or ask who is there.

Who may answer in which inbox is taken as it is today. What is known begins with the first of the facts that were read;
where these are all that there are, an agent without any has always been as they are now.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from zhiban.automation.delays import DelayKind
from zhiban.conversations.queries import latest_facts
from zhiban.events import AgentBecameAvailable, AgentBecameBusy, AgentWentOffline, Event
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.permissions import Access, access_of_agent
from zhiban.people.presence import NEVER, Availability, PresenceFact, availabilities

_MOST = 20_000  # facts that are read besides those that were asked for

RowPosition = tuple[datetime, int]  # when a fact happened, and its id


@frozen_dataclass
class ComingsAndGoings:
    """`facts` of presence by agent, oldest first; `asked_about` counts those that set the rule off.

    `first_id` is the oldest of these, 0 where all were read (`complete`). `now` is what others see of each agent,
    `answers` what each may see and do.
    """

    facts: Mapping[int, tuple[PresenceFact, ...]]
    asked_about: int
    first_id: int
    now: Mapping[int, Availability]
    answers: Mapping[int, Access]

    @property
    def complete(self) -> bool:
        return not self.first_id

    def comings(self) -> list[AgentBecameAvailable]:
        """Every time that an agent came online, oldest first."""
        came = [fact for facts in self.facts.values() for fact in facts if isinstance(fact, AgentBecameAvailable)]
        return sorted(came, key=key_of)

    def of(self, agents: Iterable[int]) -> Iterator[tuple[RowPosition, PresenceFact]]:
        """What these agents did."""
        for agent in agents:
            for fact in self.facts.get(agent, ()):
                yield key_of(fact), fact

    def absent_before(self, agent_id: int) -> datetime | None:
        """Since when the agent had been gone before their first fact; None: they had not, or nobody knows."""
        never_there = not self.facts.get(agent_id) and self.now.get(agent_id, Availability.OFFLINE) == "offline"
        first = self.facts.get(agent_id, ())[:1]
        began_offline = bool(first) and first[0].previous == Availability.OFFLINE
        return NEVER if self.complete and (never_there or began_offline) else None

    def is_online(self, agent_id: int, until: RowPosition) -> bool:
        """Whether others saw the agent online after this fact, whosever it is."""
        facts = self.facts.get(agent_id, ())
        if not facts:
            return self.now.get(agent_id) == Availability.ONLINE
        place = bisect_right(facts, until, key=key_of)
        return isinstance(facts[place - 1], AgentBecameAvailable) if place else facts[0].previous == "online"

    def may_answer(self, agent_id: int, inbox_id: int) -> bool:
        return agent_id in self.answers and self.answers[agent_id].answers(inbox_id)

    def tells_of(self, at: datetime) -> bool:
        """Whether it is known who was there at that moment."""
        return self.complete or any(facts[0].at <= at for facts in self.facts.values())

    def seen_in(self, inbox_id: int, until: RowPosition) -> dict[int, Availability]:
        """What others saw, after this fact, of each agent who may answer in the inbox."""
        return {agent: self._seen(agent, until) for agent in self.answers if self.may_answer(agent, inbox_id)}

    def _seen(self, agent_id: int, until: RowPosition) -> Availability:
        facts = self.facts.get(agent_id, ())
        if not facts:
            return self.now.get(agent_id, Availability.OFFLINE)
        place = bisect_right(facts, until, key=key_of)
        match facts[place - 1] if place else None:
            case AgentBecameAvailable():
                return Availability.ONLINE
            case AgentBecameBusy():
                return Availability.BUSY
            case AgentWentOffline():
                return Availability.OFFLINE
            case None:
                return Availability(facts[0].previous)


def key_of(fact: PresenceFact) -> RowPosition:
    return fact.at, fact.id


async def comings_and_goings(tx: Transaction, what: DelayKind, *, limit: int) -> ComingsAndGoings:
    """The last `limit` times that an agent went, or came, as the rule waits for, and what agents did since."""
    came, went, busy = AgentBecameAvailable.kind(), AgentWentOffline.kind(), AgentBecameBusy.kind()
    wanted, other = (went, came) if what == "assignee_offline" else (came, went)
    asked = await latest_facts(tx, [wanted], limit=limit)
    first = asked[0] if len(asked) == limit else None
    rest = await latest_facts(tx, [other, busy], since=first.at if first else None, limit=_MOST)
    return await _log(tx, [*asked, *rest], asked_about=len(asked), first_id=first.id if first else 0)


async def presence_since(tx: Transaction, since: datetime) -> ComingsAndGoings:
    """What agents did since then, as far as it is not too much; nothing of it set a rule off."""
    kinds = [kind.kind() for kind in (AgentBecameAvailable, AgentBecameBusy, AgentWentOffline)]
    found = await latest_facts(tx, kinds, since=since, limit=_MOST)
    return await _log(tx, found, asked_about=0, first_id=found[0].id if len(found) == _MOST else 0)


async def _log(tx: Transaction, found: Sequence[Event], *, asked_about: int, first_id: int) -> ComingsAndGoings:
    facts: dict[int, list[PresenceFact]] = {}
    now = await availabilities(tx)
    for fact in sorted(found, key=lambda fact: (fact.at, fact.id)):
        if isinstance(fact, AgentWentOffline | AgentBecameAvailable | AgentBecameBusy):
            facts.setdefault(fact.agent_id, []).append(fact)
    return ComingsAndGoings(
        facts={agent: tuple(theirs) for agent, theirs in facts.items()},
        asked_about=asked_about,
        first_id=first_id,
        now=now,
        answers={agent: access for agent in now if (access := await access_of_agent(tx, agent)) is not None},
    )
