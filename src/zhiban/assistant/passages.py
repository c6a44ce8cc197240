"""What the assistant needs to know of a found passage. `knowledge.retrieval.Passage` fits it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from zhiban.kit.frozen_dataclass import frozen_dataclass


class PassageLike(Protocol):
    """A piece of knowledge as found. `answer` is the entry's own answer when it is a question-and-answer entry,
    `asked_as` another wording of its question, the closest to what is asked."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def answer(self) -> str | None: ...
    @property
    def heading_path(self) -> Sequence[str]: ...
    @property
    def source_name(self) -> str | None: ...
    @property
    def asked_as(self) -> str | None: ...


@frozen_dataclass
class PlainPassage:
    """A passage that comes from no search: for rehearsals and examples."""

    title: str
    text: str
    answer: str | None = None
    heading_path: tuple[str, ...] = ()
    source_name: str | None = ""
    asked_as: str | None = None


def words_of(passage: PassageLike) -> str:
    """Everything the passage says, for checking an answer against it. What contacts called it says nothing."""
    return "\n".join((*passage.heading_path, passage.title, passage.text, passage.answer or ""))
