"""Reaching people of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Notice:
    """A word to our own people. `text` is plain, `url` opens the thing in the desk. `key` makes repeats harmless."""

    key: str
    title: str
    text: str
    url: str | None = None


class Notifier(Protocol):
    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice. Raises TryLater (may be repeated) or ConnectionBroken (wrong address or key)."""
        ...
