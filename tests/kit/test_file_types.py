"""What files are is told from their bytes; names are kept as far as they are harmless."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recordings import png, tone

from zhiban.kit.file_types import (
    INLINE,
    LONGEST_NAME,
    FileType,
    content_type,
    dimensions,
    named,
    safe_name,
    sniff,
)


def jpeg(width: int, height: int, *, before: bytes = b"") -> bytes:
    app = b"\xff\xe1" + struct.pack(">H", len(before) + 2) + before if before else b""
    return b"\xff\xd8" + app + b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\0" * 9


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def archive(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return made.getvalue()


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (png(), "image/png"),
        (jpeg(8, 6), "image/jpeg"),
        (b"GIF89a\x08\x00\x06\x00", "image/gif"),
        (webp(b"VP8X", b"\0" * 10), "image/webp"),
        (tone(0.1), "audio/amr"),
        (b"#!AMR-WB\n\x3c", "audio/amr-wb"),
        (b"\x02#!SILK_V3", "audio/silk"),
        (tone(0.3, form="mp3", codec="libmp3lame", rate=16_000), "audio/mpeg"),
        (b"\xff\xfb\x90\x64\0\0", "audio/mpeg"),
        (tone(0.1, form="wav", codec="pcm_s16le"), "audio/wav"),
        (tone(0.1, form="ogg", codec="libopus", rate=48_000), "audio/ogg"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4"),
        (b"%PDF-1.7\n", "application/pdf"),
        (archive("a.txt"), "application/zip"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", None),
        (b"<html><script>alert(1)</script>", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
        (b"MZ\x90\0", None),
        ("您好".encode("utf-16"), None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_type(head: bytes, mime: str | None) -> None:
    found = sniff(head)
    assert (found.mime if found else None) == mime


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (png(40, 30), (40, 30)),
        (png(claims=(100_000, 90_000)), (100_000, 90_000)),
        (jpeg(800, 600), (800, 600)),
        (jpeg(800, 600, before=b"Exif\0\0" + b"\xff\xc0" * 500), (800, 600)),
        (b"GIF89a\x20\x03\x58\x02", (800, 600)),
        (webp(b"VP8X", b"\0\0\0\0" + (799).to_bytes(3, "little") + (599).to_bytes(3, "little")), (800, 600)),
        (webp(b"VP8L", b"\x2f" + (799 | 599 << 14).to_bytes(4, "little")), (800, 600)),
        (webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 800, 600)), (800, 600)),
        (png()[:20], None),
        (b"\xff\xd8\xff\xe1\x00\x00", None),
        (b"GIF89a\0\0\0\0", None),
        (b"no picture", None),
    ],
)
def test_a_picture_states_its_size(head: bytes, size: tuple[int, int] | None) -> None:
    assert dimensions(head) == size


@given(
    st.binary(max_size=300), st.sampled_from([b"", png()[:8], b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8X"])
)
def test_no_bytes_break_it(noise: bytes, beginning: bytes) -> None:
    sniff(beginning + noise)
    dimensions(beginning + noise)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("合同.pdf", "合同.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\报价 单.xlsx", "报价 单.xlsx"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("a\x00b\nc.txt", "ab c.txt"),
        (".htaccess", "htaccess"),
        ("a<b>:c?.txt", "a_b__c_.txt"),
        ("好" * 300 + ".docx", "好" * (LONGEST_NAME - 5) + ".docx"),
        ("..", ""),
        ("\u200b\u200e", ""),
    ],
)
def test_a_name_is_kept_as_far_as_it_is_harmless(name: str, kept: str) -> None:
    assert safe_name(name) == kept


@given(st.text())
def test_every_name_can_be_kept(name: str) -> None:
    kept = safe_name(name)
    assert len(kept) <= LONGEST_NAME
    assert "/" not in kept
    assert safe_name(kept) == kept


PNG_TYPE, AMR_TYPE = sniff(png()), sniff(b"#!AMR\n")


@pytest.mark.parametrize(
    ("name", "type_", "kept"),
    [
        ("", PNG_TYPE, "image-7.png"),
        ("", None, "image-7"),
        ("照片", PNG_TYPE, "照片.png"),
        ("照片.jpg", PNG_TYPE, "照片.jpg"),
        ("版本 2.4", PNG_TYPE, "版本 2.4.png"),
        ("voice", AMR_TYPE, "voice.amr"),
    ],
)
def test_a_name_gets_the_extension_it_lacks(name: str, type_: FileType | None, kept: str) -> None:
    assert named(name, instead="image-7", type_=type_) == kept


WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("head", "name", "claimed", "kept"),
    [
        (png(), "x.html", "text/html", "image/png"),
        (b"<script>", "x.png", "image/png", "application/octet-stream"),
        (b"<script>", "x.html", "text/html; charset=utf-8", "application/octet-stream"),
        (b"a,b\n", "x.csv", "text/csv", "text/csv"),
        (b"a,b\n", "x.csv", "no type\r\nx-evil: 1", "application/octet-stream"),
        (archive("word/document.xml"), "x.docx", WORD, WORD),
        (archive("x"), "x.docx", None, "application/octet-stream"),
        (archive("x"), "x.zip", None, "application/zip"),
    ],
)
def test_bytes_outweigh_claims(head: bytes, name: str, claimed: str | None, kept: str) -> None:
    found = content_type(sniff(head), name, claimed)
    assert found == kept
    assert (found in INLINE) == (head == png())
