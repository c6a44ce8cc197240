"""The events of a gateway over cuts of its one stream, and what is known of those that were never told.

What happens while no stream is open is told to nobody, so one that is lost is opened again at once, before what came
over it has been taken. Some gateways number their events and keep the last of them: these are asked for what came since
(`EventRequest.seq`, which others do not read), and the number that comes first shows whether they had all of it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final

from zhiban.integrations.wechaty.client import PROBE_EVERY, PROBE_SECONDS, GatewayClient, GatewayEvent
from zhiban.kit.clock import Clock
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import TryLater

MESSAGE: Final = 2
LOGIN, LOGOUT = 25, 26

UNNOTICED: Final = timedelta(seconds=PROBE_EVERY + PROBE_SECONDS)  # how long one may be frozen before that is seen
STEADY_SECONDS: Final = 5.0  # a stream that lived so long was well
AT_ONCE: Final = 3  # how often one that was not well is opened again without waiting


@frozen_dataclass
class Interruption:
    """Listening began (`opened`), or is known to have missed something (`missed`). `since`: when it was last whole."""

    opened: bool
    missed: bool
    since: datetime | None


class EventStream:
    """Reads one gateway. `after`: the `cursor` of the last event that somebody has stored."""

    def __init__(self, client: GatewayClient, clock: Clock, after: str = "") -> None:
        self._client = client
        self._clock = clock
        number, _, self._account = after.partition(":")
        self._number = int(number) if number.isascii() and number.isdecimal() else 0
        self._asked = 0  # behind which number the open stream should go on, as long as that has not been seen
        self.lost_since: datetime | None = None
        self.is_whole = False  # whether everything until now was told, or said to be missing

    @property
    def cursor(self) -> str:
        """From where another stream may go on; empty where the gateway does not number what it tells."""
        return f"{self._number}:{self._account}" if self._number else ""

    async def read(self) -> AsyncIterator[GatewayEvent | Interruption]:
        """Every event, and what was not told where it should stand. Raises as `GatewayClient.events`."""
        hurried = 0
        while True:
            opened_at: float | None = None
            try:
                async for event in self._client.events(self._number, self._account):
                    if opened_at is None:
                        opened_at = time.monotonic()
                        yield self._opened()
                    if self._shows_a_gap(event):
                        yield self._missed(opened=False)
                    yield event
            except TryLater as error:
                if opened_at is None:
                    raise
                self.is_whole = False
                self.lost_since = self.lost_since or self._clock.now() - (UNNOTICED if error.unknown else timedelta())
                hurried = 0 if time.monotonic() - opened_at > STEADY_SECONDS else hurried + 1
                if hurried > AT_ONCE:
                    raise

    def _opened(self) -> Interruption:
        self._asked = self._number
        if self._asked:  # it may have told nothing since, or may know nothing of it: its next number says which
            return Interruption(opened=True, missed=False, since=self.lost_since)
        return self._missed(opened=True)

    def _missed(self, *, opened: bool) -> Interruption:
        found = Interruption(opened=opened, missed=True, since=self.lost_since)
        self.lost_since, self.is_whole = None, True
        return found

    def _shows_a_gap(self, event: GatewayEvent) -> bool:
        """Whether this event tells that others before it were not told."""
        asked, account = self._asked, self._account
        self._number = event.number or self._number
        if event.type in (LOGIN, LOGOUT):
            self._account = event.words("contactId") if event.type == LOGIN else ""
            if self._account != account:  # numbers belong to an account
                self._number, self._asked = event.number, 0
                return asked > 0
        if not asked or not (event.number or event.type == MESSAGE):
            return False
        self._asked = 0
        if event.number != asked + 1:
            return True
        self.lost_since, self.is_whole = None, True
        return False
