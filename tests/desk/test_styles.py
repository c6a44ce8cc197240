"""Templates and style sheets know the same names."""

from __future__ import annotations

import re
from pathlib import Path

import zhiban

SOURCE = Path(zhiban.__file__).parent
HOOKS = {"slot", "help__text"}  # places that scripts fill, without a look of their own


def classes(markup: str) -> set[str]:
    """The class names that a template writes out; those that it puts together are left out."""
    found: set[str] = set()
    for written in re.findall(r'class="((?:\{\{.*?\}\}|\{%.*?%\}|[^"])*)"', markup):
        whole = re.sub(r"[\w-]*\{\{.*?\}\}[\w-]*|\{%.*?%\}", " ", written)
        found.update(name for name in whole.split() if not name.endswith("-"))
    return found


def test_what_a_template_calls_for_has_a_style() -> None:
    sheets = "".join(sheet.read_text("utf-8") for sheet in (SOURCE / "web" / "static" / "css").glob("*.css"))
    styled = set(re.findall(r"\.([a-zA-Z][\w-]*)", sheets))
    templates = [*SOURCE.rglob("*.html")]
    assert len(templates) > 40
    unknown = {path.name: names for path in templates if (names := classes(path.read_text("utf-8")) - styled - HOOKS)}
    assert unknown == {}


def test_every_variable_of_a_style_is_defined() -> None:
    sheets = "".join(sheet.read_text("utf-8") for sheet in (SOURCE / "web" / "static" / "css").glob("*.css"))
    defined, used = set(re.findall(r"(--[\w-]+)\s*:", sheets)), set(re.findall(r"var\((--[\w-]+)\)", sheets))
    assert used - defined == set()
