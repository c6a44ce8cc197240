"""What arrives at a webhook address, and what is answered there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass


@frozen_dataclass
class Webhook:
    """One HTTP call at a webhook address, as it arrived.

    `query` and `headers` hold every value of a repeated name; names of headers are in lower case.
    """

    method: Literal["GET", "POST"]
    query: Mapping[str, Sequence[str]]
    body: bytes
    received_at: datetime
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)


@frozen_dataclass
class Challenge:
    """A verification call; `body` must be answered as text/plain, byte for byte."""

    body: str


@frozen_dataclass
class VerifiedWebhook:
    """A genuine webhook. `digest` names it (32 bytes), so that a repeat is recognised, on whatever connection.

    `account` is the vendor's id of the account it concerns; None means the connection's own.
    `token` is what the vendor wants back when we fetch. `pulls` tells that the content must be fetched (Polls).
    `body` is the plaintext as stored in the delivery row; `Channel.read` understands it.
    """

    digest: bytes
    body: str
    account: str | None = None
    token: str | None = None
    pulls: bool = False
    parsable: bool = True  # False: genuine, but not understood; stored and counted, never retried
    answer: Acknowledgement | None = None  # what it is answered once it is stored, where that depends on what it says


@frozen_dataclass
class ReplyPoll:
    """The vendor asks for what we say in a slot that an earlier message opened (`ReplySlot.key`).

    `answer` makes the HTTP answer of our words; None: there are none yet.
    """

    key: str
    answer: Callable[[str | None], Acknowledgement]


class InvalidWebhook(ZhibanError):
    """The webhook is not from the vendor, or is damaged. Outside it looks the same in every case.

    `status` is the HTTP status of the answer: 400 for what is not even a webhook, 422 for a genuine one that a vendor
    of our own protocol should mend and repeat, otherwise 403.
    """

    def __init__(self, reason: str, *, status: Literal[400, 403, 422] = 403) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class WebhookOutcome(StrEnum):
    """What became of a webhook."""

    STORED = "stored"  # also when it had been stored before
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"  # not stored; the vendor should repeat it


@frozen_dataclass
class Acknowledgement:
    """The HTTP answer that a vendor wants to see."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def sole(values: Mapping[str, Sequence[str]], name: str) -> str:
    """A parameter or header that must be there exactly once: repeated ones would let two readers see two calls.

    Raises InvalidWebhook.
    """
    found = values.get(name, ())
    if len(found) != 1:
        raise InvalidWebhook(f"{name} is missing or repeated")
    return found[0]
