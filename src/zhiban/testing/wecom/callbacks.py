"""Encrypted callbacks as the platform makes them: real signatures, five seconds of patience, three attempts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlencode

import aiohttp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from zhiban.testing.wecom.wire import SimClock


@dataclass(slots=True)
class Delivery:
    """How one callback went."""

    at: float
    document: str
    statuses: list[int | None]
    pause: float = 0.0  # seconds it was held back first


@dataclass(slots=True)
class Target:
    """Where callbacks go and how they are sealed."""

    url: str
    token: str
    encoding_aes_key: str
    receive_id: str
    agent_id: int


class Envelope:
    """Seals documents. Written apart from the product's own cryptography, so that one can prove the other."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._key = base64.b64decode(target.encoding_aes_key + "=")

    def encrypt(self, document: str) -> str:
        message = document.encode()
        plain = os.urandom(16) + struct.pack(">I", len(message)) + message + self.target.receive_id.encode()
        fill = 32 - len(plain) % 32
        cipher = Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16])).encryptor()
        return base64.b64encode(cipher.update(plain + bytes([fill]) * fill) + cipher.finalize()).decode("ascii")

    def sign(self, encrypt: str, timestamp: str, nonce: str) -> str:
        parts = sorted([self.target.token, timestamp, nonce, encrypt])
        return hashlib.sha1("".join(parts).encode(), usedforsecurity=False).hexdigest()

    def post(self, document: str, *, timestamp: int, nonce: str) -> tuple[str, bytes]:
        """Query string and body of one callback."""
        encrypt = self.encrypt(document)
        query = urlencode(
            {
                "msg_signature": self.sign(encrypt, str(timestamp), nonce),
                "timestamp": timestamp,
                "nonce": nonce,
            }
        )
        body = (
            f"<xml><ToUserName><![CDATA[{self.target.receive_id}]]></ToUserName>"
            f"<AgentID><![CDATA[{self.target.agent_id}]]></AgentID>"
            f"<Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
        )
        return query, body.encode()

    def check(self, echo: str, *, timestamp: int, nonce: str) -> str:
        """Query string of the verification call."""
        encrypt = self.encrypt(echo)
        return urlencode(
            {
                "msg_signature": self.sign(encrypt, str(timestamp), nonce),
                "timestamp": timestamp,
                "nonce": nonce,
                "echostr": encrypt,
            }
        )


class Callbacks:
    """The post office; its settings make it misbehave as the platform may.

    `times` copies of each callback are delivered, each on its own way: up to `attempts` times, `retry_pause` seconds
    apart, with `patience` seconds for an answer. `delay` holds every copy back for so long. With `shuffle` each copy is
    further held back for a time drawn by lot, up to `spread` seconds: copies of one callback overtake each other, and
    those of others, in an order that `seed` decides.
    """

    def __init__(self, clock: SimClock, *, seed: int = 11) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._envelope: Envelope | None = None
        self._client: aiohttp.ClientSession | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self.attempts = 3
        self.patience = 5.0
        self.retry_pause = 1.0
        self.times = 1
        self.shuffle = False
        self.spread = 0.5
        self.delay = 0.0
        self.silent = False
        self.log: list[Delivery] = []
        self.keep_log = True

    def seed(self, seed: int) -> None:
        """From now on chance falls as this number decides."""
        self._random.seed(seed)

    def aim(self, target: Target) -> None:
        self._envelope = Envelope(target)

    @property
    def envelope(self) -> Envelope:
        if self._envelope is None:
            raise RuntimeError("no callback address is configured")
        return self._envelope

    def send(self, document: str) -> None:
        """Deliver in the background. Nothing happens while no address is configured or `silent` is set."""
        if self._envelope is None or self.silent:
            return
        for _ in range(self.times):
            pause = self.delay + (self._random.uniform(0, self.spread) if self.shuffle else 0.0)
            task = asyncio.get_running_loop().create_task(self._deliver(self._envelope, document, pause))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def disorder(self) -> int:
        """How often a copy left after the one that was handed in right behind it."""
        left = [entry.at + entry.pause for entry in self.log]
        return sum(before > after for before, after in pairwise(left))

    async def verify(self) -> str:
        """The GET call that saving the address makes. Returns what was answered; raises RuntimeError otherwise."""
        echo = str(self._random.randrange(10**18, 10**19))
        query = self.envelope.check(echo, timestamp=int(self._clock.now()), nonce=self._nonce())
        async with self._session().get(f"{self.envelope.target.url}?{query}") as answer:
            found = await answer.text()
        if answer.status != 200 or found != echo:
            raise RuntimeError(f"the callback address answered {answer.status} and not the echo")
        return found

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def close(self) -> None:
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _deliver(self, envelope: Envelope, document: str, pause: float) -> None:
        delivery = Delivery(self._clock.now(), document, [], pause)
        if self.keep_log:
            self.log.append(delivery)
        if pause:
            await asyncio.sleep(pause)
        for attempt in range(self.attempts):
            if attempt:
                await asyncio.sleep(self.retry_pause)
            status = await self._attempt(envelope, document)
            delivery.statuses.append(status)
            if status == 200:
                return

    async def _attempt(self, envelope: Envelope, document: str) -> int | None:
        query, body = envelope.post(document, timestamp=int(self._clock.now()), nonce=self._nonce())
        try:
            async with self._session().post(
                f"{envelope.target.url}?{query}", data=body, headers={"Content-Type": "text/xml"}
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self.patience),
                connector=aiohttp.TCPConnector(limit=200),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._client

    def _nonce(self) -> str:
        return str(self._random.randrange(10**8, 10**10))


def document(fields: Mapping[str, str | int | list[str] | tuple[str, ...]]) -> str:
    """`<xml>` as the platform writes it. A list repeats its node, a tuple becomes the `Item`s of one."""
    parts: list[str] = []
    for name, value in fields.items():
        if isinstance(value, tuple):
            parts.append(f"<{name}>{''.join(f'<Item>{one}</Item>' for one in value)}</{name}>")
            continue
        for one in value if isinstance(value, list) else [value]:
            text = str(one) if isinstance(one, int) else f"<![CDATA[{one.replace(']]>', ']]]]><![CDATA[>')}]]>"
            parts.append(f"<{name}>{text}</{name}>")
    return f"<xml>{''.join(parts)}</xml>"
