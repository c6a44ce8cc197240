"""Whether a model that says that the passages do not answer is believed where the search is sure."""

from __future__ import annotations

from collections import deque

from zhiban.assistant.answering import AnswerOutcome, CannotAnswer, FellBack, Why

_REMEMBERED = 60  # questions
_FEWEST = 20  # of them, before a model is judged
_MOST = 0.5  # of what the search is sure of, and right in 94 of 100


class DeclineMemory:
    """How often the model declined lately what the search was sure of. One for each process, in memory.

    Of what an honest small model declines there, one in five to ten is wrong; of what it does not, one in a hundred.
    A model that declines most of it cannot tell them apart (docs/decisions/0038).
    """

    def __init__(self) -> None:
        self._declined: deque[bool] = deque(maxlen=_REMEMBERED)

    def note(self, outcome: AnswerOutcome) -> None:
        """Remember what the model said to a question that the search was sure of."""
        if outcome.cost is not None:
            self._declined.append(isinstance(outcome, FellBack | CannotAnswer) and outcome.why is Why.DECLINED)

    @property
    def believed(self) -> bool:
        return len(self._declined) < _FEWEST or sum(self._declined) <= _MOST * len(self._declined)
