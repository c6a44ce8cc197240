"""Recognising that WeCom already has a message.

We send with a msgid of our own. WeCom refuses one that it has seen, but publishes neither the code nor the words of
that refusal, so neither can be looked for. Instead WeCom is asked: a message that it certainly took is sent once more
under its own msgid, which cannot arrive twice, and the refusal of that shows what a repeat looks like.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from zhiban.integrations.wecom.errors import is_explained, may_mean_repeat

_REMEMBERED: Final = 1000
_TRIES: Final = 5
_AFTER_THE_WORDS = re.compile(r",?\s*(hint:|from ip:|more info at).*", re.IGNORECASE | re.DOTALL)

LookKey = tuple[int, str]
Send = Callable[[Mapping[str, Any]], Awaitable[tuple[int, str]]]


class Repeats:
    """What this process knows about messages that may have arrived. Share it between the accounts of one app."""

    def __init__(self) -> None:
        self._taken: dict[str, Mapping[str, Any]] = {}  # account -> the last request that was certainly carried out
        self._repeat: set[LookKey] = set()  # refusals that mean "seen before"
        self._other: set[LookKey] = set()  # refusals that mean something else
        self._doubted: OrderedDict[str, None] = OrderedDict()
        self._tries: OrderedDict[str, int] = OrderedDict()

    def took(self, account: str, body: Mapping[str, Any]) -> None:
        """WeCom carried out this request."""
        self._taken[account] = body
        self._doubted.pop(f"{account}:{body.get('msgid')}", None)

    def doubt(self, account: str, key: str) -> None:
        """A request with this key was sent, and nobody knows what became of it."""
        self._doubted[f"{account}:{key}"] = None
        while len(self._doubted) > _REMEMBERED:
            self._doubted.popitem(last=False)

    def is_doubted(self, account: str, key: str) -> bool:
        return f"{account}:{key}" in self._doubted

    async def judge(self, account: str, key: str, code: int, words: str, send: Send) -> bool | None:
        """Whether this refusal says that WeCom has the message; None when that cannot be told yet.

        `send` sends a request of this account and returns code and words. It is called at most once, with a request
        that was carried out before.
        """
        if not may_mean_repeat(code):
            return False
        look = _look(code, words)
        if look in self._repeat:
            return True
        if look in self._other:
            return False
        if (taken := self._taken.get(account)) is not None:
            return await self._ask(look, taken, send)
        if self.is_doubted(account, key) and not is_explained(code):
            # The same request went out before, and WeCom gives a reason that it explains nowhere: what has changed
            # between the two is that it knows the msgid.
            return True
        return None

    def may_wait(self, account: str, key: str) -> bool:
        """Whether a message that nobody can judge yet should be tried again, to be judged then."""
        name = f"{account}:{key}"
        self._tries[name] = tries = self._tries.get(name, 0) + 1
        while len(self._tries) > _REMEMBERED:
            self._tries.popitem(last=False)
        return tries < _TRIES

    async def _ask(self, look: LookKey, taken: Mapping[str, Any], send: Send) -> bool | None:
        code, words = await send(taken)
        if not may_mean_repeat(code):
            return None  # something else stood in the way, such as a session that is over meanwhile
        found = _look(code, words)
        self._repeat.add(found)
        if found != look:
            self._other.add(look)
        return found == look


def _look(code: int, words: str) -> LookKey:
    """Code and words, without what differs from answer to answer."""
    return code, _AFTER_THE_WORDS.sub("", words).strip().lower()
