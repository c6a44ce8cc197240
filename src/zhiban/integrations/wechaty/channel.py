"""The account behind a gateway as a channel: what we send to groups and people, and their files."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, Final

from zhiban.integrations.wechaty import file_box
from zhiban.integrations.wechaty.client import FILE_SECONDS, GatewayClient
from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.contents import with_mentions
from zhiban.integrations.wechaty.directory import OwnAccount
from zhiban.integrations.wechaty.kinds import LINK, TEXT_CHARACTERS, WECHAT_GROUP
from zhiban.kit.clock import Clock
from zhiban.kit.http import AddressRefused, AnswerTooLarge, Http, MaybeDone, Unreachable
from zhiban.kit.text import clean
from zhiban.ports import (
    ConnectionBroken,
    Incoming,
    Kind,
    Limits,
    LinkCard,
    Media,
    MediaDownload,
    Outgoing,
    Refusal,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
)

MOST_CARDLESS: Final = 1_000  # conversations that are remembered
SEND_SECONDS: Final = 60.0  # gateways let messages wait a little, so that the account does not look like a machine
REMEMBERED: Final = 10_000
_LARGEST_PICTURE: Final = 2  # MessageImage's type for the picture in full size
_DATA = re.compile(r"data:;base64,")


class Sent:
    """What this process sent, by our keys: WeChat knows no key that would make sending twice harmless.

    A message whose answer was lost is not sent again: in a group, saying nothing twice matters more.
    """

    def __init__(self) -> None:
        self._ids: OrderedDict[str, str] = OrderedDict()

    def get(self, key: str) -> str | None:
        """The gateway's id; empty where it gave none."""
        return self._ids.get(key)

    def note(self, key: str, id_: str) -> None:
        self._ids[key] = id_
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)


class WechatyChannel:
    """Channel, FetchesMedia, UploadsMedia, RecallsMessages and RepliesToEvents for one gateway."""

    kind: ClassVar[str] = WECHAT_GROUP.kind
    limits: ClassVar[Limits] = WECHAT_GROUP.limits

    def __init__(
        self, client: GatewayClient, http: Http, config: WechatyConfig, clock: Clock, account: OwnAccount
    ) -> None:
        self._client = client
        self._account = account
        self._http = http
        self._config = config
        self._clock = clock
        self._sent = Sent()
        self._cardless: set[str] = set()  # where one failed, and may stand nevertheless: words go there from then on

    def read(self, body: str) -> Sequence[Incoming]:  # noqa: ARG002 - nothing is ever delivered by calling us
        return [UnknownVendorEvent("unreadable", self._clock.now())]

    async def send(self, message: Outgoing) -> str:
        """Returns the gateway's id, or our key where it gives none. Raises SendRefused, TryLater, ConnectionBroken."""
        known = self._sent.get(message.key)
        if known is not None:
            return known or message.key
        self._may_act()
        try:
            answer = await self._carried(message)
        except TryLater as error:
            if error.unknown:
                self._sent.note(message.key, "")
            raise
        except SendRefused as error:
            if error.refusal is Refusal.UNKNOWN and await self._is_out_of(message.thread):
                raise SendRefused(Refusal.NOT_IN_GROUP, code=error.code, hint="The account is not there.") from None
            self._note_cardless(message, error)
            raise
        self._sent.note(message.key, answer.id)
        return answer.id or message.key

    async def reply_to_event(self, code: str, message: Outgoing) -> str:  # noqa: ARG002 - new friends can just be told
        """The welcome of a new friend. Raises as `send`."""
        return await self.send(message)

    async def recall(self, external_id: str, *, thread: str) -> None:  # noqa: ARG002 - the id says which
        """Take a message back, which WeChat allows for two minutes. Raises SendRefused, TryLater, ConnectionBroken."""
        self._may_act()
        id_ = self._sent.get(external_id)
        if id_ is None:
            id_ = external_id
        answer = await self._client.call("MessageRecall", id=id_) if id_ else None
        if answer is None or not answer.success:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The gateway cannot take this message back.")

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        """A file that travels in the message, or a large one handed over now. Raises as UploadsMedia says."""
        limit = self.limits.media.get(kind)
        if limit is None or not limit.takes(content_type, len(data)):
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A {kind.value} of {len(data)} bytes cannot be sent here.")
        self._may_act()
        if len(data) <= file_box.INLINE_BYTES:
            reference = f"data:;base64,{base64.b64encode(data).decode()}"
        else:
            reference = f"uuid:{await self._client.upload(data)}"
        return Media(reference, kind, _named(filename, content_type), content_type)

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file of a message. Its pieces raise SendRefused(BAD_MESSAGE), TryLater or ConnectionBroken."""

        def name(told: str) -> None:
            found.filename = found.filename or clean(told)[:200] or None

        found = MediaDownload(self._pieces(media, name, limit=limit), media.filename, media.content_type)
        return found

    # ---------------------------------------------------------------------------------------------------- sending

    def _may_act(self) -> None:
        if self._config.read_only:
            raise SendRefused(Refusal.READ_ONLY, hint="The gateway is connected for reading only.")

    async def _carried(self, message: Outgoing) -> Any:
        if message.media is not None:
            return await self._send_file(message)
        return await (self._send_text(message) if message.link is None else self._send_link(message, message.link))

    async def _send_link(self, message: Outgoing, link: LinkCard) -> Any:
        """A card. Gateways that cannot show one refuse it: the account's protocol has none, or nobody wrote it yet."""
        if LINK.fitting(link) != link:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="A link has a title, a web address, and not too many words.")
        if message.thread in self._cardless:
            raise SendRefused(Refusal.KIND_FORBIDDEN, hint="A card failed here, and nobody knows why.")
        return await self._client.call(
            "MessageSendUrl",
            timeout=SEND_SECONDS,
            conversation_id=message.thread,
            url_link={"title": clean(link.title), "description": clean(link.description), "url": link.url},
        )

    def _note_cardless(self, message: Outgoing, error: SendRefused) -> None:
        if message.link is not None and error.refusal is Refusal.UNKNOWN and len(self._cardless) < MOST_CARDLESS:
            self._cardless.add(message.thread)

    async def _is_out_of(self, thread: str) -> bool:
        """Whether the gateway lists who is in this group, and not us: why it refuses is said in words of its own."""
        try:
            members = (await self._client.call("RoomMemberList", id=thread)).member_ids
        except (SendRefused, TryLater, ConnectionBroken):
            return False
        return bool(self._account.id and members) and self._account.id not in members

    async def _send_text(self, message: Outgoing) -> Any:
        text = clean(with_mentions(_words(message), message.mentions))
        if not text.strip() or len(message.text) > TEXT_CHARACTERS:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A text has 1 to {TEXT_CHARACTERS} characters.")
        return await self._client.call(
            "MessageSendText",
            timeout=SEND_SECONDS,
            conversation_id=message.thread,
            text=text,
            mentional_ids=[one.external_id for one in message.mentions],
        )

    async def _send_file(self, message: Outgoing) -> Any:
        media = message.media
        assert media is not None
        name = media.filename or "file"
        if media.reference.startswith("uuid:"):
            box = file_box.uploaded(media.reference.removeprefix("uuid:"), name)
        else:
            box = file_box.inline(_inline(media), name)
        return await self._client.call(
            "MessageSendFile", timeout=FILE_SECONDS, conversation_id=message.thread, file_box=box
        )

    # --------------------------------------------------------------------------------------------------- fetching

    async def _pieces(self, media: Media, name: Callable[[str], None], *, limit: int) -> AsyncIterator[bytes]:
        seen = 0
        async for piece in self._content(media, name, limit=limit):
            seen += len(piece)
            if seen > limit:
                raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.")
            yield piece

    async def _content(self, media: Media, name: Callable[[str], None], *, limit: int) -> AsyncIterator[bytes]:
        how, _, id_ = media.reference.partition(":")
        if how == "data":
            yield _inline(media)
        elif how == "uuid":
            async for piece in self._client.download(id_):
                yield piece
        elif how in ("file", "image"):
            box = await self._box(id_, picture=how == "image")
            if box.size > limit:
                raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.")
            name(box.name)
            match box.where:
                case "inline":
                    yield box.content
                case "uuid":
                    async for piece in self._client.download(box.reference):
                        yield piece
                case "url":
                    yield await self._from_outside(box.reference, limit=limit)
        else:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The file cannot be fetched.")

    async def _box(self, message_id: str, *, picture: bool) -> file_box.FileBox:
        try:
            answer = await self._client.call("MessageFile", timeout=FILE_SECONDS, id=message_id)
        except SendRefused:
            # Some gateways give pictures by this call only.
            if not picture:
                raise
            answer = await self._client.call("MessageImage", timeout=FILE_SECONDS, id=message_id, type=_LARGEST_PICTURE)
        box = file_box.parse(answer.file_box)
        if box is None:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The gateway gave no file.")
        return box

    async def _from_outside(self, url: str, *, limit: int) -> bytes:
        """A file at an address that somebody in a group may have chosen: public addresses only."""
        try:
            answer = await self._http.fetch_public(url, limit=limit)
        except AnswerTooLarge:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.") from None
        except AddressRefused as error:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=error.sentence) from None
        except (MaybeDone, Unreachable) as error:
            raise TryLater(str(error), after=5.0) from None
        if answer.status >= 500 or answer.status == 429:
            raise TryLater(f"The file's address answered {answer.status}.", after=5.0)
        if answer.status != 200:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file's address answered {answer.status}.")
        return answer.body


def _words(message: Outgoing) -> str:
    """The text; a menu as lines with numbers, because nothing can be tapped here."""
    lines = [message.text, *(f"{number}. {each.label}" for number, each in enumerate(message.choices, 1))]
    return "\n".join(line for line in (*lines, message.footer) if line)


def _inline(media: Media) -> bytes:
    found = _DATA.match(media.reference)
    try:
        if found is not None:
            return base64.b64decode(media.reference[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        pass
    raise SendRefused(Refusal.BAD_MESSAGE, hint="The file is damaged.")


def _named(filename: str, content_type: str) -> str:
    """The name with an ending: gateways tell pictures from files by it."""
    name = clean(filename).strip() or "file"
    return name if re.search(r"\.[A-Za-z0-9]{1,8}\Z", name) else name + (mimetypes.guess_extension(content_type) or "")
