"""The steps of a turn that make an answer: look, read, search, decide, compose. Nothing is stored and nothing sent.

A contact's turn (`turn`) takes them between what it remembers and what it stores. A trial (`trying`) takes only them,
so that people are shown what contacts would be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from zhiban.assistant import answering, finding, several_questions
from zhiban.assistant.answering import Answered, AnswerOutcome, CannotAnswer, FellBack, Quotable, Why
from zhiban.assistant.decide import (
    Answer,
    AskAgain,
    AskForText,
    Facts,
    HandOff,
    HandOffReason,
    NoReply,
    Pending,
    SmallTalk,
    Suggest,
    decide,
    decide_without_search,
    hand_off,
    question_of,
)
from zhiban.assistant.declining import DeclineMemory
from zhiban.assistant.finding import SUGGESTED
from zhiban.assistant.menu_choice import chosen_by_words
from zhiban.assistant.queries import Chosen, entry
from zhiban.assistant.reading import MOST, only_withdraws, questions_in
from zhiban.assistant.rewrite import looks_elliptic, rewritten
from zhiban.assistant.searching import BegunSearch, Searcher
from zhiban.assistant.turn_context import AnswerContext, AssistantDeps
from zhiban.assistant.wording import menu
from zhiban.kit.db import Database, Transaction
from zhiban.knowledge.retrieval import NEARLY_SAME, ConfidenceBand, Passage, SearchResult
from zhiban.knowledge.vectors import QueryVectors
from zhiban.ports import Kind

_LEAST_SECONDS = 0.2  # a model is not asked for less


class AnswerSteps:
    """What is done between hearing and speaking. `look`, `read` and `search` read in the caller's transaction; the
    others may wait for a model, outside of any. Any of them may raise NotFound: the base is gone."""

    def __init__(self, database: Database, deps: AssistantDeps) -> None:
        self._database = database
        self._deps = deps
        self._searcher = Searcher(deps.embedders, top_k=deps.top_k, threshold=deps.threshold)
        self._declines = DeclineMemory()

    async def look(self, turn: AnswerContext) -> None:
        """What needs no search: a person asked for, politeness, a picture, a menu entry that was tapped or named."""
        offered = turn.memory.offered if turn.memory else {}
        pending = tuple(_chosen(message, offered) for message in turn.pending)
        if pending != turn.pending:
            turn.pending = pending
            turn.facts = replace(turn.facts, pending=pending)
            turn.question = question_of(pending)
        turn.chosen = next((found for one in reversed(pending) if (found := Chosen.parse(one.choice))), None)
        turn.decision = decide_without_search(self._facts_without_tap(turn))

    def _facts_without_tap(self, turn: AnswerContext) -> Facts:
        """Without a tapped entry: its label is ours, and what its words sound like means nothing."""
        if turn.chosen is None:
            return turn.facts
        words = tuple(replace(p, text="") if p.choice == turn.chosen.id else p for p in turn.pending)
        return replace(turn.facts, pending=words)

    async def read(self, turn: AnswerContext) -> None:
        """The questions in what was written, each with the ways to look it up."""
        if turn.decision is None and turn.chosen is None and turn.question:
            self._understand(turn, turn.question)

    def _understand(self, turn: AnswerContext, text: str) -> None:
        questions = questions_in(text)
        turn.unread = tuple(question.text for question in questions[MOST:])
        turn.plans = finding.plan(questions[:MOST], turn.memory)

    async def search(self, turn: AnswerContext) -> None:
        if turn.plans:
            turn.begun = await self._begin_search(turn.tx_for_reading, turn)
            if not turn.begun.waits:
                await self._find(turn.tx_for_reading, turn, turn.begun, await turn.begun.vectors())

    async def search_outside(self, turn: AnswerContext) -> None:
        """Go on outside the reading: with vectors, and once more when a model has to rewrite the question first."""
        if turn.begun is None:
            return
        if turn.found is None:
            await self._find_with_vectors(turn, turn.begun)
        if turn.facts.zone is not ConfidenceBand.ANSWER and await self._rewrite(turn):
            async with self._database.transaction(turn.workspace_id) as tx:
                turn.begun = await self._begin_search(tx, turn)
            await self._find_with_vectors(turn, turn.begun)

    async def _begin_search(self, tx: Transaction, turn: AnswerContext) -> BegunSearch:
        return await self._searcher.begin(tx, turn.base_id, turn.plans)

    async def _find_with_vectors(self, turn: AnswerContext, begun: BegunSearch) -> None:
        vectors = await begun.vectors()
        async with self._database.transaction(turn.workspace_id) as tx:
            await self._find(tx, turn, begun, vectors)

    async def _find(
        self, tx: Transaction, turn: AnswerContext, begun: BegunSearch, vectors: QueryVectors | None
    ) -> None:
        turn.each = await self._searcher.find(tx, begun, vectors, turn.policy)
        turn.found = finding.together(turn.each)
        zone = finding.zone_of_all(turn.each)
        turn.facts = replace(turn.facts, zone=zone, suggestions=len(turn.found.passages))

    async def _rewrite(self, turn: AnswerContext) -> bool:
        """Let the model put a question on its own feet that leans on what was said before. False: as it was."""
        model, memory = self._deps.model, turn.memory
        if model is None or memory is None or not memory.said or not looks_elliptic(turn.question):
            return False
        if (left := self._model_seconds(turn)) < _LEAST_SECONDS:
            return False
        result = await rewritten(model, turn.question, memory.said, budget_seconds=left)
        if result is None:
            return False
        turn.completions.append(result.cost)
        self._understand(turn, result.question)
        return True

    def _model_seconds(self, turn: AnswerContext) -> float:
        """What is left of the time that this turn may wait for the model, whatever it is asked."""
        now = asyncio.get_running_loop().time()
        if turn.model_until is None:
            turn.model_until = now + self._deps.model_seconds
        return turn.model_until - now

    async def decide(self, turn: AnswerContext) -> None:
        if turn.decision is None:
            turn.decision = Answer() if turn.chosen is not None else decide(turn.facts)
        unsure = turn.facts.zone is ConfidenceBand.SUGGEST and isinstance(turn.decision, Suggest | HandOff)
        asked = turn.found is not None and turn.facts.has_room and not only_withdraws(turn.question)
        if unsure and turn.found is not None and self._deps.model is not None and asked:
            outcome = await self._ask(turn, turn.found, Quotable.NEVER)
            if isinstance(outcome, Answered):
                turn.outcome, turn.decision = outcome, Answer()
            elif outcome.cost is not None:
                turn.completions.append(outcome.cost)

    async def compose(self, turn: AnswerContext) -> None:
        match turn.decision:
            case Answer() if turn.chosen is not None:
                await self._compose_chosen(turn, turn.chosen)
            case Answer():
                await self._compose_answer(turn)
            case Suggest():
                passages = turn.found.passages if turn.found else ()
                most = max(SUGGESTED, 2 * len(turn.each))
                turn.reply, turn.choices = menu(passages[:most], turn.question)
            case SmallTalk(reply=reply) | AskForText(reply=reply) | AskAgain(reply=reply):
                turn.reply = reply
            case HandOff() | NoReply() | None:
                pass
            case never:
                assert_never(never)

    async def _compose_chosen(self, turn: AnswerContext, chosen: Chosen) -> None:
        """The contact took an entry of our menu: its own answer."""
        async with self._database.transaction(turn.workspace_id) as tx:
            passage = await entry(tx, chosen)
        text = answering.section(passage) if passage is not None else None
        if passage is None or text is None:
            turn.chosen = None
            turn.decision = hand_off(turn.facts, HandOffReason.NO_ANSWER)
            return
        turn.reply = text
        turn.citations = [
            {"article_id": chosen.article_id, "title": passage.title, "source": passage.source_name}
            | ({} if chosen.chunk_id is None else {"chunk_id": chosen.chunk_id})
        ]

    async def _ask(self, turn: AnswerContext, found: SearchResult, quotable: Quotable) -> AnswerOutcome:
        """Ask the model for an answer from what was found; without one the best passage, if it is quotable."""
        left = self._model_seconds(turn) if self._deps.model is not None else 0.0
        asked = self._deps.model if left >= _LEAST_SECONDS else None
        outcome = await answering.answer(
            asked,
            [turn.question],
            self._passages(turn, found),
            turn.memory.said if turn.memory else (),
            budget_seconds=left,
            contact_name=turn.contact_name,
            quotable=quotable,
        )
        if asked is None and self._deps.model is not None and isinstance(outcome, FellBack | CannotAnswer):
            return replace(outcome, why=Why.TOO_SLOW)
        return outcome

    async def _ask_about_sure(self, turn: AnswerContext, found: SearchResult) -> AnswerOutcome:
        """The model's answer; it may say no, unless it always does or the entry asks nearly the same."""
        same = len(turn.each) == 1 and any(one.likeness >= NEARLY_SAME for one in found.passages[:1])
        surer = same or not self._declines.believed
        outcome = await self._ask(turn, found, Quotable.ALWAYS if surer else Quotable.UNLESS_DECLINED)
        self._declines.note(outcome)
        return outcome

    def _passages(self, turn: AnswerContext, found: SearchResult) -> tuple[Passage, ...]:
        return found.passages[: max(self._deps.top_k, len(turn.each))]

    async def _compose_answer(self, turn: AnswerContext) -> None:
        found = turn.found
        if found is None:
            raise RuntimeError("An answer was decided on without a search.")
        passages = self._passages(turn, found)
        outcome = turn.outcome or await self._ask_about_sure(turn, found)
        if outcome.cost is not None:
            turn.completions.append(outcome.cost)
        several = len(turn.each) > 1 or bool(turn.unread)
        match outcome:
            case Answered(text=text, citations=citations):
                cited = [passages[number - 1] for number in citations]
                turn.reply, turn.citations = text, list(map(_citation, cited))
                if several:
                    self._tell_each(turn, said=text, cited=cited)
            case FellBack(text=text, citations=citations, why=why):
                turn.reply, turn.detail = text, why.value
                turn.citations = [_citation(passages[number - 1]) for number in citations]
                if several:
                    self._tell_each(turn)
            case CannotAnswer(why=why):
                turn.detail = why.value
                self._suggest_instead(turn, passages)
            case never:
                assert_never(never)

    @staticmethod
    def _suggest_instead(turn: AnswerContext, passages: Sequence[Passage]) -> None:
        """No answer could be made of what was found: which entry is it? People get it when patience is over."""
        turn.decision = decide(replace(turn.facts, zone=ConfidenceBand.SUGGEST))
        if isinstance(turn.decision, Suggest):
            turn.reply, turn.choices = menu(passages[:SUGGESTED], turn.question)
        else:
            turn.decision = hand_off(turn.facts, HandOffReason.NO_ANSWER)

    @staticmethod
    def _tell_each(turn: AnswerContext, *, said: str = "", cited: Sequence[Passage] = ()) -> None:
        """Several questions: what is known of each, and which is left."""
        told = several_questions.told(turn.each, turn.unread, said=said, cited=cited)
        if told is not None:
            turn.reply, turn.choices, turn.listed = told.text, told.choices, True
            turn.citations = list(map(_citation, told.passages))


def _citation(passage: Passage) -> dict[str, Any]:
    return {
        "article_id": passage.article_id,
        "chunk_id": passage.chunk_id,
        "title": passage.title,
        "source": passage.source_name,
        "position": passage.position,
        "score": round(passage.score, 3),
    }


def _chosen(message: Pending, offered: Mapping[str, Mapping[str, Any]]) -> Pending:
    """The message, or, when it names an entry of our last menu, what tapping that would have sent."""
    id_ = chosen_by_words(message.text, offered) if message.choice is None and message.kind is Kind.TEXT else None
    return message if id_ is None else Pending(message.kind, str(offered[id_]["label"]), id_)
