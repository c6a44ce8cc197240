"""What a change means for a conversation. Pure: state, change and moment in; facts, the state after them, effects out.

`transitions` is the only caller that writes down what is decided here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never

from zhiban.conversations import changes as c
from zhiban.conversations.effects import Decision, Effects
from zhiban.conversations.models import ConversationState, Priority, Status
from zhiban.conversations.vendor_decisions import VendorDecisions
from zhiban.events import (
    DIRECT,
    Actor,
    Cause,
    ContactLabelsChanged,
    ConversationAssigned,
    ConversationAttributesChanged,
    ConversationContactChanged,
    ConversationFollowersChanged,
    ConversationHandedOff,
    ConversationLabelsChanged,
    ConversationMuted,
    ConversationOpened,
    ConversationPriorityChanged,
    ConversationReopened,
    ConversationResolutionUndone,
    ConversationResolved,
    ConversationReturned,
    ConversationSnoozed,
    ConversationSnoozeUndone,
    ConversationStarted,
    ConversationTeamAssigned,
    ConversationUnmuted,
    FlowEnded,
    FlowStarted,
    MacroApplied,
    MessageReceived,
    ReplyQueued,
    ReplyRequeued,
    StatusChanged,
    SurveyAsked,
    SurveyRated,
)
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.ports import NativeState


def decide(
    state: ConversationState, change: c.Change, now: datetime, *, actor: Actor, cause: Cause = DIRECT
) -> Decision:
    """What `change` means in `state`. Raises Conflict where it makes no sense, in words for whoever asked for it."""
    return _Decider(state, actor, now, cause).decide(change)


class _Decider(VendorDecisions):
    """Decides what one change means."""

    def decide(self, change: c.Change) -> Decision:
        match change:
            case c.MessagesArrived() if self.state.is_group:
                self._members_wrote(change)
            case c.MessagesArrived():
                self._messages_arrived(change)
            case c.HandOffToPeople() | c.Open() | c.Assign():
                self._give_to_people(change)
            case c.Resolve() | c.UndoResolve() | c.Snooze() | c.UndoSnooze() | c.ReturnToAssistant():
                self._take_from_people(change)
            case c.QueueReply() | c.RequeueReply():
                self._reply(change)
            case c.Mute() | c.Unmute() | c.AssignTeam() | c.ChangeLabels() | c.SetPriority() | c.ChangeContact():
                self._describe(change)
            case c.SetAttributes():
                self._fill_in(change)
            case c.BeginFlow() | c.EndFlow():
                self._flow(change)
            case c.NoteMacro() | c.NoteFollowers() | c.NoteContactLabels() | c.NoteSurvey() | c.NoteRating():
                self._note(change)
            case c.ChangeNativeSession() | c.EnterChat() | c.RenameGroup() | c.NoteMembers():
                self._vendor_says(change)
            case never:
                assert_never(never)
        return Decision(self.state, tuple(self.events), self.effects)

    # -------------------------------------------------------------------------------------------- messages

    def _messages_arrived(self, change: c.MessagesArrived) -> None:
        oldest = self.now - change.answers_after
        mine = tuple(message for message in change.messages if message.from_contact)
        asked = tuple(message for message in mine if not message.aside)
        aside = tuple(message.id for message in mine if message.aside)
        silent = change.blocked or self.state.muted
        history = change.history and all(message.sent_at < oldest for message in change.messages)
        by_servicer = next((message.author for message in change.messages if not message.from_contact), None)
        if by_servicer is not None and not (silent or history):
            # What is done goes on before they say something: their words are the first reply of the new cycle.
            self._native(NativeState.HUMAN, by_servicer.ref)
            self._to_people_unasked("native", by_servicer)
        for message in change.messages:
            self._received(message, counts=not (silent or history or message.aside))
        self.effects = replace(self.effects, handled=tuple(message.id for message in mine))
        if change.blocked and not self.state.muted:
            self._record(ConversationMuted(**self._about()))
        if silent and self.state.status in (Status.PENDING, Status.OPEN):
            self._resolve("muted")
        if silent or history:
            return
        if by_servicer is not None or not asked:
            return
        late = tuple(message.id for message in asked if message.sent_at < oldest)
        if len(late) == len(asked):
            self._to_people_unasked("late", asked[-1].author)
        elif not change.assistant and self.state.flow_run_id is None:
            reason = "assistant_off" if self.state.status is Status.PENDING else "wrote_again"
            self._to_people_unasked(reason, asked[-1].author)
        elif self.state.flow_run_id not in (None, change.flow_run_id):
            # A flow that they led to asks first; until then they are no answer.
            self.effects = Effects(wake=True, handled=tuple(message.id for message in mine))
        else:
            self._call_somebody(asked[-1].author, late + aside)

    def _members_wrote(self, change: c.MessagesArrived) -> None:
        """In a group people talk to each other: that calls nobody. The worker looks, whoever has the group in hand."""
        oldest = self.now - change.answers_after
        said = tuple(message for message in change.messages if message.from_contact)
        heard = () if self.state.muted or not change.assistant else said
        look = {message.id for message in heard if not message.aside and message.sent_at >= oldest}
        for message in change.messages:
            self._received(message, counts=False)
        self.effects = Effects(wake=bool(look), handled=tuple(message.id for message in said if message.id not in look))

    def _received(self, message: c.Arrived, *, counts: bool) -> None:
        self._record(
            MessageReceived(
                **self._about(message.author),
                message_id=message.id,
                sent_at=message.sent_at,
                from_contact=message.from_contact,
                counts=counts,
                files=message.files,
            )
        )

    def _call_somebody(self, contact: Actor, late: tuple[int, ...]) -> None:
        """Whoever's turn it is looks at what the contact wrote; a resolved conversation is the assistant's first."""
        match self.state.status:
            case Status.OPEN:
                pass
            case Status.SNOOZED:
                self._to_people_unasked("wrote_again", contact)
            case Status.PENDING:
                self.effects = Effects(wake=True, handled=late)
            case Status.RESOLVED:
                self._status(
                    ConversationReopened if self.state.resolved_at else ConversationStarted,
                    Status.PENDING,
                    "wrote_again",
                    actor=contact,
                )
                self._assign(None, "wrote_again")
                self.effects = Effects(wake=True, handled=late)
            case never:
                assert_never(never)

    def _to_people_unasked(self, reason: str, actor: Actor) -> None:
        """People have it without anybody of ours having said so."""
        if self.state.status is not Status.OPEN:
            self._open(reason, actor=actor)

    def _reply(self, change: c.QueueReply | c.RequeueReply) -> None:
        self.effects = Effects(wake=True)
        match change:
            case c.QueueReply():
                for message_id in change.message_ids:
                    self._record(
                        ReplyQueued(
                            **self._about(),
                            message_id=message_id,
                            counts=change.counts,
                            from_person=change.from_person,
                            helped=change.helped if message_id == change.message_ids[-1] else None,
                        )
                    )
            case c.RequeueReply():
                self._record(ReplyRequeued(**self._about(), message_id=change.message_id, counts=change.counts))

    # ---------------------------------------------------------------------------------------------- status

    def _give_to_people(self, change: c.HandOffToPeople | c.Open | c.Assign) -> None:
        match change:
            case c.HandOffToPeople():
                if self.state.status is Status.PENDING or self.state.is_group:
                    self._to_people(
                        ConversationHandedOff, change.reason, question=change.question, message_id=change.message_id
                    )
            case c.Open():
                self._open(change.reason)
                if change.take_by is not None:
                    self._assign(change.take_by, change.reason)
            case c.Assign():
                if change.to is not None and self.state.status is Status.PENDING:
                    self._open(change.reason or "assigned")
                self._assign(change.to, change.reason)
            case never:
                assert_never(never)

    def _take_from_people(
        self, change: c.Resolve | c.UndoResolve | c.Snooze | c.UndoSnooze | c.ReturnToAssistant
    ) -> None:
        match change:
            case c.Resolve():
                if self.state.status is not Status.RESOLVED:
                    self._label(add=change.labels)
                    self._resolve(change.reason, unsaid=change.unsaid)
            case c.UndoResolve(before=before):
                self._undo(before)
            case c.Snooze(until=until):
                self._snooze(until)
            case c.UndoSnooze(before=before_snooze):
                self._undo_snooze(before_snooze)
            case c.ReturnToAssistant():
                self._return()
            case never:
                assert_never(never)

    def _open(self, reason: str, *, actor: Actor | None = None) -> None:
        match self.state.status:
            case Status.OPEN:
                pass
            case Status.PENDING:
                self._to_people(ConversationOpened, reason, actor=actor)
            case Status.RESOLVED if self.state.resolved_at is None:
                self._to_people(ConversationStarted, reason, actor=actor)
            case Status.SNOOZED | Status.RESOLVED:
                self._to_people(ConversationReopened, reason, actor=actor)
            case never:
                assert_never(never)

    def _to_people(self, fact: type[StatusChanged], reason: str, *, actor: Actor | None = None, **more: Any) -> None:
        self._status(fact, Status.OPEN, reason, actor=actor, **more)
        # In a group the others may go on asking, and what they were told already is theirs.
        self.effects = replace(self.effects, wake=True, cancel_assistant=not self.state.is_group)

    def _resolve(self, reason: str, *, unsaid: str = "") -> None:
        state = self.state
        if state.status is Status.RESOLVED:
            return
        self._status(
            ConversationResolved,
            Status.RESOLVED,
            reason,
            opened_at=state.opened_at,
            was_waiting_since=state.waiting_since,
            was_snoozed_until=state.snoozed_until,
            was_handoff_reason=state.handoff_reason,
            was_failures=state.failures,
            was_resolved_at=state.resolved_at,
            unsaid=unsaid,
        )
        self.effects = replace(self.effects, wake=True, cancel_assistant=not state.is_group)

    def _undo(self, before: c.BeforeResolution) -> None:
        if self.state.status is not Status.RESOLVED:
            raise Conflict(mark("Somebody has taken it up again already."))
        self._status(
            ConversationResolutionUndone,
            Status(before.status),
            "undo",
            waiting_since=before.waiting_since,
            handoff_reason=before.handoff_reason,
            snoozed_until=before.snoozed_until,
            failures=before.failures,
            resolved_at=before.resolved_at,
        )
        self._assign(before.assignee_id, "undo")
        self.effects = Effects(wake=True, requeue=before.status == Status.PENDING)

    def _snooze(self, until: datetime) -> None:
        if until <= self.now:
            raise Conflict(mark("The time to come back must lie ahead."))
        if self.state.status is Status.RESOLVED:
            raise Conflict(mark("It is resolved; reopen it before you put it off."))
        if self.state.snoozed_until == until:
            return
        was = self.state.snoozed_until
        self._status(ConversationSnoozed, Status.SNOOZED, until=until, was_snoozed_until=was)
        self.effects = Effects(wake=True, cancel_assistant=not self.state.is_group)

    def _undo_snooze(self, before: c.BeforeSnooze) -> None:
        if self.state.status is not Status.SNOOZED:
            raise Conflict(mark("Somebody has taken it up again already."))
        self._status(ConversationSnoozeUndone, Status(before.status), "undo", snoozed_until=before.snoozed_until)
        self._assign(before.assignee_id, "undo")
        self.effects = Effects(wake=True, requeue=before.status == Status.PENDING)

    def _return(self) -> None:
        if self.state.native_state in (NativeState.POOL, NativeState.HUMAN):
            raise Conflict(mark("A colleague has this session in the vendor's client; it comes back when they end it."))
        if self.state.is_group:
            # It never ceased to be the assistant's; people have finished with it.
            self._resolve("returned")
            return
        if self.state.status is Status.PENDING:
            return
        waits = self.state.waiting_since is not None
        self._status(ConversationReturned, Status.PENDING)
        self._assign(None, "returned")
        self.effects = Effects(wake=True, requeue=waits)

    # ------------------------------------------------------------------------------- everything beside the status

    def _assign(self, to: int | None, reason: str = "") -> None:
        if self.state.assignee_id != to:
            self._record(ConversationAssigned(**self._about(), to_agent_id=to, reason=reason))

    def _describe(
        self, change: c.Mute | c.Unmute | c.AssignTeam | c.ChangeLabels | c.SetPriority | c.ChangeContact
    ) -> None:
        state = self.state
        match change:
            case c.Mute():
                if not state.muted:
                    self._record(ConversationMuted(**self._about()))
                self._resolve("muted")
            case c.Unmute():
                if state.muted:
                    self._record(ConversationUnmuted(**self._about()))
            case c.AssignTeam(to=to):
                if state.team_id != to:
                    self._record(ConversationTeamAssigned(**self._about(), to_team_id=to))
            case c.ChangeLabels(add=add, remove=remove):
                self._label(add=add, remove=remove)
            case c.SetPriority():
                self._prioritise(change)
            case c.ChangeContact(to=to):
                if state.contact_id != to:
                    self._record(ConversationContactChanged(**self._about(), to_contact_id=to))
            case never:
                assert_never(never)

    def _label(self, *, add: frozenset[int] = frozenset(), remove: frozenset[int] = frozenset()) -> None:
        has = set(self.state.labels)
        added, removed = tuple(sorted(add - has)), tuple(sorted((remove & has) - add))
        if added or removed:
            self._record(ConversationLabelsChanged(**self._about(), added=added, removed=removed))

    def _fill_in(self, change: c.SetAttributes) -> None:
        has = dict(self.state.attributes)
        after = {name: value or None for name, value in change.values if has.get(name, "") != value}
        if after:
            before = {name: has.get(name) for name in after}
            self._record(ConversationAttributesChanged(**self._about(), before=before, after=after))

    def _flow(self, change: c.BeginFlow | c.EndFlow) -> None:
        match change:
            case c.BeginFlow():
                self._begin_flow(change)
            case c.EndFlow(outcome=outcome, name=name):
                if self.state.flow_run_id is None:
                    raise Conflict(mark("No flow is running here."))
                self._end_flow(outcome, name)
            case never:
                assert_never(never)

    def _begin_flow(self, change: c.BeginFlow) -> None:
        """Only an agent may begin one where a person is at work."""
        state = self.state
        if state.is_group:
            raise Conflict(mark("A flow talks with one contact; there are none in groups."))
        if state.flow_run_id is not None:
            raise Conflict(mark("A flow is running here already."))
        if state.muted or state.status is Status.RESOLVED:
            raise Conflict(mark("This conversation is over; reopen it before you start a flow."))
        if self.actor.kind != "agent" and (state.status is Status.SNOOZED or state.assignee_id is not None):
            raise Conflict(mark("A colleague has this conversation; a flow does not talk over them."))
        self._return()
        self._record(FlowStarted(**self._about(), flow_id=change.flow_id, run_id=change.run_id, name=change.name))
        self.effects = Effects(wake=True, heard=True)

    def _end_flow(self, outcome: str, name: str = "") -> None:
        if self.state.flow_run_id is not None:
            self._record(FlowEnded(**self._about(), run_id=self.state.flow_run_id, outcome=outcome, name=name))

    def _prioritise(self, change: c.SetPriority) -> None:
        priority = Priority(change.priority)
        if priority == self.state.priority or (change.at_least and priority < self.state.priority):
            return
        self._record(
            ConversationPriorityChanged(
                **self._about(), priority=int(priority), previous=self.state.priority, reason=change.reason
            )
        )

    def _note(self, change: c.NoteMacro | c.NoteFollowers | c.NoteContactLabels | c.NoteSurvey | c.NoteRating) -> None:
        """What changes nothing in the row and stands in the log and the thread."""
        match change:
            case c.NoteMacro():
                self._record(MacroApplied(**self._about(), macro_id=change.macro_id, name=change.name, key=change.key))
            case c.NoteFollowers(added=added, removed=removed, reason=reason):
                who = ConversationFollowersChanged(**self._about(), added=added, removed=removed, reason=reason)
                self._record(who)
            case c.NoteContactLabels(added=added, removed=removed):
                self._record(ContactLabelsChanged(**self._about(), added=added, removed=removed))
            case c.NoteSurvey():
                about = {**self._about(), "survey_id": change.survey_id, "agent_id": change.agent_id}
                self._record(SurveyAsked(**about, way=change.way))
            case c.NoteRating():
                self._record(
                    SurveyRated(
                        **self._about(),
                        survey_id=change.survey_id,
                        rating=change.rating,
                        resolved_cycle=change.cycle,
                        resolved_team_id=change.team_id,
                        previous=change.previous,
                        agent_id=change.agent_id,
                        comment=change.comment,
                        way=change.way,
                    )
                )
            case never:
                assert_never(never)

    # ----------------------------------------------------------------------------------------------- facts

    def _status(
        self, fact: type[StatusChanged], to: Status, reason: str = "", *, actor: Actor | None = None, **more: Any
    ) -> None:
        about = self._about(actor)
        goes_on = (ConversationReopened, ConversationStarted, ConversationHandedOff)
        if fact in goes_on and self.state.status is Status.RESOLVED:
            about["cycle"] = self.state.cycle + (self.state.resolved_at is not None)
        self._record(fact(**about, status=to, previous=self.state.status, reason=reason, **more))
        if to is not Status.PENDING:
            self._end_flow("interrupted")
