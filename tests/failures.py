"""What failed, left in files: in a few lines for whoever reads a log, and for `tools/test.py` that may try it again."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = ".pytest_cache"
WORDS = 600  # characters of a failure's words
MOST_AGAIN = 3  # more than chance fails


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """`failures.txt` says what failed: the whole of it can be longer than a log may be. `again.txt` names it where it
    is few tests that look at pages in a browser, and nothing else."""
    failed = [one for kind in ("failed", "error") for one in terminalreporter.stats.get(kind, ())]
    folder = Path(terminalreporter.config.rootpath) / FOLDER
    folder.mkdir(exist_ok=True)
    said = [f"{one.nodeid}: {_why(one)}\n{one.caplog[-WORDS:]}" for one in failed[:20]]
    (folder / "failures.txt").write_text("\n".join(said))
    names = {one.nodeid for one in failed}
    chance = len(names) <= MOST_AGAIN and all("browser" in getattr(one, "keywords", ()) for one in failed)
    (folder / "again.txt").write_text("\n".join(sorted(names)) if chance else "")


def _why(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"{crash.path}:{crash.lineno}: {crash.message[:WORDS]}" if crash else report.longreprtext[-WORDS:]
