"""The self-built app as a channel: members of the corp write to it, and it sends them texts and cards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.config import WeComConfig
from zhiban.integrations.wecom.documents import read_document
from zhiban.integrations.wecom.kf import upload_media, wire_key
from zhiban.integrations.wecom.kinds import APP
from zhiban.integrations.wecom.values import text_of
from zhiban.kit.clock import Clock, SystemClock
from zhiban.kit.text import cut_bytes, size_of
from zhiban.ports import (
    Choice,
    Incoming,
    IncomingMessage,
    Kind,
    Limits,
    Media,
    MediaDownload,
    Notice,
    Outgoing,
    Refusal,
    SendRefused,
    UnknownVendorEvent,
)

TEXT_BYTES: Final = 2048
CARD_BUTTONS: Final = 6
CARD_FACTS: Final = 6
KEY_BYTES: Final = 1024
# WeCom suppresses identical requests within an interval. A card carries its task id, so only a true repeat is
# identical; a text may be said twice on purpose, so its interval covers no more than a retry.
_CARD_INTERVAL: Final = 4 * 3600
_TEXT_INTERVAL: Final = 30
_MEDIA_TYPES = {Kind.IMAGE: "image", Kind.VOICE: "voice", Kind.VIDEO: "video", Kind.FILE: "file"}
_NOT_TASK = re.compile(r"[^0-9A-Za-z_@-]")

CardBody = dict[str, Any]


class AppChannel:
    """Channel, ShowsCards, FetchesMedia, UploadsMedia and RecallsMessages for one app.

    A thread is a member's userid. Without an agent id events are read all the same; members' messages become an
    `UnknownVendorEvent`, since nobody could answer them.
    """

    kind: ClassVar[str] = APP.kind
    limits: ClassVar[Limits] = APP.limits

    def __init__(self, api: WeComApi, config: WeComConfig, *, clock: Clock | None = None) -> None:
        self._api = api
        self._agent_id = config.agent_id
        self._clock: Clock = clock or SystemClock()

    def read(self, body: str) -> Sequence[Incoming]:
        """Members' messages and every event of the app."""
        items = read_document(body, now=self._clock.now())
        return items if self._agent_id is not None else [_unanswerable(item) for item in items]

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file in pieces; see `WeComApi.download`."""
        return self._api.download(media.reference, limit=limit)

    async def send(self, message: Outgoing) -> str:
        """Send to one member. CARD takes a whole template card from `content`; MENU becomes a card with buttons.

        Raises SendRefused, TryLater or ConnectionBroken.
        """
        name, body = _body(message)
        return await self._send(message.thread, name, body)

    async def send_card(self, members: Sequence[str], card: CardBody) -> str:
        """Send a template card to up to 1000 members and return the msgid. Raises as `send`."""
        return await self._send("|".join(members), "template_card", card)

    async def send_handoff(self, members: Sequence[str], notice: Notice, *, button: Choice | None) -> None:
        """A card about a waiting contact; without a button one that opens the notice's address, or just words where it
        has none, as a card without either does not exist. Raises as `send`."""
        if button is None and notice.url is None:
            words = "\n".join(part for part in (notice.title, notice.text) if part)
            await self._send("|".join(members), "text", {"content": cut_bytes(words, TEXT_BYTES)})
            return
        if button is None:
            await self.send_card(members, _link_card(notice))
            return
        lines = [line.partition("：")[::2] for line in notice.text.splitlines()]
        card = handoff_card(
            task_id=notice.key,
            title=notice.title,
            facts=[(label, value) for label, value in lines if value],
            buttons=(button,),
            url=notice.url,
        )
        await self.send_card(members, card)

    async def close_card(self, code: str, label: str, *, member: str | None = None) -> None:
        """Replace the button of a tapped card by a word, for one member or for all; a spent code is no failure."""
        try:
            await self.update_card(code, replace_name=label, member=member)
        except SendRefused as error:
            if error.refusal is not Refusal.CODE_EXPIRED:
                raise

    async def update_card(
        self,
        response_code: str,
        *,
        replace_name: str | None = None,
        card: CardBody | None = None,
        member: str | None = None,
    ) -> None:
        """Change a card after a tap: its button's words, or the whole card. A code works once, for 72 h.

        Everybody's copy is changed, or only that of `member`. A button that was replaced cannot be tapped again.

        Raises SendRefused(CODE_EXPIRED), TryLater or ConnectionBroken.
        """
        whose: dict[str, Any] = {"userids": [member]} if member else {"atall": 1}
        body: dict[str, Any] = {"agentid": self._agent_id, "response_code": response_code, **whose}
        if card is not None:
            body["template_card"] = card
        else:
            body["button"] = {"replace_name": replace_name or ""}
        try:
            await self._api.call("message/update_template_card", body)
        except SendRefused as error:
            if "response_code" in error.hint:
                raise SendRefused(Refusal.CODE_EXPIRED, code=error.code, hint=error.hint) from None
            raise

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        """See `upload_media`."""
        return await upload_media(self._api, data, kind=kind, filename=filename, content_type=content_type)

    async def recall(self, external_id: str, *, thread: str) -> None:  # noqa: ARG002 - the id says it all
        """Take a message back, within 24 hours. Raises as `send`."""
        await self._api.call("message/recall", {"msgid": external_id})

    async def _send(self, members: str, name: str, body: dict[str, Any]) -> str:
        if self._agent_id is None:
            raise SendRefused(
                Refusal.MISCONFIGURED, hint="WECOM_AGENT_ID is needed to write to members; it is on the app's page."
            )
        answer = await self._api.call(
            "message/send",
            {
                "touser": members,
                "msgtype": name,
                "agentid": self._agent_id,
                name: body,
                "safe": 0,
                "enable_duplicate_check": 1,
                "duplicate_check_interval": _CARD_INTERVAL if name == "template_card" else _TEXT_INTERVAL,
            },
        )
        return text_of(answer, "msgid")


def _unanswerable(item: Incoming) -> Incoming:
    if not isinstance(item, IncomingMessage):
        return item
    return UnknownVendorEvent("message_without_agent_id", item.sent_at, item.thread, {"kind": item.kind.value})


def _body(message: Outgoing) -> tuple[str, dict[str, Any]]:
    kind = message.kind
    if kind in (Kind.TEXT, Kind.MARKDOWN):
        if not message.text.strip():
            raise SendRefused(Refusal.BAD_MESSAGE, hint="An empty text cannot be sent.")
        if size_of(message.text) > TEXT_BYTES:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A text has at most {TEXT_BYTES} bytes; split it before.")
        return kind.value, {"content": message.text}
    if kind is Kind.CARD and message.content:
        return "template_card", dict(message.content)
    if kind is Kind.MENU:
        return "template_card", handoff_card(
            task_id=message.key, title=message.text, summary=message.footer, buttons=message.choices
        )
    if kind in _MEDIA_TYPES and message.media is not None:
        return _MEDIA_TYPES[kind], {"media_id": message.media.reference}
    raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A WeCom app cannot send {kind.value} like this.")


def handoff_card(
    *,
    task_id: str,
    title: str,
    summary: str = "",
    contact: str = "",
    facts: Sequence[tuple[str, str]] = (),
    buttons: Sequence[Choice],
    url: str | None = None,
) -> CardBody:
    """A card with buttons, such as 接入. A tap comes back as CardTapped with `key` = the choice's id.

    `facts` are at most six lines of label and value; `url` opens when the card itself is tapped. Words that are too
    long for a card are cut with a mark. Raises SendRefused(BAD_MESSAGE) without buttons or with more than six.
    """
    if not 1 <= len(buttons) <= CARD_BUTTONS:
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A card has 1 to {CARD_BUTTONS} buttons.")
    card: CardBody = {
        "card_type": "button_interaction",
        "main_title": {"title": cut_bytes(title, 128), "desc": cut_bytes(contact, 128)},
        "task_id": card_task(task_id),
        "button_list": [
            {
                "text": cut_bytes(button.label, 32),
                "style": 1 if place == 0 else 2,
                "key": _fitting_key(button.id),
            }
            for place, button in enumerate(buttons)
        ],
    }
    if summary:
        card["sub_title_text"] = cut_bytes(summary, 512)
    if facts:
        card["horizontal_content_list"] = [
            {"keyname": cut_bytes(label, 64), "value": cut_bytes(value, 128)} for label, value in facts[:CARD_FACTS]
        ]
    if url:
        card["card_action"] = {"type": 1, "url": url}
    return card


def _link_card(notice: Notice) -> CardBody:
    """A card without buttons that opens the notice's address."""
    return {
        "card_type": "text_notice",
        "main_title": {"title": cut_bytes(notice.title, 128)},
        "sub_title_text": cut_bytes(notice.text, 512),
        "task_id": card_task(notice.key),
        "card_action": {"type": 1, "url": notice.url},
    }


def card_task(task_id: str) -> str:
    """The id as WeCom takes it: letters, digits, `_-@`, at most 128. Others become a digest."""
    return task_id if task_id and len(task_id) <= 128 and not _NOT_TASK.search(task_id) else wire_key(task_id + "#")


def _fitting_key(key: str) -> str:
    if size_of(key) > KEY_BYTES:
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A button's id has at most {KEY_BYTES} bytes.")
    return key
