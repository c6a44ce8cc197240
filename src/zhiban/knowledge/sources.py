"""Which files an import means, and under which name each is known in the base. Touches the disk, never the database.

A file is known as `<source>/<path within it>`, where a source is a folder that somebody imported. Two folders of one
name are two sources, because each is known by where it lies; a name given on purpose (`--source`) counts instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import converters
from zhiban.knowledge.document import clean

LONGEST_NAME = 100


@frozen_dataclass
class SourceFolder:
    """A source: its name, and where its files lay when they were imported last."""

    name: str
    path: str

    def around(self, place: Path) -> bool:
        return bool(self.path) and place.is_relative_to(self.path)

    def name_of(self, place: Path) -> str:
        """What a file or folder inside is called in the base."""
        inside = place.relative_to(self.path).as_posix()
        return clean(self.name if inside == "." else f"{self.name}/{inside}")

    def clashes(self, name: str) -> bool:
        """Whether files of this source and of one with that name could be called alike."""
        return self.name == name or self.name.startswith(f"{name}/") or name.startswith(f"{self.name}/")


@frozen_dataclass
class SourceFile:
    """A file on disk, and its name in the base."""

    path: Path
    name: str
    folder: SourceFolder


@dataclass(slots=True)
class Selection:
    """What an import is about. `whole` are the beginnings of names that whole folders stand for."""

    files: list[SourceFile] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    moved: list[SourceFolder] = field(default_factory=list)  # sources that lie elsewhere now


def select(paths: Sequence[Path], known: Iterable[SourceFolder] = (), *, source: str | None = None) -> Selection:
    """Find the files under `paths`. `known` are the sources of the base. Raises Misconfigured."""
    folders = {folder.name: folder for folder in known}
    named = None if source is None else _check_name(source)
    if named and len(paths) != 1:
        raise Misconfigured("--source names one folder or file; import the others by themselves.")
    selection = Selection()
    files: dict[str, SourceFile] = {}
    for given in paths:
        path = given.expanduser().resolve()
        if not path.exists():
            selection.missing.append(str(given))
            continue
        place = path if path.is_dir() else path.parent
        folder = _named(named, place, folders) if named else _found(place, folders.values())
        if folder != folders.get(folder.name):
            if folder.name in folders:
                selection.moved.append(folder)
            folders[folder.name] = folder
        if path.is_dir():
            selection.whole += _beginnings(path, folders.values())
        for file in _files(path):
            owner = max((one for one in folders.values() if one.around(file)), key=lambda one: len(one.path))
            files.setdefault(owner.name_of(file), SourceFile(file, owner.name_of(file), owner))
    selection.files = list(files.values())
    return selection


def _check_name(name: str) -> str:
    wanted = clean(name).strip().strip("/")
    if not wanted or len(wanted) > LONGEST_NAME:
        raise Misconfigured(f"--source wants a name of at most {LONGEST_NAME} characters.")
    return wanted


def _named(name: str, place: Path, known: dict[str, SourceFolder]) -> SourceFolder:
    """The source of that name. Its files lie at `place` from now on, unless that is a part of where they lay."""
    before = known.get(name)
    if before is not None:
        return before if before.around(place) else SourceFolder(name, place.as_posix())
    for other in known.values():
        if other.clashes(name):
            raise Misconfigured(f"The source {other.name} has files whose names begin like that; choose another name.")
    return SourceFolder(name, place.as_posix())


def _found(
    place: Path, known: Iterable[SourceFolder], *, exists: Callable[[str], bool] = os.path.isdir
) -> SourceFolder:
    """The source that a place belongs to, or a new one, called after the folder and, if need be, those above it."""
    all_known = list(known)
    around = [folder for folder in all_known if folder.around(place)]
    if around:
        return max(around, key=lambda folder: len(folder.path))
    names = [clean("/".join(place.parts[-many:]).strip("/")) or "files" for many in range(1, len(place.parts) + 1)]
    names += [f"{names[0]} {number}" for number in range(2, len(all_known) + 3)]
    for name in names:
        rivals = [folder for folder in all_known if folder.clashes(name)]
        if not rivals:
            return SourceFolder(name, place.as_posix())
        for gone in rivals:
            if gone.name == name and gone.path and not exists(gone.path):
                # The same material in another place, or other material? Guessing wrong would remove articles.
                raise Misconfigured(
                    f"The source {gone.name} came from {gone.path}, which is not there any more. If this is the same "
                    f"material in a new place, add --source {gone.name}; if not, add --source with another name."
                )
    raise AssertionError("there are more names than sources")


def _beginnings(path: Path, known: Iterable[SourceFolder]) -> list[str]:
    """How the names of all files under `path` begin."""
    found = []
    for folder in known:
        if folder.around(path):
            found.append(f"{folder.name_of(path)}/")
        elif folder.path and Path(folder.path).is_relative_to(path):
            found.append(f"{folder.name}/")
    return found


def _files(path: Path) -> list[Path]:
    """The file itself, or those in the folder that can be read, without hidden ones."""
    if not path.is_dir():
        return [path]
    found = []
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith((".", "~$")) for part in file.relative_to(path).parts)
        if not hidden and file.suffix.lower() in converters.SUFFIXES and file.is_file():
            found.append(file)
    return found
