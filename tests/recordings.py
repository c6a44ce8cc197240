"""Recordings and pictures made by code: real ones of every format that the tests need."""

from __future__ import annotations

import array
import io
import math
import struct
import zlib
from typing import Any

import av


def tone(seconds: float, *, form: str = "amr", codec: str = "libopencore_amrnb", rate: int = 8000) -> bytes:
    """A tone as a phone records it: AMR, or what `form` and `codec` say."""
    samples = array.array("h", (int(8000 * math.sin(440 * math.tau * at / rate)) for at in range(int(rate * seconds))))
    made = io.BytesIO()
    with av.open(made, "w", format=form) as recording:
        stream: Any = recording.add_stream(codec, rate=rate)
        stream.layout = "mono"
        if codec == "libopencore_amrnb":
            stream.bit_rate = 12_200
        size = stream.frame_size or 1024
        for at in range(0, len(samples), size):
            part = samples[at : at + size]
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(part))
            frame.planes[0].update(part.tobytes())
            frame.sample_rate, frame.pts = rate, at
            recording.mux(stream.encode(frame))
        recording.mux(stream.encode(None))
    return made.getvalue()


def png(width: int = 4, height: int = 3, *, claims: tuple[int, int] | None = None) -> bytes:
    """A grey picture; with `claims`, one whose header states another size than it has."""
    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", *(claims or (width, height)), 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
