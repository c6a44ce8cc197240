"""微信客服: one customer-service account of WeCom as a channel."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from zhiban.integrations.wecom.accounts import KfAccounts
from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.documents import read_document
from zhiban.integrations.wecom.errors import BAD_PULL_TOKEN, NOT_SENDING, error_for
from zhiban.integrations.wecom.kf_entries import read_entry
from zhiban.integrations.wecom.kinds import KF, MEDIA
from zhiban.integrations.wecom.repeats import Repeats
from zhiban.integrations.wecom.values import items_of, mapping_of, number, storable, text_of
from zhiban.kit.clock import Clock, SystemClock
from zhiban.kit.text import size_of
from zhiban.ports import (
    ConnectionBroken,
    Incoming,
    Kind,
    Limits,
    Media,
    MediaDownload,
    NativeState,
    Outgoing,
    Page,
    Profile,
    Refusal,
    SendRefused,
    TryLater,
    UnknownVendorEvent,
)

log = logging.getLogger(__name__)

TEXT_BYTES: Final = 2048  # what WeCom takes in one message; the rest it cuts without a word
MENU_TEXT_BYTES: Final = 1024
MENU_LABEL_BYTES: Final = 128
MENU_CHOICES: Final = 10
PAGE_SIZE: Final = 1000
TOKENLESS_SECONDS: Final = 60.0  # WeCom publishes no figure for pulls without a token, only that it is strict
_PROFILES_AT_ONCE: Final = 100

_NOT_MOVED = frozenset({95013, 95016})
_WIRE_KEY = re.compile(r"[0-9A-Za-z_-]{1,32}")
_STATES = {
    0: NativeState.NEW,
    1: NativeState.ASSISTANT,
    2: NativeState.POOL,
    3: NativeState.HUMAN,
    4: NativeState.ENDED,
}
_MEANINGS = {
    NativeState.HUMAN: (Refusal.HUMAN_ACTIVE, "A person has the session in the WeCom client."),
    NativeState.POOL: (Refusal.IN_POOL, "The session waits in WeCom's pool."),
    NativeState.ENDED: (Refusal.SESSION_ENDED, "The session is over until the contact writes again."),
}
_NUMBERS = {state: found for found, state in _STATES.items()}
_MEDIA_TYPES = {Kind.IMAGE: "image", Kind.VOICE: "voice", Kind.VIDEO: "video", Kind.FILE: "file"}
_CONTENT_TYPES = {Kind.LINK: "link", Kind.LOCATION: "location", Kind.MINIPROGRAM: "miniprogram"}


class KfChannel:
    """Channel, Polls, TransfersNatively, RepliesToEvents, FetchesMedia, UploadsMedia, KnowsContacts and
    OffersContactLinks for one open_kfid."""

    kind: ClassVar[str] = KF.kind
    limits: ClassVar[Limits] = KF.limits

    def __init__(
        self, api: WeComApi, open_kfid: str, *, clock: Clock | None = None, repeats: Repeats | None = None
    ) -> None:
        self.open_kfid = open_kfid
        self._api = api
        self._clock: Clock = clock or SystemClock()
        self._refused_token = ""
        self._following: str | None = None  # the cursor with which a pull that has begun goes on
        self._repeats = repeats or Repeats()

    def read(self, body: str) -> Sequence[Incoming]:
        """Doorbells of an account say nothing themselves; other documents are read as the app's."""
        return read_document(body, now=self._clock.now())

    async def pull(self, *, cursor: str | None, token: str | None) -> Page:
        """The next page. An expired token is dropped and the page asked for without it, which WeCom limits strictly.

        `more` is false when the vendor promises more but names no new cursor, so that nobody runs in circles.
        Raises TryLater or ConnectionBroken.
        """
        body: dict[str, Any] = {"open_kfid": self.open_kfid, "limit": PAGE_SIZE, "voice_format": 0}
        if cursor:
            body["cursor"] = cursor
        code, answer = await self._sync(body, token)
        if code:
            error = error_for(code, text_of(answer, "errmsg"))
            if isinstance(error, SendRefused):
                raise ConnectionBroken("WeCom does not hand out this account's messages", code=code, hint=error.hint)
            raise error
        return self._page(answer, cursor)

    async def _sync(self, body: dict[str, Any], token: str | None) -> tuple[int, dict[str, Any]]:
        """Pulls without a token are limited strictly, so they have a circuit and a budget of their own: what a doorbell
        announced never waits for them."""
        if token and token != self._refused_token:
            code, answer = await self._api.attempt("kf/sync_msg", {**body, "token": token}, account=self.open_kfid)
            if code != BAD_PULL_TOKEN:
                return code, answer
            self._refused_token = token
        if body.get("cursor") is None or body["cursor"] != self._following:
            # Only where a pull begins: what stopped in the middle of a backlog would take hours.
            await self._api.ration(f"kf/sync_msg:{self.open_kfid}/no-token", every=TOKENLESS_SECONDS)
        return await self._api.attempt("kf/sync_msg", body, account=f"{self.open_kfid}/no-token")

    def _page(self, answer: dict[str, Any], cursor: str | None) -> Page:
        now, entries = self._clock.now(), answer.get("msg_list")
        found = (self._entry(entry, now) for entry in entries) if isinstance(entries, list) else ()
        following = text_of(answer, "next_cursor") or None
        more = number(answer.get("has_more")) == 1 and following is not None and following != cursor
        self._following = following if more else None
        return Page(tuple(item for item in found if item is not None), following, more)

    def _entry(self, entry: object, now: datetime) -> Incoming | None:
        """What an entry says. One that our reading fails on is kept as it is: the cursor has to pass it."""
        try:
            return read_entry(entry, account=self.open_kfid, now=now)
        except Exception:
            log.exception("An entry of %s cannot be read.", self.open_kfid)
            return UnknownVendorEvent(
                "unreadable_entry", now, content=storable(entry if isinstance(entry, dict) else {})
            )

    async def send(self, message: Outgoing) -> str:
        """Send, and return the msgid. Our key is the msgid, so an attempt whose outcome was unknown is safe to repeat.

        Raises SendRefused, TryLater or ConnectionBroken.
        """
        key = wire_key(message.key)
        body = {"touser": message.thread, "open_kfid": self.open_kfid, "msgid": key, **wire_body(message)}
        code, words = await self._post("kf/send_msg", body, key)
        if code == 0:
            return key
        if await self._has_it(key, code, words):
            self._repeats.took(self.open_kfid, body)
            return key
        if code == NOT_SENDING:
            raise await self._not_sending(message.thread)
        raise error_for(code, words)

    async def _not_sending(self, thread: str) -> SendRefused:
        """Which of its meanings 95018 has now."""
        try:
            native, servicer = await self.native_state(thread)
        except (SendRefused, TryLater, ConnectionBroken):
            return SendRefused(Refusal.HUMAN_ACTIVE, code=NOT_SENDING, hint="Who holds the session is not known.")
        refusal, hint = _MEANINGS.get(native, (Refusal.WINDOW_CLOSED, "The contact's last message is too old."))
        return SendRefused(refusal, code=NOT_SENDING, hint=hint, native=native, servicer=servicer)

    async def reply_to_event(self, code: str, message: Outgoing) -> str:
        """The one message that a welcome, pool, pick-up or closing code allows. Only texts and menus.

        Raises SendRefused (CODE_EXPIRED when the code is used or too old), TryLater or ConnectionBroken.
        """
        if message.kind not in (Kind.TEXT, Kind.MARKDOWN, Kind.MENU):
            raise SendRefused(Refusal.BAD_MESSAGE, hint="Only a text or a menu may answer an event.")
        key = wire_key(message.key)
        sent_before = self._repeats.is_doubted(self.open_kfid, key)
        found, words = await self._post("kf/send_msg_on_event", {"code": code, "msgid": key, **wire_body(message)}, key)
        if found == 0:
            return key
        error = error_for(found, words)
        if found == NOT_SENDING:
            raise SendRefused(Refusal.CODE_EXPIRED, code=found, hint="The session has moved on since.")
        if isinstance(error, SendRefused) and "code" in words.lower():
            if sent_before or self._repeats.is_doubted(self.open_kfid, key):
                return key  # the code is spent, and nobody but us has it
            raise SendRefused(Refusal.CODE_EXPIRED, code=found, hint=error.hint)
        if await self._has_it(key, found, words):
            return key
        raise error

    async def _post(self, path: str, body: dict[str, Any], key: str) -> tuple[int, str]:
        """Code and words. Whatever leaves it open whether the request was carried out is remembered."""

        def doubt() -> None:
            self._repeats.doubt(self.open_kfid, key)

        try:
            code, answer = await self._api.attempt(path, body, account=self.open_kfid, repeating=doubt)
        except TryLater as error:
            if error.unknown:
                doubt()
            raise
        if code == -1:
            doubt()
        if code == 0 and path == "kf/send_msg":
            self._repeats.took(self.open_kfid, body)
        return code, text_of(answer, "errmsg")

    async def _has_it(self, key: str, code: int, words: str) -> bool:
        """Whether the refusal means that WeCom has the message. Raises TryLater while that cannot be told."""

        async def send(body: Mapping[str, Any]) -> tuple[int, str]:
            found, answer = await self._api.attempt("kf/send_msg", body, account=self.open_kfid)
            return found, text_of(answer, "errmsg")

        found = await self._repeats.judge(self.open_kfid, key, code, words, send)
        if found is None and self._repeats.may_wait(self.open_kfid, key):
            raise TryLater(f"WeCom refuses the message for an unknown reason ({code}).", after=1.0, unknown=True)
        return bool(found)

    async def native_state(self, thread: str) -> tuple[NativeState, str | None]:
        """Who holds the session in WeCom's own view."""
        answer = await self._api.call(
            "kf/service_state/get",
            {"open_kfid": self.open_kfid, "external_userid": thread},
            account=self.open_kfid,
        )
        state = _STATES.get(number(answer.get("service_state")) or 0, NativeState.NEW)
        return state, text_of(answer, "servicer_userid") or None

    async def move(self, thread: str, to: NativeState, *, servicer: str | None = None) -> str | None:
        """Move the session. WeCom knows no way back from a person or the pool to the assistant.

        Moving where it already is succeeds, without a code.

        Raises SendRefused when the move is not allowed, TryLater or ConnectionBroken.
        """
        body: dict[str, Any] = {
            "open_kfid": self.open_kfid,
            "external_userid": thread,
            "service_state": _NUMBERS[to],
        }
        if servicer:
            body["servicer_userid"] = servicer
        code, answer = await self._api.attempt("kf/service_state/trans", body, account=self.open_kfid)
        if code == 0:
            return text_of(answer, "msg_code") or None
        error = error_for(code, text_of(answer, "errmsg"))
        if code not in _NOT_MOVED or not isinstance(error, SendRefused):
            raise error
        native, holder = await self.native_state(thread)
        if (native, holder) == (to, servicer):
            return None  # an earlier attempt, whose answer was lost, has moved it already
        raise SendRefused(error.refusal, code=code, hint=error.hint, native=native, servicer=holder)

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file in pieces; see `WeComApi.download`."""
        return self._api.download(media.reference, limit=limit)

    async def upload(self, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
        """See `upload_media`."""
        return await upload_media(self._api, data, kind=kind, filename=filename, content_type=content_type)

    async def contact_link(self, *, scene: str = "", scene_param: str = "") -> str:
        """See `KfAccounts.contact_link`."""
        return await KfAccounts(self._api).contact_link(self.open_kfid, scene=scene, scene_param=scene_param)

    async def profiles(self, external_ids: Sequence[str]) -> Sequence[Profile]:
        """Names and avatars of those who were active within 48 hours; WeCom does not tell about others."""
        found: list[Profile] = []
        for start in range(0, len(external_ids), _PROFILES_AT_ONCE):
            answer = await self._api.call(
                "kf/customer/batchget",
                {
                    "external_userid_list": list(external_ids[start : start + _PROFILES_AT_ONCE]),
                    "need_enter_session_context": 1,
                },
            )
            found.extend(
                Profile(
                    text_of(entry, "external_userid"),
                    text_of(entry, "nickname"),
                    avatar_url=text_of(entry, "avatar") or None,
                    unionid=text_of(entry, "unionid") or None,
                    content={
                        "gender": text_of(entry, "gender"),
                        "context": storable(mapping_of(entry, "enter_session_context")),
                    },
                )
                for entry in items_of(answer, "customer_list")
                if text_of(entry, "external_userid")
            )
        return found


async def upload_media(api: WeComApi, data: bytes, *, kind: Kind, filename: str, content_type: str) -> Media:
    """Store a file at the platform for three days.

    Raises SendRefused(BAD_MESSAGE) for a kind or a size it does not take, TryLater or ConnectionBroken.
    """
    limit = MEDIA.get(kind)
    if limit is None or not limit.takes(content_type, len(data)):
        what = f"{kind.value} of {len(data)} bytes ({content_type})"
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"WeCom takes no {what}.")
    reference = await api.upload(_MEDIA_TYPES[kind], data, filename=filename, content_type=content_type)
    return Media(reference, kind, filename, content_type)


def wire_key(key: str) -> str:
    """The key itself where WeCom takes it as a msgid (32 letters, digits, `_` or `-`), else a digest of it."""
    return key if _WIRE_KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def wire_body(message: Outgoing) -> dict[str, Any]:
    """msgtype and body. Raises SendRefused(BAD_MESSAGE) for what WeCom would cut silently or refuse."""
    kind = message.kind
    if kind in (Kind.TEXT, Kind.MARKDOWN):  # markdown is shown as it is written
        _fits(message.text, TEXT_BYTES, "text")
        if not message.text.strip():
            raise SendRefused(Refusal.BAD_MESSAGE, hint="An empty text cannot be sent.")
        return {"msgtype": "text", "text": {"content": message.text}}
    if kind is Kind.MENU:
        return {"msgtype": "msgmenu", "msgmenu": _menu(message)}
    if kind in _MEDIA_TYPES and message.media is not None:
        name = _MEDIA_TYPES[kind]
        return {"msgtype": name, name: {"media_id": message.media.reference}}
    if kind in _CONTENT_TYPES and message.content:
        name = _CONTENT_TYPES[kind]
        return {"msgtype": name, name: dict(message.content)}
    raise SendRefused(Refusal.BAD_MESSAGE, hint=f"WeCom customer service cannot send {kind.value} like this.")


def _menu(message: Outgoing) -> dict[str, Any]:
    _fits(message.text, MENU_TEXT_BYTES, "line above a menu")
    _fits(message.footer, MENU_TEXT_BYTES, "line below a menu")
    if not 1 <= len(message.choices) <= MENU_CHOICES:
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"A menu has 1 to {MENU_CHOICES} entries.")
    entries = []
    for choice in message.choices:
        _fits(choice.label, MENU_LABEL_BYTES, "menu entry")
        _fits(choice.id, MENU_LABEL_BYTES, "id of a menu entry")
        if "#" in choice.id:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The id of a menu entry must not contain #.")
        entries.append({"type": "click", "click": {"id": choice.id, "content": choice.label}})
    return {"head_content": message.text, "list": entries, "tail_content": message.footer}


def _fits(text: str, limit: int, what: str) -> None:
    if size_of(text) > limit:
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The {what} is longer than {limit} bytes; split it before.")
