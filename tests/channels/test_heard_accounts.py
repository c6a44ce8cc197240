"""Who hears an account: the connection behind which it has logged in, in the whole installation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.channels.test_sockets import Desk, desk, refused
from zhiban import bootstrap
from zhiban.channels import gateways
from zhiban.channels.service import connect
from zhiban.container import ensure_workspace
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import NO_WORKSPACE
from zhiban.testing.onebot import TOKEN, OneBotProgram

__all__ = ["desk"]


async def test_who_only_names_an_account_keeps_nobody_from_it(desk: Desk) -> None:
    """Another organisation's program says that it is ours, and its account has never logged in there."""
    there = await ensure_workspace(desk.app.database, "other", "另一家", "zh")
    async with desk.app.database.transaction(there) as tx:
        given = {"source": "qq-2", "token": TOKEN}
        done = await connect(tx, desk.app.vault, bootstrap.CHANNELS["onebot"], given, now=SystemClock().now())
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    second = f"{desk.url.rpartition('/')[0]}/{public_id}"
    theirs = replace(desk, workspace_id=there, connection_id=done.id)
    async with OneBotProgram() as liar, OneBotProgram() as other:
        await liar.connect(second, role="Event")  # which nobody can ask
        await theirs.becomes("online")
        await desk.program.connect(desk.url)
        await desk.becomes("online")
        assert await desk.rows("select account from heard_account") == [(str(desk.program.self_id),)]
        # Nor does one whose login says that it is somebody else, who holds that account neither.
        await liar.disconnect()
        await theirs.eventually("select leased_by is null from gateway_state")
        await desk.program.disconnect()
        await desk.eventually("select leased_by is null from gateway_state")
        other.logged_in = 10009999
        await other.connect(second)
        await theirs.becomes("online")
        await desk.program.connect(desk.url)
        await desk.becomes("online")
        # Who has logged in is the one who is heard.
        await other.disconnect()
        await theirs.eventually("select leased_by is null from gateway_state")
        assert (await refused(liar, second))[0] == 409


async def test_an_account_is_held_by_a_login_for_as_long_as_it_is_listened_to(desk: Desk) -> None:
    there = await ensure_workspace(desk.app.database, "other", "另一家", "zh")
    found = []
    for workspace, me in ((desk.workspace_id, 7), (there, 8)):
        async with desk.app.database.transaction(workspace) as tx:
            given = {"source": f"qq-{me}", "token": TOKEN}
            done = await connect(tx, desk.app.vault, bootstrap.CHANNELS["onebot"], given, now=SystemClock().now())
            found.append((workspace, done.id, me))
    (ours, our_id, _), (theirs, their_id, _) = found
    now = SystemClock().now()
    async with desk.app.database.transaction(ours) as tx:
        await gateways.hear_account(tx, our_id, "10007777", me=7, now=now)
    async with desk.app.database.transaction(theirs) as tx:
        with pytest.raises(gateways.AccountHeardTwice):
            await gateways.hear_account(tx, their_id, "10007777", me=8, now=now)
        # Whose process is gone, or has not said so for long, holds nothing.
        await gateways.hear_account(tx, their_id, "10007777", me=8, now=now + gateways.LEASE)
    async with desk.app.database.transaction(NO_WORKSPACE) as tx:
        assert await tx.rows("select workspace_id, connection_id from heard_account where account = '10007777'") == [
            (theirs, their_id)
        ]
    async with desk.app.database.transaction(theirs) as tx:
        # Another account logs in there: the first is free.
        await gateways.hear_account(tx, their_id, "10008888", me=8, now=now + gateways.LEASE)
    async with desk.app.database.transaction(ours) as tx:
        await gateways.hear_account(tx, our_id, "10007777", me=7, now=now + gateways.LEASE)
