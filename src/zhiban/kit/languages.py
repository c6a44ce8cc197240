"""Whether a text is in a language that its reader may not know: told by its script, and English by its small words."""

from __future__ import annotations

import re

from zhiban.kit.i18n import Locale

_NOT_WORDS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+|\S*\d\S*|[#/@]\S+")  # addresses, numbers, codes
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LATIN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_OTHER = re.compile(r"[\u0370-\u1fff\u1100-\u11ff\uac00-\ud7af\ua980-\uabff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEAST_WORDS = 2  # of another language: one alone is a name, a brand, OK
_MOSTLY = 0.3  # of Han among Han and words, from which a text is Chinese
_SMALL = re.compile(
    r"a|about|after|all|also|am|and?|any|are|as|at|be|been|but|by|can|could|did|do|does|don't|for|from|get|had|has|have"
    r"|he|hello|help|her|hi|his|how|i|i'm|if|in|is|it|it's|just|like|me|more|my|need|no|not|now|of|ok|on|or|order|our"
    r"|out|please|she|should|so|some|than|thanks?|that|the|their|them|then|there|they|this|to|up|us|was|we|were|what"
    r"|when|where|which|who|why|will|with|would|yes|you|your",
    re.IGNORECASE,
)


def is_foreign(text: str, reader: Locale) -> bool:
    """Whether the reader may need a translation. What is no language (addresses, numbers, codes) counts as none."""
    plain = _NOT_WORDS.sub(" ", text)
    han, kana, other = len(_HAN.findall(plain)), len(_KANA.findall(plain)), len(_OTHER.findall(plain))
    words = [word for word in _LATIN.findall(plain) if word[0].isascii() or ord(word[0]) < 0x0370]
    if other >= _LEAST_WORDS and other > han + len(words):
        return True
    if reader == "zh":
        return kana >= _LEAST_WORDS or (len(words) >= _LEAST_WORDS and han / (han + len(words)) < _MOSTLY)
    if han + kana >= _LEAST_WORDS and (han + kana) / (han + kana + len(words)) >= _MOSTLY:
        return True
    # Of some words one or another is small in any English sentence; two or three may be a name.
    small = sum(_SMALL.fullmatch(word.replace("’", "'")) is not None for word in words)
    return len(words) >= 2 * _LEAST_WORDS and small < len(words) / 8
