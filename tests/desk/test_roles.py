"""Every address of the desk against everybody: a new one has to say here whom it is for.

Strangers are sent to sign in, people of another workspace and of other inboxes find nothing, each role changes nothing
that is others' business, and none of these calls leaves a trace in what happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.desk.addresses import ADDRESSES, MAY, NOW_NOT
from tests.desk.conftest import Client, Site
from tests.desk.seed import create_seed
from tests.desk.test_desk import next_event, told
from tests.desk.walking import Walk, addresses, begin_walk
from tests.twin import open_inbox
from zhiban.kit.file_store import PostgresFileStore, spooled
from zhiban.people.models import Role


@pytest.fixture
async def walk(site: Site) -> Walk:
    return await begin_walk(site)


LASTS = "GET /stream"  # answers for as long as the page is open


def test_every_address_says_whom_it_is_for(site: Site) -> None:
    assert sorted(addresses(site)) == sorted(ADDRESSES)


async def test_strangers_are_sent_to_sign_in(walk: Walk) -> None:
    before = await walk.happened()
    for address, entry in ADDRESSES.items():
        answer = await walk.ask(walk.site.client(), address)
        if entry.whom == "everybody":
            assert answer.status in entry.answers, address
        else:
            away = answer.status == 303 and answer.headers["location"].startswith("/login")
            assert away or answer.status == 401, (address, answer.status)
    assert await walk.happened() == before


async def test_people_of_another_workspace_find_nothing(walk: Walk) -> None:
    await create_seed(walk.site.seed.database, walk.site.seed.clock, slug="other")
    foreign = walk.site.client()
    answer = await foreign.post("/login", {"email": "linxiao@other.example", "password": "correct horse battery"})
    assert answer.status == 303
    before = await walk.happened()
    for address, entry in ADDRESSES.items():
        if entry.whom != "everybody" and "{" in address:
            answer = await walk.ask(foreign, address)
            assert answer.status in (404, *(NOW_NOT if entry.answers == NOW_NOT else ())), (address, answer.status)
    assert await walk.happened() == before


async def become(walk: Walk, who: str, role: Role, *, inbox_ids: list[int] | None = None) -> Client:
    """Signed in as this colleague in this role."""
    async with walk.site.seed.database.transaction(walk.site.seed.workspace_id) as tx:
        await tx.run(
            "update agent set role = %(role)s, inbox_ids = %(inboxes)s where id = %(id)s",
            role=role,
            inboxes=inbox_ids,
            id=walk.site.seed.agents["陈默" if who == "chenmo" else "林晓"],
        )
    return await walk.site.signed_in(who)


# What an owner may is what an admin may, but for the roles that they give: see tests/people/test_permissions.py.
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OWNER])
async def test_each_role_does_what_is_for_it_and_nothing_else(walk: Walk, role: Role) -> None:
    client = await become(walk, "chenmo", role)
    before = await walk.happened()
    for address, entry in ADDRESSES.items():
        if entry.whom != "everybody" and entry.whom not in MAY[role]:
            answer = await walk.ask(client, address)
            assert answer.status in (403, 409, 422), (address, answer.status)
    assert await walk.happened() == before
    for address, entry in ADDRESSES.items():
        if address != LASTS and entry.whom in MAY[role]:
            answer = await walk.ask(client, address)
            assert answer.status in entry.answers, (address, answer.status, answer.text[-300:])


OF_AN_INBOX = ("{conversation_id}", "{message_id}", "{attachment_id}", "{contact_id}")


@pytest.mark.parametrize("role", [Role.SUPERVISOR, Role.READ_ONLY])
async def test_what_is_in_other_inboxes_does_not_exist(walk: Walk, role: Role) -> None:
    other = await open_inbox(walk.site.seed.database, walk.site.seed.workspace_id, public_id="other", name="别处")
    walk.ids["attachment_id"] = await stored_file(walk.site)
    client = await become(walk, "chenmo", role, inbox_ids=[other.inbox_id])
    before = await walk.happened()
    for address, entry in ADDRESSES.items():
        if any(name in address for name in OF_AN_INBOX) and "confirm" not in address:
            answer = await walk.ask(client, address)
            forbidden = role is Role.READ_ONLY and entry.whom == "agents"  # whatever there is
            assert answer.status in ((404, 409, 422) if forbidden else (404,)), (address, answer.status)
        elif entry.whom == "ruling":  # rules act in every inbox
            answer = await walk.ask(client, address)
            assert answer.status in (403, 409, 422), (address, answer.status)
    for address in ("/?queue=all", "/desk/list?queue=all", "/desk/rows?queue=all&status=resolved", "/rules/1"):
        text = (await client.get(address)).text
        assert not [name for name in walk.site.seed.conversations if name in text], address
    assert await walk.happened() == before
    owner = await walk.site.signed_in("linxiao")
    assert (await walk.ask(owner, "GET /attachments/{attachment_id}")).status == 200


async def stored_file(site: Site) -> int:
    """A file that a contact sent, kept. Returns the attachment."""
    seed = site.seed
    files = PostgresFileStore(seed.database, seed.clock)

    async def content() -> AsyncIterator[bytes]:
        yield b"hello"

    async with spooled(content(), limit=100, head=16) as spool:
        await files.keep(seed.workspace_id, spool)
    async with seed.database.transaction(seed.workspace_id) as tx:
        return int(
            await tx.value(
                "insert into attachment (workspace_id, message_id, kind, reference, filename, size, sha256, state) "
                "select workspace_id, id, 'file', 'r', 'a.txt', 5, %(sha)s, 'stored' from message "
                "where conversation_id = %(id)s order by id limit 1 returning id",
                sha=spool.sha256,
                id=seed.conversations["马骁"],
            )
        )


async def test_a_change_of_access_reaches_the_pages_that_are_open(walk: Walk) -> None:
    seed = walk.site.seed
    client, owner = await walk.site.signed_in("chenmo"), await walk.site.signed_in("linxiao")
    other = await open_inbox(seed.database, seed.workspace_id, public_id="other", name="别处")
    path = f"/settings/people/{seed.agents['陈默']}"
    session, stream = await told(client)

    async def frames() -> dict[str, Any]:
        return (await next_event(stream))[1]

    async with session:
        assert not (await frames())["access"]
        form = [("name", "陈默"), ("role", "agent"), ("sees", "some"), ("inbox", str(other.inbox_id))]
        assert (await owner.post(path, form)).status == 303
        assert (await frames())["access"]
        # What happens elsewhere is not told any more; what follows is another change.
        await owner.post(f"/conversations/{seed.conversations['马骁']}/priority", {"to": "2"})
        assert (await owner.post(path, {"name": "陈默", "role": "read_only", "sees": "all"})).status == 303
        said = await frames()
        assert (said["access"], said["conversations"]) == (True, [])
        await owner.post(f"/conversations/{seed.conversations['马骁']}/priority", {"to": "3"})
        assert (await frames())["conversations"] == [seed.conversations["马骁"]]
        stream.close()
    page = (await client.get(f"/conversations/{seed.conversations['马骁']}")).text
    assert ("不能回复或改动" in page, 'id="compose"' in page, "/assign" in page) == (True, False, False)
