"""Files from outside, sent to agents' browsers: in parts where asked, under their own names, made harmless."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

# Whatever it turns out to be, it is alone: no scripts, no forms, nothing loaded from anywhere.
# A file runs nothing. The page that a browser makes around a picture or a film has an inline style and shows it again.
SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; sandbox"


def disposition(filename: str, *, inline: bool) -> str:
    """Content-Disposition with the name for every browser: plain ASCII, and UTF-8 as RFC 5987 writes it."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and past-the-end byte of a single range; None for the whole file. Raises ValueError outside of it."""
    found = _RANGE.fullmatch((header or "").strip())
    if found is None or not (found[1] or found[2]):
        return None  # several ranges, other units, nonsense: the whole file answers them all
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    if found[1] and found[2] and int(found[2]) < int(found[1]):
        return None
    if start >= size or end <= start:
        raise ValueError("outside of the file")
    return start, end


def csv_response(text: str, filename: str) -> Response:
    """A table to keep, marked so that spreadsheets read it as UTF-8. `kit.spreadsheets.csv_text` writes it."""
    headers = {"content-disposition": disposition(filename, inline=False), "x-content-type-options": "nosniff"}
    return Response("\ufeff" + text, media_type="text/csv; charset=utf-8", headers=headers)


async def file_response(
    request: Request,
    read: Callable[[int, int], AsyncIterator[bytes]],
    *,
    size: int,
    filename: str,
    content_type: str,
    inline: bool,
    etag: str,
) -> Response:
    """`read(start, end)` gives the bytes. Only `inline` files keep their type; others are just bytes to a browser.

    Raises what `read` raises before its first piece; later the answer can only break off.
    """
    tag = f'"{etag}"'
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=86400",
        "content-disposition": disposition(filename, inline=inline),
        "content-security-policy": SANDBOX,
        "content-type": content_type if inline else "application/octet-stream",
        "cross-origin-resource-policy": "same-origin",
        "etag": tag,
        "x-content-type-options": "nosniff",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    part: tuple[int, int] | None = None
    if request.headers.get("if-range") in (None, tag):
        try:
            part = wanted_range(request.headers.get("range"), size)
        except ValueError:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
    start, end = part or (0, size)
    headers["content-length"] = str(end - start)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces = read(start, end)
    first = await anext(pieces, b"")
    return StreamingResponse(_chained(first, pieces), status_code=status, headers=headers)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
