"""What the operating system and PostgreSQL's programs say when they refuse, as sentences that tell what helps."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from zhiban.kit.errors import Misconfigured, Unavailable, ZhibanError


def tail(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()[-4000:].decode(errors="replace")
    except FileNotFoundError:
        return ""


def held_by_orphans(said: str) -> bool:
    return "pre-existing shared memory block" in said or "lock file" in said


def in_words(what: str, said: str) -> ZhibanError:
    if "No space left on device" in said:
        return Unavailable(f"{what}: the disk is full. Make room and start again.")
    if "Address already in use" in said:
        return Unavailable(f"{what}: its TCP port is taken by another program.")
    if "ermission denied" in said:
        return Misconfigured(f"{what}: PostgreSQL may not read or write its folder. {_reason(said)}")
    return Unavailable(f"{what}: {_reason(said)}")


def _reason(said: str) -> str:
    """The lines in which a PostgreSQL program says why it gave up."""
    lines = re.findall(r"(?:FATAL|PANIC|ERROR|error|could not)[^\n]*", said)
    return " ".join(lines[-3:]) or " ".join(said.split())[-400:] or "it said nothing."


class translate:  # noqa: N801 - reads as a word at the place of use
    """Turns the operating system's refusals into sentences."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or error.errno is None or isinstance(error, ZhibanError):
            return
        if isinstance(error.filename, str) and not Path(error.filename).is_relative_to(self._folder):
            raise Misconfigured(f"{error.filename} cannot be used: {error.strerror}.") from error
        match error.errno:
            case errno.EACCES | errno.EPERM | errno.EROFS:
                raise Misconfigured(
                    f"The data folder {self._folder} cannot be written by this user ({error.strerror}). "
                    "Give it to this user, or set ZHIBAN_DATA to another folder."
                ) from error
            case errno.ENOSPC | errno.EDQUOT:
                raise Unavailable(f"The disk of {self._folder} is full. Make room and start again.") from error
            case errno.ENOLCK | errno.ENOSYS | errno.ENOTSUP:
                raise Misconfigured(
                    f"The file system of {self._folder} has no file locks. Set ZHIBAN_DATA to a local disk."
                ) from error
            case errno.EEXIST | errno.ENOTDIR:
                raise Misconfigured(f"{self._folder} is a file, not a folder. Set ZHIBAN_DATA to a folder.") from error
            case _:
                raise Unavailable(f"The data folder {self._folder} cannot be used: {error}") from error
