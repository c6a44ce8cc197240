"""One AI bot (智能机器人) as a channel: answers in the slots that messages open, and files that come with them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import ClassVar, Final
from urllib.parse import urlsplit

from yarl import URL

from zhiban.integrations.wecom.bot_config import BotConfig
from zhiban.integrations.wecom.bot_reading import read_body
from zhiban.integrations.wecom.errors import errcode, error_for
from zhiban.integrations.wecom.kinds import BOT
from zhiban.integrations.wecom.values import text_of
from zhiban.kit.clock import Clock
from zhiban.kit.http import AddressRefused, AnswerTooLarge, Http, MaybeDone, NotJson, Unreachable
from zhiban.kit.text import clean, size_of
from zhiban.ports import (
    Incoming,
    InvalidWebhook,
    Limits,
    Media,
    MediaDownload,
    Outgoing,
    Profile,
    Refusal,
    ReplySlots,
    SendRefused,
    TakenSlot,
    TryLater,
)

TEXT_BYTES: Final = 20_480  # what WeCom takes in one answer
FETCH_SECONDS: Final = 6.0  # how long an answer waits to be fetched, by a vendor that asks about once a second
_LOOK_EVERY: Final = 0.2
_TIMEOUT: Final = 15.0
_PADDING: Final = 32
# Refusals of what is said, and not of where: another address would not take it either.
_ABOUT_WORDS: Final = frozenset({40008, 40058, 40063, 40201, 44004, 45002})
# In WeCom's markdown these make words vanish, or call somebody; wide twins look the same and mean nothing.
_ACTIVE = re.compile(r"<(?=/?think\b|@)", re.IGNORECASE)


class BotChannel:
    """Channel, FetchesMedia and KnowsContacts for one bot. A thread is a group's chatid, or a member's userid.

    Nothing can be said but in answer: while the stream of a message is open, WeCom fetches it; within an hour one more
    answer can be posted for each message.
    """

    kind: ClassVar[str] = BOT.kind
    limits: ClassVar[Limits] = BOT.limits

    def __init__(
        self,
        http: Http,
        config: BotConfig,
        clock: Clock,
        slots: ReplySlots,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._config = config
        self._clock = clock
        self._slots = slots
        self._sleep = sleep

    def read(self, body: str) -> Sequence[Incoming]:
        return read_body(body, self._config, now=self._clock.now())

    async def profiles(self, external_ids: Sequence[str]) -> Sequence[Profile]:
        """Members are called what they are called in the address book: a bot is told nothing else."""
        return [Profile(one, one) for one in external_ids]

    async def send(self, message: Outgoing) -> str:
        """Say it in a slot of its thread. Raises SendRefused, TryLater or ConnectionBroken.

        An address serves once, so that posting there again is harmless: it is refused where the first has arrived.
        """
        text = _words(message)
        slot = await self._slots.take(message.thread, message.key, text, answers=message.reply_to)
        refused: SendRefused | None = None
        while slot is not None:
            if slot.given or (slot.how == "fetched" and await self._is_fetched(slot)):
                return message.key
            if slot.how == "posted":
                refused = await self._post(slot, text)
                if refused is None:
                    return message.key
                await self._slots.close(slot)
            slot = await self._slots.take(message.thread, message.key, text, answers=message.reply_to)
        raise refused or SendRefused(
            Refusal.ALLOWANCE_USED, hint="A bot answers only what names it: twice, and within an hour."
        )

    def fetch(self, media: Media, *, limit: int) -> MediaDownload:
        """The file, deciphered. Its pieces raise SendRefused(BAD_MESSAGE) when it is larger or gone, TryLater."""
        return MediaDownload(self._file(media.reference, limit=limit), media.filename, media.content_type)

    # ---------------------------------------------------------------------------------------------------- sending

    async def _is_fetched(self, slot: TakenSlot) -> bool:
        """Wait until WeCom has it; False when it does not come for it any more, and never will get it there."""
        waited = 0.0
        while waited < FETCH_SECONDS:
            if await self._slots.given(slot):
                return True
            await self._sleep(_LOOK_EVERY)
            waited += _LOOK_EVERY
        # Not closed: fetched at the last moment, or forgotten meanwhile.
        return not await self._slots.close(slot) and await self._slots.given(slot)

    async def _post(self, slot: TakenSlot, text: str) -> SendRefused | None:
        """Post it; the refusal where this address takes nothing. Raises SendRefused where none would, TryLater."""
        await self._slots.trying(slot)
        address = URL(f"{self._config.api_base}/aibot/response").with_query(response_code=slot.address)
        try:
            answer = await self._http.request(
                "POST",
                address,
                json={"msgtype": "markdown", "markdown": {"content": text}},
                timeout=_TIMEOUT,
                limit=1 << 16,
            )
            found = answer.json()
        except (MaybeDone, NotJson, AnswerTooLarge) as error:
            raise TryLater(str(error), after=2.0, unknown=True) from None
        except Unreachable as error:
            if not slot.tried:
                await self._slots.untried(slot)
            raise TryLater(str(error), after=2.0) from None
        if not isinstance(found, dict):
            raise TryLater("WeCom answered with something else than an object.", after=2.0, unknown=True)
        code = errcode(found)
        if not code:
            await self._slots.done(slot)
            return None
        refusal = error_for(code, text_of(found, "errmsg"))
        if not isinstance(refusal, SendRefused):
            if not slot.tried:
                await self._slots.untried(slot)
            raise refusal
        if code in _ABOUT_WORDS:
            raise refusal
        if slot.tried:
            if slot.until is not None and self._clock.now() >= slot.until:
                raise SendRefused(  # said elsewhere, it might stand there twice
                    Refusal.CODE_EXPIRED,
                    code=code,
                    hint="Nobody knows whether it arrived: the answer to the first attempt was lost.",
                )
            await self._slots.done(slot)  # it was posted before, and the answer to that was lost
            return None
        return SendRefused(Refusal.CODE_EXPIRED, code=code, hint=refusal.hint)

    # --------------------------------------------------------------------------------------------------- fetching

    async def _file(self, url: str, *, limit: int) -> AsyncIterator[bytes]:
        host = urlsplit(self._config.api_base).hostname
        try:
            private = urlsplit(url).hostname == host
            answer = await self._http.fetch_public(url, limit=limit + _PADDING, allow_private=private)
        except AnswerTooLarge:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.") from None
        except (AddressRefused, ValueError) as error:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=str(error)) from None
        except (MaybeDone, Unreachable) as error:
            raise TryLater(str(error), after=2.0) from None
        if answer.status >= 500 or answer.status == 429:
            raise TryLater(f"The file's address answered {answer.status}.", after=2.0)
        if answer.status != 200:
            raise SendRefused(Refusal.BAD_MESSAGE, hint="The file is kept for five minutes only.")
        data = self._deciphered(answer.body)
        if len(data) > limit:
            raise SendRefused(Refusal.BAD_MESSAGE, hint=f"The file is larger than {limit} bytes.")
        yield data

    def _deciphered(self, data: bytes) -> bytes:
        for pair in self._config.key_pairs():
            try:
                return pair.decrypt_file(data)
            except InvalidWebhook:
                continue
        raise SendRefused(Refusal.BAD_MESSAGE, hint="The file cannot be deciphered with the bot's key.")


def _words(message: Outgoing) -> str:
    """The text, a menu as lines with numbers. Raises SendRefused for what cannot be shown."""
    lines = [message.text, *(f"{number}. {each.label}" for number, each in enumerate(message.choices, 1))]
    text = clean("\n".join(line for line in (*lines, message.footer) if line))
    if not text.strip() or message.media is not None:
        raise SendRefused(Refusal.BAD_MESSAGE, hint="A bot says words only.")
    text = _ACTIVE.sub("＜", text)
    if size_of(text) > TEXT_BYTES:
        raise SendRefused(Refusal.BAD_MESSAGE, hint=f"An answer has {TEXT_BYTES} bytes at most.")
    return text
