"""What to do about what members of a group say. Pure: what was said and what happened lately in, one decision out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from zhiban.assistant import group_words, intents
from zhiban.assistant.agreement import agrees, evidence
from zhiban.assistant.finding import Found
from zhiban.assistant.group_queries import GroupTurn
from zhiban.assistant.group_words import ConsentWish
from zhiban.conversations.group_policy import GroupAnswers, GroupPolicy
from zhiban.conversations.responder import PendingMessage
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.retrieval import NEARLY_SAME, ConfidenceBand
from zhiban.ports import Kind

ONCE_PER = timedelta(minutes=30)  # unasked, one article answers once in so long
JUDGED_WITHIN = timedelta(minutes=10)  # so long a "wrong" is about our last answer to who says it
PER_MINUTE = 6  # messages of ours in a group
PER_MEMBER = 3  # of them, for one member
_READABLE = (Kind.TEXT, Kind.MENU, Kind.MARKDOWN)


@frozen_dataclass
class MemberWords:
    """A message with its words, without whom they name. `addressed`: it is said to us."""

    message: PendingMessage
    words: str
    addressed: bool

    @property
    def english(self) -> bool:
        return intents.is_english(self.words)


@frozen_dataclass
class Explain:
    """Say what one can say to us."""


@frozen_dataclass
class KeepWish:
    """Keep from now on what the member allows."""

    wish: ConsentWish


@frozen_dataclass
class TakeBack:
    """Our answer to this member was wrong."""

    turn: GroupTurn


@frozen_dataclass
class NoteHelpful:
    """Our answer to this member helped."""

    turn: GroupTurn


@frozen_dataclass
class LookUpQuestion:
    """See whether we know it. Said to us, it is answered or handed over; otherwise answered only when sure."""


GroupStep = Explain | KeepWish | TakeBack | NoteHelpful | LookUpQuestion


def step_for(
    heard: MemberWords, policy: GroupPolicy, lately: Sequence[GroupTurn], *, quiet: bool, now: datetime
) -> GroupStep | None:
    """What to do about a message, None for nothing: people talk to each other."""
    message, words = heard.message, heard.words
    if Kind(message.kind) not in _READABLE:
        return None
    if heard.addressed and (wished := group_words.wish(words)) is not None:
        return KeepWish(wished)
    if heard.addressed and group_words.wants_help(words):
        return Explain()
    if policy.answers is GroupAnswers.NEVER:
        return None
    judged = _last_answer_to(message.sender_contact_id, lately, now=now)
    if judged is not None and group_words.says_wrong(words):
        return TakeBack(judged)
    if judged is not None and intents.says_helpful(words):
        return NoteHelpful(judged)
    if heard.addressed:
        return LookUpQuestion()
    unasked = policy.answers is GroupAnswers.SURE and not quiet
    to_others = bool(message.mentions) or message.reply_to_id is not None
    return LookUpQuestion() if unasked and not to_others and group_words.asks(words) else None


def _last_answer_to(contact_id: int | None, lately: Sequence[GroupTurn], *, now: datetime) -> GroupTurn | None:
    """The answer that a member got last, unless something else was said to them since."""
    last = next((turn for turn in lately if turn.asked_by == contact_id), None)
    if contact_id is None or last is None or last.decision != "Answer" or now - last.finished_at > JUDGED_WITHIN:
        return None
    return last


def is_sure(each: Sequence[Found]) -> bool:
    """Whether one question was asked and its answer is certain: by the threshold that keeps the base's promise, and by
    evidence of its own, its words, its meaning, or that it is nearly a known wording."""
    if len(each) != 1 or each[0].zone is not ConfidenceBand.ANSWER:
        return False
    found = each[0].result
    first = found.passages[:1]
    if not first or first[0].answer is None or found.zone is not ConfidenceBand.ANSWER:
        return False
    return first[0].likeness >= NEARLY_SAME or agrees(
        each[0].question, found.passages, evidence(found.share, found.passages)
    )


def said_lately(articles: Collection[int], lately: Sequence[GroupTurn], *, now: datetime) -> bool:
    """Whether the group has heard this answer a short while ago."""
    return any(
        turn.decision == "Answer" and now - turn.finished_at < ONCE_PER and not turn.articles.isdisjoint(articles)
        for turn in lately
    )


@dataclass(slots=True)
class GroupBudget:
    """How much may still be said in this minute, in the group and to each of its members."""

    left: int
    said: dict[int | None, int] = field(default_factory=dict)

    @classmethod
    def of(cls, lately: Sequence[GroupTurn], *, now: datetime) -> GroupBudget:
        recent = [turn for turn in lately if now - turn.finished_at < timedelta(minutes=1)]
        budget = cls(PER_MINUTE - len(recent))
        for turn in recent:
            budget.said[turn.asked_by] = budget.said.get(turn.asked_by, 0) + 1
        return budget

    def spend(self, contact_id: int | None) -> bool:
        """Take one for this member. False when nothing is left."""
        if self.left <= 0 or self.said.get(contact_id, 0) >= PER_MEMBER:
            return False
        self.left -= 1
        self.said[contact_id] = self.said.get(contact_id, 0) + 1
        return True
