"""Files at the simulated platform: what it takes, for how long it keeps it, and how it hands it out."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from zhiban.testing.wecom.wire import Call, CallHandler, Complaint, Json, Raw, SimClock, bad, ok

KEPT = 3 * 86400
_FILENAME = re.compile(rb'filename="([^"]*)"')
_MEGABYTE = 1 << 20
# What may be uploaded: bytes at most, the beginnings one of which it must have, and where that stands.
_RULES: dict[str, tuple[int, tuple[bytes, ...], int]] = {
    "image": (10 * _MEGABYTE, (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"), 0),
    "voice": (2 * _MEGABYTE, (b"#!AMR",), 0),
    "video": (10 * _MEGABYTE, (b"ftyp",), 4),
    "file": (20 * _MEGABYTE, (), 0),
}
# What a contact may send; larger ones arrive as a line of text.
LARGEST_FROM_CONTACT = {"image": 2 * _MEGABYTE, "voice": 2 * _MEGABYTE, "video": 10 * _MEGABYTE, "file": 20 * _MEGABYTE}
CONTENT_TYPES = {
    "image": "image/jpeg",
    "voice": "audio/amr",
    "video": "video/mp4",
    "file": "application/octet-stream",
}


@dataclass(slots=True)
class _File:
    kind: str
    name: str
    content_type: str
    data: bytes
    until: float
    robot: str = ""  # the key of the only robot that may send it


class MediaStore:
    """Media ids, uploads and downloads. `naming` overrides how downloads are named; see `_disposition`."""

    def __init__(self, clock: SimClock, *, seed: int = 5) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._counter = 0
        self._files: dict[str, _File] = {}
        self._pictures: list[float] = []  # when permanent pictures were uploaded
        self.one_piece = 8 * _MEGABYTE  # larger files must be fetched in ranges
        self.pictures_per_day = 1000
        self.naming: Literal["plain", "encoded", "nameless", "absent"] | None = None  # None: as chance wills

    def handlers(self) -> dict[str, CallHandler]:
        return {"media/upload": self._upload, "media/uploadimg": self._upload_image, "media/get": self._get}

    def store(
        self, data: bytes, *, kind: str = "image", name: str = "", content_type: str | None = None, robot: str = ""
    ) -> str:
        """Keep a file for three days and return its media id. Nothing is checked."""
        self._counter += 1
        media_id = f"MEDIA{self._counter:08x}"
        until = self._clock.now() + KEPT
        self._files[media_id] = _File(kind, name, content_type or CONTENT_TYPES[kind], data, until, robot)
        return media_id

    def expire(self) -> None:
        """Three days have passed for everything that is kept."""
        self._files.clear()

    def named(self, media_id: str) -> tuple[str, bytes]:
        """Name and content of what stands behind an id."""
        found = self._files[media_id]
        return found.name, found.data

    def check(self, media_id: object, kind: str, *, robot: str = "") -> str:
        """A media id that may be sent as this kind. Raises Complaint."""
        found = self._files.get(media_id) if isinstance(media_id, str) else None
        if found is None or found.until < self._clock.now() or found.robot != robot:
            raise Complaint(40007, "invalid media_id")
        if found.kind != kind:
            raise Complaint(40004, "invalid media type")
        return str(media_id)

    def receive(self, call: Call, kind: str, *, robot: str = "") -> str:
        """Take an upload of this kind. Raises Complaint for a wrong kind, size or beginning."""
        if kind not in _RULES:
            raise Complaint(40005, "invalid type")
        name, data = form(call.raw)
        largest, created_events, at = _RULES[kind]
        if not 5 < len(data) <= largest:
            raise Complaint(40006, "invalid media size")
        if created_events and not any(data[at : at + len(one)] == one for one in created_events):
            raise Complaint(40004, "invalid media type")
        return self.store(data, kind=kind, name=name, robot=robot)

    def _upload(self, call: Call) -> Json:
        kind = call.query.get("type", "")
        media_id = self.receive(call, kind)
        created = str(int(self._clock.now()))
        return {"errcode": 0, "errmsg": "", "type": kind, "media_id": media_id, "created_at": created}

    def _upload_image(self, call: Call) -> Json:
        now = self._clock.now()
        self._pictures = [at for at in self._pictures if at > now - 86400]
        if len(self._pictures) >= self.pictures_per_day:
            raise Complaint(45009, "api freq out of limit, day limit")
        media_id = self.receive(call, "image")
        self._pictures.append(now)
        return ok(url=f"https://wework.qpic.cn/wwpic/{media_id}/0")

    def _get(self, call: Call) -> Json | Raw:
        found = self._files.get(call.query.get("media_id", ""))
        if found is None or found.until < self._clock.now():
            raise Complaint(40007, "invalid media_id")
        headers = {"content-type": found.content_type, **self._disposition(found)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
        size = len(found.data)
        if wanted is None:
            if size > self.one_piece:
                raise Complaint(830002, "media file too large, use range")
            return Raw(found.data, 200, headers)
        start = int(wanted[1])
        end = min(int(wanted[2]) if wanted[2] else size - 1, size - 1)
        if start > end:
            return Raw(b"", 416, {"content-range": f"bytes */{size}"})
        if end + 1 != size and (end - start + 1) % 16:
            raise bad("range")  # it may be stored encrypted, in blocks of 16
        headers["content-range"] = f"bytes {start}-{end}/{size}"
        return Raw(found.data[start : end + 1], 206, headers)

    def _disposition(self, found: _File) -> dict[str, str]:
        """The name is told plainly, in the long form, or not at all; sometimes even the header is missing."""
        way = self.naming or self._random.choice(("plain", "encoded", "nameless", "absent"))
        if not found.name:
            way = "nameless"
        match way:
            case "plain":
                return {"content-disposition": f'attachment; filename="{found.name}"'}
            case "encoded":
                return {"content-disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}"}
            case "nameless":
                return {"content-disposition": "attachment"}
            case _:
                return {}


def form(raw: bytes) -> tuple[str, bytes]:
    """Name and content of the one part. As on the platform, `filename*` is not understood."""
    boundary, _, rest = raw.partition(b"\r\n")
    head, _, content = rest.partition(b"\r\n\r\n")
    data, found, _ = content.rpartition(b"\r\n" + boundary)
    name = _FILENAME.search(head)
    if not found or name is None or b'name="media"' not in head:
        raise Complaint(41005, "media data missing")
    return name[1].decode("utf-8", "replace"), data
