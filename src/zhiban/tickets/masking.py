"""What must not leave the store: numbers and secrets of people, found in what they wrote.

In doubt something is hidden: a hidden order number costs a question, a published telephone number cannot be taken back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern


class Secret(StrEnum):
    MOBILE = "mobile"
    ID_CARD = "id_card"
    BANK_CARD = "bank_card"
    EMAIL = "email"
    TOKEN = "token"  # noqa: S105 -- the name of a kind
    PASSWORD = "password"  # noqa: S105 -- likewise
    ACCOUNT = "account"  # WeChat and QQ


@frozen_dataclass
class SecretSpan:
    """Where a secret stands: `text[start:end]`."""

    kind: Secret
    start: int
    end: int


_GAP = r"[ \u00a0\-\u2010-\u2015.·_]?"
_HAN = "零一二三四五六七八九"
_OTHER_HAN = {
    "〇": "0", "○": "0", "幺": "1", "壹": "1", "贰": "2", "叁": "3", "肆": "4", "伍": "5", "陆": "6", "柒": "7",
    "捌": "8", "玖": "9",
}  # fmt: skip
_FULL_WIDTH = str.maketrans("０１２３４５６７８９＠．－＿：＝", "0123456789@.-_:=")
_SPELT = lazy_pattern(rf"[{_HAN}{''.join(_OTHER_HAN)}]{{11,19}}")
_SPELT_DIGITS = str.maketrans({char: str(n) for n, char in enumerate(_HAN)} | _OTHER_HAN)

_LONG_NUMBER = lazy_pattern(
    rf"(?<![0-9A-Za-z])(?:\+?86{_GAP})?[0-9](?:{_GAP}[0-9]){{9,21}}{_GAP}[0-9Xx](?![0-9A-Za-z])"
)
_MOBILE = re.compile(r"(?:86)?1[3-9][0-9]{9}")
_EMAIL = lazy_pattern(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64}[ ]?@[ ]?(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_TOKEN = lazy_pattern(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_\-]{16,64}"
    r"|sk-[A-Za-z0-9_\-]{16,255}|(?:AKIA|ASIA)[0-9A-Z]{16}|LTAI[A-Za-z0-9]{12,30}|AKID[A-Za-z0-9]{13,40}"
    r"|AIza[0-9A-Za-z_\-]{30,45}|xox[abprs]-[A-Za-z0-9\-]{10,120}|npm_[A-Za-z0-9]{30,50}|pypi-[A-Za-z0-9_\-]{30,255}"
    r"|eyJ[A-Za-z0-9_\-]{8,2000}\.[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{8,1000})"
    r"|(?<=Bearer )[A-Za-z0-9._~+/\-]{16,2000}=*"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{0,8000}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_PASSWORD = lazy_pattern(
    r"(?:密码|口令|提取码|验证码|入会码|passwords?|passwd|pwd|passcode|secret(?:[_ -]?key)?"
    r"|(?:api|access)[_ -]?key|token)"
    r"[\"']?[ \t]*(?:是|为|[:：=])+[ \t]*[\"'“「]?(?P<value>[^\s，,。；;、\"'”」&]{2,200})"
    r"|(?:密码|口令|提取码|验证码)[ \t]*(?P<bare>[A-Za-z0-9]{4,32})"
    r"|(?<=://)[^\s/:@]{1,64}:(?P<url>[^\s/@]{1,128})(?=@)",
    re.IGNORECASE,
)
_ACCOUNT = lazy_pattern(
    r"(?<![A-Za-z0-9_])wxid_[A-Za-z0-9]{6,40}"
    r"|(?:微信号?|薇信|vx|wechat(?: id)?)[ \t]*(?:是|为|[:：])?[ \t]*(?P<wechat>[A-Za-z][A-Za-z0-9_\-]{5,19})"
    r"(?![A-Za-z0-9_\-])"
    r"|(?<![A-Za-z])QQ号?[ \t]*(?:是|为|[:：])?[ \t]*(?P<qq>[1-9][0-9]{4,10})(?![0-9])",
    re.IGNORECASE,
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"


def find(text: str) -> list[SecretSpan]:
    """All secrets, in order; none overlaps another."""
    spans = sorted(_all(text), key=lambda span: (span.start, -span.end))
    kept: list[SecretSpan] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end > kept[-1].end:  # two that share a part hide all of it
            kept[-1] = SecretSpan(kept[-1].kind, kept[-1].start, span.end)
    return kept


def hide(text: str, words: Mapping[Secret, str]) -> str:
    """The text with these words in the place of each secret."""
    return _replaced(text, lambda span: words[span.kind])


def partly(text: str) -> str:
    """The text for our own people: enough stays of a number to tell two apart, nothing of a password or token."""
    return _replaced(text, lambda span: _partly(text[span.start : span.end], span.kind))


def kinds(text: str) -> Counter[Secret]:
    """How many of which kind there are."""
    return Counter(span.kind for span in find(text))


def _replaced(text: str, word: Callable[[SecretSpan], str]) -> str:
    out: list[str] = []
    end = 0
    for span in find(text):
        out += (text[end : span.start], word(span))
        end = span.end
    return "".join((*out, text[end:]))


def _partly(written: str, kind: Secret) -> str:
    match kind:
        case Secret.MOBILE:
            digits = re.sub(r"\D", "", _digits(written))[-11:]
            return f"{digits[:3]}****{digits[-4:]}"
        case Secret.ID_CARD | Secret.BANK_CARD:
            return f"****{re.sub(r'[^0-9Xx]', '', _digits(written))[-4:]}"
        case Secret.EMAIL:
            name, _, host = written.partition("@")
            return f"{name.strip()[:1]}***@{host.strip()}"
        case _:
            return "****"


def _all(text: str) -> Iterator[SecretSpan]:
    plain = text.translate(_FULL_WIDTH)
    for match in _TOKEN.finditer(plain):
        yield SecretSpan(Secret.TOKEN, *match.span())
    for match in _PASSWORD.finditer(plain):
        yield SecretSpan(Secret.PASSWORD, *match.span(match.lastgroup or 0))
    for match in _ACCOUNT.finditer(plain):
        yield SecretSpan(Secret.ACCOUNT, *match.span(match.lastgroup or 0))
    for match in _EMAIL.finditer(plain):
        yield SecretSpan(Secret.EMAIL, *match.span())
    numbers = _digits(plain)
    for match in _LONG_NUMBER.finditer(numbers):
        yield from _numbers(match)


def _digits(text: str) -> str:
    """Long numbers in Chinese digits become digits, character by character."""
    return _SPELT.sub(lambda run: run[0].translate(_SPELT_DIGITS), text.translate(_FULL_WIDTH))


def _numbers(match: re.Match[str]) -> Iterator[SecretSpan]:
    """What a run of digits is. One that is none as a whole may hold a mobile number between its gaps."""
    digits = re.sub(r"[^0-9Xx]", "", match[0]).upper()
    if _MOBILE.fullmatch(digits):
        yield SecretSpan(Secret.MOBILE, *match.span())
    elif len(digits) == 18 and is_id_card(digits):
        yield SecretSpan(Secret.ID_CARD, *match.span())
    elif 16 <= len(digits) <= 19 and digits.isdecimal() and is_bank_card(digits):
        yield SecretSpan(Secret.BANK_CARD, *match.span())
    else:
        for part in re.finditer(rf"(?<![0-9])(?:86{_GAP})?1[3-9](?:{_GAP}[0-9]){{9}}(?![0-9])", match[0]):
            yield SecretSpan(Secret.MOBILE, match.start() + part.start(), match.start() + part.end())


def is_id_card(digits: str) -> bool:
    """Whether 18 characters are a Chinese identity number: a date of birth and the check digit of GB 11643."""
    if not digits[:17].isdecimal():
        return False
    month, day = int(digits[10:12]), int(digits[12:14])
    if digits[6:8] not in ("18", "19", "20") or not (1 <= month <= 12 and 1 <= day <= 31):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits[:17], _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11] == digits[17]


def is_bank_card(digits: str) -> bool:
    """Whether 16 to 19 digits are a card's: a known first digit and the check digit of Luhn."""
    if digits[0] not in "3456" or len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
