"""One connection to a gateway: calls with a time limit, the stream of events, files, and what errors mean."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from zhiban.integrations.wechaty.config import WechatyConfig
from zhiban.integrations.wechaty.protocol import STREAMED_ANSWER, STREAMED_REQUEST, Wire, wire
from zhiban.kit.background_tasks import raise_if_cancelled
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.http import is_public
from zhiban.kit.text import clean
from zhiban.ports import ConnectionBroken, Refusal, SendRefused, TryLater

log = logging.getLogger(__name__)

TIMEOUT: Final = 15.0
CONNECT_SECONDS: Final = 5.0
PROBE_EVERY: Final = 30.0
PROBE_SECONDS: Final = 10.0
FILE_SECONDS: Final = 120.0
CHUNK_BYTES: Final = 256 << 10
DOWN_SECONDS: Final = 2.0  # a gateway that could not be reached is not tried for so long: all who wait would wait again

# A gateway that froze is noticed in half a minute, with these; with gRPC's own times it took 78 seconds.
_KEEPALIVE: Final = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


@frozen_dataclass
class GatewayEvent:
    """One event of the stream: its type in the protocol, what its JSON says, and its number at gateways that count."""

    type: int
    payload: Mapping[str, Any]
    number: int = 0

    def words(self, name: str) -> str:
        """What it says under this name; empty where those are no words."""
        found = self.payload.get(name)
        return clean(found) if isinstance(found, str) else ""

    def several(self, name: str) -> list[str]:
        """Words of which there are several."""
        found = self.payload.get(name)
        return [clean(each) for each in found if isinstance(each, str) and each] if isinstance(found, list) else []


class GatewayClient:
    """Speaks to one gateway. Opened by its first call; the connection is closed with the object."""

    def __init__(
        self, config: WechatyConfig, *, probe_every: float = PROBE_EVERY, probe_seconds: float = PROBE_SECONDS
    ) -> None:
        self._config = config
        self._probe_every = probe_every
        self._probe_seconds = probe_seconds
        self._wire: Wire | None = None
        self._channel: Any = None
        self._opening = asyncio.Lock()
        self._down_until = 0.0
        self._metadata = (("authorization", f"Wechaty {config.token.get_secret_value()}"),)

    async def close(self) -> None:
        """Cut the connection. The account stays logged in: neither Stop nor Logout is ever called."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    # ------------------------------------------------------------------------------------------------------- calls

    async def call(self, name: str, *, timeout: float = TIMEOUT, **fields: Any) -> Any:
        """The answer to one call. Raises SendRefused, TryLater (`unknown` once it was sent), ConnectionBroken."""
        opened, stub = await self._stub(name)
        request = opened.messages[f"{name}Request"](**fields)
        try:
            return await stub(request, timeout=timeout, metadata=self._metadata)
        except opened.grpc.aio.AioRpcError as error:
            raise _meaning(opened, error, name) from None

    async def upload(self, data: bytes) -> str:
        """Hand over a file in pieces; the gateway's name for it. Raises as `call`."""
        opened, stub = await self._stub("Upload")
        piece = opened.messages["UploadRequest"]

        async def pieces() -> AsyncIterator[Any]:
            for start in range(0, len(data), CHUNK_BYTES):
                yield piece(chunk=data[start : start + CHUNK_BYTES])

        try:
            answer = await stub(pieces(), timeout=FILE_SECONDS, metadata=self._metadata)
        except opened.grpc.aio.AioRpcError as error:
            raise _meaning(opened, error, "Upload") from None
        return str(answer.id)

    async def download(self, name: str) -> AsyncIterator[bytes]:
        """A file of the gateway in pieces. Raises as `call`."""
        opened, stub = await self._stub("Download")
        stream = stub(opened.messages["DownloadRequest"](id=name), timeout=FILE_SECONDS, metadata=self._metadata)
        try:
            async for piece in stream:
                yield bytes(piece.chunk)
        except opened.grpc.aio.AioRpcError as error:
            raise _meaning(opened, error, "Download") from None
        finally:
            stream.cancel()

    # ------------------------------------------------------------------------------------------------------ events

    async def events(self, after: int = 0, account: str = "") -> AsyncIterator[GatewayEvent]:
        """What happens at the gateway from now on, the first being that the stream is open. A gateway that counts its
        events is asked for those behind the number `after` of this account, too.

        The account is started once it is. Ends only by raising TryLater or ConnectionBroken.
        """
        opened, stub = await self._stub("Event")
        stream = stub(opened.messages["EventRequest"](seq=after, account_id=account), metadata=self._metadata)
        probing = asyncio.create_task(self._probe(stream), name="gateway probe")
        started: asyncio.Task[Any] | None = None
        try:
            async for event in stream:
                # Only now: what happens between the start and the stream would be told to nobody.
                started = started or asyncio.create_task(self._start(), name="gateway start")
                yield GatewayEvent(int(event.type), _payload(event.payload), int(event.seq))
        except opened.grpc.aio.AioRpcError as error:
            raise _lost(opened, error) from None
        except asyncio.CancelledError:
            raise_if_cancelled()
            # Nobody cancelled us: the probe cut the stream, or the connection was closed.
            raise TryLater("The gateway does not answer any more.", after=1.0, unknown=True) from None
        finally:
            stream.cancel()
            for task in (probing, started):
                if task is not None:
                    task.cancel()
        raise TryLater("The gateway ended the stream of events.", after=1.0)

    async def _start(self) -> None:
        try:
            await self.call("Start", timeout=30.0)
        except (SendRefused, TryLater, ConnectionBroken) as error:
            # It may be started already and say so by an error; if it is not, its events will show it.
            log.info("The gateway %s did not start its account: %s", self._config.source, error.sentence)

    async def _probe(self, stream: Any) -> None:
        """Ask every half minute, in the protocol itself: a gateway may hang behind a connection that lives."""
        while True:
            await asyncio.sleep(self._probe_every)
            try:
                await self.call("Ding", timeout=self._probe_seconds, data="zhiban")
            except SendRefused:
                continue  # it answered
            except (TryLater, ConnectionBroken):
                stream.cancel()
                return

    # -------------------------------------------------------------------------------------------------- connecting

    async def _stub(self, name: str) -> tuple[Wire, Any]:
        """What makes the call, over a connection that stands. Raises TryLater (nothing was sent), ConnectionBroken."""
        if self._wire is None:
            self._wire = await asyncio.to_thread(wire)
        opened = self._wire
        async with self._opening:
            if self._channel is None:
                if time.monotonic() < self._down_until:
                    raise TryLater("The gateway cannot be reached.", after=DOWN_SECONDS)
                self._channel = await self._open(opened)
            await self._ready(opened)
            channel = self._channel
        make = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
        }[name in STREAMED_REQUEST, name in STREAMED_ANSWER]
        stub = make(
            opened.path(name),
            request_serializer=opened.messages[f"{name}Request"].SerializeToString,
            response_deserializer=opened.messages[f"{name}Response"].FromString,
        )
        return opened, stub

    async def _open(self, opened: Wire) -> Any:
        options: list[tuple[str, Any]] = list(_KEEPALIVE)
        target = await self._target()
        if not self._config.tls:
            return opened.grpc.aio.insecure_channel(target, options=options)
        options.append(("grpc.ssl_target_name_override", self._config.certified_name))
        credentials = opened.grpc.ssl_channel_credentials(root_certificates=self._config.ca.encode() or None)
        return opened.grpc.aio.secure_channel(target, credentials, options=options)

    async def _target(self) -> str:
        """Where to connect: to a public address, unless the operator allowed this host."""
        host, port = self._config.host, self._config.port
        if host in self._config.private_hosts:
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise TryLater("The name of the gateway's host is not known.", after=10.0) from None
        addresses = [str(info[4][0]) for info in found]
        if not addresses or not all(is_public(each) for each in addresses):
            raise ConnectionBroken(
                "The gateway lies in a private network",
                code=0,
                hint="The operator has to allow its host: zhiban inbox add wechaty --private-hosts.",
            )
        # The address that was looked at, not the name, which might lead elsewhere the next time.
        first = addresses[0]
        return f"ipv6:[{first}]:{port}" if ":" in first else f"ipv4:{first}:{port}"

    async def _ready(self, opened: Wire) -> None:
        """A call that finds no connection was not sent, so it may be made again; later nobody can tell."""
        ready = opened.grpc.ChannelConnectivity.READY
        if self._channel.get_state(try_to_connect=True) is ready:
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._channel.channel_ready()
        except TimeoutError:
            # What it tried may lead nowhere for minutes; the next call begins anew, with the name's address of then.
            await self.close()
            self._down_until = time.monotonic() + DOWN_SECONDS
            raise TryLater("The gateway cannot be reached.", after=DOWN_SECONDS) from None


def _payload(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def moment(stamp: Any, *, now: datetime) -> datetime:
    """A time of the protocol; what is missing, impossible or to come is now."""
    try:
        found = datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, UTC)
    except (OverflowError, OSError, ValueError):
        return now
    return min(found, now) if stamp.seconds > 0 else now


# The words of an error carry stacks of the gateway, and even the token: they are looked at, and never told or stored.
_ABSENT = ("not logged", "logout", "logged out", "no login", "not login", "offline", "no user", "currentuserid")
_UNABLE = re.compile(r"unsupported|not (?:be )?support|not (?:be )?implement|unimplemented")


def _meaning(opened: Wire, error: Any, name: str) -> SendRefused | TryLater | ConnectionBroken:
    """What a failed call means. The gateway answers whatever went wrong in it with UNKNOWN."""
    code, status = error.code(), opened.grpc.StatusCode
    number = int(code.value[0])
    if code in (status.UNAUTHENTICATED, status.PERMISSION_DENIED):
        return _refused_token(number)
    if code in (status.RESOURCE_EXHAUSTED, status.ABORTED):
        return TryLater("The gateway is busy.", after=2.0, code=number)
    if code in (status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED, status.INTERNAL, status.DATA_LOSS):
        return TryLater("The gateway did not answer.", after=2.0, unknown=True, code=number)
    if code is status.UNIMPLEMENTED:
        return SendRefused(Refusal.KIND_FORBIDDEN, code=number, hint=f"The gateway does not know {name}.")
    words = str(error.details() or "").lower()
    if any(sign in words for sign in _ABSENT):
        return TryLater("The gateway's account is not logged in.", after=10.0, code=number)
    if _UNABLE.search(words):
        return SendRefused(Refusal.KIND_FORBIDDEN, code=number, hint=f"The account's protocol has no {name}.")
    return SendRefused(Refusal.UNKNOWN, code=number, hint="The gateway could not do it.")


def _lost(opened: Wire, error: Any) -> TryLater | ConnectionBroken:
    """Why the stream of events ended; `unknown` when it may have been dead for a while."""
    code, status = error.code(), opened.grpc.StatusCode
    if code in (status.UNAUTHENTICATED, status.PERMISSION_DENIED):
        return _refused_token(int(code.value[0]))
    if code is status.ALREADY_EXISTS:
        return TryLater("Another program listens to the gateway.", after=1.0, code=int(code.value[0]))
    frozen = "ping" in str(error.details() or "").lower() or "keepalive" in str(error.details() or "").lower()
    return TryLater("The connection to the gateway was lost.", after=1.0, unknown=frozen, code=int(code.value[0]))


def _refused_token(code: int) -> ConnectionBroken:
    return ConnectionBroken("The gateway does not accept our token", code=code, hint="Compare it with WECHATY_TOKEN.")
