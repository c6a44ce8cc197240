"""Where people write, what they wrote, what became of it, and the log of everything that happened."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Whose turn it is: the assistant's, a person's, nobody's for a while, or over."""

    PENDING = "pending"
    OPEN = "open"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class Author(StrEnum):
    CONTACT = "contact"
    ASSISTANT = "assistant"
    AGENT = "agent"
    SERVICER = "servicer"  # a person of ours who wrote in the vendor's own client
    SYSTEM = "system"
