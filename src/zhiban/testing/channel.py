"""A channel in memory: the twin of every real one, held to the same contract (tests/ports).

For tests of what lies above the ports, and for whoever writes a new channel and wants to see the least that one does.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from zhiban.kit.clock import Clock, SystemClock
from zhiban.ports import (
    Acknowledgement,
    Challenge,
    Channel,
    CheckResult,
    ConnectionBroken,
    Incoming,
    IncomingMessage,
    InvalidWebhook,
    Kind,
    Limits,
    LinkLimit,
    Media,
    MediaDownload,
    MediaLimit,
    Outgoing,
    Refusal,
    SenderRole,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
    VendorAccount,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)
from zhiban.ports.webhooks import sole

KEY = b"a key for tests only"
FILE_BYTES = 1000
LINK = LinkLimit(title=128, description=512, url=2048)
SIGNATURE = "x-signature"

ChannelFault = SendRefused | TryLater | ConnectionBroken


@dataclass
class MemoryPlace:
    """Where the contacts of the twin are: what reached them, and the mishaps that are planned, oldest first.

    A mishap is an error to raise, and whether the message arrives all the same.
    """

    arrived: list[Outgoing] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    faults: list[tuple[ChannelFault, bool]] = field(default_factory=list)


class MemoryChannel:
    """Channel, FetchesMedia, UploadsMedia and RecallsMessages."""

    kind: ClassVar[str] = "memory"
    limits: ClassVar[Limits] = Limits(
        text=100,
        quotes=True,
        link=LINK,
        media={Kind.FILE: MediaLimit(FILE_BYTES), Kind.IMAGE: MediaLimit(FILE_BYTES, frozenset({"image/png"}))},
        media_hours=72.0,
    )

    def __init__(self, place: MemoryPlace, *, clock: Clock | None = None) -> None:
        self._place = place
        self._clock: Clock = clock or SystemClock()
        self._files: dict[str, bytes] = {}
        self._numbers = itertools.count(1)

    def expire_files(self) -> None:
        """Forget what was handed over, as vendors do after some days."""
        self._files.clear()

    def read(self, body: str) -> Sequence[Incoming]:
        now = self._clock.now()
        try:
            said = json.loads(body)
            return [_message(said, now=now)]
        except (ValueError, TypeError, KeyError, RecursionError):
            return [UnknownVendorEvent("unreadable", now)]

    async def send(self, message: Outgoing) -> str:
        if len(message.text) > self.limits.text or not (message.text.strip() or message.media or message.choices):
            raise SendRefused(Refusal.BAD_MESSAGE)
        if message.link is not None and LINK.fitting(message.link) != message.link:
            raise SendRefused(Refusal.BAD_MESSAGE)
        if message.media is not None and message.media.reference not in self._files:
            raise SendRefused(Refusal.BAD_MESSAGE)
        fault, arrives = self._place.faults.pop(0) if self._place.faults else (None, True)
        if arrives and message.key not in {one.key for one in self._place.arrived}:
            self._place.arrived.append(message)
        if fault is not None:
            raise fault
        return message.key

    async def recall(self, external_id: str, *, thread: str) -> None:
        if not any((one.key, one.thread) == (external_id, thread) for one in self._place.arrived):
            raise SendRefused(Refusal.BAD_MESSAGE)
        self._place.recalled.append(external_id)

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        limit = self.limits.media.get(kind)
        if limit is None or not limit.takes(content_type, len(data)):
            raise SendRefused(Refusal.BAD_MESSAGE)
        reference = f"file-{next(self._numbers)}"
        self._files[reference] = data
        return Media(reference, kind, filename, content_type)

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        return MediaDownload(self._pieces(media, limit), media.filename, media.content_type)

    async def _pieces(self, media: Media, limit: int) -> AsyncIterator[bytes]:
        data = self._files.get(media.reference)
        if data is None or len(data) > limit:
            raise SendRefused(Refusal.BAD_MESSAGE)
        yield data


class MemoryVendor:
    """A vendor of one account."""

    def __init__(self, place: MemoryPlace, *, clock: Clock | None = None) -> None:
        self._place = place
        self._channel = MemoryChannel(place, clock=clock)

    def namespace(self, kind: str) -> tuple[str, str]:
        return kind, "memory"

    def authenticate(self, webhook: Webhook) -> VerifiedWebhook | Challenge:
        if not hmac.compare_digest(sole(webhook.headers, SIGNATURE), signature(webhook.body)):
            raise InvalidWebhook("signature")
        try:
            return VerifiedWebhook(hashlib.sha256(webhook.body).digest(), webhook.body.decode())
        except UnicodeDecodeError:
            raise InvalidWebhook("not UTF-8", status=400) from None

    def acknowledge(self, outcome: WebhookOutcome, *, status: int, reason: str = "") -> Acknowledgement:  # noqa: ARG002
        return Acknowledgement(status)

    def account(self, named: str | None) -> VendorAccount:
        return VendorAccount(MemoryChannel.kind, named or "memory", named or "memory")

    def channel(self, kind: str, external_id: str) -> Channel:  # noqa: ARG002
        return self._channel

    async def accounts(self) -> Sequence[VendorAccount]:
        return (self.account(None),)

    async def checks(self) -> AsyncIterator[CheckResult]:
        fault = self._place.faults[0][0] if self._place.faults else None
        yield CheckResult("memory", "fail" if fault else "ok", problem=fault.sentence if fault else "")


def signature(body: bytes) -> str:
    return hmac.new(KEY, body, "sha256").hexdigest()


def webhook(said: dict[str, Any], *, now: datetime) -> Webhook:
    """The call that a contact's message makes."""
    body = json.dumps(said, ensure_ascii=False).encode()
    return Webhook("POST", {}, body, now, {SIGNATURE: [signature(body)]})


def _message(said: dict[str, Any], *, now: datetime) -> IncomingMessage:
    at = min(datetime.fromtimestamp(float(said["at"]), UTC), now) if "at" in said else now
    contact = str(said["contact"])
    reply_to = said.get("reply_to")
    return IncomingMessage(
        str(said["id"]), contact, contact, SenderRole.CONTACT, Kind.TEXT, str(said["text"]), at, reply_to=reply_to
    )
