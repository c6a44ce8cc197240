"""Pictures written anew, so that nothing is left in them but what one sees.

A photograph says where and when it was taken and by which camera, carries a small picture of what it showed before it
was cropped, and may hold a file of another kind behind its end. Pillow reads the pixels in a process of its own
(`picture_program`), which meets limits, and writes them down again: what it was not told to write is gone.
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
from zhiban.kit.file_store import FileTooLarge, Spool, pieces_of, spooled
from zhiban.kit.file_types import FileType
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.limited_program import ProgramTooSlow, run_program

PROGRAM = Path(__file__).with_name("picture_program.py")
TIMEOUT = 60.0  # seconds
LIMIT = 5 << 20  # bytes of the result: what GitHub's own proxy of pictures takes

# What we read, and the name Pillow knows it by. Named, so that nothing else can be smuggled in as a picture.
FORMATS: dict[FileType, str] = {
    file_types.JPEG: "JPEG",
    file_types.PNG: "PNG",
    file_types.WEBP: "WEBP",
    file_types.GIF: "GIF",
}
_MADE = {name: type_ for type_, name in FORMATS.items()}


class NotCleanable(ZhibanError):
    """The picture cannot be written anew: it is no picture, is damaged, or asks for more than we give."""


@frozen_dataclass
class CleanPicture:
    """A picture without anything but its pixels, turned as it is meant to be seen."""

    spool: Spool
    type: FileType
    width: int  # pixels
    height: int


@asynccontextmanager
async def cleaned(source: Spool) -> AsyncIterator[CleanPicture]:
    """The picture written anew, of at most LIMIT bytes. Raises NotCleanable."""
    type_ = file_types.sniff(source.head)
    form = FORMATS.get(type_) if type_ else None
    if form is None:
        raise NotCleanable("This is no picture of a kind that we can write anew.")
    with tempfile.TemporaryDirectory(prefix="zhiban-picture-") as folder:
        original, made = Path(folder) / "original", Path(folder) / "made"
        source.file.seek(0)
        with original.open("wb") as file:
            await asyncio.to_thread(shutil.copyfileobj, source.file, file)
        form, width, height = await _run(form, original, made)
        with made.open("rb") as file:
            try:
                async with spooled(pieces_of(file), limit=LIMIT, head=file_types.HEAD) as spool:
                    yield CleanPicture(spool, _MADE[form], width, height)
            except FileTooLarge:
                raise NotCleanable("The picture is too large to be published.") from None


async def _run(*arguments: object) -> tuple[str, int, int]:
    """In which format it was written, how wide and how high."""
    try:
        done = await run_program(PROGRAM, *arguments, LIMIT, timeout=TIMEOUT)
    except ProgramTooSlow:
        raise NotCleanable("Reading the picture takes too long.") from None
    if done.returncode == 3:
        raise NotCleanable("The package pillow is missing, so pictures cannot be published.")
    if done.returncode == 4:
        raise NotCleanable("The picture is too large to be published.")
    if done.returncode:
        raise NotCleanable("The picture is damaged, or no picture at all.")
    said = json.loads(done.stdout)
    return said["format"], said["width"], said["height"]
