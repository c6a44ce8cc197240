"""A program calls the API with a token: it does what its scopes allow until it expires or is revoked, and no more."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import Api
from zhiban.container import ensure_workspace
from zhiban.kit.clock import SetClock
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.errors import Conflict, NotFound
from zhiban.people import tokens
from zhiban.people.tokens import Scope

ASK = {"query": "怎么申请退款？", "top_k": 5}


async def test_a_program_tries_a_question(api: Api) -> None:
    token = await api.token("报表")
    assert token.startswith(f"zhiban_{api.workspace}_")
    status, found = await api.call("POST", "/api/test_kb", token, json=ASK)
    assert (status, found["zone"]) == (200, "answer")
    assert (await api.call("GET", "/api/articles", token))[0] == 200


async def test_a_token_may_do_what_its_scopes_say(api: Api) -> None:
    reader = await api.token("reader")
    article = {"question": "周末发货吗？", "answer": "周末照常发货。"}
    status, said, headers = await api.send(
        "POST", "/api/articles", json=article, headers={"Authorization": f"Bearer {reader}"}
    )
    assert (status, said["detail"]) == (403, "This needs the scope knowledge:write, which reader does not have.")
    assert headers["www-authenticate"] == ('Bearer realm="zhiban", error="insufficient_scope", scope="knowledge:write"')
    writer = await api.token("writer", Scope.KNOWLEDGE_WRITE)
    status, written = await api.call("POST", "/api/articles", writer, json=article)
    assert status == 201
    assert (await api.call("GET", f"/api/articles/{written['id']}", writer))[0] == 403
    assert (await api.call("GET", f"/api/articles/{written['id']}", reader))[0] == 200
    assert (await api.call("DELETE", f"/api/articles/{written['id']}", writer)) == (204, None)
    async with api.app.database.transaction(api.workspace) as tx:
        (made,) = [one for one in await tokens.tokens(tx) if one.name == "writer"]
        done = await tx.rows(
            "select kind, actor_kind, actor_id, actor_ref from event where actor_kind = 'api' order by id"
        )
    assert done == [
        ("article_changed", "api", made.id, "writer"),
        ("articles_removed", "api", made.id, "writer"),
    ]


async def test_what_is_no_token_lets_nobody_in(api: Api) -> None:
    status, said, headers = await api.send("POST", "/api/test_kb", json=ASK)
    assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="zhiban"')
    assert "zhiban token create" in said["detail"]
    token = await api.token("报表")
    other = f"zhiban_{api.workspace + 1}_{token.rpartition('_')[2]}"
    wrong = [
        token[:-1],
        token + "x",
        other,
        f"zhiban_{api.workspace}_",
        "zhiban_x_y",
        "zhiban_0_y",
        api.cookie,
        "x" * 9000,
    ]
    for text in wrong:
        status, said, headers = await api.send("GET", "/api/articles", headers={"Authorization": f"Bearer {text}"})
        assert (status, said["detail"]) == (401, "This is no token of ours."), text
        assert headers["www-authenticate"] == 'Bearer realm="zhiban", error="invalid_token"'


async def test_a_wrong_token_is_not_saved_by_a_good_cookie(api: Api) -> None:
    status, _ = await api.ask("GET", "/api/articles", headers={"Authorization": "Bearer zhiban_1_nonsense"})
    assert status == 401


async def test_a_token_ends_when_it_is_revoked_or_expires(api: Api) -> None:
    week = await api.token("week", expires_at=api.clock.now() + timedelta(days=7))
    other = await api.token("other")
    api.clock.advance(timedelta(days=7) - timedelta(seconds=1))
    assert (await api.call("GET", "/api/articles", week))[0] == 200
    api.clock.advance(timedelta(seconds=1))
    assert await api.call("GET", "/api/articles", week) == (401, {"detail": "This token has expired."})
    async with api.app.database.transaction(api.workspace) as tx:
        await tokens.revoke(tx, "other", now=api.clock.now())
    assert await api.call("GET", "/api/articles", other) == (401, {"detail": "This token was revoked."})


async def test_two_workspaces_are_two_worlds(api: Api) -> None:
    elsewhere = await ensure_workspace(api.app.database, "other", "别人", "zh")
    ours, theirs = await api.token("报表"), await api.token("报表", workspace=elsewhere)
    _, page = await api.call("GET", "/api/articles", ours)
    assert page["articles"]
    assert (await api.call("GET", "/api/articles", theirs))[1]["articles"] == []
    assert (await api.call("GET", f"/api/articles/{page['articles'][0]['id']}", theirs))[0] == 404
    assert (await api.call("POST", "/api/test_kb", theirs, json=ASK))[1]["passages"] == []
    # The secret of one with the number of the other is nobody's token.
    crossed = f"zhiban_{elsewhere}_{ours.split('_', 2)[2]}"
    assert (await api.call("GET", "/api/articles", crossed))[0] == 401
    async with api.app.database.transaction(elsewhere) as tx:
        assert [one.name for one in await tokens.tokens(tx)] == ["报表"]
        await tokens.revoke(tx, "报表", now=api.clock.now())
    assert (await api.call("GET", "/api/articles", ours))[0] == 200
    async with api.app.database.transaction(NO_WORKSPACE) as tx:
        assert await tx.value("select count(*) from api_token") == 0


async def test_when_a_token_was_used_is_known_to_some_minutes(api: Api) -> None:
    token = await api.token("报表")
    used: list[Any] = []
    for minutes in (0, 4, 1):
        api.clock.advance(timedelta(minutes=minutes))
        assert (await api.call("GET", "/api/articles", token))[0] == 200
        async with api.app.database.transaction(api.workspace) as tx:
            (listed,) = await tokens.tokens(tx)
        used.append(listed.last_used_at)
    assert used[0] == used[1]
    assert used[2] - used[0] == timedelta(minutes=5)


async def test_refusals_are_counted_and_logged_once_a_minute(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    await api.token("报表")
    with caplog.at_level(logging.WARNING, "zhiban.api.auth"):
        for _ in range(5):
            await api.call("GET", "/api/articles", "zhiban_1_guess")
        api.clock.advance(timedelta(minutes=1))
        await api.call("GET", "/api/articles", "zhiban_1_guess")
    said = [record.getMessage() for record in caplog.records if record.name == "zhiban.api.auth"]
    assert [line.split(": ")[1].split(";")[0] for line in said] == ["unknown 1", "unknown 5"]
    assert not any("guess" in line for line in said)
    async with aiohttp.ClientSession() as client, client.get(f"{api.url}/metrics") as answer:
        assert 'zhiban_api_refusals_total{reason="unknown"}' in await answer.text()


async def test_only_a_digest_is_kept(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.transaction(workspace) as tx:
        made, text = await tokens.create(tx, " 报表 ", now=clock.now())
        row = await tx.row("select * from api_token")
    assert (made.name, made.scopes, made.created_by) == ("报表", {Scope.KNOWLEDGE_READ}, None)
    assert row is not None
    _, _, secret = text.split("_", 2)  # which may have such signs itself
    assert len(secret) > 20
    assert not any(secret in str(value) for value in row)


async def test_names_are_used_once_at_a_time(db: Database, workspace: int, clock: SetClock) -> None:
    async with db.transaction(workspace) as tx:
        await tokens.create(tx, "报表", now=clock.now())
        with pytest.raises(Conflict, match="already"):
            await tokens.create(tx, "报表", now=clock.now())
        for name, wishes in ((" ", {}), ("x" * 61, {}), ("x", {"scopes": ()}), ("x", {"expires_at": clock.now()})):
            with pytest.raises(Conflict):
                await tokens.create(tx, name, now=clock.now(), **wishes)
        await tokens.revoke(tx, "报表", now=clock.now())
        with pytest.raises(NotFound):
            await tokens.revoke(tx, "报表", now=clock.now())
        await tokens.create(tx, "报表", now=clock.now())
        assert [one.state(clock.now()) for one in await tokens.tokens(tx)] == ["active", "revoked"]
