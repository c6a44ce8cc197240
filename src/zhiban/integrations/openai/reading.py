"""Finding the words in what a server answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zhiban.ports import ModelUnavailable


def _first_choice(value: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    return choice if isinstance(choice, dict) else {}


def text_of(answer: Mapping[str, Any]) -> str:
    """The words of the first choice without thoughts. Raises ModelUnavailable when there are none."""
    choice = _first_choice(answer)
    message = choice.get("message")
    content = _joined(message.get("content")) if isinstance(message, dict) else _joined(choice.get("text"))
    text = _THOUGHTS.sub("", content).strip()
    if text:
        return text
    if choice.get("finish_reason") == "content_filter":
        raise ModelUnavailable("The model's server held the answer back (content filter).")
    if choice.get("finish_reason") == "length":
        raise ModelUnavailable("The model used up its tokens before it said anything.")
    raise ModelUnavailable("The model answered with nothing.")


_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)|\A[^<]*</think>", re.DOTALL)


def _joined(content: object) -> str:
    """Content is a text, or a list of parts with texts, or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_joined(part.get("text")) for part in content if isinstance(part, dict))
    return ""
