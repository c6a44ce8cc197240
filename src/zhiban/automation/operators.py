"""How a value is compared with what a rule wants. Pure; what cannot be compared says so instead of being false."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, assert_never

from zhiban.kit.errors import ZhibanError
from zhiban.kit.i18n import mark

if TYPE_CHECKING:
    # Two megabytes and 6 ms, which only rules that look for a pattern or a language need.
    import regex

TextOperator = Literal[
    "equal", "not_equal", "contains", "not_contains", "starts_with", "matches", "present", "not_present"
]
NumberOperator = Literal["equal", "not_equal", "greater", "less", "at_least", "at_most"]
ValueOperator = Literal[
    "equal", "not_equal", "contains", "not_contains", "starts_with", "present", "not_present", "greater", "less",
    "days_before",
]  # fmt: skip
ChoiceOperator = Literal["any_of", "none_of", "present", "not_present"]

MATCH_SECONDS = 0.02  # a pattern that takes longer than this is no use where messages arrive


class CannotTell(ZhibanError):
    """A condition can be neither true nor false here; the sentence says why, for whoever wrote the rule."""


def plain(text: str) -> str:
    """A text as it is compared: without regard to case, full-width forms and outer blanks."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def text_holds(operator: TextOperator, wanted: Sequence[str], actual: str) -> bool:
    """Whether a text is as wanted; with several wanted, one of them is enough, and the negations want none of them.

    Raises CannotTell where a pattern takes too long.
    """
    found = plain(actual)
    match operator:
        case "present":
            return bool(found)
        case "not_present":
            return not found
        case "matches":
            return any(_matches(pattern, actual) for pattern in wanted)
    values = [plain(one) for one in wanted]
    match operator:
        case "equal":
            return found in values
        case "not_equal":
            return found not in values
        case "contains":
            return any(one in found for one in values)
        case "not_contains":
            return not any(one in found for one in values)
        case "starts_with":
            return any(found.startswith(one) for one in values)
        case never:
            assert_never(never)


def _matches(pattern: str, text: str) -> bool:
    try:
        return search_pattern(pattern, text) is not None
    except TimeoutError as error:
        raise CannotTell("The pattern takes too long for this text.") from error


def search_pattern(pattern: str, text: str) -> regex.Match[str] | None:
    """Where a rule's pattern fits first, without regard to case. Raises TimeoutError where it takes too long."""
    import regex

    return regex.search(pattern, text, flags=regex.IGNORECASE, timeout=MATCH_SECONDS)


def check_pattern(pattern: str) -> str:
    """The pattern itself. Raises ValueError when it is none."""
    import regex

    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(mark(f'"{pattern}" is no pattern: {error}')) from None
    return pattern


@cache
def _scripts() -> dict[str, regex.Pattern[str]]:
    import regex

    return {
        "ko": regex.compile(r"\p{Hangul}"),
        "ja": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
        "zh": regex.compile(r"\p{Han}"),
        "latin": regex.compile(r"\p{Latin}"),
    }


def language_of(text: str) -> str:
    """The language as its script tells it: zh, ja, ko, latin (English and its neighbours) or other.

    A Chinese sentence with a product's name in it is Chinese, and a Japanese one is full of Chinese characters.
    """
    return next((name for name, script in _scripts().items() if script.search(text)), "other")


def number_holds(operator: NumberOperator, wanted: float, actual: float) -> bool:
    match operator:
        case "equal":
            return actual == wanted
        case "not_equal":
            return actual != wanted
        case "greater":
            return actual > wanted
        case "less":
            return actual < wanted
        case "at_least":
            return actual >= wanted
        case "at_most":
            return actual <= wanted
        case never:
            assert_never(never)


def choice_holds(operator: ChoiceOperator, wanted: Sequence[object], actual: Sequence[object]) -> bool:
    """Whether what was chosen (several labels, or one assignee, or nothing) is as wanted."""
    match operator:
        case "present":
            return bool(actual)
        case "not_present":
            return not actual
        case "any_of":
            return any(one in wanted for one in actual)
        case "none_of":
            return not any(one in wanted for one in actual)
        case never:
            assert_never(never)


def value_holds(operator: ValueOperator, wanted: Sequence[str], actual: object, *, now: datetime) -> bool:
    """Whether an attribute of any type is as wanted; a list is as wanted when one of its entries is.

    `days_before`: a date that lies more than so many days before now. Raises CannotTell where the attribute is no
    number or no date.
    """
    entries = list(actual) if isinstance(actual, list | tuple) else [] if actual in (None, "") else [actual]
    match operator:
        case "present":
            return bool(entries)
        case "not_present":
            return not entries
        case "not_equal":
            return not any(text_holds("equal", wanted, _text(one)) for one in entries)
        case "not_contains":
            return not any(text_holds("contains", wanted, _text(one)) for one in entries)
        case "equal" | "contains" | "starts_with":
            return any(text_holds(operator, wanted, _text(one)) for one in entries)
        case "greater" | "less":
            return any(number_holds(operator, _number(wanted[0]), _number(one)) for one in entries)
        case "days_before":
            return any(_moment(one) < now - timedelta(days=_number(wanted[0])) for one in entries)
        case never:
            assert_never(never)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise CannotTell(f'"{value}" is no number.') from error


def _moment(value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise CannotTell(f'"{value}" is no date.') from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
