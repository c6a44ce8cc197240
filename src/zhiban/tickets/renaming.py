"""A ticket is not called by words that it has lost."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.kit.i18n import Texts
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.titling import Naming, extracted

_RUN = 4  # characters in a row that a title has from a message rather than by chance


def named_without(naming: Naming, lost: Sequence[FrozenLine], kept: Sequence[FrozenLine], texts: Texts) -> Naming:
    """What it is called when these messages are lost: anew where the title has words of theirs. The summary goes, as
    it may be about any of them."""
    if not lost:
        return naming
    said = "".join("".join(line.text.split()) for line in lost)
    title = "".join(naming.title.split())
    from_them = any(title[n : n + _RUN] in said for n in range(max(1, len(title) - _RUN + 1)))
    return Naming(extracted(kept, texts).title if from_them else naming.title)
