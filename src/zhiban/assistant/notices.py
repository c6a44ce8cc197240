"""A word to our own people: where it goes, and what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zhiban.kit.errors import Misconfigured
from zhiban.kit.text import cut_bytes
from zhiban.ports import Notice

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,30}")
_NAME_SIZE, _QUESTION_SIZE = 90, 900


def parse_address(address: str) -> tuple[str, str]:
    """("telegram", "8518085684") of telegram:8518085684, and ("mailto", "//user@host") of mailto://user@host.

    Raises Misconfigured, never repeating the address, because addresses hold keys.
    """
    scheme, mark, rest = address.strip().partition(":")
    if not mark or not _SCHEME.fullmatch(scheme) or not rest.strip("/ ") or any(char.isspace() for char in rest):
        raise Misconfigured(
            "A notification address is written as telegram:<chat id>, wecom-robot:<key> or an Apprise address "
            "such as mailto://user:password@example.com."
        )
    return scheme.lower(), rest


def parse_addresses(channel: str) -> list[tuple[str, str]]:
    """Every address of NOTIFICATION_CHANNEL, which are separated by spaces. Raises Misconfigured."""
    return [parse_address(address) for address in channel.split()]


def handoff_notice(
    *, key: str, contact_name: str, question: str, reason: str, waiting_since: str, url: str | None, inbox: str = ""
) -> Notice:
    """The notice that somebody waits. `waiting_since` and `reason` are written for people."""
    name = _line(contact_name, _NAME_SIZE) or "客户"
    lines: Sequence[tuple[str, str]] = (
        ("客户", name),
        ("渠道", _line(inbox, _NAME_SIZE)),
        ("问题", _line(question, _QUESTION_SIZE)),
        ("原因", reason),
        ("时间", waiting_since),
    )
    text = "\n".join(f"{label}：{value}" for label, value in lines if value)
    return Notice(key=key, title=f"{name} 需要人工处理", text=text, url=url)


def _line(text: str, size: int) -> str:
    """One line without control characters: what a contact wrote must not look like lines of ours."""
    return cut_bytes(" ".join("".join(char if char.isprintable() else " " for char in text).split()), size)
