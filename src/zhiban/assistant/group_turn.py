"""The assistant in a group. It listens to everything and says little: what it is asked, and what it knows for certain.

Each message is looked at by itself, for its own sender; nothing that comes meanwhile makes an answer void. What was
heard and needs no answer leaves no trace but that it was handled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from zhiban.assistant import group_decisions, group_queries, group_words
from zhiban.assistant.answer_steps import AnswerSteps
from zhiban.assistant.decide import (
    Answer,
    AskAgain,
    Facts,
    HandOff,
    HandOffReason,
    NoReply,
    Pending,
    SmallTalk,
    hand_off,
)
from zhiban.assistant.group_decisions import (
    Explain,
    GroupBudget,
    GroupStep,
    KeepWish,
    LookUpQuestion,
    MemberWords,
    NoteHelpful,
    TakeBack,
)
from zhiban.assistant.group_queries import GroupTurn
from zhiban.assistant.learning import wording_of
from zhiban.assistant.service import record_turn
from zhiban.assistant.turn_context import AnswerContext, AssistantDeps
from zhiban.assistant.wording import sources
from zhiban.conversations import groups, participants, transitions
from zhiban.conversations import service as conversations
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.models import Author, ConversationState, Priority
from zhiban.conversations.outbox import enqueue, key_for, reword
from zhiban.conversations.quotes import Quotation
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.events import ASSISTANT, Actor, GroupAnswersSilenced
from zhiban.kit import event_log, metrics
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind, GapOrigin
from zhiban.ports import Kind

LOOKED_UP = 10  # questions that were not said to us, of one look; the newest of more

# A further line of what one can say in a group, empty for none; `english` is the language of who asks.
HelpLine = Callable[[ConversationSnapshot, bool], str]


@dataclass(slots=True)
class _GroupReaction:
    """A message that something is done about, what that is, and for a question what was found."""

    heard: MemberWords
    step: GroupStep
    question: AnswerContext | None = None


@dataclass(slots=True)
class _GroupLook:
    """What one look at a group found to do, in the order in which it was said."""

    began: datetime
    lately: list[GroupTurn] = field(default_factory=list)
    said: list[_GroupReaction] = field(default_factory=list)


class GroupAssistant:
    """Takes part in groups. One object serves all groups of a process.

    `also`: further lines of the help, of those who understand commands.
    """

    def __init__(self, database: Database, clock: Clock, deps: AssistantDeps, *, also: Sequence[HelpLine] = ()) -> None:
        self._database = database
        self._clock = clock
        self._deps = deps
        self._steps = AnswerSteps(database, deps)
        self._also = tuple(also)

    async def prepare(self, tx: Transaction, group: ConversationSnapshot) -> object:
        """See what is said to us or may be known, and look that up as far as no model is needed."""
        look = _GroupLook(self._clock.now())
        chat = group.group or groups.GroupChat()
        ours = await group_queries.turns_of_messages(
            tx, {one.reply_to_id for one in group.pending if one.reply_to_id is not None}
        )
        heard = [
            MemberWords(one, group_words.bare(one.text), one.mentions_us or one.reply_to_id in ours)
            for one in group.pending
        ]
        look.lately = await group_queries.lately(tx, group.id, since=look.began - group_decisions.ONCE_PER)
        quiet = chat.policy.is_quiet(look.began)
        for one in heard:
            step = group_decisions.step_for(one, chat.policy, look.lately, quiet=quiet, now=look.began)
            if step is not None and (chat.closed is None or isinstance(step, KeepWish)):
                look.said.append(_GroupReaction(one, step))
        self._leave_out(look)
        base_id = 0
        for said in look.said:
            if isinstance(said.step, LookUpQuestion):
                base_id = base_id or await knowledge.base_for(tx, group.inbox.inbox_id, chosen=chat.policy.base_id)
                await self._look_up(tx, group, said, base_id)
        return look

    @staticmethod
    def _leave_out(look: _GroupLook) -> None:
        """Of many questions that were not said to us, only the newest are worth looking up."""
        unasked = [one for one in look.said if isinstance(one.step, LookUpQuestion) and not one.heard.addressed]
        late = {id(one) for one in unasked[:-LOOKED_UP]}
        look.said = [one for one in look.said if id(one) not in late]

    async def _look_up(self, tx: Transaction, group: ConversationSnapshot, said: _GroupReaction, base_id: int) -> None:
        now, policy, message = self._clock.now(), group.inbox.settings, said.heard.message
        there = await conversations.people_are_there(tx, group.state.team_id, policy.hours, now=now)
        pending = (Pending(Kind(message.kind), said.heard.words),)
        question = AnswerContext(
            workspace_id=group.workspace_id,
            contact_name=message.sender_name,
            policy=policy,
            pending=pending,
            question=said.heard.words,
            started_at=now,
            facts=Facts(pending=pending, policy=policy, people_there=there),
            base_id=base_id,
        )
        question.tx = tx
        for step in (self._steps.look, self._steps.read, self._steps.search):
            await step(question)
        question.tx = None
        said.question = question

    async def respond(self, group: ConversationSnapshot, prepared: object) -> None:
        """Decide about each message, and store what follows of all of them."""
        if not isinstance(prepared, _GroupLook):
            raise TypeError("A turn in a group begins with what was looked up for it.")
        for said in prepared.said:
            if said.question is not None:
                await self._answer(said, said.question, prepared)
        now = self._clock.now()
        async with self._database.transaction(group.workspace_id) as tx:
            state = await group.lock_if_ours(tx)
            if state is None:
                return
            group.stored = True
            budget = GroupBudget.of(prepared.lately, now=now)
            for said in prepared.said:
                state = await self._do(tx, group, state, said, prepared, budget, now=now)
            await conversations.mark_handled(tx, [message.id for message in group.pending])

    def fallback_text(self, group: ConversationSnapshot) -> str:
        """What who asked us is told when turns fail again and again."""
        return group.inbox.settings.handoff.text

    async def _answer(self, said: _GroupReaction, question: AnswerContext, look: _GroupLook) -> None:
        """Make an answer. What is not said to us and not certain needs none, nor a model."""
        try:
            await self._steps.search_outside(question)
            if not said.heard.addressed and not self._is_worth_saying(question, look):
                return
            await self._steps.decide(question)
            await self._steps.compose(question)
        except NotFound:
            return  # the base was removed a moment ago: then nothing is known

    @staticmethod
    def _is_worth_saying(question: AnswerContext, look: _GroupLook) -> bool:
        """Whether it is certain, and the group has not heard it a short while ago."""
        if not group_decisions.is_sure(question.each):
            return False
        articles = {question.each[0].result.passages[0].article_id}
        return not group_decisions.said_lately(articles, look.lately, now=look.began)

    # ------------------------------------------------------------------------------------------------- what follows

    async def _do(
        self,
        tx: Transaction,
        group: ConversationSnapshot,
        state: ConversationState,
        said: _GroupReaction,
        look: _GroupLook,
        budget: GroupBudget,
        *,
        now: datetime,
    ) -> ConversationState:
        heard, chat = said.heard, group.group or groups.GroupChat()
        sender = heard.message.sender_contact_id
        match said.step:
            case KeepWish(wish=wish) if sender is not None:
                consent = await self._keep(tx, group, sender, wish, now=now)
                words = group_words.consent_text(consent, english=heard.english)
            case Explain():
                also = tuple(line for each in self._also if (line := each(group, heard.english)))
                overhears = group.inbox.channel.limits.hears == "all"
                words = group_words.help_text(chat.policy, english=heard.english, also=also, overhears=overhears)
            case TakeBack(turn=turn) if sender is not None:
                await self._take_back(tx, state, heard, turn, by=sender, now=now)
                words = group_words.wrong_text(english=heard.english)
            case NoteHelpful(turn=turn) if sender is not None:
                await _note(tx, group.id, turn, EvidenceKind.HELPFUL, by=sender, now=now)
                return state
            case LookUpQuestion():
                return await self._tell(tx, group, state, said, look, budget, now=now)
            case KeepWish() | TakeBack() | NoteHelpful():
                return state  # of nobody we know
            case never:
                assert_never(never)
        if chat.closed is not None or not budget.spend(sender):
            return state
        turn_id = await self._record(tx, group, said, type(said.step).__name__, now=now)
        return await self._say(tx, group, state, heard, words, turn_id, now=now)

    @staticmethod
    async def _keep(
        tx: Transaction, group: ConversationSnapshot, sender: int, wish: group_words.ConsentWish, *, now: datetime
    ) -> Consent:
        member = await participants.participant(tx, group.id, sender)
        before = Consent(member.consent) if member is not None else Consent.ALL
        consent = group_words.consent_after(wish, before)
        await groups.set_consent(tx, group.id, sender, consent, by=Actor("contact", sender), now=now)
        return consent

    @staticmethod
    async def _take_back(
        tx: Transaction, group: ConversationState, heard: MemberWords, turn: GroupTurn, *, by: int, now: datetime
    ) -> None:
        """Say that answer no more here, and let people know that it was wrong for what was asked."""
        articles = tuple(sorted(turn.articles))
        await group_queries.silence(tx, group.id, articles, by=by, now=now)
        who = Actor("contact", by)
        await event_log.append(tx, GroupAnswersSilenced(actor=who, at=now, article_ids=articles, **group.about()))
        await _note(tx, group.id, turn, EvidenceKind.UNHELPFUL, by=by, now=now)
        await knowledge.record_gap(
            tx,
            turn.question,
            origin=GapOrigin.COMPLAINT,
            conversation_id=group.id,
            contact_id=by,
            message_id=heard.message.id,
            now=now,
        )

    async def _tell(
        self,
        tx: Transaction,
        group: ConversationSnapshot,
        state: ConversationState,
        said: _GroupReaction,
        look: _GroupLook,
        budget: GroupBudget,
        *,
        now: datetime,
    ) -> ConversationState:
        """Answer, hand over, or keep silent."""
        heard, question = said.heard, said.question
        sender = heard.message.sender_contact_id
        if question is None:
            return state
        articles = {int(one["article_id"]) for one in question.citations}
        wrong = await group_queries.silenced(tx, group.id, articles)
        match question.decision:
            case Answer() if question.reply and not question.choices and not wrong:
                heard_it = group_decisions.said_lately(articles, look.lately, now=now)
                if (heard_it and not heard.addressed) or not budget.spend(sender):
                    metrics.answer("silent")
                    return state
                turn_id = await self._record(tx, group, said, "Answer", now=now)
                # Who asks the same in this very look hears it once, too.
                turn = GroupTurn(turn_id, heard.words, "Answer", question.citations, sender, now)
                look.lately.insert(0, turn)
                metrics.answer("answer")
                return await self._say(tx, group, state, heard, question.reply, turn_id, now=now, of=question)
            case SmallTalk() | AskAgain() if heard.addressed:
                if not budget.spend(sender):
                    return state
                turn_id = await self._record(tx, group, said, type(question.decision).__name__, now=now)
                return await self._say(tx, group, state, heard, question.reply, turn_id, now=now)
            case NoReply():
                return state
            case _ if heard.addressed and budget.spend(sender):
                return await self._pass_on(tx, group, state, said, question, now=now)
            case _:
                return state

    async def _pass_on(
        self,
        tx: Transaction,
        group: ConversationSnapshot,
        state: ConversationState,
        said: _GroupReaction,
        question: AnswerContext,
        *,
        now: datetime,
    ) -> ConversationState:
        """Said to us, and not known: people get it, and who asked hears so in one line."""
        decision = question.decision
        if not isinstance(decision, HandOff):
            decision = hand_off(question.facts, HandOffReason.NOTHING_FOUND)
        heard = said.heard
        turn_id = await self._record(tx, group, said, "HandOff", now=now, reason=decision.reason.value)
        before = len(group.queued)
        state = await self._say(tx, group, state, heard, decision.notice, turn_id, now=now)
        await conversations.hand_off(
            tx,
            group.id,
            reason=decision.reason.value,
            question=heard.words,
            message_id=heard.message.id,
            actor=ASSISTANT,
            now=now,
        )
        # Rules may have given it to a team that works at other hours.
        given_to = (await transitions.lock(tx, group.id)).team_id
        if given_to != state.team_id and len(group.queued) > before:
            there = await conversations.people_are_there(tx, given_to, group.inbox.settings.hours, now=now)
            words = hand_off(replace(question.facts, people_there=there), decision.reason).notice
            told, limits = group.queued[before], group.inbox.channel.limits
            group.queued[before] = replace(told, text=await reword(tx, told.id, words, limits=limits))
        if decision.urgent:
            await conversations.set_priority(
                tx, group.id, priority=Priority.URGENT, at_least=True, by=ASSISTANT, now=now, reason="urgent"
            )
        metrics.answer("handoff")
        return state

    async def _record(
        self,
        tx: Transaction,
        group: ConversationSnapshot,
        said: _GroupReaction,
        decision: str,
        *,
        now: datetime,
        reason: str = "",
    ) -> int:
        question = said.question
        completions = question.completions if question is not None else []
        return await record_turn(
            tx,
            group.id,
            [said.heard.message.id],
            question=said.heard.words,
            decision=decision,
            reason=reason or (question.detail if question is not None else ""),
            zone=question.found.zone.value if question is not None and question.found else None,
            confidence=question.found.confidence if question is not None and question.found else None,
            completions=completions,
            cost=sum(map(self._deps.cost, completions)),
            citations=question.citations if question is not None and decision == "Answer" else (),
            steps=(),
            started_at=question.started_at if question is not None else now,
            finished_at=now,
            asked_by=said.heard.message.sender_contact_id,
        )

    @staticmethod
    async def _say(
        tx: Transaction,
        group: ConversationSnapshot,
        state: ConversationState,
        heard: MemberWords,
        words: str,
        turn_id: int,
        *,
        now: datetime,
        of: AnswerContext | None = None,
    ) -> ConversationState:
        """Say it to who asked, by their name."""
        message, limits = heard.message, group.inbox.channel.limits
        below = sources(of.citations, of.question) if of is not None else ""
        named = (message.sender,) if message.sender_ref and message.sender_name else ()
        # Channels without quotes pass over the reference, unless it says in which slot to answer.
        answers = Quotation(message.id, reference=message.external_id)
        result = await enqueue(
            tx,
            state,
            author=Author.ASSISTANT,
            actor=ASSISTANT,
            text=words + below,
            key=key_for("group", group.inbox.external_id, message.external_id),
            limits=limits,
            now=now,
            answers=answers,
            mentions=named,
            content={"citations": of.citations, "below": below} if of is not None and below else {},
            turn_id=turn_id,
        )
        group.queued += result.messages
        group.revision = result.revision or group.revision
        return result.state


async def _note(
    tx: Transaction, conversation_id: int, turn: GroupTurn, kind: EvidenceKind, *, by: int, now: datetime
) -> None:
    """Keep what a member shows about an answer of one article."""
    wording = wording_of(turn.question)
    if wording is None or len(turn.articles) != 1:
        return
    (article_id,) = turn.articles
    who = Actor("contact", by)
    await knowledge.record_evidence(
        tx, article_id, wording, kind=kind, by=who, conversation_id=conversation_id, now=now
    )
