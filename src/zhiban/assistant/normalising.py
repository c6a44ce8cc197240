"""One form for texts whose facts are compared: what is written differently and read the same becomes the same.

Whoever hides a number or an address from a check – spaced, decorated, in look-alike letters, in words – writes it so
that a person still reads it. Reading it as that person does comes first; `grounding` compares afterwards.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from zhiban.kit.patterns import lazy_pattern

_HAN_DIGITS = {char: str(number) for number, char in enumerate("零一二三四五六七八九")} | {
    "〇": "0", "幺": "1", "壹": "1", "两": "2", "貳": "2", "贰": "2", "叁": "3", "肆": "4", "伍": "5", "陆": "6",
    "柒": "7", "捌": "8", "玖": "9",
}  # fmt: skip
_HAN = "".join(_HAN_DIGITS)
_UNSEEN = frozenset(("Cf", "Cc", "Cs", "Co"))
# Invisible, although their category says otherwise (Unicode: Default_Ignorable_Code_Point).
_IGNORED = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
# Letters of other scripts that look like Latin ones.
_LOOK_ALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝӏьАВЕКМНОРСТУХІЈЅӀαεικνορτυχγΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɡɑօոսցհ",
    "aeopcyxijsdhqwlbABEKMHOPCTYXIJSIaeikvoptuxyABEZHIKMNOPTYXigaonugh",
)
_DECORATED = "[\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\U0001f100-\U0001f10c]|[0-9]\ufe0f?\u20e3"
# Decorated digits are a number when several stand together, beside other digits or before a unit; else a list's mark.
_UNIT = (
    "(?=元|块|天(?!猫)|日(?!常)|个(?:月|工作日|小时)|小时|分钟|折(?!叠)|%|％|倍|周(?![边围])|年(?![会度])|号(?!码)|岁|斤|次|件"
    "|点(?![击开选按进此这右左我“「]))"
)
_DECORATED_NUMBER = lazy_pattern(
    rf"(?:{_DECORATED})(?:[ ]?(?:{_DECORATED}))+|(?<=[0-9０-９])(?:{_DECORATED})"
    rf"|(?:{_DECORATED})(?=[0-9０-９])|(?:{_DECORATED}){_UNIT}"
)
_MARK = lazy_pattern(_DECORATED)

_SURE_TLD = "com|cn|net|org|vip|top|xyz|shop|store|site|online|app|cc|club|info|io|biz|co|me|tv"
_ENDS = r"(?![A-Za-z0-9])"
_OPEN, _CLOSE = r"[ ]*[(\[{<]?[ ]*", r"[ ]*[)\]}>]?[ ]*"
_AT_DOT = lazy_pattern(
    rf"(?<=[A-Za-z0-9])(?:[ ]+at[ ]+|{_OPEN}(?:艾特|@){_CLOSE})"
    rf"(?=[A-Za-z0-9\-]+{_OPEN}(?:dot|点){_CLOSE}(?:{_SURE_TLD}){_ENDS})",
    re.IGNORECASE,
)
_AT = lazy_pattern(
    r"(?<=[A-Za-z0-9])[ ]*(?:[(\[{<][ ]*(?:at|@|艾特)[ ]*[)\]}>]|艾特)[ ]*(?=[A-Za-z0-9])", re.IGNORECASE
)
_DOT = lazy_pattern(
    rf"(?<=[A-Za-z0-9一-鿿])(?:{_OPEN}(?:dot|点|句号){_CLOSE}|[ ]*[。・·‧、•][ ]*"
    rf"|[ ]*[(\[{{<][ ]*\.[ ]*[)\]}}>][ ]*|[ ]+\.[ ]*|\.[ ]+)"
    rf"(?=(?:{_SURE_TLD}){_ENDS})",
    re.IGNORECASE,
)
_SEPARATED = lazy_pattern(r"(?<![\d])\d(?:[ \-._·*/|、,:~]{1,3}\d){6,}(?!\d)")
_GROUPED = lazy_pattern(r"(?<![\d.,:/\-])\d{1,4}(?:[ \-.·]\d{1,4}){2,}(?![\d:/])")
_DATED = lazy_pattern(r"(?:19|20)\d\d[\-./]")
_PHONE_DIGITS = 10
_SPELT = lazy_pattern(rf"[{_HAN}]{{5,}}|(?=[{_HAN}\d]*[{_HAN}])(?=[{_HAN}\d]*\d)[{_HAN}\d]{{7,}}")
_SPELT_APART = lazy_pattern(rf"[{_HAN}](?:[ \-.·、,]{{1,2}}[{_HAN}]){{6,}}")
_LETTERS_FOR_DIGITS = lazy_pattern(r"(?<![A-Za-z0-9])(?=(?:[OoIl|]*\d){5})[\dOoIl|]{7,}(?![A-Za-z0-9])")


def plain(text: str) -> str:
    """Half-width, without what nobody sees; digits as digits, addresses as addresses, list marks gone. Lines stay."""
    text = _DECORATED_NUMBER.sub(_undecorated, text.replace("，", "、"))  # or 100，200 would read as 100200
    text = unicodedata.normalize("NFKC", _MARK.sub("\n", text)).translate(_PLAIN)
    text = _LETTERS_FOR_DIGITS.sub(lambda run: run[0].translate(str.maketrans("OoIl|", "00111")), text)
    text = _SPELT.sub(_from_han, _SPELT_APART.sub(_from_han, text))
    text = _DOT.sub(".", _AT.sub("@", _AT_DOT.sub("@", text)))
    return _GROUPED.sub(_joined_phone, _SEPARATED.sub(lambda run: re.sub(r"\D", "", run[0]), text))


def visible(text: str) -> str:
    """The text without characters that nobody sees; line breaks and tabs stay."""
    return text.translate(_VISIBLE)


class _Characters(dict[int, str | None]):
    """A table for `str.translate` that works out what becomes of a character when it first comes."""

    _MOST = 20_000  # characters; a text of all there are must not fill the memory

    def __init__(self, becomes: Callable[[str], str | None]) -> None:
        self._becomes = becomes

    def __missing__(self, code: int) -> str | None:
        if len(self) >= self._MOST:
            self.clear()
        found = self[code] = self._becomes(chr(code))
        return found


def _if_visible(char: str) -> str | None:
    hidden = char in _IGNORED or unicodedata.category(char) in _UNSEEN
    return char if char in "\n\t" or not hidden else None


def _plain_character(char: str) -> str | None:
    """Marks over and around a letter go too: 1̶3̶9̶ is read as 139."""
    if char == "\n":
        return char
    if char in _IGNORED or unicodedata.category(char) in (*_UNSEEN, "Mn", "Me"):
        return None
    char = char.translate(_LOOK_ALIKES)
    if "〡" <= char <= "〩":
        return str(ord(char) - ord("〡") + 1)
    return str(unicodedata.decimal(char)) if not char.isascii() and char.isdecimal() else char


_VISIBLE, _PLAIN = _Characters(_if_visible), _Characters(_plain_character)


def _undecorated(run: re.Match[str]) -> str:
    return "".join(_value_of(mark) for mark in _MARK.findall(run[0]))


def _value_of(mark: str) -> str:
    return mark[0] if mark[0].isascii() else str(int(unicodedata.numeric(mark[0])))


def _from_han(run: re.Match[str]) -> str:
    return "".join(_HAN_DIGITS.get(char, char) for char in run[0] if char in _HAN_DIGITS or char.isdecimal())


def _joined_phone(run: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", run[0])
    return digits if len(digits) >= _PHONE_DIGITS and not _DATED.match(run[0]) else run[0]
