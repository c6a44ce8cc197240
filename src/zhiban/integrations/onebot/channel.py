"""The account behind a OneBot program as a channel: what we send to groups and people, and their files."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from zhiban.integrations.onebot import events
from zhiban.integrations.onebot.asking import Asking
from zhiban.integrations.onebot.client import OneBotClient
from zhiban.integrations.onebot.config import OneBotConfig
from zhiban.integrations.onebot.events import ANONYMOUS, GROUP, WELCOME
from zhiban.integrations.onebot.kinds import QQ_GROUP, TEXT_CHARACTERS
from zhiban.integrations.onebot.segments import MessageSegment, as_array, identifier, number
from zhiban.kit.clock import Clock
from zhiban.kit.http import AddressRefused, AnswerTooLarge, Http, MaybeDone, Unreachable
from zhiban.kit.text import clean
from zhiban.ports import (
    Incoming,
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

SEND_SECONDS: Final = 30.0
FILE_SECONDS: Final = 120.0
REMEMBERED: Final = 10_000
_BASE64: Final = "base64://"


class SentMessages:
    """What this process sent, by our keys. QQ knows no key that would make sending twice harmless."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, str] = OrderedDict()

    def get(self, key: str) -> str | None:
        """The id in its chat; empty where the program gave none."""
        return self._ids.get(key)

    def note(self, key: str, external_id: str) -> None:
        self._ids[key] = external_id
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)


class OneBotChannel:
    """Channel, ReadsByAsking, FetchesMedia, UploadsMedia, RecallsMessages and RepliesToEvents for one account."""

    kind: ClassVar[str] = QQ_GROUP.kind
    limits: ClassVar[Limits] = QQ_GROUP.limits

    def __init__(self, client: OneBotClient, http: Http, config: OneBotConfig, clock: Clock) -> None:
        self._client = client
        self._http = http
        self._config = config
        self._clock = clock
        self._sent = SentMessages()
        self._asking = Asking(client, config)

    def read(self, body: str) -> Sequence[Incoming]:
        """What a stored event says by itself."""
        now = self._clock.now()
        event = events.parse(body)
        return events.incoming(event, now=now) if event is not None else [UnknownVendorEvent("unreadable", now)]

    async def read_by_asking(self, body: str) -> Sequence[Incoming]:
        """As ReadsByAsking promises."""
        now = self._clock.now()
        event = events.parse(body)
        if event is None:
            return [UnknownVendorEvent("unreadable", now)]
        return await self._asking.complete(event, now=now)

    # ------------------------------------------------------------------------------------------------------- sending

    async def send(self, message: Outgoing) -> str:
        """Returns the id of the message, or our key where the program gives none.

        Raises SendRefused, TryLater or ConnectionBroken. One whose answer was lost is not sent again.
        """
        known = self._sent.get(message.key)
        if known is not None:
            return known or message.key
        self._may_act()
        try:
            id_ = await (self._send_file(message) if _is_file(message) else self._send_message(message))
        except TryLater as error:
            if error.unknown:
                self._sent.note(message.key, "")
            raise
        external_id = events.message_id(message.thread, id_) if id_ else ""
        self._sent.note(message.key, external_id)
        return external_id or message.key

    async def reply_to_event(self, code: str, message: Outgoing) -> str:
        """The welcome of a new friend. Raises as `send`."""
        if not code.startswith(WELCOME):
            raise SendRefused(Refusal.CODE_EXPIRED)
        return await self.send(message)

    async def recall(self, external_id: str, *, thread: str) -> None:
        """Take a message back, which QQ allows for two minutes. Raises SendRefused, TryLater, ConnectionBroken."""
        self._may_act()
        known = self._sent.get(external_id)
        id_ = (external_id if known is None else known).removeprefix(f"{thread}:")
        if not re.fullmatch(r"-?[0-9A-Za-z_-]{1,64}", id_) or id_ == external_id:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The program gave no id for this message.")
        await self._client.call("delete_msg", message_id=number(id_))

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        """A file that travels in the message. Raises as UploadsMedia says."""
        limit = self.limits.media.get(kind)
        if limit is None or not limit.takes(content_type, len(data)):
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A {kind.value} of {len(data)} bytes cannot be sent here.")
        self._may_act()
        reference = f"{_BASE64}{base64.b64encode(data).decode()}"
        return Media(reference, kind, _named(filename, content_type), content_type)

    def _may_act(self) -> None:
        if self._config.read_only:
            raise SendRefused(Refusal.READ_ONLY, hint="The connection is for reading only.")

    async def _send_message(self, message: Outgoing) -> str:
        parts = _segments(message)
        action, to = self._to(message.thread)
        answer = await self._client.call(
            action,
            key=message.key,
            timeout=FILE_SECONDS if message.media else SEND_SECONDS,
            **to,
            message=as_array(parts),
        )
        return identifier(answer.get("message_id")) if isinstance(answer, Mapping) else ""

    async def _send_file(self, message: Outgoing) -> str:
        """A file goes by a call of its own, which all programs have; it gives no id."""
        media = message.media
        assert media is not None
        _decoded(media.reference)
        action, to = self._to(message.thread)
        await self._client.call(
            action.replace("send_", "upload_").replace("_msg", "_file"),
            key=message.key,
            timeout=FILE_SECONDS,
            **to,
            file=media.reference,
            name=media.filename or "file",
        )
        return ""

    @staticmethod
    def _to(thread: str) -> tuple[str, dict[str, Any]]:
        if thread.startswith(ANONYMOUS):
            raise SendRefused(Refusal.UNKNOWN_CONTACT, hint="Somebody anonymous cannot be written to.")
        if thread.startswith(GROUP):
            return "send_group_msg", {"group_id": number(thread.removeprefix(GROUP))}
        return "send_private_msg", {"user_id": number(thread)}

    # ------------------------------------------------------------------------------------------------------ fetching

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file of a message. Its pieces raise SendRefused(BAD_MESSAGE), TryLater or ConnectionBroken."""

        def name(told: str) -> None:
            found.filename = found.filename or clean(told)[:200] or None

        found = MediaDownload(self._pieces(media, name, limit=limit), media.filename, media.content_type)
        return found

    async def _pieces(self, media: Media, name: Callable[[str], None], *, limit: int) -> AsyncIterator[bytes]:
        data = await self._content(media, name, limit=limit)
        if len(data) > limit:
            raise _too_large(limit)
        yield data

    async def _content(self, media: Media, name: Callable[[str], None], *, limit: int) -> bytes:
        if media.reference.startswith(_BASE64):
            return _decoded(media.reference)
        how, _, known = media.reference.partition(":")
        if how == "url":
            return await self._from_outside(known, limit=limit)
        told = await self._asked(how, known)
        if not isinstance(told, Mapping):
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The program gave no file.")
        name(str(told.get("file_name") or ""))
        content = told.get("base64")
        if isinstance(content, str) and content:
            if len(content) * 3 // 4 > limit + 2:
                raise _too_large(limit)
            return _decoded(_BASE64 + content)
        for address in (told.get("url"), told.get("file")):
            if isinstance(address, str) and address.startswith(("http://", "https://")):
                return await self._from_outside(address, limit=limit)
            if isinstance(address, str) and address.startswith(_BASE64):
                return _decoded(address)
        # A path on the program's own machine, where we are not.
        raise SendRefused(Refusal.BAD_MESSAGE, hint="The program gave no file.")

    async def _asked(self, how: str, known: str) -> Any:
        """What the program says of a file that came without an address."""
        match how:
            case "image":
                return await self._client.call("get_image", timeout=FILE_SECONDS, file=known)
            case "record":
                return await self._client.call("get_record", timeout=FILE_SECONDS, file=known, out_format="mp3")
            case _:
                return await self._client.call("get_file", timeout=FILE_SECONDS, file_id=known)

    async def _from_outside(self, url: str, *, limit: int) -> bytes:
        """A file at an address that anybody may have chosen: public addresses only."""
        try:
            answer = await self._http.fetch_public(url, limit=limit)
        except AnswerTooLarge:
            raise _too_large(limit) from None
        except AddressRefused as error:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=error.sentence) from None
        except (MaybeDone, Unreachable) as error:
            raise TryLater(str(error), after=5.0) from None
        if answer.status >= 500 or answer.status == 429:
            raise TryLater(f"The file's address answered {answer.status}.", after=5.0)
        if answer.status != 200:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file's address answered {answer.status}.")
        return answer.body


def _too_large(limit: int) -> SendRefused:
    return SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.")


def _is_file(message: Outgoing) -> bool:
    return message.media is not None and message.media.kind is Kind.FILE


def _segments(message: Outgoing) -> list[MessageSegment]:
    """What it answers, whom it names, what it says, what it shows: in this order QQ shows them."""
    text = clean(_words(message))
    media = message.media
    if (not text.strip() and media is None) or len(message.text) > TEXT_CHARACTERS:
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A text has 1 to {TEXT_CHARACTERS} characters.")
    parts: list[MessageSegment] = []
    prefix = f"{message.thread}:"
    answered = (message.reply_to or "").removeprefix(prefix)
    if answered and answered != message.reply_to:  # what has no id there, such as our files, cannot be named
        parts.append(MessageSegment("reply", {"id": answered}))
    for one in message.mentions if message.thread.startswith(GROUP) else ():
        if not one.external_id.startswith(ANONYMOUS):
            parts += [MessageSegment("at", {"qq": one.external_id}), MessageSegment("text", {"text": " "})]
    if text.strip():
        parts.append(MessageSegment("text", {"text": text}))
    if media is not None:
        _decoded(media.reference)
        parts.append(MessageSegment("video" if media.kind is Kind.VIDEO else "image", {"file": media.reference}))
    return parts


def _words(message: Outgoing) -> str:
    """The text; a menu as lines with numbers, because nothing can be tapped here."""
    lines = [message.text, *(f"{number_}. {each.label}" for number_, each in enumerate(message.choices, 1))]
    return "\n".join(line for line in (*lines, message.footer) if line)


def _decoded(reference: str) -> bytes:
    try:
        if reference.startswith(_BASE64):
            return base64.b64decode(reference.removeprefix(_BASE64), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise SendRefused(Refusal.BAD_MESSAGE, hint="The file is damaged.")


def _named(filename: str, content_type: str) -> str:
    """The name with an ending: QQ shows files by it."""
    name = clean(filename).strip() or "file"
    return name if re.search(r"\.[A-Za-z0-9]{1,8}\Z", name) else name + (mimetypes.guess_extension(content_type) or "")
