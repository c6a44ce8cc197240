"""Errors are sentences, exit codes mean something, results go to standard output and nothing else does."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cli.program import zhiban as run
from zhiban.cli.app import Exit, code_of
from zhiban.cli.app import size as human
from zhiban.kit.errors import Conflict, Misconfigured, NotFound, Unavailable, ZhibanError


def zhiban(*arguments: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from zhiban.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=data.parent,
        env={"ZHIBAN_DATA": str(data), "PATH": "/usr/bin:/bin", **environment},
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Misconfigured("x"), Exit.USAGE),
        (Unavailable("x"), Exit.UNAVAILABLE),
        (NotFound("x"), Exit.MISSING),
        (Conflict("x"), Exit.MISSING),
        (ZhibanError("x"), Exit.FAILED),
    ],
)
def test_every_error_has_its_exit_code(error: ZhibanError, code: Exit) -> None:
    assert code_of(error) is code


def test_sizes_are_for_people() -> None:
    assert [human(count) for count in (0, 1536, 5 * 2**20, 3 * 2**30)] == ["0 B", "1.5 KB", "5.0 MB", "3.0 GB"]


def test_help_works_whatever_the_settings_say(tmp_path: Path) -> None:
    done = zhiban("--help", data=tmp_path / "data", DATABASE_URL="mysql://x", LLM_TIMEOUT="soon")
    assert done.returncode == 0
    assert "值班" in done.stdout
    assert "backup" in done.stdout
    assert "English" not in zhiban("backup", "--help", data=tmp_path / "data", ZHIBAN_LOCALE="en").stderr


def test_the_version_is_shown(tmp_path: Path) -> None:
    done = zhiban("--version", data=tmp_path / "data")
    assert done.stdout.startswith("zhiban 0.")


def test_wrong_usage_and_wrong_settings_are_code_2(tmp_path: Path) -> None:
    assert zhiban("backup", "--colour", data=tmp_path / "data").returncode == Exit.USAGE
    done = zhiban("migrate", data=tmp_path / "data", DATABASE_URL="mysql://x/y")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_does_not_answer_is_code_3(tmp_path: Path) -> None:
    done = zhiban("migrate", data=tmp_path / "data", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert (done.returncode, done.stdout) == (Exit.UNAVAILABLE, "")
    assert "Traceback" not in done.stderr


@pytest.mark.process
async def test_migrate_back_up_and_restore_from_the_command_line(tmp_path: Path) -> None:
    data, archive = tmp_path / "data", tmp_path / "backup.tar.gz"
    check = await run("migrate", "--check", "--json", data=data)
    assert check.code == Exit.FAILED, check.err
    assert json.loads(check.out)["pending"] is True
    first = await run("migrate", "--json", data=data)
    assert first.code == 0, first.err
    assert json.loads(first.out)["before"] is None
    again = await run("migrate", data=data)
    assert (again.code, again.err) == (0, "")

    (data / "files").mkdir()
    (data / "files" / "a.txt").write_text("a")
    saved = await run("backup", str(archive), "--json", data=data)
    assert saved.code == 0, saved.err
    assert json.loads(saved.out)["files"] == 1
    assert (await run("backup", str(archive), data=data)).code == Exit.MISSING
    with tarfile.open(archive) as tar:
        assert "manifest.json" in tar.getnames()

    checked = await run("restore", "--check", str(archive), data=data)
    assert checked.code == 0
    elsewhere = tmp_path / "elsewhere" / "data"
    elsewhere.parent.mkdir()
    restored = await run("restore", str(archive), data=elsewhere)
    assert restored.code == 0, restored.err
    assert (elsewhere / "files" / "a.txt").read_text() == "a"
    archive.write_bytes(archive.read_bytes()[:100])
    broken = await run("restore", str(archive), data=tmp_path / "third")
    assert broken.code == Exit.FAILED
