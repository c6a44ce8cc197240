"""How two texts differ, for people: what was taken away and what was added, word by word, Chinese by characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from zhiban.kit.frozen_dataclass import frozen_dataclass

_WORDS = re.compile(r"[A-Za-z0-9_]+|\s+|.", re.DOTALL)
_MOST_WORDS = 3_000  # of a passage that are compared one by one; a larger one is shown whole, as it was and as it is
_TINY = 1  # characters that two changes may have in common and are read as one change
_FOLDED, _SHOWN = 260, 100  # characters in common that are folded, and what is left at each end


@frozen_dataclass
class Difference:
    """A stretch of text. `what`: in both, only in the later one, only in the earlier one; or folded away."""

    what: Literal["same", "added", "removed", "folded"]
    text: str


@frozen_dataclass
class _TextChange:
    """The earlier words and the later ones; equal where nothing changed."""

    before: str
    after: str


def differences(before: str, after: str) -> tuple[Difference, ...]:
    """What became of the earlier text, in order; long stretches that stayed are folded."""
    lines = _changes(before.splitlines(keepends=True), after.splitlines(keepends=True))
    steps = [step for line in lines for step in ([line] if line.before == line.after else _within(line))]
    return tuple(_told(_joined(steps)))


def _changes(before: Sequence[str], after: Sequence[str]) -> Iterator[_TextChange]:
    for _, i, j, k, m in SequenceMatcher(None, before, after).get_opcodes():
        yield _TextChange("".join(before[i:j]), "".join(after[k:m]))


def _within(changed: _TextChange) -> list[_TextChange]:
    before, after = _WORDS.findall(changed.before), _WORDS.findall(changed.after)
    if not before or not after or len(before) > _MOST_WORDS or len(after) > _MOST_WORDS:
        return [changed]
    return list(_changes(before, after))


def _joined(steps: Sequence[_TextChange]) -> list[_TextChange]:
    """Changes that only a letter or two keep apart are one."""
    joined: list[_TextChange] = []
    for number, step in enumerate(steps):
        same, last = step.before == step.after, joined[-1] if joined else None
        tiny = same and len(step.before.strip()) <= _TINY and 0 < number < len(steps) - 1 and "\n" not in step.before
        if last is not None and (tiny or not same) and last.before != last.after:
            joined[-1] = _TextChange(last.before + step.before, last.after + step.after)
        else:
            joined.append(step)
    return joined


def _told(steps: Sequence[_TextChange]) -> Iterator[Difference]:
    for number, step in enumerate(steps):
        if step.before == step.after:
            yield from _folded(step.before, first=number == 0, last=number == len(steps) - 1)
            continue
        if step.before:
            yield Difference("removed", step.before)
        if step.after:
            yield Difference("added", step.after)


def _folded(text: str, *, first: bool, last: bool) -> Iterator[Difference]:
    if len(text) <= _FOLDED or (first and last):
        if text:
            yield Difference("same", text)
        return
    if not first:
        yield Difference("same", text[:_SHOWN])
    yield Difference("folded", "")
    if not last:
        yield Difference("same", text[-_SHOWN:])
