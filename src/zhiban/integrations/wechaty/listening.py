"""What happens at a gateway, in our words and in its order, in batches.

An event carries ids only, so each message is fetched with a call of its own: many at once, and handed on in the order
of the events, because only the answer says to which group a message belongs. Reading the stream stops while nobody
takes what was read: then the gateway keeps what comes, and nothing is dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal

from zhiban.integrations.wechaty import contents
from zhiban.integrations.wechaty.client import GatewayClient, GatewayEvent, moment
from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.directory import Directory, OwnAccount
from zhiban.integrations.wechaty.event_stream import LOGIN, LOGOUT, MESSAGE, UNNOTICED, EventStream, Interruption
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.clock import Clock
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean
from zhiban.ports import (
    ConnectionBroken,
    ContactChanged,
    Entered,
    GatewayState,
    GroupChanged,
    IncomingMessage,
    Kind,
    Media,
    MembersJoined,
    MembersLeft,
    Profile,
    Recalled,
    SenderRole,
    SendRefused,
    StreamItem,
    TryLater,
    UnknownVendorEvent,
)

log = logging.getLogger(__name__)

FRIENDSHIP, INVITATION, JOIN, LEAVE, TOPIC, SCAN = 17, 18, 19, 20, 21, 22
DIRTY: Final = 27

READ_AHEAD: Final = 1_000  # events whose messages are being fetched or wait to be taken
BATCH: Final = 200
QUIET_SECONDS: Final = 2.0  # after which somebody is told that nothing was missed
TRIES: Final = 3
LOGIN_SECONDS: Final = 10.0  # how long an account that is logged in may take to say so
REMEMBERED: Final = 200  # messages of a thread among which a quoted one is looked for
THREADS: Final = 2_000
ALL: Final = "@all"  # what gateways write for "everybody", alone or at the end of an id
_CONFIRMED: Final = 1
_RECEIVED: Final = 2
WELCOME: Final = "friend:"

Items = Sequence[Any]  # Incoming or GatewayState


@frozen_dataclass
class _Read:
    """What is being made of one event. `heard_at` and `cursor` as with `StreamItem`."""

    items: asyncio.Future[Items]
    heard_at: datetime | None
    cursor: str

    def told(self, item: Any) -> StreamItem:
        """A message may have waited at the gateway: until it was said, nothing was missed, and later nobody knows."""
        heard_at = self.heard_at
        if heard_at is not None and isinstance(item, IncomingMessage):
            heard_at = min(heard_at, max(item.sent_at, heard_at - UNNOTICED))
        return StreamItem(item, heard_at=heard_at, cursor=self.cursor)


class Listener:
    """Listens for one `listen` of the vendor; what it remembers ends with it."""

    def __init__(
        self,
        client: GatewayClient,
        config: WechatyConfig,
        clock: Clock,
        account: OwnAccount,
        after: str = "",
        *,
        login_seconds: float = LOGIN_SECONDS,
    ) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._login_seconds = login_seconds
        self._stream = EventStream(client, clock, after)
        self._directory = Directory(client)
        self._account = account
        self._account.id = ""
        self._logging_in: asyncio.Task[None] | None = None
        self._waiting: asyncio.Queue[_Read] = asyncio.Queue(READ_AHEAD)
        self._background: set[asyncio.Task[None]] = set()
        self._introduced: set[str] = set()
        self._accepted: set[str] = set()
        self._recent: OrderedDict[str, deque[tuple[str, str, str]]] = OrderedDict()  # thread: id, sender, text
        self._readers: Mapping[int, Callable[[GatewayEvent], Awaitable[Items]]] = {
            MESSAGE: self._message,
            FRIENDSHIP: self._friendship,
            INVITATION: self._invitation,
            JOIN: self._joined,
            LEAVE: self._left,
            TOPIC: self._topic,
            SCAN: self._state,
            LOGIN: self._state,
            LOGOUT: self._state,
        }

    @property
    def _me(self) -> str:
        return self._account.id

    async def batches(self) -> AsyncIterator[Sequence[StreamItem]]:
        """As `Streams.listen` promises."""
        reading = asyncio.create_task(self._read_stream(), name="gateway stream")
        try:
            while True:
                oldest = await self._next(reading)
                taken = [oldest] if oldest is not None else []
                while taken and len(taken) < BATCH and not self._waiting.empty() and self._peek().items.done():
                    taken.append(self._waiting.get_nowait())
                items = [one.told(item) for one in taken for item in await one.items]
                if items or not taken:
                    yield items
        finally:
            await cancelled([reading, *self._background])
            while not self._waiting.empty():
                self._waiting.get_nowait().items.cancel()
            await self._directory.close()

    def _peek(self) -> _Read:
        return self._waiting._queue[0]  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 - a queue has no peek

    async def _next(self, reading: asyncio.Task[None]) -> _Read | None:
        """The oldest event that was read; None after a while in which there was none and none was missed. Raises what
        ended the stream, once everything read before was taken."""
        getting = asyncio.ensure_future(self._waiting.get())
        try:
            while not getting.done():
                await asyncio.wait({getting, reading}, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done() and reading.done() and self._waiting.empty():
                    reading.result()
                    raise TryLater("The gateway ended the stream of events.", after=1.0)
                if not getting.done() and self._stream.is_whole and self._waiting.empty():
                    return None
            return getting.result()
        finally:
            getting.cancel()

    async def _read_stream(self) -> None:
        try:
            async for one in self._stream.read():
                await (self._interrupted(one) if isinstance(one, Interruption) else self._happened(one))
        except (TryLater, ConnectionBroken):
            if self._stream.lost_since is not None:
                lost = GatewayState("connecting", self._clock.now(), silent_since=self._stream.lost_since)
                await self._put(self._said(lost))
            raise

    async def _interrupted(self, found: Interruption) -> None:
        if found.opened:
            # Who is where and called what may have changed, which nobody has told.
            self._introduced.clear()
            self._directory.forget_all()
            await self._put(
                self._said(GatewayState("connecting", self._clock.now(), gap=found.missed, silent_since=found.since))
            )
            self._await_login()
        else:
            await self._put(self._said(self._missing(found.since)))

    async def _happened(self, event: GatewayEvent) -> None:
        if event.type == LOGIN:
            # At once: whether a message is our own depends on it.
            self._account.id = event.words("contactId")
            self._login_came()
        if event.type == LOGOUT:
            self._account.id = ""
        if event.type == DIRTY:
            self._directory.forget(event.words("payloadId"))
        if event.type in self._readers:
            await self._put(self._read(event))

    async def _put(self, work: Coroutine[Any, Any, Items]) -> None:
        heard_at = self._clock.now() if self._stream.is_whole else None
        await self._waiting.put(_Read(asyncio.ensure_future(work), heard_at, self._stream.cursor))

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _said(self, *items: Any) -> Items:
        return items

    def _missing(self, since: datetime | None) -> GatewayState:
        """Something was there, and nobody will ever read it: the operator should look at the account's own client."""
        state: Literal["online", "connecting"] = "online" if self._me else "connecting"
        return GatewayState(state, self._clock.now(), gap=True, account=self._me, silent_since=since)

    def _await_login(self) -> None:
        self._login_came()
        self._logging_in = self._beside(self._missing_login())

    def _login_came(self) -> None:
        if self._logging_in is not None:
            self._logging_in.cancel()

    async def _missing_login(self) -> None:
        """An account that is logged in says so when the stream begins; one that is not says nothing at all."""
        await asyncio.sleep(self._login_seconds)
        self._account.id = ""
        await self._put(self._said(GatewayState("logged_out", self._clock.now())))

    # ------------------------------------------------------------------------------------------------ event by event

    async def _read(self, event: GatewayEvent) -> Items:
        """What one event brings. Never raises: one that cannot be read must not end the stream."""
        read = self._readers.get(event.type)
        try:
            return await read(event) if read is not None else ()
        except Exception:  # whatever a gateway says
            log.exception("An event of the gateway %s cannot be read.", self._config.source)
            return ()

    async def _state(self, event: GatewayEvent) -> Items:
        now = self._clock.now()
        if event.type == LOGOUT:
            return [GatewayState("logged_out", now)]
        if event.type == LOGIN:
            account = event.words("contactId")
            payload = await self._patiently("ContactPayload", id=account)
            name = clean(payload.name)[:200] if payload is not None else ""
            return [GatewayState("online", now, account, name)]
        code = event.words("qrcode")
        return [GatewayState("scan", now, qr_code=code[:2000])] if code and not self._me else ()

    async def _message(self, event: GatewayEvent) -> Items:
        id_, told_at = event.words("messageId"), self._clock.now()
        payload = await self._patiently("MessagePayload", id=id_) if id_ else None
        now = self._clock.now()
        if payload is None:
            return [self._missing(told_at)]
        me, talker, room = self._me, payload.talker_id, payload.room_id
        thread = room or talker
        at = moment(payload.receive_time, now=now)
        if payload.type == contents.RECALLED:
            return self._taken_back(payload.text, thread, talker, at)
        said = contents.read(payload.type, payload.text)
        self._remember(thread, id_, talker, said.text)
        if not talker or talker == me:
            return ()
        before, name = await self._who(room, talker, now)
        mentions, us = await self._mentioned(room, said.text, tuple(payload.mention_ids))
        reply_to, quote = await self._answered(thread, payload.quote_id, said.quote)
        content = dict(said.content)
        if quote is not None:
            content["quoted"] = {"name": quote.name, "text": quote.text[:1000]}
        return [
            *before,
            IncomingMessage(
                external_id=id_,
                thread=thread,
                sender=talker,
                role=SenderRole.CONTACT,
                kind=said.kind,
                text=said.text,
                sent_at=at,
                media=self._media(id_, payload),
                content=content,
                reply_to=reply_to or None,
                group=bool(room),
                sender_name=name,
                mentions=mentions,
                mentions_us=us,
            ),
        ]

    async def _answered(self, thread: str, id_: str, quote: contents.Quote | None) -> tuple[str, contents.Quote | None]:
        """Which message another one answers: its id, or else the words by which it is found later; ours by both."""
        if not id_:
            found = self._quoted(thread, quote.text) if quote is not None else ""
            return found, None if found else quote
        sender, text = await self._said_by(thread, id_)
        # Not every gateway gives an id when it sends: then only the words are known to both.
        ours = sender == self._me and bool(text.strip())
        return id_, contents.Quote("", text) if ours else None

    async def _said_by(self, thread: str, id_: str) -> tuple[str, str]:
        """Who wrote the message with this id, and what; both empty where the gateway has it no more."""
        for known, sender, text in reversed(self._recent.get(thread, ())):
            if known == id_:
                return sender, text
        payload = await self._patiently("MessagePayload", tries=1, id=id_)
        return (payload.talker_id, contents.read(payload.type, payload.text).text) if payload is not None else ("", "")

    async def _patiently(self, call: str, *, tries: int = TRIES, **fields: Any) -> Any:
        """The answer, or None when the gateway does not give one after some tries."""
        for attempt in range(tries):
            try:
                return await self._client.call(call, **fields)
            except (SendRefused, TryLater) as error:
                log.info("The gateway %s did not answer %s: %s", self._config.source, call, error.sentence)
                if attempt + 1 < tries:
                    await asyncio.sleep(0.2 * 3**attempt)
            except ConnectionBroken:
                return None
        return None

    def _taken_back(self, text: str, thread: str, talker: str, at: datetime) -> Items:
        recalled = contents.recalled_id(text)
        if not recalled:
            return [UnknownVendorEvent("recalled", at, thread)]
        role = SenderRole.AGENT if talker == self._me else SenderRole.CONTACT
        return [Recalled(recalled, thread, role, at)]

    async def _who(self, room: str, talker: str, now: datetime) -> tuple[list[Any], str]:
        """What is to be known before a message: its group, when it is new here, or who a contact is; and the name."""
        if not room:
            name = await self._directory.contact_name(talker)
            if not name or talker in self._introduced:
                return [], name
            self._introduced.add(talker)
            return [ContactChanged(Profile(talker, name), now)], name
        member = await self._directory.member(room, talker)
        name = member.nickname or member.name
        if room in self._introduced:
            return [], name
        self._introduced.add(room)
        described = await self._directory.room(room)
        self._beside(self._introduce(room))
        return ([GroupChanged(room, now, name=described.topic)] if described.topic else []), name

    async def _introduce(self, room: str) -> None:
        """Everybody of a group: beside its messages, because it takes a call for each of them."""
        described = await self._directory.room(room)
        members = await self._directory.members(room)
        if members is not None:
            now = self._clock.now()
            others = tuple(one for one in members if one.external_id != self._me)
            await self._put(self._said(GroupChanged(room, now, name=described.topic or None, members=others)))

    async def _mentioned(self, room: str, text: str, ids: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """Whom a message names, and whether us. Gateways that tell no ids leave the names in the text."""
        named = [one for one in ids if not one.endswith(ALL)]
        if not room or ids or "@" not in text:
            return tuple(one for one in named if one != self._me), self._me in named
        names = set(contents.mentioned_names(text))
        if not names or not self._me:
            return (), False
        ourselves = await self._directory.member(room, self._me)
        us = bool(names & {ourselves.name, ourselves.nickname} - {""})
        others = await self._directory.members(room) if room in self._introduced else None
        found = tuple(
            one.external_id
            for one in others or ()
            if one.external_id != self._me and names & ({one.name, one.nickname} - {""})
        )
        return found, us

    def _remember(self, thread: str, id_: str, sender: str, text: str) -> None:
        recent = self._recent.get(thread)
        if recent is None:
            recent = self._recent[thread] = deque(maxlen=REMEMBERED)
            if len(self._recent) > THREADS:
                self._recent.popitem(last=False)
        recent.append((id_, sender, text))

    def _quoted(self, thread: str, text: str) -> str:
        """The newest message with these words; our own are known by another id, and found later by their words."""
        for id_, sender, said in reversed(self._recent.get(thread, ())):
            if sender != self._me and said.strip() and said.strip() == text.strip():
                return id_
        return ""

    def _media(self, id_: str, payload: Any) -> tuple[Media, ...]:
        kind = contents.FILES.get(payload.type)
        if kind is None:
            return ()
        name = clean(payload.filename)[:200] or None
        return (Media(f"{'image' if kind is Kind.IMAGE else 'file'}:{id_}", kind, name),)

    # -------------------------------------------------------------------------------------------- friends and groups

    async def _friendship(self, event: GatewayEvent) -> Items:
        id_ = event.words("friendshipId")
        payload = await self._patiently("FriendshipPayload", id=id_)
        if payload is None:
            return ()
        now, contact = self._clock.now(), payload.contact_id
        if payload.type == _CONFIRMED or id_ in self._accepted:
            name = await self._directory.contact_name(contact)
            known = [ContactChanged(Profile(contact, name), now)] if name else []
            return [*known, Entered(contact, now, f"{WELCOME}{id_}", event_id=_event_id("friend", contact, id_))]
        if payload.type != _RECEIVED:
            return ()
        wanted = self._config.accept_friends and not self._config.read_only
        if wanted:
            self._accepted.add(id_)
            wanted = await self._patiently("FriendshipAccept", id=id_) is not None
        told = {"contact": contact, "hello": clean(payload.hello)[:200]}
        return [UnknownVendorEvent("friendship_accepted" if wanted else "friendship_requested", now, None, told)]

    async def _invitation(self, event: GatewayEvent) -> Items:
        id_ = event.words("roomInvitationId")
        payload = await self._patiently("RoomInvitationPayload", id=id_)
        wanted = self._config.accept_invitations and not self._config.read_only
        if wanted:
            wanted = await self._patiently("RoomInvitationAccept", id=id_) is not None
        told = {"topic": clean(payload.topic)[:200], "inviter": payload.inviter_id} if payload is not None else {}
        kind = "room_invitation_accepted" if wanted else "room_invitation_received"
        return [UnknownVendorEvent(kind, self._clock.now(), None, told)]

    async def _joined(self, event: GatewayEvent) -> Items:
        room, who = event.words("roomId"), event.several("inviteeIdList")
        if not room or not who:
            return ()
        self._directory.forget(room)
        us = self._me in who
        members = await asyncio.gather(*(self._directory.member(room, each) for each in who if each != self._me))
        at, inviter = self._at(event), event.words("inviterId") or None
        joined = MembersJoined(
            room, tuple(members), at, inviter, us, _event_id("join", room, *sorted(who), _stamp(event))
        )
        if not us:
            return [joined]
        self._introduced.add(room)
        self._beside(self._introduce(room))
        described = await self._directory.room(room)
        return [GroupChanged(room, at, name=described.topic), joined] if described.topic else [joined]

    async def _left(self, event: GatewayEvent) -> Items:
        room, who = event.words("roomId"), event.several("removeeIdList")
        if not room or not who:
            return ()
        self._directory.forget(room)
        us = self._me in who
        if us:
            self._introduced.discard(room)
        others = tuple(each for each in who if each != self._me)
        remover = event.words("removerId") or None
        id_ = _event_id("leave", room, *sorted(who), _stamp(event))
        return [MembersLeft(room, others, self._at(event), remover, us, id_)]

    async def _topic(self, event: GatewayEvent) -> Items:
        room, topic = event.words("roomId"), event.words("newTopic")
        if not room or not topic:
            return ()
        self._directory.forget(room)
        id_ = _event_id("topic", room, topic, _stamp(event))
        return [GroupChanged(room, self._at(event), name=topic[:200], event_id=id_)]

    def _at(self, event: GatewayEvent) -> datetime:
        """When it happened: gateways say it in milliseconds, some in seconds."""
        now = self._clock.now()
        stated = event.payload.get("timestamp")
        if not isinstance(stated, int | float) or stated <= 0:
            return now
        with suppress(OverflowError, OSError, ValueError):
            return min(datetime.fromtimestamp(stated / 1000 if stated > 1e11 else stated, UTC), now)
        return now


def _stamp(event: GatewayEvent) -> str:
    return str(event.payload.get("timestamp", ""))


def _event_id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
