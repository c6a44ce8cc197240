"""A picture is written anew with nothing but its pixels, and whatever is none is refused."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo
from tests.recordings import png

from zhiban.kit.file_store import spooled
from zhiban.kit.file_types import HEAD
from zhiban.kit.pictures import LIMIT, NotCleanable, cleaned

SECRET = b"SECRET-39.9042N-116.4074E"
WIDE, HIGH = 60, 40


async def clean(data: bytes) -> tuple[bytes, str, tuple[int, int]]:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    async with spooled(pieces(), limit=100 << 20, head=HEAD) as spool, cleaned(spool) as found:
        return found.spool.file.read(), found.type.mime, (found.width, found.height)


def seen(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def drawn(mode: str = "RGB") -> Image.Image:
    """Its left half is red, its right one blue, so that turning it shows."""
    image = Image.new("RGB", (WIDE, HIGH), (220, 20, 20))
    image.paste((20, 20, 220), (WIDE // 2, 0, WIDE, HIGH))
    return image.convert(mode)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x010E] = SECRET.decode()  # ImageDescription
    found[0x0110] = SECRET.decode()  # Model
    gps = found.get_ifd(0x8825)
    gps[1], gps[2] = "N", (39.0, 54.0, 15.0)
    gps[29] = SECRET.decode()
    return found


def segments(data: bytes) -> set[int]:
    """The markers of a JPEG before its pixels."""
    found, at = set(), 2
    while data[at + 1] != 0xDA:
        found.add(data[at + 1])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found


def chunks(data: bytes) -> set[bytes]:
    found, at = set(), 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        found.add(data[at + 4 : at + 8])
        at += 12 + size
    return found


def saved(image: Image.Image, form: str, **more: Any) -> bytes:
    made = io.BytesIO()
    image.save(made, form, **more)
    return made.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
async def test_where_and_when_is_gone_and_the_picture_stands_upright(form: str) -> None:
    more = {"pnginfo": _told()} if form == "PNG" else {"xmp": b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"}
    data = saved(drawn(), form, exif=exif(6), icc_profile=b"", **more)
    if form == "JPEG":
        data = data[:2] + b"\xff\xfe" + struct.pack(">H", len(SECRET) + 2) + SECRET + data[2:]  # a comment
        data += b"PK\x03\x04" + SECRET  # another file behind its end
    assert SECRET in data
    made, mime, size = await clean(data)
    image = seen(made)
    assert (mime, SECRET in made, dict(image.getexif())) == (f"image/{form.lower()}", False, {})
    assert not {"exif", "xmp", "comment", "icc_profile", "mpf"} & set(image.info)
    assert size == image.size == (HIGH, WIDE)  # turned, as its reader was told to
    red, blue = image.convert("RGB").getpixel((20, 5)), image.convert("RGB").getpixel((20, 55))
    assert red[0] > 180 > 80 > red[2]  # type: ignore[index]
    assert blue[2] > 180 > 80 > blue[0]  # type: ignore[index]
    if form == "JPEG":
        assert not segments(made) & {0xE1, 0xE2, 0xED, 0xFE}
    if form == "PNG":
        assert chunks(made) == {b"IHDR", b"IDAT", b"IEND"}


def _told() -> PngInfo:
    told = PngInfo()
    told.add_text("Comment", SECRET.decode())
    told.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return told


async def test_every_way_in_which_a_camera_is_held_is_seen_upright() -> None:
    for orientation in range(1, 9):
        data = saved(drawn(), "JPEG", exif=exif(orientation))
        expected = seen(data)
        made, _, size = await clean(data)
        assert size == ((HIGH, WIDE) if orientation >= 5 else (WIDE, HIGH))
        assert seen(made).getexif().get(0x0112, 1) == 1
        assert expected.size == (WIDE, HIGH)


async def test_what_moves_moves_and_says_nothing() -> None:
    frames = [Image.new("RGB", (30, 20), (n * 60, 0, 0)) for n in range(4)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80, loop=0, comment=SECRET)
    made, mime, _ = await clean(data)
    assert mime == "image/gif"
    assert SECRET not in made
    assert len(list(ImageSequence.Iterator(Image.open(io.BytesIO(made))))) == 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
async def test_every_kind_of_colour_is_read(mode: str) -> None:
    image = Image.new("I;16", (WIDE, HIGH), 40_000) if mode == "I;16" else drawn("RGB").convert(mode)
    made, _, size = await clean(saved(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert size == (WIDE, HIGH)
    assert seen(made).mode in ("RGB", "RGBA", "L")


async def test_a_picture_with_a_hole_keeps_it() -> None:
    image = Image.new("RGBA", (WIDE, HIGH), (0, 0, 0, 0))
    made, _, _ = await clean(saved(image, "PNG"))
    assert seen(made).convert("RGBA").getpixel((1, 1)) == (0, 0, 0, 0)


async def test_a_large_picture_is_made_small_enough() -> None:
    noise = Image.effect_noise((2400, 1800), 200).convert("RGB")
    data = saved(noise, "PNG")
    assert len(data) > LIMIT
    made, mime, size = await clean(data)
    assert (mime, len(made) <= LIMIT) == ("image/jpeg", True)
    assert size == seen(made).size


def _bomb(width: int, height: int) -> bytes:
    """A small file that unpacks to very many pixels."""
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(b"\0" * (width // 8 + 1)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture"),
        (b"\xff\xd8\xff\xe0 and nothing more", "damaged"),
        (b"GIF89a<script>alert(1)</script>", "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "damaged"),
        (png(100, 100)[:90], "damaged"),
        (png(4, 3, claims=(60_000, 60_000)), "too large"),
        (_bomb(20_000, 20_000), "too large"),
        (b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 40, "damaged"),
    ],
)
async def test_what_is_no_honest_picture_is_refused_in_words(data: bytes, why: str) -> None:
    async with asyncio.timeout(50):
        with pytest.raises(NotCleanable, match=why):
            await clean(data)


async def test_a_half_picture_is_not_taken_for_a_whole_one() -> None:
    data = saved(drawn().resize((600, 400)), "JPEG")
    with pytest.raises(NotCleanable, match="damaged"):
        await clean(data[: len(data) // 2])


async def test_a_cut_off_moving_picture_with_too_many_pixels_stands_still() -> None:
    frames = [Image.new("L", (1000, 1000), n) for n in range(70)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=20)
    made, mime, size = await clean(data)
    assert (mime, size) == ("image/png", (1000, 1000))
    assert getattr(seen(made), "n_frames", 1) == 1
