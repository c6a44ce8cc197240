"""The one HTTP client: time limits, size limits, no secrets in errors, and a fence around private networks.

`Http.request` and `Http.stream` are for addresses an operator configured. Addresses that come from outside (links,
avatars, media of contacts) go through `fetch_public`, which connects to public addresses only.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import json
import re
import socket
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import unquote

from yarl import URL

from zhiban.kit.errors import Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass

if TYPE_CHECKING:
    # A tenth of what loading the program takes, certificates among it: not needed before the first request.
    import aiohttp
    from aiohttp.abc import AbstractResolver
    from multidict import CIMultiDictProxy

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
DEFAULT_LIMIT = 8 << 20
DEFAULT_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
MAX_REDIRECTS = 5

_SECRET_VALUES = re.compile(
    r"([?&](?:access_token|suite_access_token|corpsecret|key|code|secret|token|api_key)=)[^&#\s\"']*",
    re.IGNORECASE,
)
_TELEGRAM_TOKEN = re.compile(r"(/bot)\d+:[A-Za-z0-9_-]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def redact(address: object) -> str:
    """The address with the values of secret parameters, and user and password, replaced by `…`."""
    text = _SECRET_VALUES.sub(r"\1…", str(address))
    text = _TELEGRAM_TOKEN.sub(r"\1…", text)
    return re.sub(r"(//)[^/@\s]*@", r"\1…@", text)


class Unreachable(Unavailable):
    """No connection came about, so the request was never sent."""


class MaybeDone(Unavailable):
    """The request was sent and no whole answer came back; it may have been carried out."""


class AnswerTooLarge(Unavailable):
    """The answer is larger than the caller allows."""


class AddressRefused(Unavailable):
    """The address leads into a private network or is no web address, so it is not fetched."""


class NotJson(Unavailable):
    """The answer is not JSON."""


@frozen_dataclass
class HttpResponse:
    """A whole answer. `body` is at most as large as the limit of the request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raw control characters inside strings are tolerated. Raises NotJson."""
        try:
            return json.loads(self.body, strict=False)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"The server answered {self.status} with something that is not JSON.") from error

    @property
    def text(self) -> str:
        """The body as UTF-8, with a mark where it is not."""
        return self.body.decode("utf-8", "replace")


class Stream:
    """An answer whose body is still on its way."""

    def __init__(self, response: aiohttp.ClientResponse, limit: int) -> None:
        self._response = response
        self._limit = limit
        self._peeked = b""
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers

    @property
    def filename(self) -> str | None:
        """The name in Content-Disposition: plain, as `filename*`, or percent-encoded in the plain place."""
        import aiohttp

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header that nobody can read is one without a name
            _kind, parameters = aiohttp.parse_content_disposition(self.headers.get("Content-Disposition"))
        name = aiohttp.content_disposition_filename(parameters, "filename")
        if name and re.search(r"%[0-9A-Fa-f]{2}", name):
            with suppress(UnicodeDecodeError):
                name = unquote(name, errors="strict")
        return name or None

    async def peek(self, size: int) -> bytes:
        """The beginning, up to `size` bytes, which `pieces` will still give. Raises MaybeDone."""
        import aiohttp

        try:
            while len(self._peeked) < size and (piece := await self._response.content.read(size - len(self._peeked))):
                self._peeked += piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MaybeDone(f"The answer broke off: {type(error).__name__}.") from None
        return self._peeked

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises AnswerTooLarge past the limit, MaybeDone when it breaks off."""
        import aiohttp

        seen = len(self._peeked)
        if seen > self._limit:
            raise AnswerTooLarge(f"The answer is larger than {self._limit} bytes.")
        if self._peeked:
            yield self._peeked
        try:
            async for piece in self._response.content.iter_any():
                seen += len(piece)
                if seen > self._limit:
                    raise AnswerTooLarge(f"The answer is larger than {self._limit} bytes.")
                yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MaybeDone(f"The answer broke off: {type(error).__name__}.") from None

    async def body(self) -> bytes:
        """The whole body. Raises as `pieces` does."""
        return b"".join([piece async for piece in self.pieces()])


class Http:
    """One pool of connections. Use it as an async context manager, and share it."""

    def __init__(self, *, connections: int = 100, resolver: AbstractResolver | None = None) -> None:
        self._connections = connections
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._public: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Harmless to repeat."""
        for session in (self._session, self._public):
            if session is not None:
                await session.close()
        self._session = self._public = None

    async def request(
        self,
        method: Method,
        url: str | URL,
        *,
        json: object = None,  # the word callers expect
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        limit: int = DEFAULT_LIMIT,
    ) -> HttpResponse:
        """Send and read the whole answer, whatever its status; redirects are answers too.

        JSON goes out as UTF-8. `timeout` is the longest silence in seconds. Raises Unreachable when nothing was
        sent, MaybeDone when it was, AnswerTooLarge.
        """
        async with self.stream(
            method, url, json=json, params=params, data=data, headers=headers, timeout=timeout, limit=limit
        ) as stream:
            return HttpResponse(stream.status, stream.headers, await stream.body())

    @asynccontextmanager
    async def stream(
        self,
        method: Method,
        url: str | URL,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        limit: int = DEFAULT_LIMIT,
    ) -> AsyncIterator[Stream]:
        """As `request`, with the body still to be read."""
        if self._session is None:
            self._session = self._open(None)
        sent = dict(headers) if headers else {}
        if json is not None:
            data = encoded(json)
            sent.setdefault("Content-Type", "application/json")
        async with _sending(self._session, method, url, params, data, sent, timeout) as response:
            yield Stream(response, limit)

    async def fetch_public(
        self,
        url: str,
        *,
        limit: int = DEFAULT_LIMIT,
        timeout: float = DEFAULT_TIMEOUT,
        allow_private: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """GET an address that somebody outside gave us, following at most five redirects.

        Every address that is really connected to must be public, whatever the name resolved to before. Raises
        AddressRefused, and as `request` does. `allow_private` is for hosts that an operator configured.
        """
        session = self._guarded(allow_private)
        here = url
        for _ in range(MAX_REDIRECTS + 1):
            target = _web_address(here)
            async with _sending(session, "GET", target, None, None, dict(headers or {}), timeout) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    here = _joined(target, response.headers["Location"])
                    continue
                stream = Stream(response, limit)
                return HttpResponse(stream.status, stream.headers, await stream.body())
        raise AddressRefused("The address redirects too often.")

    async def post_public(
        self,
        url: str,
        *,
        data: bytes,
        headers: Mapping[str, str],
        timeout: float = DEFAULT_TIMEOUT,
        limit: int = DEFAULT_LIMIT,
        allow_private: bool = False,
    ) -> HttpResponse:
        """POST to an address that somebody typed in; a redirect is an answer, never followed.

        The address that is really connected to must be public, as with `fetch_public`. Raises AddressRefused, and as
        `request` does.
        """
        target = _web_address(url)
        async with _sending(
            self._guarded(allow_private), "POST", target, None, data, dict(headers), timeout
        ) as response:
            stream = Stream(response, limit)
            return HttpResponse(stream.status, stream.headers, await stream.body())

    def _guarded(self, allow_private: bool) -> aiohttp.ClientSession:
        """The pool behind the fence, or the open one."""
        if allow_private:
            if self._session is None:
                self._session = self._open(None)
            return self._session
        if self._public is None:
            self._public = self._open(_public_socket)
        return self._public

    def _open(self, socket_factory: Any) -> aiohttp.ClientSession:
        import aiohttp

        connector = aiohttp.TCPConnector(
            limit=self._connections,
            keepalive_timeout=30,
            ttl_dns_cache=30,
            resolver=self._resolver,
            socket_factory=socket_factory,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "zhiban"},
            trust_env=False,
        )


def encoded(value: object) -> bytes:
    """Compact JSON as UTF-8, never `\\uXXXX`: vendors count bytes, and some refuse the escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@functools.lru_cache(maxsize=64)
def _limits(timeout: float) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(
        total=max(60.0, timeout * 4), connect=None, sock_connect=CONNECT_TIMEOUT, sock_read=timeout
    )


@asynccontextmanager
async def _sending(
    session: aiohttp.ClientSession,
    method: Method,
    url: str | URL,
    params: Mapping[str, str] | None,
    data: bytes | None,
    headers: dict[str, str],
    timeout: float,
) -> AsyncIterator[aiohttp.ClientResponse]:
    import aiohttp

    try:
        response = await session.request(
            method,
            url,
            params=params,
            data=data,
            headers=headers,
            timeout=_limits(timeout),
            allow_redirects=False,
        )
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, _PrivateAddressError):
            raise AddressRefused(f"{redact(url)} leads into a private network.") from None
        # The library's own words carry the whole address, so they are not passed on.
        raise Unreachable(f"{redact(url)} cannot be reached: {error.os_error.strerror or 'no answer'}.") from None
    except (aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        raise Unreachable(f"{redact(url)} cannot be reached: {type(error).__name__}.") from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise MaybeDone(f"{redact(url)} did not answer: {type(error).__name__}.") from None
    try:
        yield response
    finally:
        response.release() if response.content.at_eof() else response.close()


# ---------------------------------------------------------------------------------- the fence of private networks


class _PrivateAddressError(OSError):
    pass


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that is about to be connected to: after resolving, so rebinding cannot slip by."""
    family, kind, protocol, _name, sockaddr = info
    if not is_public(str(sockaddr[0])):
        raise _PrivateAddressError(errno.EACCES, "not a public address")
    return socket.socket(family=family, type=kind, proto=protocol)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also when wrapped in a transition address of IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _web_address(address: str) -> URL:
    try:
        url = URL(address)
    except ValueError:
        raise AddressRefused("This is not a web address.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise AddressRefused("Only http:// and https:// addresses are fetched.")
    return url.with_user(None)


def _joined(base: URL, location: str) -> str:
    try:
        return str(base.join(URL(location)))
    except ValueError:
        raise AddressRefused("The address redirects to something that is no address.") from None
