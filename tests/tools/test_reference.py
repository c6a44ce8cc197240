"""The configuration reference names every setting, in both languages, as the code has it now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from zhiban.kit.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_every_setting_and_every_alias_is_there(locale: str) -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    text = (ROOT / "docs" / "reference" / f"configuration.{locale}.md").read_text("utf-8")
    for field, info in Settings.model_fields.items():
        for name in reference.names(field, info):
            assert f"`{name}`" in text
