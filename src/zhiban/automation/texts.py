"""What rules write: a text with `{{contact.name}}` and the like in it."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from zhiban.automation.facts import RuleFacts
from zhiban.kit.i18n import mark

VARIABLES = ("contact.name", "conversation.id", "waiting.minutes")
_KNOWN = ", ".join(VARIABLES)
_VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


def check_template(text: str) -> str:
    """The template itself. Raises ValueError where it names what there is not, or says nothing."""
    unknown = [name for name in _VARIABLE.findall(text) if name not in VARIABLES]
    if unknown:
        raise ValueError(mark(f"{unknown[0]} is no variable; there are {_KNOWN}"))
    if not text.strip():
        raise ValueError(mark("there is nothing to write"))
    return text


def check_address(url: str) -> str:
    """The address itself. Raises ValueError when it is none that a program could be called at."""
    try:
        parts = urlsplit(url.strip())
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole or any(char.isspace() for char in url.strip()):
        raise ValueError(mark("An address begins with https:// or http://."))
    if parts.username or parts.password:
        raise ValueError(mark("An address here holds no password: whoever sees rules could read it."))
    return url.strip()


def check_optional(text: str) -> str:
    """A template that may be empty. Raises ValueError where it names what there is not."""
    return check_template(text) if text.strip() else ""


OptionalTemplate = Annotated[str, Field(max_length=4000), AfterValidator(check_optional)]
Template = Annotated[str, Field(max_length=4000), AfterValidator(check_template)]


def filled(template: str, facts: RuleFacts) -> str:
    """The template with what it names. A contact without a name is called nothing."""
    waited = facts.minutes_waited
    return filled_with(template, name=facts.contact.own_name, conversation_id=facts.state.id, waited=waited or 0)


def filled_with(template: str, *, name: str, conversation_id: int, waited: float = 0) -> str:
    """The template with these values; `waited` in minutes."""
    values = {
        "contact.name": name,
        "conversation.id": str(conversation_id),
        "waiting.minutes": str(int(waited)),
    }
    return _VARIABLE.sub(lambda found: values[found.group(1)], template)
