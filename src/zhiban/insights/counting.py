"""What each fact of the log means for reports. Pure: what is remembered and a fact in, numbers out.

Whoever did something has the credit for it: a reply is its sender's, a resolution is that of whoever resolved, whoever
the conversation belonged to, and whatever becomes of it later. What nobody of ours did (a contact wrote) counts with
the assignee and the team that the conversation had then. A resolution that is undone never was: what it counted is
taken back where it was counted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from zhiban.channels.business_hours import Hours, open_seconds
from zhiban.conversations.evolution import born, evolve
from zhiban.conversations.models import ConversationState, Status
from zhiban.events import (
    Actor,
    AgentBecameAvailable,
    AgentBecameBusy,
    AgentWentOffline,
    ConversationAssigned,
    ConversationCreated,
    ConversationEvent,
    ConversationHandedOff,
    ConversationResolutionUndone,
    ConversationResolved,
    MessageReceived,
    ReplyQueued,
    StatusChanged,
    SurveyAsked,
    SurveyRated,
)
from zhiban.insights.models import (
    NULL_ID,
    QUARTER,
    Counted,
    Marks,
    Measure,
    ReportClock,
    ReportFact,
    TrackedAgent,
    TrackedConversation,
)

_LEVELS = {Status.OPEN: Measure.OPEN, Status.SNOOZED: Measure.SNOOZED}
_PRESENCE = {"online": Measure.ONLINE, "busy": Measure.BUSY}


def count(tracked: TrackedConversation | None, event: ConversationEvent, hours: Hours | None) -> Counted:
    """What a fact about a conversation counts for. `tracked` None: the first that is known of it.

    `hours` are the business hours of its team or inbox, None where it has none.
    """
    if isinstance(event, ConversationCreated):
        before = TrackedConversation(replace(born(event), status=Status.RESOLVED, opened_at=None))
        after = TrackedConversation(born(event))
    else:
        before = tracked or _unknown(event)
        after = replace(before, state=evolve(before.state, event))
    return _Counter(before, after, event, hours).count()


def _unknown(event: ConversationEvent) -> TrackedConversation:
    """Of a conversation whose beginning is not in the log, as the fact tells of it."""
    return TrackedConversation(
        ConversationState(
            id=event.conversation_id,
            inbox_id=event.inbox_id or NULL_ID,
            contact_id=event.contact_id,
            thread="",
            status=Status(event.previous) if isinstance(event, StatusChanged) else Status.PENDING,
            assignee_id=event.assignee_id,
            team_id=event.team_id,
            cycle=event.cycle or 1,
        )
    )


class _Counter:
    """Collects the numbers of one fact."""

    def __init__(
        self, before: TrackedConversation, after: TrackedConversation, event: ConversationEvent, hours: Hours | None
    ) -> None:
        self.before = before.state
        self.kept = before
        self.after = after
        self.event = event
        self.hours = hours
        self.facts: list[ReportFact] = []

    def count(self) -> Counted:
        event = self.event
        match event:
            case ConversationCreated() | StatusChanged():
                self._status(event)
            case MessageReceived(counts=False):
                pass
            case MessageReceived(from_contact=True):
                self._note(Measure.RECEIVED)
            case MessageReceived():
                self._written()
            case ReplyQueued():
                self._written()
            case ConversationAssigned(to_agent_id=int()):
                self._note(Measure.ASSIGNED)
            case SurveyAsked():
                self.facts.append(self._surveyed(event, Measure.SURVEYED))
            case SurveyRated():
                self._rated(event)
        self._queue()
        self._levels()
        return Counted(self.after, tuple(self.facts))

    # -------------------------------------------------------------------------------------------------- status

    def _status(self, event: ConversationCreated | StatusChanged) -> None:
        was, now = self.before.status, self.after.state.status
        match event:
            case ConversationResolutionUndone():
                self.facts += [replace(fact, n=-fact.n) for fact in self.kept.credited]
                self.after = replace(self.after, credited=())
                return
            case ConversationResolved():
                self._resolved(event)
                return
        if was is Status.RESOLVED and now is not Status.RESOLVED:
            self._cycle()
        if now is Status.PENDING:
            self.after = replace(self.after, assisted=True)
        if now is Status.OPEN and (was in (Status.PENDING, Status.RESOLVED) or self.after.came_at is None):
            handed_off = isinstance(event, ConversationHandedOff)
            self._note(Measure.CAME_TO_PEOPLE, marks=Marks.GIVEN_AWAY if handed_off else Marks.NONE)
            self.after = replace(
                self.after,
                came_at=self.after.came_at or event.at,
                handed_off=self.after.handed_off or handed_off,
            )

    def _cycle(self) -> None:
        began = self.before.resolved_at is None
        self._note(Measure.BEGUN if began else Measure.RESUMED)
        kept = self.after
        self.after = TrackedConversation(kept.state, rated=kept.rated, survey_id=kept.survey_id)

    def _resolved(self, event: ConversationResolved) -> None:
        kept = self.kept
        who: str = event.actor.kind
        if who not in ("agent", "servicer"):
            alone = kept.assisted and kept.helped and kept.came_at is None
            # What nobody helped with, and nobody took, ended because time passed.
            who = "assistant" if alone else "timer" if who == "assistant" else who
        doer = _doer(event.actor)
        before = len(self.facts)
        marks = Marks.ASSISTED * kept.assisted | Marks.GIVEN_AWAY * kept.handed_off
        self._note(Measure.RESOLVED, agent_id=doer, who=who, marks=marks)
        if kept.came_at is not None:
            self._time(Measure.RESOLUTION, kept.came_at, event.at, agent_id=doer, who=who)
        self.after = replace(self.after, credited=tuple(self.facts[before:]))

    # ------------------------------------------------------------------------------------------------ messages

    def _written(self) -> None:
        event, before = self.event, self.before
        doer = _doer(event.actor)
        self._note(Measure.WRITTEN, agent_id=doer)
        if isinstance(event, ReplyQueued) and event.helped:
            self.after = replace(self.after, helped=True)
        person = not event.from_contact if isinstance(event, MessageReceived) else _from_person(event)
        if person and before.waiting_since is not None:
            measure = Measure.FIRST_REPLY if before.first_reply_at is None else Measure.LATER_REPLY
            self._time(measure, before.waiting_since, event.at, agent_id=doer)

    def _rated(self, event: SurveyRated) -> None:
        """Whoever thinks better of it has rated once: what was counted before is taken back where it was counted."""
        kept, fact = self.kept, replace(self._surveyed(event, Measure.RATED), marks=event.rating)
        if event.previous is not None:
            before = kept.rated if kept.rated is not None and kept.survey_id == event.survey_id else None
            self.facts.append(replace(before or replace(fact, marks=event.previous), n=-1))
        self.facts.append(fact)
        self.after = replace(self.after, rated=fact, survey_id=event.survey_id)

    def _surveyed(self, event: SurveyAsked | SurveyRated, measure: Measure) -> ReportFact:
        """It belongs to the resolution that it is about: to who resolved, and the team of then."""
        fact = self._fact(measure, agent_id=event.agent_id or NULL_ID, who=None)
        if isinstance(event, SurveyRated):
            cycle, team_id = event.resolved_cycle, event.resolved_team_id
        else:
            cycle, team_id = event.cycle or 0, event.team_id
        of_then = self.kept.credited and cycle == self.before.cycle
        labels = self.kept.credited[0].labels if of_then else fact.labels
        return replace(fact, team_id=team_id or NULL_ID, labels=labels)

    def _queue(self) -> None:
        """Who takes it themselves has not let it lie."""
        state, since = self.after.state, self.after.queued_since
        lies = state.status is Status.OPEN and state.assignee_id is None
        if lies and since is None:
            self.after = replace(self.after, queued_since=self.event.at)
        elif not lies and since is not None:
            if state.status is Status.OPEN and self.event.at > since:
                self._time(Measure.QUEUED, since, self.event.at, agent_id=state.assignee_id or NULL_ID)
            self.after = replace(self.after, queued_since=None)

    def _levels(self) -> None:
        """Nothing while it stays what it is in the same hands: most facts leave it there."""
        was, now = _level(self.before, self.event.at), _level(self.after.state, self.event.at)
        if was != now:
            self.facts += [replace(was, n=-1)] if was else []
            self.facts += [now] if now else []

    # ------------------------------------------------------------------------------------------------- numbers

    def _note(
        self, measure: Measure, *, agent_id: int | None = None, who: str | None = None, marks: int = Marks.NONE
    ) -> None:
        """`agent_id` None: the assignee."""
        self.facts.append(replace(self._fact(measure, agent_id=agent_id, who=who), marks=int(marks)))

    def _time(
        self, measure: Measure, since: datetime, until: datetime, *, agent_id: int, who: str | None = None
    ) -> None:
        seconds = max(0, int((until - since).total_seconds()))
        fact = replace(self._fact(measure, agent_id=agent_id, who=who), seconds=seconds)
        if self.hours is None:
            self.facts.append(fact)
            return
        self.facts.append(replace(fact, clock=ReportClock.WALL))
        worked = open_seconds(self.hours, since, until)
        self.facts.append(replace(fact, clock=ReportClock.BUSINESS, seconds=int(worked)))

    def _fact(self, measure: Measure, *, agent_id: int | None, who: str | None) -> ReportFact:
        state = self.after.state
        return ReportFact(
            at=self.event.at,
            measure=measure,
            inbox_id=state.inbox_id,
            team_id=state.team_id or NULL_ID,
            agent_id=(state.assignee_id or NULL_ID) if agent_id is None else agent_id,
            who=self.event.actor.kind if who is None else who,
            labels=state.labels,
        )


def _doer(actor: Actor) -> int:
    return (actor.id or NULL_ID) if actor.kind == "agent" else NULL_ID


def _from_person(event: ConversationEvent) -> bool:
    return isinstance(event, ReplyQueued) and event.from_person


def _level(state: ConversationState, at: datetime) -> ReportFact | None:
    """What a conversation adds to how many are open, or snoozed, while it is in this state."""
    measure = _LEVELS.get(state.status)
    if measure is None:
        return None
    return ReportFact(
        at=at,
        measure=measure,
        inbox_id=state.inbox_id,
        team_id=state.team_id or NULL_ID,
        agent_id=state.assignee_id or NULL_ID,
        labels=state.labels,
    )


# ------------------------------------------------------------------------------------------------------- presence


def count_presence(
    tracked: TrackedAgent, event: AgentBecameAvailable | AgentBecameBusy | AgentWentOffline
) -> tuple[TrackedAgent, list[ReportFact]]:
    """What it means that others see an agent otherwise: the time until now is theirs, in each quarter of an hour."""
    match event:
        case AgentBecameAvailable():
            status = "online"
        case AgentBecameBusy():
            status = "busy"
        case AgentWentOffline():
            status = "offline"
    return TrackedAgent(tracked.agent_id, status, event.at), presence(tracked, until=event.at)


def presence(tracked: TrackedAgent, *, until: datetime) -> list[ReportFact]:
    """The time for which an agent has been there, up to a moment, in each quarter of an hour."""
    measure = _PRESENCE.get(tracked.status)
    if measure is None or tracked.since is None:
        return []
    facts, at = [], tracked.since
    while at < until:
        end = min(until, at + timedelta(seconds=QUARTER - at.timestamp() % QUARTER))
        seconds = int(end.timestamp()) - int(at.timestamp())
        if seconds:
            facts.append(ReportFact(at, measure, agent_id=tracked.agent_id, who="agent", seconds=seconds))
        at = end
    return facts
