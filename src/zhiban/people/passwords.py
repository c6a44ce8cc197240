"""Passwords: hashed as argon2id in a bounded queue, and refused when a guesser would try them early."""

from __future__ import annotations

import asyncio
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from zhiban.kit.errors import Conflict, Unavailable

T = TypeVar("T")

SHORTEST = 10  # characters
AT_ONCE = 2  # a hash costs 64 MiB and a core for 50 ms
MOST_WAITING = 32  # 0.8 s of work for two cores; whoever comes later is told to try again
FEWEST_UNITS = 5  # what is left to guess: characters that belong to no known word, sequence or date
FEWEST_CHARACTERS = 5  # different ones
SHORTEST_NUMBER = 15  # digits of a password that has nothing else: telephone and identity numbers are not secret


class HashQueueFull(Unavailable):
    """More passwords wait to be hashed than this process can work off in time."""


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@cache
def _decoy() -> str:
    """Verified against when there is no such account, so that the answer takes as long."""
    return _hasher().hash(secrets.token_hex(16))


class HashQueue:
    """One process's queue of password hashing. Each hash runs on a thread of its own."""

    def __init__(self, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self._running = asyncio.Semaphore(at_once)
        self._room = at_once + most_waiting
        self._inside = 0

    async def hash(self, password: str, *, about: Iterable[str] = ()) -> str:
        """The hash to store. `about`: what others know of its owner, such as name and e-mail address.

        Raises Conflict when the password is too short or too easy to guess, HashQueueFull.
        """
        check_strength(password, about=about)
        return await self._run(lambda: _hasher().hash(password))

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether this password was hashed to `stored`. Without one the answer is no and takes as long.

        Raises HashQueueFull.
        """
        right = await self._run(lambda: _verify(stored or _decoy(), password))
        return right and stored is not None

    async def _run(self, job: Callable[[], T]) -> T:
        if self._inside >= self._room:
            raise HashQueueFull("Too many people sign in at this moment. Try again in a few seconds.")
        self._inside += 1
        try:
            async with self._running:
                return await asyncio.to_thread(job)
        finally:
            self._inside -= 1


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


# ------------------------------------------------------------------------------------------------ easy to guess

# What guessers try first, with digits, signs and look-alike letters around it. Only parts of passwords stand here:
# whole ones of ten characters and more are made of them.
_WORDS = re.split(
    r"\s+",
    "password passwort passwd pass admin administrator root system manager master user guest test testing demo temp "
    "welcome hello login letmein changeme default secret iloveyou loveyou love qwerty qwertz azerty asdf zxcv abc abcd "
    "monkey dragon sunshine princess football baseball basketball superman batman shadow michael jordan computer "
    "internet server database company office service support customer helpdesk google windows android iphone huawei "
    "xiaomi tencent alibaba taobao wechat weixin qiyeweixin kefu zhiban mima wodemima woaini aini nihao "
    "zhongguo china beijing shanghai guangzhou shenzhen hangzhou laoban gongsi guanliyuan yonghu ceshi spring summer "
    "autumn winter monday friday january december",
)
_ROWS = (
    "01234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "!@#$%^&*()",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "1q2w3e4r5t6y7u8i9o0p",
    "qazwsxedcrfvtgbyhnujmikolp",
)
_LOOKALIKES = {"a": "a@4", "b": "b8", "e": "e3", "i": "i1!|", "l": "l1|", "o": "o0", "s": "s$5", "t": "t7+", "z": "z2"}
_DATE = re.compile(r"(?:19|20)\d\d(?:[-./]?\d{1,2}[-./]?\d{1,2})?")
_LUCKY = re.compile(r"5201314|1314|520|521|(?:666|888|168)+")
_REPEATED = re.compile(r"(.{1,4}?)\1{2,}")


def check_strength(password: str, *, about: Iterable[str] = ()) -> None:
    """Raises Conflict when a guesser who knows the usual lists, and `about` its owner, would come to it early."""
    if len(password) < SHORTEST:
        raise Conflict(f"The password needs at least {SHORTEST} characters.")
    if _units(password, about) < FEWEST_UNITS:
        raise Conflict(
            "This password is easy to guess. Take a longer one, such as four words that have nothing to do with "
            "each other or with you."
        )


def _units(password: str, about: Iterable[str]) -> int:
    """How many things have to be guessed: a known part counts as one, and so does every character between them."""
    text = unicodedata.normalize("NFKC", password).casefold()
    if len(set(text)) < FEWEST_CHARACTERS or (text.isdecimal() and len(text) < SHORTEST_NUMBER):
        return 0
    marked = text
    for pattern in (_REPEATED, _known(_parts(about)), _DATE, _LUCKY, _sequences()):
        marked = pattern.sub("\0", marked)
    return len(marked.replace(" ", ""))


def _parts(about: Iterable[str]) -> tuple[str, ...]:
    """The words of names and addresses, without the endings that all addresses share."""
    words = (word for text in about for word in re.split(r"[\s@._+-]+", text.casefold()))
    return tuple(sorted({word for word in words if len(word) >= 2 and word not in ("com", "cn", "net", "org")}))


@cache
def _known(parts: tuple[str, ...]) -> re.Pattern[str]:
    words = sorted({*_WORDS, *parts}, key=len, reverse=True)
    return re.compile("|".join("".join(_letter(letter) for letter in word) for word in words))


def _letter(letter: str) -> str:
    return f"[{re.escape(_LOOKALIKES[letter])}]" if letter in _LOOKALIKES else re.escape(letter)


@cache
def _sequences() -> re.Pattern[str]:
    """Three and more neighbours of a row of the keyboard, the alphabet or the digits, in either direction."""
    found: set[str] = set()
    for row in _ROWS:
        for line in (row, row[::-1]):
            found |= {line[at : at + size] for size in range(3, len(line) + 1) for at in range(len(line) - size + 1)}
    return re.compile("|".join(re.escape(one) for one in sorted(found, key=len, reverse=True)))
