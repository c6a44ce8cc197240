"""A gateway that tells what a message quotes (`quote_id`), as some do; the real one of the other tests cannot.

It may count its events, as gateways of `@juzi/wechaty-puppet-service` do, and then tells whoever asks what came behind
a number (`seq` of this `account_id`), as far as it keeps that. It has our own messages, too, under ids of its own.
Whatever it knows nothing of it refuses, as gateways do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.sax.saxutils import escape

from tests.integrations.wechaty.gateways import BOT, TOKEN

from zhiban.integrations.wechaty.contents import LINK, TEXT
from zhiban.integrations.wechaty.event_stream import LOGIN, MESSAGE
from zhiban.integrations.wechaty.protocol import CALLS, SERVICE, STREAMED_ANSWER, STREAMED_REQUEST, wire


class QuotingGateway:
    """One account in one group, in which people quote."""

    def __init__(self) -> None:
        self.port = 0
        self.messages: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []  # ids of messages
        self.keeps: int | None = None  # how many events behind the number that is asked for; None: it does not count
        self.lost = 0  # numbers that were given before it began anew
        self.listens = 0  # how many streams were opened
        self._cuts = 0
        self._told: list[str] = []
        self._news = asyncio.Condition()

    def config(self) -> dict[str, Any]:
        endpoint = f"127.0.0.1:{self.port}"
        return {"source": "wx-1", "endpoint": endpoint, "token": TOKEN, "private_hosts": "127.0.0.1"}

    async def says(self, talker: str, text: str, room: str, *, quotes: str = "", kind: int = TEXT) -> str:
        """Somebody writes; the id of the message."""
        id_ = f"m{len(self.messages) + 1}"
        self.messages[id_] = {
            "id": id_, "text": text, "type": kind, "talker_id": talker, "room_id": room, "quote_id": quotes,
        }  # fmt: skip
        if talker != BOT:
            async with self._news:
                self._told.append(id_)
                self._news.notify_all()
        return id_

    async def cut(self) -> None:
        """End every stream."""
        async with self._news:
            self._cuts += 1
            self._news.notify_all()

    async def is_listened_to(self, times: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.listens >= times)

    async def events(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        """Whoever listens anew is told everything again, so that nothing is lost in a stream that nobody reads; by one
        that counts, what is asked for and still kept."""
        event = wire().messages["EventResponse"]
        yield event(type=LOGIN, payload=json.dumps({"contactId": BOT}))
        told, cuts = self._first(request), self._cuts
        async with self._news:
            self.listens += 1
            self._news.notify_all()
        while True:
            async with self._news:
                while len(self._told) <= told and self._cuts == cuts:
                    await self._news.wait()
                if self._cuts > cuts:
                    return
                found = self._told[told]
            told += 1
            number = told - self.lost if self.keeps is not None else 0
            yield event(type=MESSAGE, payload=json.dumps({"messageId": found}), seq=number)

    def _first(self, request: Any) -> int:
        if self.keeps is None:
            return 0
        asked = request.seq if request.account_id == BOT else 0
        behind = max(asked + self.lost, len(self._told) - self.keeps)
        return min(behind, len(self._told)) if asked else len(self._told)

    async def answer(self, call: str, request: Any, context: Any) -> Any:
        response = wire().messages[f"{call}Response"]
        match call:
            case "MessagePayload":
                self.asked.append(request.id)
                if request.id in self.messages:
                    return response(**self.messages[request.id])
            case "MessageSendText":
                return response(id=await self.says(BOT, request.text, request.conversation_id))
            case "MessageSendUrl":
                link = request.url_link
                xml = (
                    f"<msg><appmsg><title>{escape(link.title)}</title><des>{escape(link.description)}</des>"
                    f"<type>5</type><url>{escape(link.url)}</url></appmsg></msg>"
                )
                return response(id=await self.says(BOT, xml, request.conversation_id, kind=LINK))
            case "RoomMemberPayload":
                return response(id=request.member_id, name=request.member_id)
            case "Start" | "Ding" | "RoomPayload" | "RoomMemberList" | "ContactPayload":
                return response()
        return await context.abort(wire().grpc.StatusCode.UNKNOWN, "no such thing")


@asynccontextmanager
async def quoting_gateway() -> AsyncIterator[QuotingGateway]:
    found, opened = QuotingGateway(), await asyncio.to_thread(wire)
    server = opened.grpc.aio.server()

    def handler(call: str) -> Any:
        names = {
            "request_deserializer": opened.messages[f"{call}Request"].FromString,
            "response_serializer": opened.messages[f"{call}Response"].SerializeToString,
        }
        if call == "Event":
            return opened.grpc.unary_stream_rpc_method_handler(found.events, **names)

        async def one(request: Any, context: Any) -> Any:
            return await found.answer(call, request, context)

        return opened.grpc.unary_unary_rpc_method_handler(one, **names)

    calls = {call: handler(call) for call in CALLS if call == "Event" or call not in STREAMED_ANSWER | STREAMED_REQUEST}
    server.add_generic_rpc_handlers((opened.grpc.method_handlers_generic_handler(SERVICE, calls),))
    found.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield found
    finally:
        await server.stop(None)
