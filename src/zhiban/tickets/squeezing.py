"""A message with its blanks squeezed and its letters simple, beside what was written."""

from __future__ import annotations

import re

from zhiban.kit.frozen_dataclass import frozen_dataclass

# One character for one, so that names and titles keep their places and their own writing.
_SIMPLER = str.maketrans(
    "開單條個請幫將剛這幾創轉從說標題類簽倉庫給負責備註補優級內話錄記時間鐘後別麼嗎為團對議報來發點貳參陸訊問總陳"
    "兩倆則過邊煩勞匯換務饋討論東結裡裏無沒誰輸復覆樣試籤緊會機應敗導",
    "开单条个请帮将刚这几创转从说标题类签仓库给负责备注补优级内话录记时间钟后别么吗为团对议报来发点贰叁陆讯问总陈"
    "两俩则过边烦劳汇换务馈讨论东结里里无没谁输复复样试签紧会机应败导",
) | {
    0x3000: 0x20,
    **{code: code - 0xFEE0 for first, last in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
       for code in range(first, last + 1)},
}  # fmt: skip
# What nobody sees is between no two letters: marks of direction, joiners, the frame of a digit.
_UNSEEN = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff"
_BLANKS = re.compile(rf"[\s{_UNSEEN}]+")
_FOUR_PER_EM = "\u2005"  # what WeChat writes behind a name


@frozen_dataclass
class Squeezed:
    """`plain` has one blank, or one line break, for each run of them, and nothing that nobody sees; `places[n]` is
    where its n-th character stands in `written`, and the last of them where it ends."""

    plain: str
    written: str
    places: list[int]

    def part(self, start: int, end: int | None = None) -> Squeezed:
        """What plain[start:end] is, without blanks around it."""
        end = len(self.plain) if end is None else end
        start += len(self.plain[start:end]) - len(self.plain[start:end].lstrip())
        end = start + len(self.plain[start:end].rstrip())
        return Squeezed(self.plain[start:end], self.written, self.places[start : end + 1])

    def own(self, start: int, end: int) -> str:
        """What plain[start:end] was in the writing of whoever wrote it."""
        return self.written[self.places[start] : self.places[end]]

    def rest(self, start: int) -> tuple[str, str]:
        """All from plain[start] on, blanks as they were: as it was written, and the same in simple letters."""
        written = self.own(start, len(self.plain))
        return written, simple(written)


def simple(text: str) -> str:
    """The same, character by character, in simple letters."""
    return text.translate(_SIMPLER)


def squeezed(text: str) -> Squeezed:
    """The message as a pattern reads it, in a time that does not depend on how its blanks are put."""
    letters = simple(text)
    plain: list[str] = []
    places: list[int] = []
    end = 0
    for run in _BLANKS.finditer(letters):
        blank = _one(run[0])
        plain += (letters[end : run.start()], blank)
        places += range(end, run.start() + len(blank))
        end = run.end()
    plain.append(letters[end:])
    places += range(end, len(text) + 1)
    return Squeezed("".join(plain), text, places).part(0)


def _one(run: str) -> str:
    blanks = {char for char in run if char.isspace()}
    if "\n" in blanks or not blanks:
        return "\n" if blanks else ""
    return _FOUR_PER_EM if blanks == {_FOUR_PER_EM} else " "
