"""Prepare this folder for work: virtual environment, locked packages, ourselves, front-end assets.

    python3 tools/setup.py run    # what running the product needs
    python3 tools/setup.py dev    # that, and what tests and checks need

Every step is remembered with a hash of what went into it, so that a second run takes a second. Only the standard
library is used, in a dialect that older Pythons still read far enough to say that they are too old.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
SHORT = f"{sys.version_info[0]}.{sys.version_info[1]}"
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / "zhiban-setup.json"
TROUBLES = (
    (
        ("No space left on device",),
        "The disk is full. Make room and run the same command again.",
    ),
    (
        ("THESE PACKAGES DO NOT MATCH THE HASHES",),
        "A package that arrived is not the one in the lock file. Check the mirror you install from.",
    ),
    (
        ("name resolution", "Name or service not known", "Network is unreachable", "ProxyError", "Connection refused"),
        "The network does not answer. The first set-up needs it; behind a mirror, set PIP_INDEX_URL.",
    ),
    (
        ("Read timed out", "timed out", "Connection broken", "RemoteDisconnected"),
        "The network broke off. Run the same command again: what has arrived is kept.",
    ),
    (
        ("No matching distribution", "Could not find a version"),
        "A locked package does not exist for this Python and machine, or your mirror lacks it (set PIP_INDEX_URL).",
    ),
    (
        ("Permission denied",),
        "A folder may not be written. Run as the user who owns this checkout.",
    ),
)


class SetupError(Exception):
    """The sentence says what helps."""


def python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(*command: object, what: str) -> str:
    """Run to the end. Raises SetupError with a sentence, and the last lines where no sentence fits."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise SetupError(explain(what, done.stdout))
    return done.stdout


def explain(what: str, said: str) -> str:
    for signs, sentence in TROUBLES:
        if any(sign in said for sign in signs):
            return f"{what} failed. {sentence}"
    last = "\n    ".join(said.strip().splitlines()[-12:])
    return f"{what} failed:\n    {last}"


def digest(*paths: Path) -> str:
    result = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for path in paths:
        result.update(path.name.encode() + b"\0" + path.read_bytes())
    return result.hexdigest()


def remembered() -> dict[str, str]:
    try:
        found = json.loads(STAMPS.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(**stamps: str) -> None:
    STAMPS.write_text(json.dumps({**remembered(), **stamps}, indent=1), "utf-8")


# -------------------------------------------------------------------------------------------------------------- steps


def make_venv() -> bool:
    if python().exists():
        probe = [str(python()), "-c", "import sys, pip; print(*sys.version_info[:2], sep='.')"]
        answer = subprocess.run(probe, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == SHORT:
            return False
        shutil.rmtree(VENV)  # made by a Python that is gone or different by now
    if not has_venv():
        install_venv()
    run(sys.executable, "-m", "venv", VENV, what="Creating the virtual environment")
    return True


def has_venv() -> bool:
    probe = [sys.executable, "-c", "import venv, ensurepip"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def install_venv() -> None:
    """Debian takes venv out of Python. As root we may put it back; otherwise we say how."""
    package = f"python{SHORT}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError(f"This Python has no venv module. Install it (Debian, Ubuntu: sudo apt install {package}).")
    apt("install", package)
    if not has_venv():
        raise SetupError(f"This Python has no venv module, and {package} did not bring it.")


def apt(verb: str, *packages: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], [verb, "-q", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *words], env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            raise SetupError(explain(f"apt-get {words[0]} {' '.join(packages)}", done.stdout + done.stderr))


def install(lock: Path, what: str) -> None:
    """Install exactly what the lock names. What is installed already is kept, so that a second try goes on."""
    total = sum(1 for line in lock.read_text("utf-8").splitlines() if "==" in line)
    command = [str(python()), "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r", str(lock)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    said: list[str] = []
    count = 0
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if line.startswith(("Collecting", "Requirement already satisfied", "Ignoring")):
            count += 1
            show(f"    {what}: {count} of {total}")
    show("")
    if process.wait():
        raise SetupError(explain(f"Installing {lock.name}", "".join(said)))


def show(text: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)


def install_packages(kind: str) -> bool:
    build, runtime, dev = (ROOT / f"requirements{part}.lock" for part in ("-build", "", "-dev"))
    known = remembered()
    wanted = {"build": digest(build), "run": digest(runtime), "dev": digest(runtime, dev)}
    fresh = {name for name, value in wanted.items() if known.get(name) == value}
    if kind in fresh and "build" in fresh:
        return False
    if "build" not in fresh:
        install(build, "build tools")  # first: a package that comes as source is built with them, not with unknown ones
    if kind == "dev":
        install(dev, "packages")
        remember(**wanted)
    else:
        install(runtime, "packages")
        remember(build=wanted["build"], run=wanted["run"])
    return True


def install_ourselves() -> bool:
    wanted = digest(ROOT / "pyproject.toml")
    if remembered().get("editable") == wanted and (python().parent / "zhiban").exists():
        return False
    command = [python(), "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    run(*command, "-q", "-e", ".", what="Installing zhiban itself")
    remember(editable=wanted)
    return True


def fetch_assets() -> bool:
    """htmx and the icons. tools/assets.py knows whether anything changed."""
    if not is_fresh("assets", "assets.STAMP.exists() and assets.STAMP.read_text().strip() == assets.stamp()"):
        ensure_node()
    said = run(python(), ROOT / "tools" / "assets.py", what="Fetching the front-end assets")
    return "up to date" not in said


def fetch_gateway() -> bool:
    """The Wechaty gateway that tests talk to. It needs Node.js when it runs, too."""
    ensure_node()
    said = run(python(), ROOT / "tools" / "gateway.py", what="Fetching the gateway for tests")
    return "up to date" not in said


def ensure_node() -> None:
    """Node.js of the system, or the one that comes as a package."""
    if shutil.which("npm") and shutil.which("node"):
        return
    node = ROOT / "requirements-node.lock"
    wanted = digest(node)
    if remembered().get("node") != wanted:
        install(node, "Node.js")
        remember(node=wanted)


def is_fresh(module: str, holds: str) -> bool:
    probe = f"import sys; sys.path.insert(0, 'tools'); import {module}; sys.exit(not ({holds}))"
    return subprocess.run([str(python()), "-c", probe], cwd=ROOT, capture_output=True, check=False).returncode == 0


def main() -> int:
    if sys.version_info < OLDEST:
        print(
            f"Zhiban needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {platform.python_version()}.",
            "Install one and run: make PYTHON=python3.12",
            file=sys.stderr,
        )
        return 1
    kind = sys.argv[1] if len(sys.argv) > 1 else "dev"
    if kind not in ("run", "dev"):
        print(f"Unknown kind {kind!r}: run or dev.", file=sys.stderr)
        return 2
    steps = (
        ("virtual environment", make_venv),
        ("packages (the first time takes a minute or two)", lambda: install_packages(kind)),
        ("zhiban itself", install_ourselves),
        ("front-end assets", fetch_assets),
        *((("a Wechaty gateway for tests", fetch_gateway),) if kind == "dev" else ()),
    )
    began = time.monotonic()
    for number, (name, step) in enumerate(steps, 1):
        print(f"[{number}/{len(steps)}] {name}", end=" … ", flush=True)
        if sys.stdout.isatty():
            print()
        start = time.monotonic()
        try:
            done = step()
        except SetupError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"\n{explain(name, str(error))}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped. Run the same command again to go on.", file=sys.stderr)
            return 130
        print(f"done in {time.monotonic() - start:.0f} s" if done else "already there", flush=True)
    print(f"Ready after {time.monotonic() - began:.1f} s.", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
