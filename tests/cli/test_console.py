"""A server that goes on says what it has to say without what commands draw tables with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zhiban.cli.console import LateConsole


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = "打开 [bold]http://zhiban.example/setup/" + "x" * 200
    LateConsole(stderr=True, width=120).line(line)
    assert capsys.readouterr() == ("", f"{line}\n")


def test_a_line_loads_no_rich() -> None:
    program = "import sys; from zhiban.cli.app import err; err.line('x'); sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, capture_output=True).returncode == 0
