"""The simulator as a plain ASGI application: the vendor's endpoints at `/cgi-bin/`, its controls at `/control/`."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from zhiban.testing.wecom.simulator import OPEN_KFID, WeComSimulator
from zhiban.testing.wecom.wire import Call, CallHandler, Complaint, Fault, JournalEntry, Json, Raw, bad, dumps

# Called with GET; everything else is a POST with a JSON object.
_READS = frozenset(
    (
        "gettoken",
        "get_api_domain_ip",
        "getcallbackip",
        "auth/getuserinfo",
        "media/get",
        "bot_file",
        "kf/servicer/list",
        "externalcontact/get_follow_user_list",
        "externalcontact/list",
        "externalcontact/get",
    )
)
_SETTINGS = ("times", "shuffle", "spread", "delay", "silent", "attempts", "patience", "retry_pause", "keep_log")
_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u(?!00[01])[0-9a-fA-F]{4}")
_VERBS = (
    "contact_says",
    "contact_taps",
    "contact_enters",
    "recall",
    "servicer_says",
    "servicer_takes",
    "servicer_ends",
    "servicer_pauses",
    "member_says",
    "member_taps",
    "befriend",
    "friend_says",
    "hire",
    "add_robot",
    "part",
    "give_accounts",
    "fail_deliveries",
    "expire_tokens",
    "configure",
    "reset",
)


def application(simulator: WeComSimulator) -> ASGIApp:
    """An application to serve with uvicorn or to mount; the API base is its address plus `/cgi-bin`."""
    guarded = simulator.handlers()
    free = simulator.open_handlers()
    control = Control(simulator)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(simulator, receive, send)
            return
        path = scope["path"]
        _, found, endpoint = path.rpartition("/cgi-bin/")
        if found:
            await _serve(simulator, guarded, free, endpoint, scope, receive, send)
            return
        _, found, verb = path.rpartition("/control/")
        body = await _body(receive)
        if not found:
            await _answer(send, 404, b"not found")
            return
        status, answer = await control(verb, _json(body) | dict(parse_qsl(scope["query_string"].decode())))
        await _answer(send, status, dumps(answer))

    return app


async def _serve(
    simulator: WeComSimulator,
    guarded: dict[str, CallHandler],
    free: dict[str, CallHandler],
    endpoint: str,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    started = time.perf_counter()
    raw = await _body(receive)
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    call = Call(endpoint, query, {}, raw, headers)

    def carry_out() -> Json | Raw:
        handler = free.get(endpoint)
        if handler is None:
            call.agent_id = simulator.gate.check(query.get("access_token", ""))
            handler = guarded.get(endpoint)
        if handler is None:
            return Raw(b"<html><body>404 page not found</body></html>", 404, {"content-type": "text/html"})
        simulator.quota.spend(endpoint)
        call.body = _parsed(endpoint, scope["method"], headers.get("content-type", ""), raw)
        return handler(call)

    outcome = await _with_faults(simulator, endpoint, carry_out)
    if outcome is None:
        await _break_off(send)
        status, errcode = 0, None
    elif isinstance(outcome, Raw):
        status, errcode = outcome.status, None
        await _answer(send, outcome.status, outcome.body, dict(outcome.headers))
    else:
        status, errcode = 200, outcome.get("errcode")
        await _answer(send, 200, dumps(outcome))
    simulator.journal.add(JournalEntry(simulator.clock.now(), endpoint, errcode, status, time.perf_counter() - started))


def _parsed(endpoint: str, method: str, content_type: str, raw: bytes) -> Json:
    """The request's object. Raises Complaint for a wrong method, for what is no JSON, and for escaped letters."""
    if endpoint in _READS:
        return {}
    if method != "POST":
        raise bad("method")
    if content_type.startswith("multipart/"):
        return {}
    if _ESCAPED.search(raw):
        raise Complaint(40033, "invalid charset, use UTF-8")  # lengths are counted in bytes of UTF-8
    try:
        found = json.loads(raw)
    except ValueError:
        raise bad("json") from None
    if not isinstance(found, dict):
        raise bad("json")
    return found


async def _with_faults(
    simulator: WeComSimulator, endpoint: str, carry_out: Callable[[], Json | Raw]
) -> Json | Raw | None:
    """The answer, spoiled as planned. None means that the connection breaks off."""
    for fault in simulator.faults.pick(endpoint):
        if fault.latency:
            await asyncio.sleep(fault.latency)
        if fault.only_slow:
            continue
        if fault.accept:
            _tried(carry_out)
        if fault.hang:
            await asyncio.sleep(fault.hang)
        if fault.drop:
            return None
        return _spoiled(fault)
    return _tried(carry_out)


def _spoiled(fault: Fault) -> Json | Raw:
    if fault.errcode is not None:
        return Complaint(fault.errcode, fault.errmsg or "planned mishap").answer()
    body = fault.body if fault.body is not None else b"<html><body>bad gateway</body></html>"
    return Raw(body, fault.status or 200, {"content-type": "text/html"})


def _tried(carry_out: Callable[[], Json | Raw]) -> Json | Raw:
    try:
        return carry_out()
    except Complaint as complaint:
        return complaint.answer()


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _json(raw: bytes) -> Json:
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    sent = {"content-type": "application/json; charset=UTF-8", **(headers or {}), "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode("latin-1"), value.encode()) for name, value in sent.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _break_off(send: Send) -> None:
    """Promise more than is sent: the server then closes the connection, and the caller never sees an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": False})


async def _lifespan(simulator: WeComSimulator, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await simulator.callbacks.close()
            await send({"type": "lifespan.shutdown.complete"})
            return


class Control:
    """The simulator's methods as JSON, for when it lives in another process.

    `POST /control/<method>` with the arguments as a JSON object answers `{"result": …}`. Further: `GET
    /control/sent?contact=&since=`, `journal`, `app_messages`, `robot_messages`, `state?contact=`, `POST /control/fail`,
    `clear_faults`, `verify`, `settle`, `advance`, `account`, `callbacks`, `traffic`.
    """

    def __init__(self, simulator: WeComSimulator) -> None:
        self._simulator = simulator
        self._extra: dict[str, Callable[[Json], Awaitable[Any]]] = {
            "sent": self._sent,
            "journal": self._journal,
            "app_messages": self._app_messages,
            "robot_messages": self._robot_messages,
            "state": self._state,
            "fail": self._fail,
            "clear_faults": self._clear_faults,
            "verify": self._verify,
            "settle": self._settle,
            "advance": self._advance,
            "account": self._account,
            "callbacks": self._callbacks,
            "traffic": self._traffic,
        }

    async def __call__(self, verb: str, arguments: Json) -> tuple[int, Json]:
        """Status and answer. Wrong arguments are 400 with the reason."""
        try:
            if verb in self._extra:
                result = await self._extra[verb](arguments)
            elif verb in _VERBS:
                result = getattr(self._simulator, verb)(**arguments)
            else:
                return 404, {"error": f"no such verb: {verb}"}
        except (TypeError, ValueError, KeyError, RuntimeError, Complaint) as error:
            return 400, {"error": str(error)}
        return 200, {"result": result}

    async def _sent(self, arguments: Json) -> list[Json]:
        since = int(arguments.get("since", 0))
        return [asdict(sent) for sent in self._simulator.sent(arguments.get("contact")) if sent.order >= since]

    async def _journal(self, arguments: Json) -> Json:
        journal = self._simulator.journal
        limit = int(arguments.get("limit", 1000))
        return {"counts": journal.counts, "entries": [asdict(entry) for entry in list(journal.entries)[-limit:]]}

    async def _app_messages(self, _arguments: Json) -> list[Json]:
        return [asdict(message) for message in self._simulator.office.messages]

    async def _robot_messages(self, _arguments: Json) -> list[Json]:
        return [asdict(message) for message in self._simulator.robots.messages]

    async def _state(self, arguments: Json) -> int:
        return self._simulator.state(arguments["contact"], open_kfid=arguments.get("open_kfid", OPEN_KFID))

    async def _fail(self, arguments: Json) -> None:
        self._simulator.fail(**arguments)

    async def _clear_faults(self, arguments: Json) -> None:
        self._simulator.faults.clear(arguments.get("seed"))

    async def _verify(self, _arguments: Json) -> str:
        return await self._simulator.verify()

    async def _settle(self, _arguments: Json) -> None:
        await self._simulator.callbacks.settle()

    async def _advance(self, arguments: Json) -> None:
        self._simulator.clock.advance(float(arguments["seconds"]))

    async def _account(self, arguments: Json) -> str:
        servicers = tuple(arguments.get("servicers", ()))
        return self._simulator.add_account(
            arguments["open_kfid"], arguments.get("name", "客服"), servicers=servicers
        ).open_kfid

    async def _callbacks(self, arguments: Json) -> Json:
        """Set how callbacks are delivered, and tell how they went."""
        callbacks = self._simulator.callbacks
        if "seed" in arguments:
            callbacks.seed(int(arguments["seed"]))
        for name in _SETTINGS:
            if name in arguments:
                setattr(callbacks, name, arguments[name])
        return {
            "deliveries": len(callbacks.log),
            "failed": sum(200 not in entry.statuses for entry in callbacks.log),
            "disorder": callbacks.disorder(),
        }

    async def _traffic(self, arguments: Json) -> Json:
        """Contacts write at `rate` a second for `seconds`, evenly, whatever the answers do. Returns when done."""
        rate, seconds = float(arguments["rate"]), float(arguments["seconds"])
        contacts, texts = int(arguments.get("contacts", 1000)), list(arguments.get("texts") or ["你好"])
        prefix, account = str(arguments.get("prefix", "wmLOAD")), arguments.get("open_kfid", OPEN_KFID)
        said: dict[str, float] = {}
        started = time.perf_counter()
        for count in range(int(rate * seconds)):
            pause = started + count / rate - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            msgid = self._simulator.contact_says(
                f"{prefix}{count % contacts:06d}", texts[count % len(texts)], open_kfid=account
            )
            said[msgid] = self._simulator.clock.now()
        return {"said": said}
