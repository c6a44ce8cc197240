"""Run the tests, with a browser when there is one or when one can be had.

    python tools/test.py [pytest's arguments]

Browser tests need Chromium or Chrome: from ZHIBAN_BROWSER, from PATH, or installed from Debian's packages when we are
root. Where none can be had they are left out and that is said aloud; with CI=true it is a failure instead. Chromium's
headless shell comes first: the same pages cost it a third of the processor time.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from setup import ROOT, SetupError, apt

MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 10 << 30
SHELL = "chromium-headless-shell"
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/usr/lib/chromium/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find() -> str | None:
    asked = os.environ.get("ZHIBAN_BROWSER")
    if asked:
        return asked if Path(asked).exists() else shutil.which(asked)
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or next((place for place in PLACES if Path(place).exists()), None)


def has_chinese_fonts() -> bool:
    lister = shutil.which("fc-list")
    if lister is None:
        return True
    return bool(subprocess.run([lister, ":lang=zh", "file"], capture_output=True, check=False).stdout.strip())


def obtain() -> str | None:
    """A browser, installed when we may. Without Chinese fonts, screenshots would show boxes."""
    browser = find()
    may_install = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")
    if not may_install:
        return browser
    fonts = ["fonts-noto-cjk"] if browser is None or not has_chinese_fonts() else []
    # Debian's older releases have no package of the shell alone.
    if browser is None and not install(SHELL, *fonts):
        install("chromium", *fonts)
    elif browser and fonts:
        install(*fonts)
    return browser or find()


def install(*packages: str) -> bool:
    print(f"Installing {' and '.join(packages)} for the browser tests …", flush=True)
    try:
        apt("install", *packages)
    except SetupError as error:
        print(error, file=sys.stderr)
        return False
    return True


@contextmanager
def in_memory(environment: dict[str, str]) -> Iterator[None]:
    """Let tests keep their files in memory where there is room: dozens of them make a cluster of their own, and a disk
    takes seven times as long to do it."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    if "TMPDIR" in environment or not usable or shutil.disk_usage(MEMORY).free < ROOM_IN_MEMORY:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="zhiban-files-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        environment["TMPDIR"] = folder
        yield


@contextmanager
def workers(count: int, arguments: list[str], environment: dict[str, str]) -> Iterator[list[str]]:
    """The arguments of pytest-xdist for so many workers. Where they can be forked, they have the tests loaded already;
    whoever measures the lines that are run wants to see them loaded."""
    if count < 2 or sys.platform != "linux" or any(one.startswith("--cov") for one in arguments):
        yield ["-n", str(count)] if count else []
        return
    with tempfile.TemporaryDirectory(prefix="zhiban-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/workers"
        listener.bind(address)
        listener.listen()
        descriptor, program = listener.fileno(), Path(__file__).with_name("preloaded.py")
        found = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
        with subprocess.Popen(
            [sys.executable, str(program), "serve", str(descriptor), *arguments],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": found},
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
        ) as loaded:
            listener.close()
            python = shlex.join([sys.executable, "-S", "-E", str(program), address])
            yield ["--dist", "load", "--tx", f"{count}*popen//python={python}"]
            loaded.terminate()


def once_more(root: Path, environment: dict[str, str]) -> int:
    """Run again, alone, what failed, where it is a few tests of pages and nothing else (decision 0086). What passes the
    second time is left in `.pytest_cache/unstable.txt`, with what it said the first time."""
    folder = root / ".pytest_cache"
    names = [one for one in (folder / "again.txt").read_text().splitlines() if one]
    if not names:
        return 1
    said = (folder / "failures.txt").read_text()
    print(f"\nOnce more, alone, what failed in a browser: {', '.join(names)}", flush=True)
    command = [sys.executable, "-m", "pytest", *names]
    code = subprocess.run(command, cwd=root, env=environment, check=False).returncode
    if code == 0:
        (folder / "unstable.txt").write_text(said)
    return code


def main() -> int:
    browser = obtain()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-n", type=int, default=0)
    known, arguments = parser.parse_known_args()
    environment = dict(os.environ)
    in_ci = environment.get("CI", "").lower() in ("true", "1")
    (ROOT / ".pytest_cache" / "unstable.txt").unlink(missing_ok=True)
    # Hundreds of our own processes are started: none but the first should compile what it runs.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if browser:
        environment["ZHIBAN_BROWSER"] = browser
    else:
        message = "No Chromium or Chrome was found: set ZHIBAN_BROWSER or install chromium."
        if in_ci:
            print(f"{message} In CI the browser tests may not be left out.", file=sys.stderr)
            return 1
        print(f"{'*' * 100}\n* {message} THE BROWSER TESTS ARE LEFT OUT.\n{'*' * 100}", file=sys.stderr)
        arguments += ["-m", "not browser"]
    with in_memory(environment), workers(known.n, arguments, environment) as spread:
        # Handed out a few at a time, so that no worker still has many when the others have none.
        pytest = [sys.executable, "-m", "pytest", "--maxschedchunk", "4", *spread, *arguments]
        code = subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode
        return once_more(ROOT, environment) if code == 1 and in_ci else code


if __name__ == "__main__":
    raise SystemExit(main())
