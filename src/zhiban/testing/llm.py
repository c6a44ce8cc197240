"""A simulator of an OpenAI-compatible server: it answers honestly from the passages in our own prompt.

Nothing about it is random: the same request gets the same answer. Faults and replies can be scripted, so that a story
can make the model slow, broken or dishonest. `python -m zhiban.testing.llm --port 9009` runs it on its own.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.testing.llm_reading import chosen, passage, told

KEY = "sk-simulated-0001"
DIMENSIONS = 256


class ModelFault(StrEnum):
    """One way in which a model or its server goes wrong."""

    DOWN = "down"  # 500
    BAD_GATEWAY = "bad_gateway"  # 502 with a proxy's page
    BUSY = "busy"  # 429 with Retry-After
    NO_QUOTA = "no_quota"  # 429 that waiting does not cure
    BAD_KEY = "bad_key"  # 401 that repeats the key
    HANG = "hang"  # no answer until the caller gives up
    CUT = "cut"  # the connection ends in the middle of the answer
    HTML = "html"  # 200 with a page
    WRONG_TYPE = "wrong_type"  # right JSON, sent as text/plain
    ERROR_IN_200 = "error_in_200"
    NO_CHOICES = "no_choices"
    NULL_CONTENT = "null_content"
    ONLY_THOUGHTS = "only_thoughts"  # reasoning_content and nothing said
    THINKS = "thinks"  # <think> before a right answer
    FENCED = "fenced"  # a right answer in a code fence with words around it
    TRUNCATED = "truncated"  # JSON that ends in the middle
    GARBAGE = "garbage"  # words instead of JSON
    INVENTS_URL = "invents_url"
    INVENTS_PHONE = "invents_phone"
    INVENTS_PRICE = "invents_price"
    BAD_CITATION = "bad_citation"


_INVENTED = {
    ModelFault.INVENTS_URL: "详情见 https://fake-shop.example.net/refund",
    ModelFault.INVENTS_PHONE: "请拨打 400-123-9876",
    ModelFault.INVENTS_PRICE: "手续费为 88.80 元",
}


@frozen_dataclass
class Asked:
    """One chat request as it came."""

    path: str
    body: Mapping[str, Any]
    key: str


@dataclass
class LlmSimulator:
    """The server's state. `app` is the ASGI application.

    `script` holds what the next requests get, oldest first: a text (the model's words), or a Fault. `always` applies
    when the script is empty. `forms` are the response formats the server understands.
    """

    key: str = KEY
    latency: float = 0.0  # seconds before an answer
    forms: frozenset[str] = frozenset(("json_schema", "json_object", "text"))
    always: ModelFault | None = None
    retry_after: str = "0"
    script: deque[str | ModelFault] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    app: Starlette = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/models", self._models, methods=["GET"]),
            ]
        )

    def then(self, *replies: str | ModelFault) -> None:
        """Script what the next requests get."""
        self.script.extend(replies)

    # ------------------------------------------------------------------------------------------- endpoints

    async def _models(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(
            {"object": "list", "data": [{"id": "simulated", "object": "model"}]}
        )

    async def _chat(self, request: Request) -> Response:
        body = await self._received(request)
        if (refusal := self._refused(request)) is not None:
            return refusal
        # What a refused request asked for is not said, and waits for the next.
        words_wait = bool(self.script) and not isinstance(self.script[0], ModelFault)
        if words_wait and (refusal := self._unknown_form(body)) is not None:
            return refusal
        step = self.script.popleft() if self.script else self.always
        if isinstance(step, ModelFault):
            self.counts[f"fault:{step}"] += 1
            if (broken := await self._broken(step)) is not None:
                return broken
        if (refusal := self._unknown_form(body)) is not None:
            return refusal
        if self.latency:
            await asyncio.sleep(self.latency)
        content = (
            step if isinstance(step, str) and not isinstance(step, ModelFault) else reply(body.get("messages", []))
        )
        if isinstance(step, ModelFault):
            content = _spoiled(step, content)
        return self._completed(content, body, step)

    async def _embeddings(self, request: Request) -> Response:
        body = await self._received(request)
        if (refusal := self._refused(request)) is not None:
            return refusal
        step = self.script.popleft() if self.script else self.always
        if isinstance(step, ModelFault) and (broken := await self._broken(step)) is not None:
            return broken
        if self.latency:
            await asyncio.sleep(self.latency)
        texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
        if len(texts) > 64:
            return JSONResponse({"error": {"message": "at most 64 inputs"}}, 400)
        data = [{"object": "embedding", "index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
        self.counts["texts"] += len(texts)
        # The order is the index, not the place in the list.
        tokens = sum(map(_tokens, texts))
        return JSONResponse(
            {"object": "list", "data": data[::-1], "model": body["model"], "usage": {"prompt_tokens": tokens}}
        )

    # --------------------------------------------------------------------------------------------- behaviour

    async def _received(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.asked.append(Asked(request.url.path, body, key))
        self.counts[request.url.path] += 1
        return body

    def _refused(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and given != self.key:
            return JSONResponse({"error": {"message": f"Incorrect API key provided: {given}"}}, 401)
        return None

    def _unknown_form(self, body: Mapping[str, Any]) -> Response | None:
        form = (body.get("response_format") or {}).get("type", "text")
        if form in self.forms:
            return None
        self.counts[f"refused:{form}"] += 1
        message = f"Invalid parameter: 'response_format' of type '{form}' is not supported with this model."
        return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, 400)

    async def _broken(self, fault: ModelFault) -> Response | None:
        """The whole answer of a fault that leaves no place for words; None for the others."""
        if fault is ModelFault.HANG:
            await asyncio.sleep(3600)
        return _BROKEN[fault](self) if fault in _BROKEN else None

    def _completed(self, content: str, body: Mapping[str, Any], step: str | ModelFault | None) -> Response:
        said = sum(_tokens(str(message.get("content"))) for message in body.get("messages", []))
        self.counts["input_tokens"] += said
        self.counts["output_tokens"] += _tokens(content)
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if step is ModelFault.ONLY_THOUGHTS:
            message = {"role": "assistant", "content": "", "reasoning_content": "让我想一想"}
        if step is ModelFault.NULL_CONTENT:
            message["content"] = None
        value = {
            "id": f"chatcmpl-{next(self._numbers)}",
            "object": "chat.completion",
            "created": 1767226000,
            "model": body.get("model", "simulated"),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": said, "completion_tokens": _tokens(content), "total_tokens": said},
        }
        if step is ModelFault.NO_CHOICES:
            value["choices"] = []
        raw = json.dumps(value, ensure_ascii=False).encode()
        if step is ModelFault.CUT:
            return StreamingResponse(
                _cut(raw), media_type="application/json", headers={"Content-Length": str(len(raw))}
            )
        return Response(raw, media_type="text/plain" if step is ModelFault.WRONG_TYPE else "application/json")


_BROKEN: dict[ModelFault, Callable[[LlmSimulator], Response]] = {
    ModelFault.DOWN: lambda _: JSONResponse({"error": {"message": "The server had an error"}}, 500),
    ModelFault.BAD_GATEWAY: lambda _: Response("<html><h1>502 Bad Gateway</h1></html>", 502, media_type="text/html"),
    ModelFault.BUSY: lambda server: JSONResponse(
        {"error": {"message": "Rate limit reached"}}, 429, headers={"Retry-After": server.retry_after}
    ),
    ModelFault.NO_QUOTA: lambda _: JSONResponse(
        {"error": {"message": "No balance", "code": "insufficient_quota"}}, 429
    ),
    ModelFault.BAD_KEY: lambda server: JSONResponse({"error": {"message": f"Incorrect API key: {server.key}"}}, 401),
    ModelFault.HTML: lambda _: Response("<html><body>Welcome to nginx!</body></html>", media_type="text/html"),
    ModelFault.ERROR_IN_200: lambda server: JSONResponse({"error": {"message": f"engine overloaded for {server.key}"}}),
}


def _spoiled(fault: ModelFault, content: str) -> str:
    match fault:
        case ModelFault.THINKS:
            return f'<think>先看资料。{{"can_answer": false}}</think>\n{content}'
        case ModelFault.FENCED:
            return f"好的，结果如下：\n```json\n{content}\n```\n希望对您有帮助。"
        case ModelFault.TRUNCATED:
            return content[: len(content) * 2 // 3]
        case ModelFault.GARBAGE:
            return "这个问题嘛，我觉得应该是可以的吧。"
        case ModelFault.INVENTS_URL | ModelFault.INVENTS_PHONE | ModelFault.INVENTS_PRICE:
            return _answer(True, _INVENTED[fault], [1], "")
        case ModelFault.BAD_CITATION:
            return _answer(True, "可以的。", [99], "")
        case _:
            return content


async def _cut(raw: bytes) -> AsyncIterator[bytes]:
    yield raw[: len(raw) // 2]
    raise ConnectionResetError("scripted")


def _tokens(text: str) -> int:
    return max(1, len(text) * 2 // 3)


# ---------------------------------------------------------------------------------- an honest small model

_BLOCK = re.compile(r"⟪(?P<name>\w+) (?P<fence>\w+)⟫\n(?P<body>.*?)\n⟪/(?P=name) (?P=fence)⟫", re.DOTALL)
_PASSAGE = re.compile(r"(?m)^\[(\d+)\] ")


def reply(messages: Sequence[Mapping[str, Any]]) -> str:
    """What an honest model says to our prompt; to any other prompt it says that it heard."""
    text = "\n".join(str(message.get("content", "")) for message in messages if message.get("role") == "user")
    blocks = {match["name"]: match["body"] for match in _BLOCK.finditer(text)}
    if "passages" in blocks and "question" in blocks:
        return _from_passages(blocks["passages"], blocks["question"], _asked_last(blocks.get("conversation", "")))
    if styled := blocks.get("draft") or blocks.get("incoming"):
        return json.dumps({"text": _styled(blocks["style"], styled)}, ensure_ascii=False)
    if "question" in blocks:
        return _rewritten(blocks.get("conversation", ""), blocks["question"])
    if "conversation" in blocks:
        return json.dumps({"text": f"对方问：{_asked_last(blocks['conversation'])}"}, ensure_ascii=False)
    return "好的，我收到了您的消息。"


def _styled(style: str, draft: str) -> str:
    """The draft as asked for, as far as a model of no words can: its first sentence, or with a word before it."""
    if style == "shorter":
        return re.split(r"(?<=[。！？!?])", draft)[0]
    return {"friendlier": "您好，", "formal": "尊敬的客户：", "english": "In English: ", "chinese": "译文："}[
        style
    ] + draft


def _from_passages(block: str, question: str, before: str) -> str:
    parts = _PASSAGE.split(block)
    passages = [passage(int(number), text) for number, text in zip(parts[1::2], parts[2::2], strict=True)]
    if not (used := chosen(question, passages, before)):
        return _answer(False, "", [], "资料没有回答这个问题")
    numbers = [one.number for one in used]
    return _answer(True, "\n".join(map(told, used)), numbers, f"依据资料 {numbers}")


def _asked_last(conversation: str) -> str:
    lines = [line.removeprefix("contact: ") for line in conversation.splitlines() if line.startswith("contact: ")]
    return lines[-1] if lines else ""


def _rewritten(conversation: str, question: str) -> str:
    topic = re.sub(r"[？?。！!]+$", "", _asked_last(conversation))
    rest = re.sub(r"^那么?|呢(?=[？?]?$)", "", question.strip())
    return json.dumps({"question": f"{topic}，{rest}" if topic else rest}, ensure_ascii=False)


def _answer(can_answer: bool, text: str, citations: list[int], reason: str) -> str:
    return json.dumps(
        {"can_answer": can_answer, "answer": text, "citations": citations, "reason": reason}, ensure_ascii=False
    )


def vector(text: str) -> list[float]:
    """Hashed character bigrams, so that similar texts are near each other. Not normalised, as many servers do not."""
    numbers = [0.0] * DIMENSIONS
    letters = [char for char in text.lower() if char.isalnum()]
    for gram in (*itertools.pairwise(letters), *((char,) for char in letters)):
        mark = zlib.crc32("".join(gram).encode())
        numbers[mark % DIMENSIONS] += 1.0 if mark & 0x8000_0000 else -1.0
    if not any(numbers):
        numbers[0] = 1.0
    return [math.copysign(math.sqrt(abs(number)), number) for number in numbers]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9009)
    parser.add_argument("--key", default=KEY, help="the key that requests must carry; empty: any")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--always", type=ModelFault, choices=list(ModelFault), help="go wrong in this way every time")
    chosen = parser.parse_args(arguments)
    simulator = LlmSimulator(key=chosen.key, latency=chosen.latency, always=chosen.always)
    uvicorn.run(simulator.app, host=chosen.host, port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
