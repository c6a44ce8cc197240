"""What arrives at a callback door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from zhiban.kit.errors import ZhibanError


@dataclass(frozen=True, slots=True)
class Webhook:
    """One HTTP call at a callback door, as it arrived. `query` holds every value of a repeated parameter."""

    method: Literal["GET", "POST"]
    query: Mapping[str, Sequence[str]]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Challenge:
    """A verification call; `body` must be answered as text/plain, byte for byte."""

    body: str


@dataclass(frozen=True, slots=True)
class VerifiedWebhook:
    """A genuine webhook. `digest` names its plaintext (sha256), so that a repeat is recognised.

    `account` is the vendor's id of the place that rang (WeCom: open_kfid); None means the connection's own app.
    `token` is what the vendor wants back when we fetch. `pulls` tells that the content must be fetched (Polls).
    `body` is the plaintext as stored in the delivery row; `Channel.read` understands it.
    """

    digest: bytes
    body: str
    account: str | None = None
    token: str | None = None
    pulls: bool = False
    parsable: bool = True  # False: genuine, but not understood; stored and counted, never retried


class InvalidWebhook(ZhibanError):
    """The webhook is not from the vendor, or is damaged. Outside it looks the same in every case.

    `status` is the HTTP status that the door answers: 400 for what is not even a webhook, otherwise 403.
    """

    def __init__(self, reason: str, *, status: Literal[400, 403] = 403) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
