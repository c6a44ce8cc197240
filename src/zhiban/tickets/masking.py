"""What must not leave the store: numbers and secrets of people, found in what they wrote.

In doubt something is hidden: a hidden order number costs a question, a published telephone number cannot be taken back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern
from zhiban.tickets.folding import folded
from zhiban.tickets.private_numbers import private_numbers, with_digits


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


_EMAIL = lazy_pattern(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]{1,64}[ ]?@[ ]?"
    r"(?:[A-Za-z0-9\-]{1,63}[.。]){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_TOKEN = lazy_pattern(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_\-]{16,64}"
    r"|sk-[A-Za-z0-9_\-]{16,255}|(?:AKIA|ASIA)[0-9A-Z]{16}|LTAI[A-Za-z0-9]{12,30}|AKID[A-Za-z0-9]{13,40}"
    r"|AIza[0-9A-Za-z_\-]{30,45}|xox[abprs]-[A-Za-z0-9\-]{10,120}|npm_[A-Za-z0-9]{30,50}|pypi-[A-Za-z0-9_\-]{30,255}"
    r"|(?<![_\-])eyJ[A-Za-z0-9_\-]{8,2000}+\.[A-Za-z0-9_\-]{8,4000}+\.[A-Za-z0-9_\-]{8,1000})"
    r"|(?<=Bearer )[A-Za-z0-9._~+/\-]{16,2000}=*"
)
_KEY_BEGINS = lazy_pattern(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----")
_KEY_ENDS = lazy_pattern(r"-----END [A-Z ]{0,30}PRIVATE KEY-----")
_B = r"[ \t]{0,3}+"
_NO_VALUE = r"(?!什么|多少|怎么|不是|否|对的|错的|正确|错误|https?://)"
# The last group that takes part is the secret.
_PASSWORD = lazy_pattern(
    r"(?:密码|口令|提取码|验证码|入会码|passwords?|passwd|pwd|passcode|secret(?:[_ -]?key)?"
    r"|(?:api|access)[_ -]?key|token)[\"']?"
    rf"{_B}(?:(?:是|为|[:=]){{1,3}}{_B}[\"'“「]?{_NO_VALUE}"
    r"(?P<value>[^\s，,。；;、\"'”」&]{2,200}(?:[ \t]{1,3}(?=[!-~]{0,19}[0-9])[!-~]{1,20})?)"
    rf"|(?:[:=]{_B}\n|(?:改|换|设|变)(?:成|为)(?:了|是|:)?){_B}[\"'“「]?(?P<told>[!-~]{{2,200}}))"
    rf"|(?:密码|口令|提取码|验证码){_B}{_NO_VALUE}(?P<bare>[A-Za-z0-9@#$%^&*!][!-+\-.-:<-~]{{3,63}})"
    rf"|(?:passwords?|passwd|passcode)[ \t]{{1,3}}+(?=[!-~]{{0,31}}[0-9@#$%^*!])"
    r"(?P<english>[A-Za-z0-9@#$%^*!][!-~]{3,63})"
    r"|(?<=://)[^\s/:@]{1,64}:(?P<url>[^\s/@]{1,128})(?=@)",
    re.IGNORECASE,
)
_ACCOUNT = lazy_pattern(
    r"(?<![A-Za-z0-9_])wxid_[A-Za-z0-9]{6,40}"
    rf"|(?:微信号?|薇信|vx|wechat(?: id)?){_B}(?:(?:是|为|:){_B})?(?P<wechat>[A-Za-z][A-Za-z0-9_\-]{{5,19}})"
    r"(?![A-Za-z0-9_\-])"
    rf"|(?<![A-Za-z])QQ(?:群?号?码?){_B}(?:(?:是|为|:){_B})?(?P<qq>[1-9][0-9]{{4,10}})(?![0-9])",
    re.IGNORECASE,
)


def find(text: str) -> tuple[SecretSpan, ...]:
    """All secrets, in order; none overlaps another."""
    return _found(text)


@lru_cache(maxsize=256)  # a line is looked at for its title, its preview, what is counted and what is published
def _found(text: str) -> tuple[SecretSpan, ...]:
    spans = sorted(_all(text), key=lambda span: (span.start, -span.end))
    kept: list[SecretSpan] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end > kept[-1].end:  # two that share a part hide all of it
            kept[-1] = SecretSpan(kept[-1].kind, kept[-1].start, span.end)
    return tuple(kept)


def whole_secrets(text: str, most: int) -> str:
    """At most so many characters of the text, fewer where a secret would be cut through and its beginning be read."""
    if len(text) <= most:
        return text
    return text[: next((span.start for span in find(text) if span.start < most < span.end), most)]


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
    plain = folded(written).text
    match kind:
        case Secret.MOBILE:
            digits = re.sub(r"\D", "", with_digits(plain))[-11:]
            return f"{digits[:3]}****{digits[-4:]}"
        case Secret.ID_CARD | Secret.BANK_CARD:
            return f"****{re.sub(r'[^0-9Xx]', '', with_digits(plain))[-4:]}"
        case Secret.EMAIL:
            name, _, host = plain.partition("@")
            return f"{name.strip()[:1]}***@{host.strip()}"
        case _:
            return "****"


def _all(text: str) -> Iterator[SecretSpan]:
    read = folded(text)
    for kind, start, end in _in_plain(read.text):
        if end > start:
            yield SecretSpan(kind, *read.span(start, end))


def _in_plain(plain: str) -> Iterator[tuple[Secret, int, int]]:
    for match in _TOKEN.finditer(plain):
        yield Secret.TOKEN, *match.span()
    done = 0
    for begin in _KEY_BEGINS.finditer(plain):
        if begin.start() >= done:
            end = _KEY_ENDS.search(plain, begin.end())
            done = end.end() if end is not None else len(plain)
            yield Secret.TOKEN, begin.start(), done
    for match in _PASSWORD.finditer(plain):
        yield Secret.PASSWORD, *match.span(match.lastgroup or 0)
    for match in _ACCOUNT.finditer(plain):
        yield Secret.ACCOUNT, *match.span(match.lastgroup or 0)
    for match in _EMAIL.finditer(plain):
        yield Secret.EMAIL, *match.span()
    for number, start, stop in private_numbers(plain):
        yield Secret(number), start, stop
