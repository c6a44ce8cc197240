"""What facts count for, whatever happens in whatever order: credits, cycles, levels. Times, periods and their zones."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from zhiban.channels.business_hours import Hours, open_seconds
from zhiban.conversations import changes as c
from zhiban.conversations.decisions import decide
from zhiban.conversations.evolution import born
from zhiban.conversations.models import Status
from zhiban.conversations.service import before_resolution
from zhiban.events import (
    ASSISTANT,
    TIMER,
    Actor,
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    ConversationResolved,
)
from zhiban.insights.counting import count, presence
from zhiban.insights.histogram import LONGEST, bounds, quantile, time_class
from zhiban.insights.models import Marks, Measure, ReportClock, ReportFact, TrackedAgent, TrackedConversation
from zhiban.insights.numbers import Numbers
from zhiban.insights.periods import PeriodStep, hour_of_week, period, quarter_of
from zhiban.kit.errors import Conflict

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
LIN, CHEN = 1, 2
CONTACT = Actor("contact", 7)
SHANGHAI = ZoneInfo("Asia/Shanghai")


class Told:
    """A conversation to which things happen, and what they count for."""

    def __init__(self, status: str = "pending", hours: Hours | None = None) -> None:
        created = ConversationCreated(
            actor=CONTACT, at=NOON, conversation_id=1, inbox_id=3, contact_id=7, cycle=1, status=status, thread="a"
        )
        self.state, self.hours, self.at = born(created), hours, NOON
        self.serial = 0
        self.tracked: TrackedConversation | None = None
        self.facts: list[ReportFact] = []
        self.events: list[ConversationEvent] = []
        self._record(created)

    def _record(self, event: ConversationEvent) -> None:
        counted = count(self.tracked, event, self.hours)
        self.tracked = counted.tracked
        self.facts += counted.facts
        self.events.append(event)

    def happens(self, change: c.Change, by: Actor, *, after: float = 60) -> None:
        self.at += timedelta(seconds=after)
        decided = decide(self.state, change, self.at, actor=by)
        self.state = decided.state
        for event in decided.events:
            self._record(event)

    def writes(self, *, after: float = 60) -> None:
        self.serial += 1
        arrived = c.Arrived(self.serial, self.at + timedelta(seconds=after), CONTACT)
        self.happens(c.MessagesArrived((arrived,)), CONTACT, after=after)

    def undo(self) -> None:
        last = next(event for event in reversed(self.events) if isinstance(event, ConversationResolved))
        self.happens(c.UndoResolve(before_resolution(last, by=last.actor.id or 0, now=self.at)), last.actor, after=1)

    def sum(self, measure: Measure, **of: object) -> int:
        return sum(
            fact.n
            for fact in self.facts
            if fact.measure is measure and all(getattr(fact, name) == value for name, value in of.items())
        )

    def times(self, measure: Measure, clock: ReportClock = ReportClock.ALWAYS) -> list[int | None]:
        return [fact.seconds for fact in self.facts if fact.measure is measure and fact.clock is clock]


def agent(id_: int) -> Actor:
    return Actor("agent", id_)


def test_the_credit_is_whose_deed_it_was_whatever_comes_after() -> None:
    told = Told()
    told.writes(after=0)
    told.happens(c.HandOffToPeople("asked"), ASSISTANT, after=10)
    told.happens(c.Assign(LIN), agent(LIN), after=20)
    told.happens(c.QueueReply((90,), from_person=True), agent(LIN), after=30)
    told.happens(c.ChangeLabels(add=frozenset({5})), agent(LIN), after=30)
    told.happens(c.Resolve("agent"), agent(LIN), after=120)
    told.happens(c.Assign(None), Actor("rule", 1), after=0)  # the shipped rule
    told.writes(after=3600)  # they return, and the assistant has them first
    told.happens(c.HandOffToPeople("asked"), ASSISTANT, after=0)
    told.happens(c.Assign(CHEN), Actor("system"), after=0)
    told.happens(c.QueueReply((91,), from_person=True), agent(CHEN), after=45)
    told.happens(c.ChangeLabels(remove=frozenset({5})), agent(CHEN), after=1)
    told.happens(c.Resolve("agent"), agent(CHEN), after=14)
    assert (told.sum(Measure.BEGUN), told.sum(Measure.RESUMED)) == (1, 1)
    assert (told.sum(Measure.RESOLVED, agent_id=LIN), told.sum(Measure.RESOLVED, agent_id=CHEN)) == (1, 1)
    assert [fact.labels for fact in told.facts if fact.measure is Measure.RESOLVED] == [(5,), ()]
    assert told.times(Measure.QUEUED) == [20]
    assert told.times(Measure.FIRST_REPLY) == [60, 45]  # from what the contact wrote, in each cycle
    assert told.times(Measure.RESOLUTION) == [200, 60]  # from when people had it
    assert (told.sum(Measure.ASSIGNED, agent_id=LIN), told.sum(Measure.ASSIGNED, agent_id=CHEN)) == (1, 1)
    assert told.sum(Measure.RESOLVED, marks=Marks.ASSISTED | Marks.GIVEN_AWAY) == 2
    assert told.sum(Measure.CAME_TO_PEOPLE, marks=Marks.GIVEN_AWAY) == 2


def test_who_resolved_is_told_apart() -> None:
    def resolved(*, helped: bool, by: Actor, handed: bool = False) -> str:
        told = Told()
        told.writes()
        if helped:
            told.happens(c.QueueReply((90,), helped=True), ASSISTANT)
        if handed:
            told.happens(c.HandOffToPeople("asked"), ASSISTANT)
        told.happens(c.Resolve("idle"), by)
        return next(fact.who for fact in told.facts if fact.measure is Measure.RESOLVED)

    assert resolved(helped=True, by=ASSISTANT) == "assistant"
    assert resolved(helped=True, by=Actor("rule", 1)) == "assistant"  # nobody else had it
    assert resolved(helped=False, by=ASSISTANT) == "timer"  # nobody helped: it ended because time passed
    assert resolved(helped=True, by=TIMER, handed=True) == "timer"
    assert resolved(helped=True, by=Actor("rule", 1), handed=True) == "rule"
    assert resolved(helped=True, by=agent(LIN)) == "agent"


def test_a_resolution_that_is_undone_never_was() -> None:
    told = Told()
    told.writes()
    told.happens(c.Open("taken", take_by=LIN), agent(LIN))
    told.happens(c.Resolve("agent"), agent(LIN), after=1000)
    told.undo()
    assert told.sum(Measure.RESOLVED) == told.sum(Measure.RESOLUTION) == 0
    taken = [fact for fact in told.facts if fact.measure is Measure.RESOLVED]
    assert taken[1] == replace(taken[0], n=-1)  # where it was counted, not when it was taken back
    told.happens(c.Resolve("agent"), agent(LIN), after=1000)
    assert told.sum(Measure.RESOLVED, agent_id=LIN) == 1
    assert told.times(Measure.RESOLUTION)[-1] == 2001  # as if it had never been interrupted


def test_whatever_happens_the_sums_say_what_is_there() -> None:
    """Cycles that began less those that were resolved are those that go on, and the levels are what is open now."""
    for seed in range(60):
        dice = random.Random(seed)
        told = Told(dice.choice(["pending", "open", "resolved"]))
        for number in range(40):
            who = agent(dice.choice([LIN, CHEN]))
            change = dice.choice(
                [
                    c.HandOffToPeople("asked"),
                    c.Open("taken", take_by=who.id),
                    c.Assign(dice.choice([LIN, CHEN, None])),
                    c.AssignTeam(dice.choice([4, None])),
                    c.ChangeLabels(add=frozenset({dice.choice([5, 6])})),
                    c.ChangeLabels(remove=frozenset({5})),
                    c.Snooze(told.at + timedelta(hours=9)),
                    c.Resolve("agent"),
                    c.ReturnToAssistant(),
                    c.QueueReply((100 + number,), from_person=True),
                    c.Mute(),
                    c.Unmute(),
                ]
            )
            with suppress(Conflict):
                told.happens(change, who, after=dice.choice([0, 1, 700]))
            if dice.random() < 0.4:
                told.writes()
            if told.state.status is Status.RESOLVED and told.state.resolved_at and dice.random() < 0.3:
                with suppress(Conflict):
                    told.undo()
            cycles = told.sum(Measure.BEGUN) + told.sum(Measure.RESUMED)
            assert cycles - told.sum(Measure.RESOLVED) == (told.state.status is not Status.RESOLVED), seed
            levels: Counter[object] = Counter()
            for fact in told.facts:
                if fact.measure in (Measure.OPEN, Measure.SNOOZED):
                    levels[fact.measure, fact.agent_id, fact.team_id, fact.labels] += fact.n
            here = (told.state.assignee_id or 0, told.state.team_id or 0, told.state.labels)
            measure = {Status.OPEN: Measure.OPEN, Status.SNOOZED: Measure.SNOOZED}.get(told.state.status)
            assert +levels == (Counter({(measure, *here): 1}) if measure else Counter()), seed
        given = Counter(one.to_agent_id for one in told.events if isinstance(one, ConversationAssigned))
        assert {id_: told.sum(Measure.ASSIGNED, agent_id=id_) for id_ in (LIN, CHEN)} == {
            id_: given[id_] for id_ in (LIN, CHEN)
        }


def test_a_rating_belongs_to_the_resolution_and_counts_once() -> None:
    told = Told()
    told.writes()
    told.happens(c.Open("taken", take_by=LIN), agent(LIN))
    told.happens(c.ChangeLabels(add=frozenset({5})), agent(LIN))
    told.happens(c.Resolve("agent"), agent(LIN))
    told.happens(c.ChangeLabels(remove=frozenset({5})), agent(CHEN))
    told.happens(c.NoteSurvey(survey_id=1, agent_id=LIN, way="menu"), Actor("system"))
    rates = {"survey_id": 1, "agent_id": LIN, "team_id": 4, "cycle": 1, "comment": None, "way": "menu"}
    told.happens(c.NoteRating(rating=2, previous=None, **rates), CONTACT)
    told.writes(after=3600)  # another cycle, in other hands
    told.happens(c.Open("taken", take_by=CHEN), agent(CHEN))
    told.happens(c.NoteRating(rating=5, previous=2, **rates), CONTACT)
    given = [fact for fact in told.facts if fact.measure is Measure.RATED]
    assert [(fact.marks, fact.n, fact.agent_id, fact.team_id) for fact in given] == [
        (2, 1, LIN, 4),
        (2, -1, LIN, 4),
        (5, 1, LIN, 4),
    ]
    assert given[0].at == given[1].at < given[2].at
    assert given[0].labels == (5,)
    assert told.sum(Measure.SURVEYED, agent_id=LIN) == 1
    numbers = Numbers()
    for fact in given:
        numbers.add(fact.measure, fact.marks, fact.n, 0)
    assert (numbers.rating, numbers[Measure.RATED]) == (5, 1)


def test_nothing_is_known_of_a_beginning_that_is_not_in_the_log() -> None:
    told = Told()
    told.writes()
    told.happens(c.Open("taken", take_by=LIN), agent(LIN))
    before = len(told.facts)
    told.happens(c.Resolve("agent"), agent(LIN))
    counted = count(None, told.events[-1], None)
    assert Counter(fact.measure for fact in counted.facts if fact.n > 0) == {Measure.RESOLVED: 1}
    assert len(told.facts) > before


# ------------------------------------------------------------------------------------------------- business hours


def test_times_within_business_hours() -> None:
    hours = Hours.model_validate({"weekly": {"mon-fri": ["09:00-12:00", "13:00-18:00"]}, "holidays": ["2026-11-24"]})

    def at(day: int, hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 11, day, hour, minute, tzinfo=SHANGHAI)

    assert open_seconds(hours, at(20, 11, 30), at(20, 13, 30)) == 3600  # over noon
    assert open_seconds(hours, at(20, 17), at(23, 10)) == 2 * 3600  # over a weekend
    assert open_seconds(hours, at(23, 17), at(25, 10)) == 2 * 3600  # over a holiday
    assert open_seconds(hours, at(21, 9), at(22, 23)) == 0
    assert open_seconds(hours, at(20, 10), at(20, 9)) == 0
    overlapping = Hours.model_validate({"weekly": {"daily": ["22:00-06:00", "05:00-07:00"]}})
    assert open_seconds(overlapping, at(20, 22), at(21, 7)) == 9 * 3600
    berlin = Hours.model_validate({"timezone": "Europe/Berlin", "weekly": {"daily": "00:00-24:00"}})
    spring = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Berlin"))
    assert open_seconds(berlin, spring, spring.replace(day=30)) == 23 * 3600


def test_both_clocks_are_told_where_there_are_business_hours() -> None:
    told = Told(hours=Hours.model_validate({"weekly": {"daily": "12:00-12:05"}}))  # noon in China is NOON
    told.writes(after=0)
    told.happens(c.HandOffToPeople("asked"), ASSISTANT, after=0)
    told.happens(c.QueueReply((90,), from_person=True), agent(LIN), after=3600)
    assert told.times(Measure.FIRST_REPLY, ReportClock.WALL) == [3600]
    assert told.times(Measure.FIRST_REPLY, ReportClock.BUSINESS) == [300]
    assert told.times(Measure.FIRST_REPLY) == []


# ------------------------------------------------------------------------------------------------ times and periods


def test_a_class_of_times_is_hardly_wider_than_its_times() -> None:
    for seconds in [*range(2000), 3_599, 86_400, 2_000_000, LONGEST]:
        low, high = bounds(time_class(seconds))
        assert low - 0.01 <= seconds < high + 0.01
        assert high - low <= max(1.0, seconds * 0.023)
    assert time_class(-5) == 0
    assert time_class(10**12) == time_class(LONGEST)


@pytest.mark.parametrize("spread", [50, 5_000, 900_000])
def test_a_median_of_classes_is_that_of_the_times(spread: int) -> None:
    dice = random.Random(spread)
    times = sorted(dice.randrange(spread) for _ in range(501))
    classes = Counter(map(time_class, times))
    for share, exact in ((0.5, times[250]), (0.9, times[450])):
        found = quantile(classes, share)
        assert found is not None
        assert abs(found - exact) <= max(0.0, exact * 0.025)
    assert quantile({}, 0.5) is None
    assert quantile({3: 0}, 0.5) is None


def test_days_are_those_of_the_time_zone_as_long_as_they_are() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring, autumn = period(date(2026, 3, 29), date(2026, 3, 29), berlin), period(*[date(2026, 10, 25)] * 2, berlin)
    assert (len(spring.starts), len(autumn.starts)) == (23, 25)
    days = period(date(2026, 3, 20), date(2026, 4, 2), berlin)
    assert (days.step, len(days.starts), days.before(days.end).last) == (PeriodStep.DAY, 14, date(2026, 3, 19))
    assert days.before(days.end).end == days.since
    earlier = days.before(days.since + timedelta(hours=5))  # of a period that has hardly begun
    assert earlier.end - earlier.since == timedelta(hours=5)
    starts, offsets = days.offsets()
    assert offsets == [4, 8]
    assert starts[1] == quarter_of(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))
    nepal = period(date(2026, 1, 1), date(2026, 1, 3), ZoneInfo("Asia/Kathmandu"))
    assert nepal.offsets()[1] == [23]  # five hours and three quarters
    assert nepal.since == datetime(2025, 12, 31, 18, 15, tzinfo=UTC)


def test_long_periods_have_long_steps_and_wrong_ones_are_refused() -> None:
    year = period(date(2025, 11, 20), date(2026, 11, 19), SHANGHAI)
    assert (year.step, len(year.starts)) == (PeriodStep.WEEK, 53)
    assert year.starts[1].astimezone(SHANGHAI).weekday() == 0
    years = period(date(2020, 2, 29), date(2026, 1, 1), SHANGHAI)
    assert (years.step, len(years.starts)) == (PeriodStep.MONTH, 72)
    for first, last in (
        (date(2026, 1, 2), date(2026, 1, 1)),
        (date(1999, 1, 1), date(2026, 1, 1)),
        (date(2001, 1, 1), date(2026, 1, 1)),
        (date(9999, 12, 31), date(9999, 12, 31)),
    ):
        with pytest.raises(Conflict):
            period(first, last, SHANGHAI)


def test_an_hour_of_the_week_is_told_from_its_number() -> None:
    friday = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
    assert hour_of_week(quarter_of(friday) // 4 % 168) == (4, 15)


def test_presence_is_cut_into_quarters_of_an_hour() -> None:
    there = TrackedAgent(LIN, "online", NOON + timedelta(minutes=10))
    facts = presence(there, until=NOON + timedelta(minutes=50))
    assert [fact.seconds for fact in facts] == [300, 900, 900, 300]
    assert {fact.agent_id for fact in facts} == {LIN}
    assert presence(replace(there, status="offline"), until=NOON + timedelta(hours=1)) == []
    assert presence(there, until=NOON) == []
