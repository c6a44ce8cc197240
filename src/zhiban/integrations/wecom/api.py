"""Calling WeCom's API: the access token, one retry with a new one, bounded waiting, typed failures."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import secrets
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from yarl import URL

from zhiban.integrations.wecom.config import WECOM_API
from zhiban.integrations.wecom.errors import (
    BUSY_CODES,
    MEDIA_TOO_BIG,
    TOKEN_CODES,
    TOO_OFTEN,
    blocked_for,
    errcode,
    error_for,
)
from zhiban.integrations.wecom.tokens import MemoryTokens, access_token
from zhiban.integrations.wecom.values import number, text_of
from zhiban.kit.breaker import LocalBreakers, Paused, Pauses
from zhiban.kit.http import AnswerTooLarge, Http, HttpResponse, MaybeDone, NotJson, Stream, Unreachable
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.ports import (
    AccessToken,
    Breakers,
    ConnectionBroken,
    MediaDownload,
    Refusal,
    SendRefused,
    TokenStore,
    TryLater,
)

ATTEMPTS: Final = 3
TIMEOUT: Final = 15.0
ANSWER_LIMIT: Final = 8 << 20
CHUNK: Final = 4 << 20  # a multiple of 16, as encrypted resources demand
_CREDENTIAL_CODES = frozenset({40001, 40013, 40091, 60020, 50003})
# A limit names its own pause; a platform that does not answer is asked again soon, after five calls have shown it.
_LIMIT: Final = Pauses(longest=3600.0, probe=TIMEOUT * ATTEMPTS + 5)
_OUTAGE: Final = Pauses(first=1.0, longest=30.0, threshold=5, probe=_LIMIT.probe)
# Asking again and again with a wrong secret gets the whole address blocked for an hour.
_CREDENTIALS: Final = Pauses(first=60.0, longest=60.0, probe=TIMEOUT + 5)
_SENTENCE = re.compile(r"(?s)(.*?) \((-?\d+)\)\.?\s*(.*)")
_SMALL_ERROR = 16 << 10
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+)")


class WeComApi:
    """One app's access to the API. Share it between everything that uses the same secret."""

    def __init__(
        self,
        http: Http,
        corp_id: str,
        secret: str,
        base: str = WECOM_API,
        tokens: TokenStore | None = None,
        *,
        breakers: Breakers | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.corp_id = corp_id
        self._http = http
        self._secret = secret
        self._base = base.rstrip("/")
        self._tokens: TokenStore = tokens if tokens is not None else MemoryTokens()
        self._sleep = sleep
        self._breakers: Breakers = breakers if breakers is not None else LocalBreakers()
        self._addresses: dict[str, URL] = {}
        self._addresses_token = ""
        # A secret that was corrected must not inherit the pause of the wrong one.
        self._credentials = f"gettoken:{hashlib.sha256(secret.encode()).hexdigest()[:8]}"

    async def call(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        *,
        account: str = "",
    ) -> dict[str, Any]:
        """POST `body` (GET without one) and return the answer's JSON.

        A refused token is renewed and the call repeated exactly once; a busy vendor is asked three times at most.
        After a limit, or when nothing is answered any more, calls of this path (and of this account, where one is
        named) pause for everybody. Raises SendRefused, TryLater or ConnectionBroken.
        """
        code, answer = await self.attempt(path, body, params, account=account)
        if code:
            raise error_for(code, text_of(answer, "errmsg"))
        return answer

    async def attempt(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        *,
        account: str = "",
        repeating: Callable[[], None] = lambda: None,
    ) -> tuple[int, dict[str, Any]]:
        """As `call`, returning the error code beside the answer, for callers who know what a code means to them.

        `repeating` is called before a request is sent again that a busy vendor may have carried out.
        """

        async def once(token: str) -> tuple[int, dict[str, Any]]:
            if body is None:
                answer = await self._exchange("GET", self._address(path, token), params=params)
            else:
                answer = await self._exchange("POST", self._address(path, token), json=body, params=params)
            found = _object(answer)
            return errcode(found), found

        async def patiently() -> tuple[int, dict[str, Any]]:
            code, answer = await self._with_token(once)
            for attempt in range(1, ATTEMPTS):
                if code not in BUSY_CODES:
                    break
                await self._sleep(random.uniform(0.1, 0.4) * 2**attempt)  # noqa: S311 - jitter
                repeating()
                code, answer = await self._with_token(once)
            return code, answer

        return await self._guarded(f"{path}:{account}" if account else path, patiently)

    async def ration(self, key: str, *, every: float) -> None:
        """Take the one call of this kind that we allow ourselves in `every` seconds. Raises TryLater."""
        left = await self._breakers.spend(key, every=every)
        if left > 0:
            raise TryLater(f"We call {key} once in {every:.0f} seconds at most.", after=left, code=TOO_OFTEN)

    async def _guarded(
        self, key: str, make: Callable[[], Awaitable[tuple[int, dict[str, Any]]]]
    ) -> tuple[int, dict[str, Any]]:
        """Make a call unless calls of this kind are paused, and learn from how it ended."""
        await self._admit(key)
        try:
            code, answer = await make()
        except TryLater as error:
            pause = await self._breakers.failed(key, _OUTAGE, reason=error.sentence)
            error.after = max(error.after, pause)
            raise
        except BaseException:
            await self._breakers.abandoned(key)
            raise
        if code == TOO_OFTEN:
            raise await self._limited(key, answer)
        if code in BUSY_CODES:
            await self._breakers.failed(key, _OUTAGE, reason=f"WeCom is busy ({code}).")
        else:
            await self._breakers.succeeded(key)
        return code, answer

    async def _limited(self, key: str, answer: Mapping[str, Any]) -> TryLater:
        """Pause this kind of call for as long as WeCom blocks it."""
        error = _too_often(key)
        asked = blocked_for(text_of(answer, "errmsg"))
        error.after = await self._breakers.failed(key, _LIMIT, asked=asked, reason=error.sentence)
        return error

    async def _admit(self, key: str) -> None:
        try:
            await self._breakers.admit(key, _LIMIT)
        except Paused as paused:
            error = _too_often(key)
            if paused.reason != error.sentence:
                raise TryLater(paused.reason, after=paused.after) from None
            error.after = paused.after
            raise error from None

    async def upload(self, kind: str, data: bytes, *, filename: str, content_type: str) -> str:
        """Store a file for three days and return its media id. Raises as `call` does."""
        path = "media/upload"
        boundary, form = multipart(data, filename=filename, content_type=content_type)

        async def once(token: str) -> tuple[int, dict[str, Any]]:
            answer = _object(
                await self._exchange(
                    "POST",
                    self._address(path, token),
                    params={"type": kind},
                    data=form,
                    headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
                )
            )
            return errcode(answer), answer

        code, answer = await self._guarded(path, lambda: self._with_token(once))
        if code:
            raise error_for(code, text_of(answer, "errmsg"))
        media_id = text_of(answer, "media_id")
        if not media_id:
            raise TryLater("WeCom took the file and named no id.", after=5.0)
        return media_id

    def download(self, media_id: str, *, limit: int) -> MediaDownload:
        """A file in pieces, with the name and type that WeCom says; large ones are fetched in ranges.

        The pieces raise SendRefused(BAD_MESSAGE) when it is larger than `limit` or gone, TryLater, ConnectionBroken.
        """

        async def pieces() -> AsyncIterator[bytes]:
            await self._admit("media/get")
            try:
                async for piece in self._pieces(media_id, limit, found):
                    yield piece
            except BaseException:
                await self._breakers.abandoned("media/get")
                raise
            await self._breakers.succeeded("media/get")

        found = MediaDownload(pieces())
        return found

    async def _pieces(self, media_id: str, limit: int, found: MediaDownload) -> AsyncIterator[bytes]:
        offset, ranged, renewed = 0, False, False
        token = await self._token()
        while True:
            headers = {"Range": f"bytes={offset}-{offset + CHUNK - 1}"} if ranged else {}
            address = self._address("media/get", token)
            try:
                async with self._http.stream(
                    "GET",
                    address,
                    params={"media_id": media_id},
                    headers=headers,
                    timeout=TIMEOUT,
                    limit=max(limit - offset, 0),
                ) as stream:
                    complaint = await _complaint(stream)
                    if complaint is None:
                        _must_be_file(stream)
                        found.filename = found.filename or stream.filename
                        found.content_type = found.content_type or stream.headers.get("Content-Type")
                        async for piece in stream.pieces():
                            offset += len(piece)
                            yield piece
                        total = _total(stream)
                        if total is None or offset >= total:
                            return
                        ranged = True
                        continue
            except AnswerTooLarge:
                raise SendRefused(Refusal.BAD_MESSAGE, hint=mark(f"The file is larger than {limit} bytes.")) from None
            except (MaybeDone, Unreachable) as error:
                raise TryLater(str(error), after=5.0) from None
            code = errcode(complaint)
            if code == TOO_OFTEN:
                raise await self._limited("media/get", complaint)
            if code in TOKEN_CODES and not renewed:
                token, renewed = await self._tokens.renew(token, self._fetch_token), True
            elif code == MEDIA_TOO_BIG and not ranged:
                ranged = True
            else:
                raise error_for(code, text_of(complaint, "errmsg"))

    # ------------------------------------------------------------------------------------------------- inside

    async def _with_token(
        self, once: Callable[[str], Awaitable[tuple[int, dict[str, Any]]]]
    ) -> tuple[int, dict[str, Any]]:
        token = await self._token()
        code, answer = await once(token)
        if code in TOKEN_CODES:
            code, answer = await once(await self._tokens.renew(token, self._fetch_token))
        return code, answer

    async def _token(self) -> str:
        return await self._tokens.current() or await self._tokens.renew(None, self._fetch_token)

    async def _fetch_token(self) -> AccessToken:
        try:
            await self._breakers.admit(self._credentials, _CREDENTIALS)
        except Paused as paused:
            raise _broken(paused.reason) from None
        try:
            grant = await self._granted()
        except ConnectionBroken as error:
            if error.code in _CREDENTIAL_CODES:
                await self._breakers.failed(self._credentials, _CREDENTIALS, reason=error.sentence)
            raise
        except BaseException:
            await self._breakers.abandoned(self._credentials)
            raise
        await self._breakers.succeeded(self._credentials)
        return grant

    async def _granted(self) -> AccessToken:
        answer = _object(
            await self._exchange(
                "GET",
                f"{self._base}/gettoken",
                params={"corpid": self.corp_id, "corpsecret": self._secret},
            )
        )
        code = errcode(answer)
        token = answer.get("access_token")
        if code == 0 and isinstance(token, str) and token:
            return access_token(token, answer.get("expires_in"))
        error = error_for(code, text_of(answer, "errmsg")) if code else TryLater("WeCom gave no access token.", after=5)
        if isinstance(error, SendRefused):
            raise ConnectionBroken("WeCom gives no access token", code=code, hint=error.hint)
        raise error

    def _address(self, path: str, token: str) -> URL:
        if token != self._addresses_token:
            self._addresses_token = token
            self._addresses.clear()
        address = self._addresses.get(path)
        if address is None:
            address = URL(f"{self._base}/{path}").with_query(access_token=token)
            self._addresses[path] = address
        return address

    async def _exchange(
        self,
        method: Any,
        address: URL | str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        try:
            answer = await self._http.request(
                method,
                address,
                json=json,
                params=params,
                data=data,
                headers=headers,
                timeout=TIMEOUT,
                limit=ANSWER_LIMIT,
            )
        except MaybeDone as error:
            raise TryLater(str(error), after=1.0, unknown=True) from None
        except Unreachable as error:
            raise TryLater(str(error), after=2.0) from None
        except AnswerTooLarge as error:
            raise TryLater(str(error), after=30.0, unknown=True) from None
        return answer


def _too_often(key: str) -> TryLater:
    path = key.partition(":")[0]
    return TryLater(f"WeCom limits how often {path} is called.", code=TOO_OFTEN)


def _broken(sentence: str) -> ConnectionBroken:
    """The error that paused the use of a secret, as its sentence was stored."""
    known = _SENTENCE.match(sentence)
    return (
        ConnectionBroken(known[1], code=int(known[2]), hint=known[3]) if known else ConnectionBroken(sentence, code=0)
    )


def multipart(data: bytes, *, filename: str, content_type: str) -> tuple[str, bytes]:
    """Boundary and form with one field `media`.

    The name, which the contact reads, stands there as plain UTF-8: WeCom does not read `filename*`.
    """
    name = "".join(_fitting(character) for character in clean(filename))[-80:].strip("_ .") or "file"
    kind = content_type if re.fullmatch(r"[A-Za-z0-9.+/-]{1,80}", content_type) else "application/octet-stream"
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="media"; filename="{name}"; filelength={len(data)}\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return boundary, head.encode() + data + f"\r\n--{boundary}--\r\n".encode()


def _object(answer: HttpResponse) -> dict[str, Any]:
    """The answer's JSON object. Anything else is a failure on the way, and may follow a carried-out call."""
    if answer.status == 404:
        raise ConnectionBroken(
            "The address does not answer like WeCom's API", code=404, hint="Check WECOM_API_BASE and the proxy."
        )
    if answer.status >= 500 or answer.status == 429:
        raise TryLater(f"WeCom answered {answer.status}.", after=2.0, unknown=True)
    try:
        found = answer.json()
    except NotJson as error:
        raise TryLater(str(error), after=2.0, unknown=True) from None
    if not isinstance(found, dict):
        raise TryLater("WeCom answered with JSON that is no object.", after=2.0, unknown=True)
    return found


def _fitting(character: str) -> str:
    """The character, or `_` for what would end the name, lead elsewhere or turn the direction of writing."""
    return "_" if character in '"\\/;:<>|?*' or unicodedata.category(character)[0] == "C" else character


async def _complaint(stream: Stream) -> dict[str, Any] | None:
    """The error object that stands where a file should be, or None for a file.

    The content type says nothing reliable; a file has a Content-Disposition, an error is small JSON with an errcode.
    """
    if stream.status >= 500:
        raise TryLater(f"WeCom answered {stream.status}.", after=5.0)
    if "Content-Disposition" in stream.headers:
        return None
    size = number(stream.headers.get("Content-Length"))
    if size is not None and size > _SMALL_ERROR:
        return None
    beginning = await stream.peek(_SMALL_ERROR)
    if not beginning.lstrip().startswith(b"{"):
        return None
    try:
        found = json.loads(beginning, strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and errcode(found) else None


def _must_be_file(stream: Stream) -> None:
    if stream.status not in (200, 206):
        raise TryLater(f"WeCom answered {stream.status} instead of the file.", after=5.0)


def _total(stream: Stream) -> int | None:
    """The whole size, when only a part came."""
    found = _CONTENT_RANGE.match(stream.headers.get("Content-Range", ""))
    return int(found[3]) if found and stream.status == 206 else None
