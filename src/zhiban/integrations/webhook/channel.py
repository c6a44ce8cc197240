"""One program as a channel: what we call it with, and what its answers mean."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from zhiban.integrations.standard_webhooks import parse_secret, signed_headers
from zhiban.integrations.webhook.kinds import LINK, PROGRAM, TEXT_CHARACTERS
from zhiban.integrations.webhook.reading import Address, ExternalId, incoming, parse_event
from zhiban.kit import rich_text
from zhiban.kit.breaker import LocalBreakers, Paused, Pauses
from zhiban.kit.clock import Clock
from zhiban.kit.http import AddressRefused, AnswerTooLarge, Http, HttpResponse, MaybeDone, NotJson, Unreachable, encoded
from zhiban.ports import (
    Breakers,
    ConnectionBroken,
    Incoming,
    InvalidWebhook,
    Kind,
    Limits,
    Media,
    MediaDownload,
    Outgoing,
    Refusal,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
)

JSON: Final = "application/json"
TIMEOUT: Final = 15.0
ANSWER_LIMIT: Final = 64 << 10
LONGEST_WAIT: Final = 3600.0
_PAUSES: Final = Pauses(first=1.0, longest=60.0, threshold=5, probe=TIMEOUT + 5)

_DATA = re.compile(r"data:([A-Za-z0-9.+/-]{1,100});base64,", re.ASCII)
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9.+/-]{1,100}", re.ASCII)


class WebhookConfig(BaseModel):
    """One program on the other side."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    source: ExternalId = Field(description="What the program is called; its contacts' ids are its own")
    url: Address = Field(description="Where we send what leaves")
    secret: SecretStr = Field(description="Signs both directions")
    allow_private: bool = Field(default=False, description="Whether url and files may lie in a private network")
    previous_secret: SecretStr = SecretStr("")
    previous_until: datetime | None = None

    def keys(self, now: datetime) -> list[bytes]:
        """The current key first, then the former one while it is accepted. Raises Misconfigured."""
        keys = [parse_secret(self.secret.get_secret_value())]
        if self.previous_secret.get_secret_value() and self.previous_until and now < self.previous_until:
            keys.append(parse_secret(self.previous_secret.get_secret_value()))
        return keys


class WebhookChannel:
    """Channel, FetchesMedia, UploadsMedia and RecallsMessages for one program."""

    kind: ClassVar[str] = PROGRAM.kind
    limits: ClassVar[Limits] = PROGRAM.limits

    def __init__(self, http: Http, config: WebhookConfig, clock: Clock, *, breakers: Breakers | None = None) -> None:
        self._http = http
        self._config = config
        self._clock = clock
        self._breakers: Breakers = breakers if breakers is not None else LocalBreakers()

    def read(self, body: str) -> Sequence[Incoming]:
        """What `authenticate` stored. What an older version stored and this one does not know is noted."""
        now = self._clock.now()
        try:
            stored = json.loads(body)
            return incoming(parse_event(json.dumps(stored["event"]).encode()), event_id=str(stored["id"]), now=now)
        except (InvalidWebhook, ValueError, TypeError, KeyError, RecursionError):
            return [UnknownVendorEvent("unreadable", now)]

    async def send(self, message: Outgoing) -> str:
        """Call the program. Our key is the call's id, so that repeating one whose answer was lost is harmless.

        Raises SendRefused, TryLater or ConnectionBroken.
        """
        self._check(message)
        said: dict[str, Any] = {"id": message.key, "kind": message.kind.value, "text": message.text}
        if message.link is not None:
            # A text all the same: whoever knows nothing of cards shows its words.
            card = message.link
            said |= {
                "kind": Kind.TEXT.value,
                "link": {"title": card.title, "description": card.description, "url": card.url},
            }
        if message.kind is Kind.MARKDOWN:
            # A program that shows no marks goes on with the words.
            said |= {"kind": Kind.TEXT.value, "text": rich_text.plain(message.text), "markdown": message.text}
        if message.choices:
            said["choices"] = [{"id": choice.id, "label": choice.label} for choice in message.choices]
        if message.footer:
            said["footer"] = message.footer
        if message.media is not None:
            said["files"] = [_file(message.media)]
        if message.reply_to:
            said["reply_to"] = message.reply_to
        if message.mentions:
            said["mentions"] = [{"id": one.external_id, "name": one.name} for one in message.mentions]
        await self._call(message.key, {"type": "reply", "thread": message.thread, "message": said})
        return message.key

    async def recall(self, external_id: str, *, thread: str) -> None:
        """Ask the program to take a message of ours back. Raises as `send`."""
        await self._call(
            f"recall-{external_id}", {"type": "reply_recalled", "thread": thread, "message_id": external_id}
        )

    async def ping(self) -> None:
        """A call that means nothing. Raises as `send`."""
        await self._call(f"ping-{secrets.token_hex(8)}", {"type": "ping"})

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        """A file that travels inside the message. Raises SendRefused(BAD_MESSAGE) when it is too large for that."""
        limit = self.limits.media.get(kind)
        if limit is None or not limit.takes(content_type, len(data)):
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A {kind.value} of {len(data)} bytes cannot be sent here.")
        safe = content_type if _CONTENT_TYPE.fullmatch(content_type) else "application/octet-stream"
        return Media(f"data:{safe};base64,{base64.b64encode(data).decode()}", kind, filename, safe)

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file of a message. Its pieces raise SendRefused(BAD_MESSAGE) when it is larger or may not be fetched,
        and TryLater."""
        return MediaDownload(self._pieces(media, limit=limit), media.filename, media.content_type)

    async def _pieces(self, media: Media, *, limit: int) -> AsyncIterator[bytes]:
        data = inline(media)
        if data is None:
            data = await self._download(media.reference, limit=limit)
        if len(data) > limit:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.")
        yield data

    async def _download(self, url: str, *, limit: int) -> bytes:
        try:
            answer = await self._http.fetch_public(url, limit=limit, allow_private=self._config.allow_private)
        except AnswerTooLarge:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.") from None
        except AddressRefused as error:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=error.sentence) from None
        except (MaybeDone, Unreachable) as error:
            raise TryLater(str(error), after=5.0) from None
        if answer.status >= 500 or answer.status == 429:
            raise TryLater(f"The file's address answered {answer.status}.", after=_pause(answer))
        if answer.status != 200:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file's address answered {answer.status}.")
        return answer.body

    def _check(self, message: Outgoing) -> None:
        if len(message.text) > TEXT_CHARACTERS:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A text has at most {TEXT_CHARACTERS} characters.")
        if not (message.text.strip() or message.media or message.choices):
            raise SendRefused(Refusal.BAD_MESSAGE, hint="An empty message cannot be sent.")
        if message.link is not None and LINK.fitting(message.link) != message.link:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="A link has a title, a web address, and not too many words.")

    async def _call(self, id_: str, payload: Mapping[str, Any]) -> None:
        """Call the program, unless it has just been out of reach for everybody or asked us to wait."""
        try:
            await self._breakers.admit("call", _PAUSES)
        except Paused as paused:
            raise TryLater(paused.sentence, after=paused.after) from None
        try:
            await self._post(id_, payload)
        except TryLater as error:
            asked = error.after if error.code == 429 else None
            error.after = max(
                error.after, await self._breakers.failed("call", _PAUSES, asked=asked, reason=error.sentence)
            )
            raise
        except (SendRefused, ConnectionBroken):
            await self._breakers.succeeded("call")  # it is there, and answers
            raise
        except BaseException:
            await self._breakers.abandoned("call")
            raise
        await self._breakers.succeeded("call")

    async def _post(self, id_: str, payload: Mapping[str, Any]) -> None:
        now = self._clock.now()
        body = encoded({**payload, "at": now.isoformat()})
        (key, *_) = self._config.keys(now)
        headers = {"Content-Type": JSON, **signed_headers(key, id_=id_, at=now, body=body)}
        try:
            answer = await self._http.post_public(
                self._config.url,
                data=body,
                headers=headers,
                timeout=TIMEOUT,
                limit=ANSWER_LIMIT,
                allow_private=self._config.allow_private,
            )
        except AddressRefused as error:
            raise ConnectionBroken(
                "The address lies in a private network", code=0, hint="Set allow_private if that is meant."
            ) from error
        except (MaybeDone, AnswerTooLarge) as error:
            raise TryLater(str(error), after=1.0, unknown=True) from None
        except Unreachable as error:
            raise TryLater(str(error), after=2.0) from None
        _heed(answer)


def inline(media: Media) -> bytes | None:
    """The file inside a reference, or None when the reference is an address."""
    found = _DATA.match(media.reference)
    if found is None:
        return None
    try:
        return base64.b64decode(media.reference[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise SendRefused(Refusal.BAD_MESSAGE, hint="The file is damaged.") from None


def _file(media: Media) -> dict[str, Any]:
    described = {"kind": media.kind.value, "name": media.filename or "", "content_type": media.content_type or ""}
    found = _DATA.match(media.reference)
    if found is not None:
        return {**described, "data": media.reference[found.end() :], "content_type": found[1]}
    return {**described, "url": media.reference}


def _heed(answer: HttpResponse) -> None:
    """What the program's answer means. Raises SendRefused, TryLater or ConnectionBroken."""
    status = answer.status
    if 200 <= status < 300 or status == 409:  # 409: it has the message already
        return
    if status in (408, 425, 429) or status >= 500:
        raise TryLater(f"The program answered {status}.", after=_pause(answer), unknown=status >= 500, code=status)
    if status in (400, 410, 413, 415, 422, 403) and (refusal := _refusal(answer)) is not None:
        raise SendRefused(refusal, code=status, hint=f"The program answered {status}.")
    hints = {
        401: "It does not accept our signature: compare the signing secrets.",
        403: "It does not accept our signature: compare the signing secrets.",
        404: "There is nothing at the address.",
        405: "It takes no POST at the address.",
    }
    hint = hints.get(status, "Redirects are not followed." if 300 <= status < 400 else "")
    raise ConnectionBroken("The program refuses our calls", code=status, hint=hint)


def _refusal(answer: HttpResponse) -> Refusal | None:
    """The reason in `{"error": "…"}`, if it is one of ours; what is bad without a reason is the message."""
    try:
        found = answer.json()
    except NotJson:
        found = None
    named = found.get("error") if isinstance(found, dict) else None
    if named in list(Refusal):
        return Refusal(named)
    return None if answer.status == 403 else Refusal.BAD_MESSAGE


def _pause(answer: HttpResponse) -> float:
    """Retry-After in seconds, within an hour; two seconds when it says nothing."""
    stated = answer.headers.get("Retry-After", "")
    return min(max(float(stated), 1.0), LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,6}", stated, re.ASCII) else 2.0
