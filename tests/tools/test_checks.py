"""Our own checks find what they are for. Each test breaks one rule in a small repository."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checks(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("checks", ROOT / "tools" / "checks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    module.ROOT = tmp_path
    return module


def test_a_clean_folder_passes(checks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 500)
    (tmp_path / "requirements.lock").write_text(f"a==1 \\\n    --hash=sha256:{'0' * 64}\n")
    assert checks.main() == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long.py", "x = 1\n" * 501),
        ("a.md", "see https://" + "py" + "pi.org/simple"),
        ("a.toml", "path = '/ho" + "me/alice/x'"),
        ("b.py", "# TO" + "DO later"),
        ("requirements.lock", "a==1\n"),
        ("requirements-x.lock", "--index-url https://example.com\n"),
    ],
)
def test_what_does_not_belong_is_named(checks: ModuleType, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert checks.main() == 1


def test_an_npm_lock_has_hashes_and_no_addresses(checks: ModuleType, tmp_path: Path) -> None:
    lock = {"packages": {"": {}, "node_modules/a": {"version": "1", "resolved": "https://example.com/a.tgz"}}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    assert len(list(checks.wrong_locks(checks.tracked()))) == 2
