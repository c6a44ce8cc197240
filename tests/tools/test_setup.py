"""Set-up says in words what is missing, and does nothing twice."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_zhiban", ROOT / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT, module.VENV, module.STAMPS = tmp_path, tmp_path / ".venv", tmp_path / ".venv" / "stamps.json"
    return module


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("... [Errno -3] Temporary failure in name resolution ...", "The network does not answer"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE", "not the one in the lock file"),
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: No matching distribution found for x==1", "does not exist for this Python"),
        ("[Errno 13] Permission denied: '/opt/x'", "may not be written"),
        ("something else entirely", "something else entirely"),
    ],
)
def test_every_usual_trouble_has_its_sentence(setup: ModuleType, said: str, sentence: str) -> None:
    assert sentence in setup.explain("Installing", said)


def test_an_old_python_is_told_so(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "OLDEST", (99, 0))
    assert setup.main() == 1
    assert "Zhiban needs Python 99.0 or newer" in capsys.readouterr().err


def test_an_unknown_kind_is_refused() -> None:
    done = subprocess.run([sys.executable, "tools/setup.py", "everything"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2


def test_what_was_done_is_remembered_until_its_input_changes(setup: ModuleType, tmp_path: Path) -> None:
    for part in ("-build", "", "-dev"):
        (tmp_path / f"requirements{part}.lock").write_text("")
    setup.VENV.mkdir()
    installed: list[str] = []
    setup.install = lambda lock, what: installed.append(lock.name)

    assert setup.install_packages("run")
    assert installed == ["requirements-build.lock", "requirements.lock"]
    assert not setup.install_packages("run")
    assert setup.install_packages("dev")
    assert installed[2:] == ["requirements-dev.lock"]
    assert not setup.install_packages("run")
    (tmp_path / "requirements.lock").write_text("a==1\n")
    assert setup.install_packages("run")
    assert setup.install_packages("dev")
