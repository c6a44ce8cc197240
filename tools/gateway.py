"""Fetch the real Wechaty gateway that tests talk to: its packages, never its code, and nothing that the product runs.

python tools/gateway.py           # does nothing when nothing changed
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import assets

FOLDER = assets.ROOT / "tests" / "integrations" / "wechaty" / "gateway"
STAMP = FOLDER / "node_modules" / ".stamp"
INPUTS = [FOLDER / "package.json", FOLDER / "package-lock.json"]


def stamp() -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in INPUTS)).hexdigest()


def is_fresh(at: Path = STAMP) -> bool:
    return at.exists() and at.read_text("ascii").strip() == stamp()


def main() -> int:
    if is_fresh():
        print("The gateway for tests is up to date.")
        return 0
    try:
        assets.fetch(FOLDER)
    except assets.AssetsError as error:
        print(f"The gateway for tests: {error}", file=sys.stderr)
        return 1
    STAMP.write_text(stamp() + "\n", "ascii")
    print("The gateway for tests was fetched.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
