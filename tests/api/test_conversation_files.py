"""Files beside a program's reply, over HTTP: put there, sent once with the words, refused in words, nobody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import Api
from tests.api.test_conversations import BOTH, HERE, keyed
from tests.api.test_tickets import conversation
from tests.recordings import png
from tests.twin import open_inbox
from zhiban.bootstrap import limits_of
from zhiban.channels.connections import OpenInbox
from zhiban.conversations import replies
from zhiban.conversations.draft_files import MOST_FILES, draft_files
from zhiban.conversations.draft_uploads import MOST_BYTES
from zhiban.conversations.ingest import ingest
from zhiban.conversations.queries import answered_since
from zhiban.events import Actor
from zhiban.people import tokens
from zhiban.people.tokens import Scope
from zhiban.ports import IncomingMessage, Kind, SenderRole

FILES = "/api/files"
CONTRACT = b"%PDF-1.7 the contract"


@pytest.fixture
async def token(api: Api) -> str:
    return await api.token("订单系统", *BOTH)


async def put(api: Api, token: str, id_: int, data: bytes, name: str = "合同.pdf") -> tuple[int, Any]:
    return await api.call("POST", f"{FILES}?conversation_id={id_}&name={name}", token, data=data)


async def waiting(api: Api, token: str, id_: int) -> list[str]:
    status, said = await api.call("GET", f"{FILES}?conversation_id={id_}", token)
    assert status == 200, said
    return [one["filename"] for one in said["files"]]


async def another(api: Api, inbox: OpenInbox) -> int:
    async with api.app.database.transaction(api.workspace) as tx:
        now = api.clock.now()
        said = IncomingMessage("x1", "另一位", "另一位", SenderRole.CONTACT, Kind.TEXT, "在吗", now)
        await ingest(tx, inbox, [said], now=now, process_id=1)
        return int(await tx.value("select max(id) from conversation"))


async def test_files_go_out_after_the_words_and_once(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    status, picture = await put(api, token, id_, png(40, 30), "图.png")
    assert (status, picture["kind"], picture["content_type"]) == (201, "image", "image/png")
    _, contract = await put(api, token, id_, CONTRACT)
    assert (contract["kind"], contract["filename"], contract["size"]) == ("file", "合同.pdf", len(CONTRACT))
    assert await waiting(api, token, id_) == ["图.png", "合同.pdf"]
    path = f"{HERE}/{id_}/messages"
    said = {"text": "合同和图", "files": [contract["id"], picture["id"]]}
    first = await keyed(api, path, token, said, "k1")
    assert first == await keyed(api, path, token, said, "k1")
    assert (first[0], [one["kind"] for one in first[1]["messages"]]) == (201, ["text", "file", "image"])
    assert [one["files"][0]["filename"] for one in first[1]["messages"][1:]] == ["合同.pdf", "图.png"]
    assert {one["author_name"] for one in first[1]["messages"]} == {"订单系统"}
    assert await waiting(api, token, id_) == []
    assert (await api.call("POST", path, token, json=said))[0] == 409  # they went out
    _, again = await put(api, token, id_, CONTRACT)
    status, alone = await api.call("POST", path, token, json={"files": [again["id"]]})
    assert (status, [one["kind"] for one in alone["messages"]]) == (201, ["file"])
    async with api.app.database.transaction(api.workspace) as tx:
        assert await tx.value("select count(*) from attachment a join message m on m.id = a.message_id") == 3


async def test_a_file_alone_that_a_person_sent_by_a_program_is_their_answer(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    _, contract = await put(api, token, id_, CONTRACT)
    said = {"files": [contract["id"]], "from_person": True}
    status, _ = await api.call("POST", f"{HERE}/{id_}/messages", token, json=said)
    assert status == 201
    async with api.app.database.transaction(api.workspace) as tx:
        answerer = await answered_since(tx, id_, 0, by=0)
    assert answerer is not None
    assert answerer.name == "订单系统"


async def test_what_the_channel_does_not_take_is_refused_in_words(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    most = max(one.most for one in limits_of("webhook").media.values())
    status, said = await put(api, token, id_, bytes(most + 1))
    assert (status, said["detail"]) == (409, f"The file is too large: this channel takes {most >> 10} KB at most.")
    assert (await put(api, token, id_, b""))[1] == {"detail": "The file is empty."}
    _, evil = await put(api, token, id_, b"<script>alert(1)</script>", "..%2F%3Cb%3E.html")
    assert (evil["kind"], evil["content_type"]) == ("file", "application/octet-stream")
    assert not set(evil["filename"]) & set("/<>")
    for number in range(1, MOST_FILES):
        assert (await put(api, token, id_, CONTRACT, f"{number}.pdf"))[0] == 201
    status, said = await put(api, token, id_, CONTRACT, "一个太多.pdf")
    assert (status, said["detail"]) == (409, "At most 10 files go out with one reply. Send these first.")
    assert (await api.call("DELETE", f"{FILES}/{evil['id']}", token))[0] == 204
    assert (await api.call("DELETE", f"{FILES}/{evil['id']}", token))[0] == 404
    assert (await put(api, token, id_, CONTRACT))[0] == 201
    assert len(await waiting(api, token, id_)) == MOST_FILES
    async with api.app.database.transaction(api.workspace) as tx:
        await tx.run("update inbox set kind = 'wecom_group'")  # it gives and takes no files
    status, said = await put(api, token, id_, CONTRACT)
    assert (status, said["detail"]) == (409, "This channel takes no files.")


async def test_a_body_beyond_all_limits_is_not_read(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            f"{api.url}{FILES}?conversation_id={id_}",
            data=bytes(MOST_BYTES + 1),
            headers={"Authorization": f"Bearer {token}"},
        ) as answer,
    ):
        assert answer.status == 413
    assert await waiting(api, token, id_) == []


async def test_files_of_others_are_nobodys(api: Api, token: str) -> None:
    inbox, id_ = await conversation(api, channel="webhook")
    other = await api.token("另一个", *BOTH)
    _, theirs = await put(api, other, id_, CONTRACT)
    status, mine = await api.ask("POST", f"{FILES}?conversation_id={id_}&name=a.pdf", data=CONTRACT)
    assert status == 201  # an agent's session: it stands beside their reply at the desk
    async with api.app.database.transaction(api.workspace) as tx:
        lin = Actor("agent", int(await tx.value("select id from agent")))
        assert [one.filename for one in await draft_files(tx, id_, lin)] == ["a.pdf"]
    assert await waiting(api, token, id_) == []
    path = f"{HERE}/{id_}/messages"
    for foreign in (theirs["id"], mine["id"], 4711):
        status, said = await api.call("POST", path, token, json={"text": "拿来", "files": [foreign]})
        assert (status, "no longer there" in said["detail"]) == (409, True)
        assert (await api.call("DELETE", f"{FILES}/{foreign}", token))[0] == 404
    elsewhere = await another(api, inbox)
    _, own = await put(api, token, elsewhere, CONTRACT)
    assert (await api.call("POST", path, token, json={"files": [own["id"]]}))[0] == 409  # beside another conversation
    assert (await api.call("POST", path, other, json={"files": [theirs["id"]]}))[0] == 201
    assert (await api.ask("POST", path, json={"files": [mine["id"]]}))[0] == 201
    messages = (await api.call("GET", path, token))[1]["messages"]
    assert [one["author"] for one in messages] == ["contact", "api", "agent"]


async def test_scopes_and_inboxes_hold_before_a_body_is_read(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    reader = await api.token("只读", Scope.CONVERSATIONS_READ)
    assert (await put(api, reader, id_, CONTRACT))[0] == 403
    assert (await api.ask("POST", f"{FILES}?conversation_id={id_}", known=False, data=CONTRACT))[0] == 401
    async with api.app.database.transaction(api.workspace) as tx:
        now = api.clock.now()
        elsewhere = (await open_inbox(api.app.database, api.workspace, public_id="other")).inbox_id
        _, blind = await tokens.create(tx, "别处", scopes=BOTH, inbox_ids=[elsewhere], expires_at=None, now=now)
    assert (await put(api, blind, id_, CONTRACT))[0] == 404
    assert (await api.call("GET", f"{FILES}?conversation_id={id_}", blind))[0] == 404
    assert (await put(api, token, 4711, CONTRACT))[0] == 404


async def test_what_stops_words_stops_files_and_they_go_on_waiting(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    await api.call("PATCH", f"{HERE}/{id_}", token, json={"status": "open"})
    seen = (await api.call("GET", f"{HERE}/{id_}", token))[1]["last_message_id"]
    _, file = await put(api, token, id_, CONTRACT)
    async with api.app.database.transaction(api.workspace) as tx:
        lin = int(await tx.value("select id from agent"))
        await replies.reply(tx, id_, text="在", by=lin, limits=limits_of("webhook"), now=api.clock.now())
    said = {"files": [file["id"]], "seen": seen}
    status, refused = await api.call("POST", f"{HERE}/{id_}/messages", token, json=said)
    assert (status, "has just replied" in refused["detail"]) == (409, True), refused
    assert await waiting(api, token, id_) == ["合同.pdf"]


async def test_two_calls_at_once_send_a_file_once(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    _, file = await put(api, token, id_, CONTRACT)
    path = f"{HERE}/{id_}/messages"
    sent = await asyncio.gather(*(api.call("POST", path, token, json={"files": [file["id"]]}) for _ in range(4)))
    assert sorted(status for status, _ in sent) == [201, 409, 409, 409]


async def test_a_revoked_tokens_files_are_sent_by_nobody(api: Api, token: str) -> None:
    _, id_ = await conversation(api, channel="webhook")
    await put(api, token, id_, CONTRACT)
    async with api.app.database.transaction(api.workspace) as tx:
        await tokens.revoke(tx, "订单系统", now=api.clock.now())
    assert (await put(api, token, id_, CONTRACT))[0] == 401
    anew = await api.token("订单系统", *BOTH)
    assert await waiting(api, anew, id_) == []
