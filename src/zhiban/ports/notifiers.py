"""Reaching people of our own."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,30}")


@frozen_dataclass
class Notice:
    """A word to our own people. `text` is plain, `url` opens the thing in the desk. `key` makes repeats harmless."""

    key: str
    title: str
    text: str
    url: str | None = None


class Notifier(Protocol):
    """A way to people of ours. An address is one of those that `parse_address` understands, with this way's scheme."""

    async def notify(self, address: str, notice: Notice) -> None:
        """Deliver one notice. Raises TryLater (may be repeated) or ConnectionBroken (wrong address or key)."""
        ...


def parse_address(address: str) -> tuple[str, str]:
    """("telegram", "8518085684") of telegram:8518085684, and ("mailto", "//user@host") of mailto://user@host.

    Raises Misconfigured, never repeating the address, because addresses hold keys.
    """
    scheme, mark, rest = address.strip().partition(":")
    if not mark or not _SCHEME.fullmatch(scheme) or not rest.strip("/ ") or any(char.isspace() for char in rest):
        raise Misconfigured(
            "A notification address is written as telegram:<chat id>, as <kind>-robot:<key>, or as an Apprise address "
            "such as mailto://user:password@example.com."
        )
    return scheme.lower(), rest


def public_name(address: str) -> str:
    """mailto:#1f0c2a9e for an address of that kind: tells it from others, and does not hold its key."""
    kind = address.partition(":")[0].strip().lower()
    return f"{kind if _SCHEME.fullmatch(kind) else ''}:#{hashlib.sha256(address.strip().encode()).hexdigest()[:8]}"


def parse_addresses(channel: str) -> list[tuple[str, str]]:
    """Every address of NOTIFICATION_CHANNEL, which are separated by spaces. Raises Misconfigured."""
    return [parse_address(address) for address in channel.split()]
