"""What a file is, told from its first bytes; how large a picture is; and file names that are safe to keep and show.

A closed list of signatures of our own, because it decides what a browser may show inside our pages: general libraries
name every zip a Word document and guess where they do not know. What is not listed is kept, offered for download
under its own name, and never shown inline.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath

from zhiban.kit.frozen_dataclass import frozen_dataclass

HEAD = 64 << 10  # bytes of a file that `sniff` and `dimensions` want to see
LONGEST_NAME = 120  # characters; many file systems hold 255 bytes


@frozen_dataclass
class FileType:
    """`inline` types can be shown inside a page: no browser runs anything in them."""

    mime: str
    extension: str
    inline: bool = False


PNG = FileType("image/png", ".png", inline=True)
JPEG = FileType("image/jpeg", ".jpg", inline=True)
GIF = FileType("image/gif", ".gif", inline=True)
WEBP = FileType("image/webp", ".webp", inline=True)
AMR = FileType("audio/amr", ".amr")
AMR_WB = FileType("audio/amr-wb", ".awb")
SILK = FileType("audio/silk", ".silk")
MP3 = FileType("audio/mpeg", ".mp3", inline=True)
WAV = FileType("audio/wav", ".wav", inline=True)
M4A = FileType("audio/mp4", ".m4a", inline=True)
OGG = FileType("audio/ogg", ".ogg", inline=True)
MP4 = FileType("video/mp4", ".mp4", inline=True)
WEBM = FileType("video/webm", ".webm", inline=True)
MOV = FileType("video/quicktime", ".mov")
PDF = FileType("application/pdf", ".pdf")
ZIP = FileType("application/zip", ".zip")

_SIGNATURES: tuple[tuple[bytes, FileType], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"#!AMR-WB\n", AMR_WB),
    (b"#!AMR\n", AMR),
    (b"#!SILK_V3", SILK),
    (b"\x02#!SILK_V3", SILK),  # as WeChat's own client writes it
    (b"ID3", MP3),
    (b"OggS", OGG),
    (b"%PDF-", PDF),
    (b"PK\x03\x04", ZIP),
)
_INSIDE_RIFF = {b"WEBP": WEBP, b"WAVE": WAV}
# The brand of an ISO media file. HEIC and AVIF have the same frame; browsers differ on them, so they are not listed.
_BRANDS = {
    b"M4A ": M4A,
    b"M4B ": M4A,
    b"qt  ": MOV,
    **dict.fromkeys(
        (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"3gp4", b"3gp5"), MP4
    ),
}
# A zip by another name is what its name says: an office document, an app, a book.
_ZIPS = frozenset(
    {".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".apk", ".jar", ".key", ".pages", ".numbers"}
)


def sniff(head: bytes) -> FileType | None:
    """The type that the first bytes show, or None when they show none of ours."""
    for signature, found in _SIGNATURES:
        if head.startswith(signature):
            return found
    if head[:4] == b"RIFF":
        return _INSIDE_RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[:4] == b"\x1aE\xdf\xa3":
        return WEBM if b"webm" in head[:64] else None
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[2] & 0xF0 not in (0xF0, 0x00):
        return MP3  # a bare frame of layer III: sync, a bit rate that exists
    return None


# ------------------------------------------------------------------------------------------------- size of a picture


def dimensions(head: bytes) -> tuple[int, int] | None:
    """Width and height as the header of a picture states them, or None. Nothing is decoded."""
    found = sniff(head)
    read = _READERS.get(found.mime) if found else None
    try:
        size = read(head) if read else None
    except (struct.error, IndexError):
        return None  # cut off or invented
    return size if size and all(size) else None


def _png(head: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _gif(head: bytes) -> tuple[int, int]:
    width, height = struct.unpack("<HH", head[6:10])
    return width, height


def _webp(head: bytes) -> tuple[int, int] | None:
    match head[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """Segment after segment up to the one that begins the frame."""
    at = 2
    while at + 9 < len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


_READERS: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    PNG.mime: _png,
    GIF.mime: _gif,
    WEBP.mime: _webp,
    JPEG.mime: _jpeg,
}


# ------------------------------------------------------------------------------------------------------------- names


def safe_name(name: str) -> str:
    """A name without folders, control and direction marks or invisible characters; empty when nothing is left.

    A mark that turns the direction of writing can make `exe` look like `jpg`.
    """
    name = re.split(r"[/\\]", name)[-1]
    shown = "".join(
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", name)
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    shown = re.sub(r'[<>:"|?*]', "_", " ".join(shown.split())).strip(". ")
    if len(shown) <= LONGEST_NAME:
        return shown
    extension = PurePosixPath(shown).suffix[:20]
    return shown[: LONGEST_NAME - len(extension)].rstrip(". ") + extension


def named(name: str, *, instead: str, type_: FileType | None) -> str:
    """The name to keep a file under: its own, or `instead`, with the extension of what it is when it has none."""
    kept = safe_name(name) or instead
    extension = PurePosixPath(kept).suffix.lower()
    if type_ is None or (extension and not extension[1:].isdigit()):
        return kept
    return kept + type_.extension


def content_type(type_: FileType | None, name: str, claimed: str | None) -> str:
    """The type to keep: what the bytes show, else what was claimed unless that could be shown inline."""
    if type_ is ZIP and PurePosixPath(name).suffix.lower() in _ZIPS:
        return claimed if claimed and claimed.startswith("application/") else "application/octet-stream"
    if type_ is not None:
        return type_.mime
    plain = (claimed or "").partition(";")[0].strip().lower()
    if plain.startswith(("image/", "audio/", "video/", "text/html", "application/xhtml")) or not _MIME.fullmatch(plain):
        return "application/octet-stream"
    return plain


_MIME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,80}")
INLINE = frozenset(found.mime for found in (PNG, JPEG, GIF, WEBP, MP3, WAV, M4A, OGG, MP4, WEBM))
