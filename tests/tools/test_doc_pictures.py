"""The tours show the same pictures in both languages, those that the command takes, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ("agents", "supervisors", "owners")


def _guide(language: str, name: str) -> Path:
    return ROOT / "docs" / language / "tour" / f"{name}.md"


def test_every_picture_is_taken_shown_in_both_languages_and_there() -> None:
    taken = re.findall(r'Picture\("([a-z-]+)"', (ROOT / "tools" / "doc_pictures.py").read_text("utf-8"))
    for language in ("zh", "en"):
        shown = [
            picture
            for name in GUIDES
            for picture in re.findall(r"!\[[^\]]+\]\((\S+)\)", _guide(language, name).read_text("utf-8"))
        ]
        assert sorted(shown) == sorted(f"../../pictures/{language}/{name}.jpg" for name in taken)


def test_links_of_the_tours_lead_somewhere() -> None:
    for language in ("zh", "en"):
        for name in GUIDES:
            guide = _guide(language, name)
            for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", guide.read_text("utf-8")):
                assert (guide.parent / link).exists(), f"{guide.name} ({language}): {link}"
