"""The form of a vendor's values: what was typed into it, what is missing, and what of it may be shown again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zhiban.desk.page import DeskPage
from zhiban.ports import SetupField, UnusableValues

LONGEST_NAME = 60
LONGEST_VALUE = 8_000  # a private key is the longest
VALUE = "v."  # with its name: the form's field for a value of the vendor

Fields = Sequence[SetupField]


async def typed_values(page: DeskPage, fields: Fields) -> dict[str, str]:
    """What was typed into these fields; an empty one was not given."""
    form = dict(await page.form())
    typed = {field.name: form.get(VALUE + field.name, "").strip()[:LONGEST_VALUE] for field in fields}
    return {name: value for name, value in typed.items() if value}


def missing(page: DeskPage, fields: Fields, typed: Mapping[str, str]) -> dict[str, str]:
    """What stands beside each field that has to be filled in."""
    return {field.name: page.texts("这一项要填") for field in fields if field.required and not typed.get(field.name)}


def mistakes(page: DeskPage, error: UnusableValues) -> dict[str, str]:
    """What stands beside each field that cannot be used as it was typed."""
    said = page.words(error) if len(error.fields) == 1 and not str(error).startswith("These") else ""
    return {name: said or page.texts("这样写不能用") for name in error.fields}


def plain(fields: Fields, typed: Mapping[str, str]) -> dict[str, str]:
    """What may come back into the page: no secret does."""
    return {field.name: typed[field.name] for field in fields if not field.secret and field.name in typed}


def shown_again(fields: Fields, typed: Mapping[str, str]) -> dict[str, str]:
    """What stands in the fields of a form that is filled in anew."""
    return {field.name: field.default for field in fields} | plain(fields, typed)


def written(value: object) -> object:
    """A value as it is typed in."""
    return str(value).lower() if isinstance(value, bool) else value
