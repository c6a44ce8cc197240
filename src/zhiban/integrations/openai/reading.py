"""Finding the words in what a server answers, whole or in pieces."""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from zhiban.integrations.openai.server import ModelServer, error_message, json_object
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


def event_text(server: ModelServer, data: str) -> str:
    """The text of one event; empty for events without text. Raises ModelUnavailable for an error event or garbage."""
    value = json_object(data)
    if value is None:
        raise ModelUnavailable("The model's stream holds something that is not JSON.")
    if "error" in value:
        raise ModelUnavailable(f"The model's server reports an error: {server.hidden(error_message(value))}")
    choice = _first_choice(value)
    part = choice.get("delta") or choice.get("message") or {}
    content = part.get("content") if isinstance(part, dict) else None
    return _joined(content)


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of each server-sent event, however the pieces fall; a line without `data:` that is JSON counts too."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    buffer = ""
    data: list[str] = []
    async for piece in pieces:
        buffer += decoder.decode(piece)
        *lines, buffer = re.split(r"\r\n|\n|\r(?!\Z)", buffer)
        for line in lines:
            if not line and data:
                yield "\n".join(data)
                data = []
            elif line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif line.startswith("{"):
                data.append(line)
    if buffer.startswith(("data:", "{")):
        data.append(buffer.removeprefix("data:").strip())
    if data:
        yield "\n".join(data)


async def without_thoughts(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """The pieces without what stands between <think> and </think>, also when a mark falls into two pieces."""
    held, inside = "", False
    async for piece in pieces:
        held += piece
        while True:
            mark = "</think>" if inside else "<think>"
            before, found, after = held.partition(mark)
            if not found:
                break
            if before and not inside:
                yield before
            held, inside = after, not inside
        keep = _beginning_of(mark, held)
        if not inside and len(held) > keep:
            yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    if held and not inside:
        yield held


def _beginning_of(mark: str, text: str) -> int:
    """How many characters at the end of `text` may begin `mark`."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
