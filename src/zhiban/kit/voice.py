"""Voice messages in a format that browsers play.

Phones record AMR, which no browser plays. FFmpeg (through PyAV) reads it in a process of its own (`voice_program`),
which ends with the recording: the server does not carry the decoders, and a hostile recording meets limits.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from zhiban.kit import file_types
from zhiban.kit.errors import ZhibanError
from zhiban.kit.file_store import Spool, pieces_of, spooled
from zhiban.kit.file_types import FileType
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.limited_program import ProgramTooSlow, run_program

PROGRAM = Path(__file__).with_name("voice_program.py")
TIMEOUT = 90.0  # seconds
LIMIT = 32 << 20  # bytes of the result

# What we read, and the name FFmpeg knows it by. Named, so that nothing else can be smuggled in as a recording.
_FORMATS: dict[FileType, str] = {
    file_types.AMR: "amr",
    file_types.AMR_WB: "amr",
    file_types.OGG: "ogg",
    file_types.MP3: "mp3",
    file_types.WAV: "wav",
    file_types.M4A: "mov",
    file_types.MP4: "mov",
    file_types.WEBM: "matroska",
}
_PLAYED_AS_IT_IS = frozenset({file_types.MP3, file_types.WAV, file_types.M4A})


class NotPlayable(ZhibanError):
    """The recording cannot be turned into something a browser plays; the original stays."""


@frozen_dataclass
class Recording:
    """How long it lasts, and the converted file; None when browsers play the original."""

    seconds: float
    spool: Spool | None = None


@asynccontextmanager
async def playable(source: Spool) -> AsyncIterator[Recording]:
    """Measure a recording and convert it if need be. Raises NotPlayable."""
    type_ = file_types.sniff(source.head)
    form = _FORMATS.get(type_) if type_ else None
    if type_ is None or form is None:
        kind = type_.extension.removeprefix(".").upper() if type_ else "?"
        raise NotPlayable(f"Recordings of this format cannot be played here: {kind}")
    with tempfile.TemporaryDirectory(prefix="zhiban-voice-") as folder:
        original, made = Path(folder) / "original", Path(folder) / "made.mp3"
        source.file.seek(0)
        with original.open("wb") as file:
            await asyncio.to_thread(shutil.copyfileobj, source.file, file)
        if type_ in _PLAYED_AS_IT_IS:
            yield Recording(await _run(form, original))
            return
        seconds = await _run(form, original, made)
        with made.open("rb") as file:
            async with spooled(pieces_of(file), limit=LIMIT, head=file_types.HEAD) as spool:
                yield Recording(seconds, spool)


async def _run(*arguments: object) -> float:
    try:
        done = await run_program(PROGRAM, *arguments, timeout=TIMEOUT)
    except ProgramTooSlow:
        raise NotPlayable("Reading the recording takes too long.") from None
    if done.returncode == 3:
        raise NotPlayable("The package av is missing, so recordings cannot be converted.")
    if done.returncode:
        raise NotPlayable("The recording is damaged, or no recording at all.")
    return float(json.loads(done.stdout)["seconds"])
