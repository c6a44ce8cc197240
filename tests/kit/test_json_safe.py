"""JSON that PostgreSQL takes, whatever stands in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean

TEXTS = st.text(alphabet=st.characters(exclude_categories=()))  # NUL and lone surrogates among them


def _expected(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(name): _expected(inner) for name, inner in value.items()}
        case list():
            return [_expected(inner) for inner in value]
    return value


@given(st.recursive(TEXTS | st.none() | st.booleans() | st.integers(), lambda one: st.lists(one)))
def test_what_was_written_is_read_again_without_what_cannot_be_stored(value: Any) -> None:
    text = json_safe({"said": value})
    text.encode()
    assert json.loads(text) == {"said": _expected(value)}


def test_words_that_look_like_escapes_and_pictures_stay() -> None:
    for text in (r"\u0000 and \ud83d", "好😀", '"quoted"\n'):
        assert json.loads(json_safe([text])) == [text]
    assert json.loads(json_safe({"a\x00b": "c\x00\ud800d"})) == {"ab": "cd"}


def test_what_json_has_no_word_for() -> None:
    """JSON of Python would write NaN, which PostgreSQL refuses: a message would be lost for a vendor's number."""
    at = datetime(2026, 12, 1, 2, 35, tzinfo=UTC)
    said = json.loads(json_safe({"number": float("nan"), "endless": float("inf"), "at": at, "key": (1, 2)}))
    assert said == {"number": None, "endless": None, "at": "2026-12-01T02:35:00Z", "key": [1, 2]}
