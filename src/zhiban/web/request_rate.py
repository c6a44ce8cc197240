"""How often strangers may ask for something: counted by network address, in this process.

A proxy or a cache in front of many readers counts as one, so that the numbers are large; they are there for whoever
asks without end, or guesses addresses.
"""

from __future__ import annotations

from collections import OrderedDict

from zhiban.kit.errors import ZhibanError

MOST_KNOWN = 10_000  # addresses; of more the one that has asked least lately is forgotten


class TooManyRequests(ZhibanError):
    """Somebody asks too often."""


class RequestRate:
    """Lets each address ask `most` times in `seconds`, in one go or spread. What is refused does not count."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._per_second = most / seconds
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, address: str, *, now: float) -> None:
        """Take one request of this address at this moment, in seconds. Raises TooManyRequests."""
        left, before = self._left.pop(address, (float(self._most), now))
        left = min(float(self._most), left + (now - before) * self._per_second)
        refused = left < 1
        self._left[address] = (left if refused else left - 1, now)
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        if refused:
            raise TooManyRequests("Too many requests. Wait a minute, then try again.")
