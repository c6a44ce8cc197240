"""What a snippet may name: a short list, filled for one conversation and one agent. Pure.

`{{contact.name}}` stands for a value, `{{contact.name|朋友}}` says what to write where it is empty. Values are put in
once: what a contact calls themselves is never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark


@frozen_dataclass
class SnippetVariable:
    """What people call it, and what is written where it is empty and the snippet itself says nothing."""

    label: str
    fallback: str


VARIABLES: Mapping[str, SnippetVariable] = {
    "contact.name": SnippetVariable(mark("联系人的名字"), mark("朋友")),
    "agent.name": SnippetVariable(mark("您自己的名字"), mark("我们的同事")),
    "team.name": SnippetVariable(mark("会话的小组"), mark("我们的同事")),
    "inbox.name": SnippetVariable(mark("收件箱的名字"), mark("这里")),
    "conversation.number": SnippetVariable(mark("会话的编号"), ""),
    "organisation.name": SnippetVariable(mark("贵组织的名字"), mark("我们")),
    "today": SnippetVariable(mark("今天的日期"), ""),
}
_KNOWN = ", ".join(VARIABLES)
_PLACE = re.compile(r"\{\{\s*([^{}|]*?)\s*(?:\|([^{}]*))?\}\}")


@frozen_dataclass
class SnippetPart:
    """A stretch of a filled snippet. `variable` is empty for its own words; `missing`: the value was empty."""

    text: str
    variable: str = ""
    missing: bool = False


def check_template(text: str) -> None:
    """Raises Conflict where the text names what there is not, or braces do not close."""
    for name, _ in _PLACE.findall(text):
        if name not in VARIABLES:
            raise Conflict(f'There is no variable "{name}"; there are {_KNOWN}.')
    left = _PLACE.sub("", text)
    if "{{" in left or "}}" in left:
        raise Conflict("A variable stands between {{ and }}; one of these is alone.")


def filled_parts(template: str, values: Mapping[str, str], texts: Texts) -> tuple[SnippetPart, ...]:
    """The template with the values in it. An empty value is replaced by what the template or the list says instead."""
    parts: list[SnippetPart] = []
    end = 0
    for found in _PLACE.finditer(template):
        if found.start() > end:
            parts.append(SnippetPart(template[end : found.start()]))
        name, fallback = found.group(1), found.group(2)
        value = " ".join(values.get(name, "").split())
        parts.append(SnippetPart(value or _instead(name, fallback, texts), name, missing=not value))
        end = found.end()
    if end < len(template):
        parts.append(SnippetPart(template[end:]))
    return tuple(parts)


def _instead(name: str, fallback: str | None, texts: Texts) -> str:
    if fallback is not None:
        return fallback.strip()
    usual = VARIABLES[name].fallback
    return texts(usual) if usual else ""
