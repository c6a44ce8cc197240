"""What can happen to the questions that nothing answered. Part of `events`."""

from __future__ import annotations

from zhiban.event_base import Event


class GapRecorded(Event):
    """A question that nothing answered."""

    gap_id: int
    conversation_id: int | None = None


class GapClosed(Event):
    """A gap was answered or dismissed."""

    gap_id: int
    status: str


class GapMerged(Event):
    """A gap asks the same as an earlier one, which has its questions now."""

    gap_id: int
    into_id: int


class GapQuestionMoved(Event):
    """One question of a gap is about what another gap is about."""

    gap_id: int
    into_id: int
    question_id: int


class GapReopened(Event):
    """A dismissed gap is open again: so many more contacts asked for it, or a colleague thought better of it."""

    gap_id: int
