"""A photograph that a member of the demo's group sends: a cup with a chip at its rim, and where it was taken."""

from __future__ import annotations

import struct
import zlib

TAKEN = b"39.9042 N, 116.4074 E"  # a picture that is published says nothing of it any more
_WIDE, _HIGH = 360, 270
_WALL, _CUP, _RIM = b"\xe9\xe2\xd6", b"\x3f\x7a\x6b", b"\x2c\x5a\x4f"


def cup_with_a_chip() -> bytes:
    """As PNG."""
    rows = b"".join(b"\0" + b"".join(_colour(x, y) for x in range(_WIDE)) for y in range(_HIGH))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (
            (b"IHDR", struct.pack(">IIBBBBB", _WIDE, _HIGH, 8, 2, 0, 0, 0)),
            (b"tEXt", b"Location\0" + TAKEN),
            (b"IDAT", zlib.compress(rows, 9)),
            (b"IEND", b""),
        )
    )


def _colour(x: int, y: int) -> bytes:
    if abs(x - 150) + 2 * (y - 70) < 18 and y >= 70:  # the chip
        return _WALL
    if 90 <= x < 230 and 70 <= y < 220:
        return _RIM if y < 82 else _CUP
    ring = (x - 238) ** 2 + (y - 140) ** 2
    return _CUP if 30**2 < ring < 44**2 and x >= 230 else _WALL
