"""What fails in a browser is tried once more, alone, and named; everything else fails at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import failures

ROOT = Path(__file__).parents[2]
TESTS = """
import pathlib, pytest

@pytest.mark.browser
def test_sometimes():
    place = pathlib.Path("sometimes")
    place.write_text(place.read_text() + "x" if place.exists() else "x")
    assert len(place.read_text()) > 1, "not seen"
"""
PAGE = "\n@pytest.mark.browser\ndef test_page():\n    raise AssertionError\n"
STORY = "\ndef test_story():\n    raise AssertionError\n"
MANY = "\n@pytest.mark.browser\n@pytest.mark.parametrize('n', range(3))\ndef test_many(n):\n    raise AssertionError\n"


def _run(folder: Path, tests: str) -> tuple[int, str]:
    """How the second run ended, and what it says of what is unstable."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = browser: needs one\n")
    (folder / "conftest.py").write_text("from tests.failures import pytest_terminal_summary\n")
    (folder / "test_pages.py").write_text(tests)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tools")))}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading them takes three quarters of the time
    first = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=folder, env=environment, check=False)
    assert first.returncode == 1
    again = "import os, pathlib, test; raise SystemExit(test.once_more(pathlib.Path('.'), dict(os.environ)))"
    code = subprocess.run([sys.executable, "-c", again], cwd=folder, env=environment, check=False).returncode
    unstable = folder / failures.FOLDER / "unstable.txt"
    return code, unstable.read_text() if unstable.exists() else ""


def test_what_passes_alone_is_named(tmp_path: Path) -> None:
    code, unstable = _run(tmp_path, TESTS)
    assert code == 0
    assert "test_sometimes" in unstable
    assert "not seen" in unstable


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    assert _run(tmp_path, TESTS + PAGE) == (1, "")
    assert (tmp_path / "sometimes").read_text() == "xx"


@pytest.mark.parametrize("more", [STORY, MANY])
def test_nothing_is_tried_again_beside_another_fault_or_where_it_is_much(tmp_path: Path, more: str) -> None:
    assert _run(tmp_path, TESTS + more) == (1, "")
    assert (tmp_path / "sometimes").read_text() == "x"
