"""What can happen to a gateway that is listened to, and to the account behind it. Part of `events`."""

from __future__ import annotations

from datetime import datetime

from zhiban.event_base import Event


class GatewayChanged(Event):
    """The account came online or went, or wants to be scanned; `account` is the vendor's id of who is logged in."""

    connection_id: int
    state: str
    previous: str = ""
    account: str = ""
    previous_account: str = ""
    why: str = ""


class GatewayGapNoted(Event):
    """Nobody listened between these moments (ISO 8601), and the gateway keeps nothing: messages may be missing."""

    connection_id: int
    since: str
    until: str


def spoken(at: datetime) -> str:
    """A moment as the facts keep it."""
    return at.isoformat(timespec="seconds")
