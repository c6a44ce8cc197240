"""The table of term frequencies is what its source and our terms give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_shipped_table_is_up_to_date() -> None:
    done = run("tools/term_priors.py", "check")
    assert done.returncode == 0, done.stdout + done.stderr
