"""What in a conversation is one contact's own: how to reach them, who and where they are, numbers of their orders.

Knowledge is read by everybody. In doubt something is left out: a person who writes an article can add it again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zhiban.assistant.grounding import ways_to_reach
from zhiban.assistant.normalising import plain
from zhiban.kit.patterns import lazy_pattern

HIDDEN = "***"

_LEAST = 2  # characters of a name
_NUMBER = lazy_pattern(r"\d{5}|\d(?:[ \-.·]?\d){6}")  # an order, a telephone number
_WHO = lazy_pattern(
    r"我(?:叫|姓|的(?:名字|姓名)(?:是|叫|[:：]))|本人(?:姓|叫)|(?:姓名|名字|收件人|收货人|联系人)\s*(?:是|叫|为|[:：])"
    r"|\bmy name(?:'s|’s| is)\b|\bi(?:'m|’m| am) called\b",
    re.IGNORECASE,
)
_WHERE = lazy_pattern(
    r"(?:地址|住址)\s*(?:是|为|[:：])|我(?:家)?住在?|[\u4e00-\u9fff]{2,}(?:路|街|道|巷|弄|胡同|大道)\s*[0-9零一二三四五六七八九十百]+\s*号"
    r"|[0-9零一二三四五六七八九十]+\s*(?:号楼|栋|幢|单元)\s*[0-9零一二三四五六七八九十]"
    r"|\bmy address is\b|\b\d{1,5} (?:[A-Z][a-z]+ ){1,3}(?:street|st|road|rd|avenue|ave|lane|drive)\b",
    re.IGNORECASE,
)
_LONG = lazy_pattern(r"(?<![0-9A-Za-z])(?!400|800)\+?[A-Za-z]{0,4}[0-9](?:[ \-.·]?[0-9]){7,}(?![0-9])")
_FULL_WIDTH = str.maketrans("０１２３４５６７８９", "0123456789")


class PrivateWords:
    """What is known to be one contact's own: `known` from their card, and `said` by them."""

    def __init__(self, known: Sequence[str], said: Sequence[str]) -> None:
        told = [way for text in said for way in ways_to_reach(text)]
        own = {text.strip() for text in (*known, *told)}
        self._own = [text for text in sorted(own, key=len, reverse=True) if len(text) >= _LEAST]
        self._pattern = re.compile("|".join(map(re.escape, self._own)), re.IGNORECASE) if self._own else None

    def in_text(self, text: str) -> bool:
        """Whether the text holds anything of a contact's own, so that nobody else would ask like this."""
        read = plain(text)
        return bool(
            (self._pattern is not None and self._pattern.search(text))
            or _NUMBER.search(read)
            or _WHO.search(read)
            or _WHERE.search(read)
            or ways_to_reach(text)
        )

    def hidden(self, text: str) -> str:
        """The text with `HIDDEN` for what is the contact's own and for long numbers; a hotline's 400 and 800 stay."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        wide = text.translate(_FULL_WIDTH)  # as long as it was
        end, out = 0, []
        for match in _LONG.finditer(wide):
            out += [text[end : match.start()], HIDDEN]
            end = match.end()
        return "".join((*out, text[end:]))
