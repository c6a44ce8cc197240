"""An S3-compatible store on the wire, as far as files need it: put, get with ranges, head, delete, list.

Signatures (AWS SigV4) are checked, because a store that accepts anything would hide a wrong key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote
from xml.sax.saxutils import escape, unescape

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

REGION = "us-east-1"
_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


@dataclass(slots=True)
class S3Object:
    content: bytes
    modified: datetime


@dataclass
class S3Simulator:
    """One bucket. `failing` answers every request with that status."""

    bucket: str = "files"
    key: str = "AKIAEXAMPLE"
    secret: str = "not-a-secret"  # noqa: S105 - of the simulator
    objects: dict[str, S3Object] = field(default_factory=dict)
    puts: int = 0
    failing: int | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        if self.failing is not None:
            return _error(self.failing, "InternalError")
        if not self._is_signed(request, body):
            return _error(403, "SignatureDoesNotMatch")
        bucket, _, name = request.url.path.removeprefix("/").partition("/")
        if bucket != self.bucket:
            return _error(404, "NoSuchBucket")
        match request.method:
            case "PUT":
                self.puts += 1
                self.objects[name] = S3Object(body, datetime.now(UTC))
                return Response(headers={"etag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})
            case "DELETE":
                self.objects.pop(name, None)
                return Response(status_code=204)
            case "POST" if "delete" in request.query_params:
                return self._delete(body.decode())
            case "GET" if not name:
                return self._list(request)
            case "GET" | "HEAD":
                return self._get(request, name)
        return _error(405, "MethodNotAllowed")

    def _get(self, request: Request, name: str) -> Response:
        found = self.objects.get(name)
        if found is None:
            return _error(404, "NoSuchKey")
        size, headers = (
            len(found.content),
            {"last-modified": format_datetime(found.modified, usegmt=True), "etag": '"1"'},
        )
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Response(found.content, headers=headers)
        start, end = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
        if start >= size:
            return _error(416, "InvalidRange")
        headers["content-range"] = f"bytes {start}-{end}/{size}"
        return Response(found.content[start : end + 1], status_code=206, headers=headers)

    def _delete(self, wanted: str) -> Response:
        names = [unescape(name) for name in re.findall("<Key>(.*?)</Key>", wanted)]
        for name in names:
            self.objects.pop(name, None)
        gone = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
        return Response(f"<DeleteResult>{gone}</DeleteResult>", media_type="application/xml")

    def _list(self, request: Request) -> Response:
        prefix = request.query_params.get("prefix", "")
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{one.modified:%Y-%m-%dT%H:%M:%S.%f}Z</LastModified>"
            f"<ETag>&quot;1&quot;</ETag><Size>{len(one.content)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for name, one in sorted(self.objects.items())
            if name.startswith(prefix)
        )
        page = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult '
            f'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{self.bucket}</Name><Prefix>{escape(prefix)}</Prefix>'
            f"<KeyCount>{len(self.objects)}</KeyCount><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        )
        return Response(page, media_type="application/xml")

    def _is_signed(self, request: Request, body: bytes) -> bool:
        """Whether the request carries the signature that its content, our key and our secret give."""
        found = _CREDENTIAL.fullmatch(request.headers.get("authorization", ""))
        if found is None or found[1] != self.key:
            return False
        day, region, names = found[2], found[3], found[4].split(";")
        payload = request.headers.get("x-amz-content-sha256", "")
        if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return False
        query = sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query_params.multi_items()
        )
        canonical = "\n".join(
            (
                request.method,
                quote(request.url.path, safe="/-_.~"),
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names),
                "",
                ";".join(names),
                payload,
            )
        )
        scope = f"{day}/{region}/s3/aws4_request"
        stamp = request.headers.get("x-amz-date", "")
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        expected = hmac.new(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, found[5])


def _error(status: int, code: str) -> Response:
    page = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Response(page, status_code=status, media_type="application/xml")
