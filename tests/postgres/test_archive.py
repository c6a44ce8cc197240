"""A strange archive: nothing in it is believed, and nothing is written outside our folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.cli.program import zhiban

from zhiban.cli.app import Exit
from zhiban.kit.errors import Misconfigured
from zhiban.postgres.archive import BackupDamaged, EntryKind, inspect, signed_in_agent
from zhiban.postgres.backup import _inside

MANIFEST = {"version": "1", "revision": "0001", "created_at": "", "tables": [], "has_key": False, "format": 1}


Entry = tuple[tarfile.TarInfo, bytes]


def entry(
    name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    found.size = len(content) if kind == tarfile.REGTYPE else 0
    return found, content


def archive(path: Path, *entries: Entry, manifest: object = MANIFEST) -> Path:
    """An archive with these entries whose own list of digests is right."""
    first = entry("manifest.json", json.dumps(manifest).encode())
    digests = {found.name: hashlib.sha256(content).hexdigest() for found, content in (first, *entries)}
    last = entry("complete.json", json.dumps({"rows": {}, "sha256": digests}).encode())
    with tarfile.open(path, "w:gz") as file:
        for found, content in (first, *entries, last):
            file.addfile(found, io.BytesIO(content))
    return path


def test_an_ordinary_archive_is_read(tmp_path: Path) -> None:
    ordinary = archive(tmp_path / "a.tar.gz", entry("files/1/图片 (2).png"), entry("secret.key"))
    assert inspect(ordinary).version == "1"


STRANGE = (
    "/etc/passwd",
    "../x",
    "files//etc/passwd",
    "files/../../x",
    "files/1/../../../x",
    "files/./x",
    "files/",
    "files",
    "files/x/",
    "files/a\\..\\..\\x",
    "files/C:/x",
    "files/c:x",
    "files/nul.txt",
    "files/a\0b",
    "files/a\nb",
    "files/x.partial",
    "files/ ",
    "files/x.",
    "files/" + "x" * 300,
    "files/" + "/".join(["x" * 100] * 20),
    "tables/public.contact/../../x",
    "tables/pg_catalog.pg_authid",
    "tables/public.Contact",
    'tables/public."x',
    "manifest.json/x",
    "secret.key/x",
    "other",
    "",
)


@pytest.mark.parametrize("name", STRANGE)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BackupDamaged):
        signed_in_agent(name)
    if name and "\0" not in name:
        with pytest.raises(BackupDamaged):
            inspect(archive(tmp_path / "a.tar.gz", entry(name)))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, b"V"],
)
def test_links_devices_and_folders_are_refused(kind: bytes, tmp_path: Path) -> None:
    with pytest.raises(BackupDamaged):
        inspect(archive(tmp_path / "a.tar.gz", entry("files/x", b"", kind, "/etc/passwd")))


def test_what_stands_twice_or_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    for entries in (
        (entry("files/x"), entry("files/x")),
        (entry("manifest.json"),),
        (entry("complete.json", b"{}"),),
        (entry("tables/public.contact"),),
    ):
        with pytest.raises(BackupDamaged):
            inspect(archive(tmp_path / "a.tar.gz", *entries))
    late = tmp_path / "late.tar.gz"
    with tarfile.open(late, "w:gz") as file:
        file.addfile(*_opened(entry("files/x")))
        file.addfile(*_opened(entry("manifest.json", json.dumps(MANIFEST).encode())))
    with pytest.raises(BackupDamaged):
        inspect(late)


def _opened(made: Entry) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return made[0], io.BytesIO(made[1])


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        None,
        1,
        "x",
        {},
        {**MANIFEST, "tables": [{"schema": 1}]},
        {**MANIFEST, "tables": "x"},
        {**MANIFEST, "format": "?"},
    ],
)
def test_a_list_that_is_none_is_refused(manifest: object, tmp_path: Path) -> None:
    with pytest.raises(BackupDamaged):
        inspect(archive(tmp_path / "a.tar.gz", manifest=manifest))


def test_a_newer_archive_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="newer"):
        inspect(archive(tmp_path / "a.tar.gz", manifest={**MANIFEST, "format": 2}))
    with pytest.raises(Misconfigured, match="cannot be read"):
        inspect(tmp_path)


PIECES = st.lists(st.sampled_from(["..", ".", "", "a", "files", "C:", "\\", "~"]), max_size=8)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), PIECES.map("/".join)))
@example("files/a/../b")
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    """Whatever is accepted lies below the folder, by itself and on every system."""
    try:
        member = signed_in_agent(name)
    except BackupDamaged:
        return
    if member.kind is not EntryKind.FILE:
        assert name in ("manifest.json", "secret.key", "complete.json") or name.startswith("tables/")
        return
    path = _inside(Path("/srv/zhiban/files"), member.parts)
    assert path.is_relative_to("/srv/zhiban/files")
    assert path != Path("/srv/zhiban/files")
    assert not any(part in ("..", ".", "") for part in member.parts)
    assert not set("\\:\0") & set(name)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 10_000), st.integers(0, 255))
def test_no_bytes_make_anything_but_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("junk")
    plain = archive(folder / "a.tar.gz", entry("files/1/x", b"x" * 100)).read_bytes()
    changed = bytearray(plain)
    changed[at % len(plain)] ^= value
    for content in (junk, plain + junk, bytes(changed), plain[: at % len(plain)]):
        (folder / "b.tar.gz").write_bytes(content)
        try:
            inspect(folder / "b.tar.gz")
        except BackupDamaged:
            continue


def test_a_link_that_lies_in_our_folder_is_not_followed(tmp_path: Path) -> None:
    files, outside = tmp_path / "files", tmp_path / "outside"
    files.mkdir()
    outside.mkdir()
    (files / "1").symlink_to(outside)
    (files / "x").symlink_to(outside / "x")
    for parts in (("1", "y"), ("x",)):
        with pytest.raises(BackupDamaged, match="link"):
            _inside(files, parts)
    assert _inside(files, ("2", "y")) == (files / "2" / "y").resolve()


@pytest.mark.process
async def test_the_command_says_so_and_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    strange: Sequence[str] = (f"files/{target}", "files/../../target")
    for name in strange:
        source = archive(tmp_path / "a.tar.gz", entry(name))
        for arguments in (("restore", str(source), "--check"), ("restore", str(source))):
            done = await zhiban(*arguments, data=tmp_path / "data")
            assert (done.code, "Traceback" in done.err) == (Exit.FAILED, False), done.err
        assert not target.exists()
