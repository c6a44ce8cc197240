"""智能机器人 of the simulated platform: callbacks in JSON, streams that are fetched, and addresses that serve once.

As strict as the documents are, and where they are silent the stricter reading: a reply that is not sealed with the
nonce of its own call, that is over-long, or that belongs to no open stream shows nothing; a member has three
interactions at once; an address takes one answer, within an hour.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import aiohttp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from zhiban.testing.wecom.callbacks import Envelope, Target
from zhiban.testing.wecom.wire import Call, CallHandler, Complaint, Json, Raw, SimClock, bad, fits, ok

CONTENT_BYTES = 20_480
ADDRESS_LIFE = 3600.0
STREAM_LIFE = 360.0  # from the member's message on
MEDIA_LIFE = 300.0
AT_ONCE = 3  # interactions of one member with one bot
CALL_TIMEOUT = 5.0
RESPONSE = "https://qyapi.weixin.qq.com/cgi-bin/aibot/response"


@dataclass(slots=True)
class Shown:
    """What a chat shows of the bot. `how`: by a stream, by an address, or as its greeting."""

    at: float
    chat: str
    how: str
    text: str
    answers: str = ""  # the msgid


@dataclass(slots=True)
class Interaction:
    """A message of a member, and what may still be said to it."""

    msgid: str
    chat: str
    member: str
    began: float
    said: Json
    code: str
    stream: str = ""
    finished: bool = False
    used: bool = False


class BotDelivered(Exception):
    """The reply to a callback is none that the platform takes."""


@dataclass(slots=True)
class SimulatedBot:
    """One bot and the chats it is in."""

    clock: SimClock
    name: str = "值班助手"
    aibotid: str = "aibSIM0001"
    poll_every: float = 0.05
    polls: bool = True
    shown: list[Shown] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # replies of ours that showed nothing, and why
    statuses: list[int | None] = field(default_factory=list)
    interactions: dict[str, Interaction] = field(default_factory=dict)
    files: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    file_base: str = ""
    _envelope: Envelope | None = None
    _client: aiohttp.ClientSession | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _count: int = 0

    # -------------------------------------------------------------------------------------------------- setting up

    def configure(self, url: str, *, token: str, aes_key: str) -> None:
        """Send callbacks there from now on. They name no receiver."""
        self._envelope = Envelope(Target(url, token, aes_key, "", 0))

    @property
    def envelope(self) -> Envelope:
        if self._envelope is None:
            raise RuntimeError("no callback address is configured")
        return self._envelope

    async def verify(self) -> str:
        """Press "save" on the bot's page. Raises RuntimeError when the address does not prove itself."""
        query = self.envelope.check("7215034476110938421", timestamp=int(self.clock.now()), nonce=self._nonce())
        async with self._session().get(f"{self.envelope.target.url}?{query}") as answer:
            found = await answer.text()
        if answer.status != 200 or found != "7215034476110938421":
            raise RuntimeError(f"the callback address answered {answer.status} and not the echo")
        return found

    # ------------------------------------------------------------------------------------------------ what people do

    def message(self, member: str, text: str, *, chat: str = "", quote: Json | None = None, **more: Any) -> Json:
        """A message as a callback says it: to the bot alone, or into a group where it names the bot."""
        self._count += 1
        if chat and text:
            text = f"@{self.name} {text}"
        said: Json = {
            "msgid": f"CAQ{self._count:06d}",
            "aibotid": self.aibotid,
            "chattype": "group" if chat else "single",
            "from": {"userid": member},
            "response_url": f"{RESPONSE}?{urlencode({'response_code': f'RC-{self._count:06d}'})}",
            "msgtype": "text",
            "text": {"content": text},
        }
        if chat:
            said["chatid"] = chat
        if quote:
            said["quote"] = quote
        return {**said, **more}

    async def says(self, member: str, text: str, *, chat: str = "", quote: str = "", **more: Any) -> str:
        """A member says something to the bot; returns the msgid. Raises RuntimeError when three are open already."""
        quoted = {"msgtype": "text", "text": {"content": quote}} if quote else None
        return await self.sends(self.message(member, text, chat=chat, quote=quoted, **more))

    async def sends(self, said: Json) -> str:
        """Any message, as a callback; returns its msgid."""
        made = self.begin(said)
        reply = await self._call(said)
        if reply is not None:
            self._take(made, reply)
        if made.stream and not made.finished and self.polls:
            self._start(self._poll(made))
        return made.msgid

    def begin(self, said: Json) -> Interaction:
        """Somebody has sent this; nothing was called yet. Raises RuntimeError when three are open already."""
        member = said["from"]["userid"]
        still = [one for one in self.interactions.values() if one.member == member and self._is_open(one)]
        if len(still) >= AT_ONCE:
            raise RuntimeError(f"{member} has {AT_ONCE} interactions with the bot already")
        chat = said.get("chatid") or member
        code = parse_qs(said["response_url"].partition("?")[2])["response_code"][0]
        made = Interaction(said["msgid"], chat, member, self.clock.now(), said, code)
        self.interactions[made.msgid] = made
        return made

    async def repeats(self, msgid: str) -> None:
        """The platform believes that its call did not arrive, and makes it again."""
        await self._call(self.interactions[msgid].said)

    async def enters(self, member: str) -> None:
        """A member opens the chat with the bot, for the first time that day."""
        self._count += 1
        said = {
            "msgid": f"EVT{self._count:06d}",
            "create_time": int(self.clock.now()),
            "aibotid": self.aibotid,
            "from": {"userid": member},
            "msgtype": "event",
            "event": {"eventtype": "enter_chat"},
        }
        reply = await self._call(said)
        if reply is None:
            return
        if reply.get("msgtype") not in ("text", "template_card"):
            self.refused.append("welcome: only a text or a card")
            return
        self.shown.append(Shown(self.clock.now(), member, "greeting", reply["text"]["content"]))

    def stores(self, data: bytes) -> str:
        """A file that somebody sends; returns its address, good for five minutes. It is enciphered with the key."""
        name = f"f{len(self.files) + 1}"
        key = base64.b64decode(self.envelope.target.encoding_aes_key + "=")
        fill = 32 - len(data) % 32
        cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        sealed = cipher.update(data + bytes([fill]) * fill) + cipher.finalize()
        self.files[name] = (self.clock.now() + MEDIA_LIFE, sealed)
        return f"{self.file_base}/cgi-bin/bot_file?name={name}"

    # ---------------------------------------------------------------------------------------------------- looking on

    def sees(self, chat: str) -> list[str]:
        """What the chat shows of the bot."""
        return [one.text for one in self.shown if one.chat == chat]

    async def settle(self) -> None:
        """Wait until no stream is open."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    # ------------------------------------------------------------------------------------------------------ endpoints

    def open_handlers(self) -> dict[str, CallHandler]:
        """Endpoints that need no access token: the code is the only secret."""
        return {"aibot/response": self._response, "bot_file": self._file}

    def _response(self, call: Call) -> Json:
        code = call.query.get("response_code", "")
        found = next((one for one in self.interactions.values() if one.code == code), None)
        if found is None or self.clock.now() > found.began + ADDRESS_LIFE:
            raise Complaint(60140, "invalid response_code")
        if found.used:
            raise Complaint(60140, "response_code has been used")
        if call.body.get("msgtype") not in ("markdown", "template_card"):
            raise Complaint(40008, "invalid message type")
        if call.body["msgtype"] == "template_card":
            raise bad("template_card")
        inner = call.body.get("markdown")
        if not isinstance(inner, dict):
            raise bad("markdown")
        text = fits(inner.get("content"), CONTENT_BYTES, "markdown content", least=1)
        found.used = True
        self.shown.append(Shown(self.clock.now(), found.chat, "address", text, found.msgid))
        return ok()

    def _file(self, call: Call) -> Raw:
        until, data = self.files.get(call.query.get("name", ""), (0.0, b""))
        if self.clock.now() > until:
            return Raw(b"<Error><Code>AccessDenied</Code></Error>", 403, {"content-type": "application/xml"})
        return Raw(data, 200, {"content-type": "application/octet-stream"})

    # --------------------------------------------------------------------------------------------------------- inside

    def _is_open(self, one: Interaction) -> bool:
        return bool(one.stream) and not one.finished and self.clock.now() <= one.began + STREAM_LIFE

    def _take(self, interaction: Interaction, reply: Json) -> None:
        """Show what a reply says, if it is one that the platform takes."""
        if reply.get("msgtype") != "stream" or not isinstance(reply.get("stream"), dict):
            self.refused.append("no stream")
            return
        stream = reply["stream"]
        id_, content, finish = stream.get("id"), stream.get("content", ""), stream.get("finish", False)
        if not isinstance(id_, str) or not id_ or len(id_.encode()) > 256:
            self.refused.append("stream.id")
        elif interaction.stream and id_ != interaction.stream:
            self.refused.append("another stream")
        elif not isinstance(content, str) or len(content.encode()) > CONTENT_BYTES:
            self.refused.append("content exceed max length")
        elif not isinstance(finish, bool):
            self.refused.append("stream.finish")
        elif interaction.finished:
            self.refused.append("the stream is finished")
        else:
            interaction.stream = id_
            interaction.finished = finish
            if finish and content:
                self.shown.append(Shown(self.clock.now(), interaction.chat, "stream", content, interaction.msgid))

    async def _poll(self, interaction: Interaction) -> None:
        """Ask for the rest of a stream until it is finished, six minutes at most."""
        while self._is_open(interaction):
            await asyncio.sleep(self.poll_every)
            said = {
                key: value
                for key, value in interaction.said.items()
                if key in ("aibotid", "chatid", "chattype", "from")
            }
            self._count += 1
            poll = {**said, "msgid": f"P{self._count:06d}", "msgtype": "stream", "stream": {"id": interaction.stream}}
            reply = await self._call(poll)
            if reply is not None:
                self._take(interaction, reply)

    async def _call(self, said: Json) -> Json | None:
        """One callback. Its reply, opened, None for an empty one; three attempts where nobody answers."""
        for _ in range(3):
            nonce = self._nonce()
            query, sealed = self.call_for(said, nonce=nonce)
            try:
                async with self._session().post(f"{self.envelope.target.url}?{query}", data=sealed) as answer:
                    body = await answer.read()
                    self.statuses.append(answer.status)
                    if answer.status != 200:
                        continue
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.statuses.append(None)
                continue
            if not body:
                return None
            try:
                return self.opened(body, nonce)
            except (BotDelivered, ValueError) as error:
                self.refused.append(str(error))
                return None
        return None

    def call_for(self, said: Json, *, nonce: str) -> tuple[str, bytes]:
        """Query string and body of one callback."""
        encrypt = self.envelope.encrypt(json.dumps(said, ensure_ascii=False))
        timestamp = str(int(self.clock.now()))
        signature = self.envelope.sign(encrypt, timestamp, nonce)
        query = urlencode({"msg_signature": signature, "timestamp": timestamp, "nonce": nonce})
        return query, json.dumps({"encrypt": encrypt}).encode()

    def opened(self, body: bytes, nonce: str) -> Json:
        """A reply of ours, proven genuine. Raises BotDelivered."""
        found = json.loads(body)
        encrypt, signature = found.get("encrypt"), found.get("msgsignature")
        if found.get("nonce") != nonce or type(found.get("timestamp")) is not int:
            raise BotDelivered("nonce or timestamp")
        if self.envelope.sign(encrypt, str(found["timestamp"]), nonce) != signature:
            raise BotDelivered("signature")
        key = base64.b64decode(self.envelope.target.encoding_aes_key + "=")
        cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        padded = cipher.update(base64.b64decode(encrypt)) + cipher.finalize()
        plain = padded[: -padded[-1]]
        (length,) = struct.unpack_from(">I", plain, 16)
        if plain[20 + length :] != b"":
            raise BotDelivered("receiver")
        reply: Json = json.loads(plain[20 : 20 + length])
        return reply

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT))
        return self._client

    def _nonce(self) -> str:
        self._count += 1
        return hashlib.sha256(str(self._count).encode()).hexdigest()[:10]
