"""Texts as the tables of `intents` read them: clause by clause, in one spelling."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from zhiban.kit.patterns import lazy_pattern
from zhiban.kit.tokens import normalise

_LONGEST = 2000  # characters that are looked at
_CUT = lazy_pattern(r"[,、.。!?;；:：\n\r~…\"“”‘()（）\[\]【】<>《》|/\\*_#^+=—]+")
_STICKER = lazy_pattern(r"\[[^\[\]\n]{1,8}\]")  # WeChat writes its stickers as [微笑]
_BETWEEN_HAN = lazy_pattern(r"(?<![a-z0-9'])\s+|\s+(?![a-z0-9'])")
_UNSEEN = ("Cf", "Cs", "Mn", "Co")


def folded(text: str) -> str:
    """Half-width, Simplified, lower case, without characters that nobody sees."""
    kept = (char for char in text[:_LONGEST] if unicodedata.category(char) not in _UNSEEN)
    plain = normalise("".join(kept)).replace("’", "'").replace("，", ",")
    return "".join(char for char in plain if unicodedata.category(char) not in _UNSEEN)


@lru_cache(maxsize=4096)
def clauses(text: str) -> tuple[str, ...]:
    """The clauses of a text, folded; those without a letter or digit are left out. English keeps its spaces."""
    parts = _CUT.split(_STICKER.sub(" ", folded(text)))
    kept = ("".join(char for char in part if char.isalnum() or char in " '") for part in parts)
    return tuple(part for part in (_BETWEEN_HAN.sub("", part).strip() for part in kept) if part)
