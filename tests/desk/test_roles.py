"""Every address of the desk against everybody: a new one has to say here whom it is for.

Strangers are sent to sign in, people of another workspace and of other inboxes find nothing, each role changes nothing
that is others' business, and none of these calls leaves a trace in what happened.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.desk.addresses import ADDRESSES, MAY, NOW_NOT, NOWHERE
from tests.desk.conftest import Answer, Client, Site
from tests.desk.seed import create_seed
from tests.desk.test_desk import next_event, told
from tests.twin import open_inbox
from zhiban import bootstrap
from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.macros import add_macro
from zhiban.automation.saved_views import add_view, load_view
from zhiban.channels.service import connect
from zhiban.conversations.labels import add_label
from zhiban.conversations.snippets import add_snippet
from zhiban.events import SYSTEM, Actor
from zhiban.kit.file_store import PostgresFileStore, spooled
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.uploads import request_import
from zhiban.people import teams
from zhiban.people.contact_fields import add_contact_field
from zhiban.people.models import Role
from zhiban.people.tokens import create as create_token
from zhiban.tickets.models import NewTicket
from zhiban.tickets.repositories import link as link_repositories
from zhiban.tickets.service import open_ticket

WORDS = {"token": "1.nonsense", "public_id": "nonsense", "session_id": "nonsense", "verb": "on"}
LASTS = "GET /stream"  # answers for as long as the page is open


def addresses(site: Site) -> list[str]:
    return [
        f"{method} {route.path}"
        for route in site.app.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods - {"HEAD"})
    ]


@dataclass
class Walk:
    site: Site
    ids: dict[str, int]

    async def ask(self, client: Client, address: str) -> Answer:
        method, path = address.split(" ")
        filled = re.sub(r"\{(\w+)\}", lambda found: str(self.ids.get(found[1], WORDS.get(found[1], ""))), path)
        return await client.ask(method, filled, data=ADDRESSES[address].form or None)

    async def happened(self) -> list[tuple[str, int]]:
        async with self.site.seed.database.transaction(self.site.seed.workspace_id) as tx:
            return list(await tx.rows("select kind, count(*) from event group by 1 order by 1"))


@pytest.fixture
async def walk(site: Site) -> Walk:
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        team = await teams.create(tx, name="售后", now=seed.clock.now())
        message = await tx.value("select min(id) from message")
        reply = await tx.value("select min(id) from message where author = 'agent' and direction = 'out'")
        label = await add_label(tx, name="退款", color=1, by=SYSTEM, now=seed.clock.now())
        known = await add_contact_field(tx, name="生日", kind="date", by=SYSTEM, now=seed.clock.now())
        whose = "select contact_id from conversation where id = %(id)s"
        contact = await tx.value(whose, id=seed.conversations["马骁"])
        definition = load_definition({"on": ["conversation_resolved"], "actions": [{"kind": "unassign"}]})
        snippet = await add_snippet(tx, name="问好", text="您好", owner_id=None, by=SYSTEM, now=seed.clock.now())
        made = load_macro([{"kind": "set_priority", "priority": 3}])
        macro = await add_macro(tx, name="重要", definition=made, owner_id=None, by=SYSTEM, now=seed.clock.now())
        crm = await connect(
            tx, site.app.state.channel_setup.vault, bootstrap.CHANNELS["webhook"], NOWHERE, now=seed.clock.now()
        )
        board = await connect(
            tx,
            site.app.state.channel_setup.vault,
            bootstrap.TRACKERS["github"],
            {"account": "nobody", "token": "github_pat_2", "api_base": "http://127.0.0.1:9"},
            operators={"api_base": "http://127.0.0.1:9"},
            now=seed.clock.now(),
        )
        link = await link_repositories(tx, seed.conversations["马骁"], "acme/*", by=SYSTEM, now=seed.clock.now())
        token, _ = await create_token(tx, "walk", now=seed.clock.now())
        held = load_view({"conditions": [{"kind": "assigned_to_me"}]})
        view = await add_view(tx, name="我的", conditions=held, owner_id=None, by=SYSTEM, now=seed.clock.now())
        ticket = await open_ticket(
            tx,
            NewTicket(
                "授权码激活失败",
                conversation_id=seed.conversations["马骁"],
                inbox_id=seed.inbox.inbox_id,
            ),
            key="walk",
            by=SYSTEM,
            now=seed.clock.now(),
        )
        rule = await rules.add(tx, name="规则", definition=definition, by=SYSTEM, now=seed.clock.now())
        base = await knowledge.base_for(tx)
        article = await knowledge.put_faq(tx, base, question="怎么退款", answer="点退款", now=seed.clock.now())
        phrasing = await tx.value("select id from phrasing where article_id = %(id)s", id=article)
        gap = await knowledge.record_gap(tx, "能寄到日本吗", now=seed.clock.now())
        sent = await request_import(tx, base, [], [], by=SYSTEM, now=seed.clock.now())
        source = await tx.value(
            "insert into source (workspace_id, base_id, name, folder, folder_path, kind, digest, converter) values "
            "(%(w)s, %(b)s, 'uploads/a.md', 'uploads', '', 'markdown', '', 1) returning id",
            w=tx.workspace_id,
            b=base,
        )
        by = Actor("agent", seed.agents["苏禾"])
        said = {"kind": EvidenceKind.CONFIRMED, "by": by, "now": seed.clock.now()}
        wording = await knowledge.record_evidence(tx, article, "钱退不退", **said)
    return Walk(
        site,
        {
            "article_id": article,
            "phrasing_id": phrasing,
            "gap_id": gap,
            "version_id": 999999,
            "draft_id": 999999,
            "issue_id": 999999,
            "wording_id": wording,
            "import_id": sent,
            "source_id": source,
            "conversation_id": seed.conversations["马骁"],
            "message_id": message,
            "reply_id": reply,
            "agent_id": seed.agents["苏禾"],
            "team_id": team,
            "label_id": label,
            "contact_id": contact,
            "field_id": known,
            "rule_id": rule,
            "ticket_id": ticket.id,
            "notification_id": 999999,
            "workspace_id": 999999,
            "provider_id": 999999,
            "snippet_id": snippet,
            "macro_id": macro,
            "view_id": view,
            "inbox_id": seed.inbox.inbox_id,
            "connection_id": crm.id,
            "tracker_id": board.id,
            "link_id": link,
            "token_id": token.id,
            "attachment_id": 1,
            "file_id": 999_999,
            "job_id": 1,
            "delivery_id": 1,
        },
    )


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
