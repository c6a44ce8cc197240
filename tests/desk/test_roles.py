"""Every address of the desk against everybody: a new one has to say here whom it is for.

Strangers are sent to sign in, people of another workspace and of other inboxes find nothing, each role changes nothing
that is others' business, and none of these calls leaves a trace in what happened.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from fastapi.routing import APIRoute

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
from zhiban.testing.webhook import SECRET

# Whom an address is for: everybody, whoever is signed in, whoever may answer, supervisors (`ruling`: of all inboxes),
# or who manages people and inboxes. Those above may do what those below may.
# Owners alone decide whom to trust to say who somebody is.
Whom = Literal["everybody", "signed_in", "agents", "supervisors", "ruling", "managers", "owners"]
MAY: dict[Role, frozenset[str]] = {
    Role.READ_ONLY: frozenset({"signed_in"}),
    Role.AGENT: frozenset({"signed_in", "agents"}),
    Role.SUPERVISOR: frozenset({"signed_in", "agents", "supervisors", "ruling"}),
    Role.ADMIN: frozenset({"signed_in", "agents", "supervisors", "ruling", "managers"}),
    Role.OWNER: frozenset({"signed_in", "agents", "supervisors", "ruling", "managers", "owners"}),
}


@dataclass(frozen=True)
class Entry:
    """Whom an address is for, what is posted to it, and what it then answers (anything that is no refusal)."""

    whom: Whom = "signed_in"
    form: dict[str, str] = field(default_factory=dict)
    answers: tuple[int, ...] = (200, 204, 303)


NOW_NOT = (404, 409, 410, 422)  # it would be allowed, but there is nothing to do it to
COLLEAGUE = {"name": "苏禾", "email": "new@qinghe.example", "role": "agent"}
VIEW = {"name": "我的重要", "c.match": "all", "c.0.kind": "assigned_to_me"}
MACRO = {"name": "我来", "a.0.kind": "assign_me"}
NOWHERE = {"source": "crm", "url": "http://127.0.0.1:9/", "secret": SECRET}
PROGRAM = {"vendor": "webhook", **{f"v.{name}": value for name, value in NOWHERE.items()}}
RULE = {"name": "解决后取消分配", "on": "conversation_resolved", "a.0.kind": "unassign"}

ADDRESSES: dict[str, Entry] = {
    "GET /login": Entry("everybody"),
    "POST /login": Entry("everybody", {"email": "x@qinghe.example", "password": "x"}, (401,)),
    "GET /login/sso/callback": Entry("everybody", answers=(401,)),
    "POST /login/sso/callback": Entry("everybody", {"state": "x", "code": "x"}, (401,)),
    "GET /login/sso/{workspace_id}/{provider_id}": Entry("everybody", answers=NOW_NOT),
    "GET /me/logins/{provider_id}": Entry(answers=NOW_NOT),
    "POST /me/logins/{provider_id}/remove": Entry(answers=NOW_NOT),
    "GET /settings/sign-in": Entry("owners"),
    "POST /settings/sign-in": Entry("owners"),
    "POST /settings/sign-in/members": Entry("owners", {"connection": "1"}),
    "POST /settings/sign-in/{provider_id}": Entry("owners"),
    "POST /settings/sign-in/{provider_id}/remove": Entry("owners"),
    "GET /workspaces": Entry(),
    "POST /workspaces/{workspace_id}": Entry(answers=NOW_NOT),
    "GET /login/code": Entry("everybody"),
    "POST /login/code": Entry("everybody", {"code": "000000"}),
    "POST /logout": Entry("everybody"),
    "POST /preferences": Entry("everybody", {"theme": "dark"}),
    "GET /setup/{token}": Entry("everybody", answers=NOW_NOT),
    "POST /setup/{token}": Entry(
        "everybody", {"workspace": "x", "name": "x", "email": "x@x.example", "password": "x"}, NOW_NOT
    ),
    "GET /join/{token}": Entry("everybody", answers=NOW_NOT),
    "POST /join/{token}": Entry("everybody", {"password": "x"}, NOW_NOT),
    "GET /": Entry(),
    "GET /desk/list": Entry(),
    "GET /desk/rows": Entry(),
    "GET /search": Entry(),
    "GET /desk/bulk": Entry("agents"),
    "GET /desk/matching": Entry(),
    "POST /desk/bulk": Entry("agents", {"do": "resolve", "ids": "999999"}),
    "GET /command": Entry(),
    "GET /conversations/{conversation_id}/transcript": Entry(),
    "GET /contacts/{contact_id}": Entry(),
    "POST /contacts/{contact_id}": Entry("agents", {"name": "马骁"}),
    "POST /contacts/{contact_id}/merge": Entry("agents", {"other": "999999"}, NOW_NOT),
    "GET /settings/contact-fields": Entry(),
    "POST /settings/contact-fields": Entry("supervisors", {"name": "会员", "kind": "text"}),
    "POST /settings/contact-fields/{field_id}/remove": Entry("supervisors"),
    "GET /stream": Entry(),
    "GET /notifications": Entry(),
    "GET /notifications/news": Entry(),
    "POST /notifications/read": Entry(form={"conversation": "1"}),
    "POST /notifications/{notification_id}": Entry(form={"read": "true"}, answers=NOW_NOT),
    "GET /me/notifications": Entry(),
    "POST /me/notifications": Entry(form={"minutes": "10"}),
    "POST /me/notifications/try": Entry(),
    "GET /presence": Entry(),
    "POST /presence": Entry(form={"status": "online"}),
    "POST /presence/beat": Entry(),
    "GET /conversations/{conversation_id}": Entry(),
    "GET /conversations/{conversation_id}/live": Entry(),
    "GET /conversations/{conversation_id}/snippets": Entry(),
    "GET /conversations/{conversation_id}/suggestion": Entry(),
    "GET /conversations/{conversation_id}/suggestion/why": Entry(),
    "POST /conversations/{conversation_id}/suggestion/confirm": Entry("agents", form={"ref": "x"}, answers=NOW_NOT),
    "POST /conversations/{conversation_id}/drafts/rewritten": Entry(
        "agents", form={"text": "在的", "style": "shorter"}, answers=NOW_NOT
    ),
    "POST /conversations/{conversation_id}/summary": Entry("agents"),
    "POST /conversations/{conversation_id}/replies": Entry("agents", form={"text": "在的", "key": "k"}),
    "POST /conversations/{conversation_id}/notes": Entry("agents", form={"text": "记一下"}),
    "POST /conversations/{conversation_id}/draft": Entry("agents", form={"text": "还没写完"}),
    "POST /conversations/{conversation_id}/read": Entry(form={"message_id": "1"}),
    "POST /conversations/{conversation_id}/assign": Entry("agents", form={"to": "me"}),
    "POST /conversations/{conversation_id}/team": Entry("agents", form={"to": "none"}),
    "POST /conversations/{conversation_id}/labels": Entry("agents"),
    "POST /conversations/{conversation_id}/followers": Entry("agents"),
    "POST /conversations/{conversation_id}/priority": Entry("agents", form={"to": "3"}),
    "POST /conversations/{conversation_id}/snooze": Entry("agents", form={"until": "hour"}),
    "POST /conversations/{conversation_id}/reopen": Entry("agents"),
    "POST /conversations/{conversation_id}/resolve": Entry("agents"),
    "POST /conversations/{conversation_id}/undo-resolve": Entry("agents"),
    "POST /conversations/{conversation_id}/macros/{macro_id}": Entry("agents", {"key": "k"}),
    "POST /messages/{message_id}/again": Entry("agents", answers=NOW_NOT),
    "GET /attachments/{attachment_id}": Entry(answers=NOW_NOT),
    "GET /attachments/{attachment_id}/playback": Entry(answers=NOW_NOT),
    "POST /desk/files/{conversation_id}": Entry("agents", {"a": "file"}),
    "GET /s/{token}": Entry("everybody", answers=NOW_NOT),
    "POST /s/{token}": Entry("everybody", {"rating": "5"}, NOW_NOT),
    "GET /desk/files/{file_id}": Entry(answers=NOW_NOT),
    "POST /desk/files/{file_id}/remove": Entry(answers=NOW_NOT),
    "GET /me": Entry(),
    "POST /me/password": Entry(form={"current": "x", "new": "y"}, answers=(422,)),
    "GET /me/second-factor": Entry(),
    "POST /me/second-factor": Entry(form={"code": "000000"}, answers=(422,)),
    "POST /me/second-factor/begin": Entry(form={"password": "x"}, answers=(422,)),
    "POST /me/second-factor/codes": Entry(form={"password": "x"}, answers=(422,)),
    "POST /me/second-factor/remove": Entry(form={"password": "x", "code": "x"}, answers=(422,)),
    "POST /me/sessions/{session_id}/end": Entry(answers=NOW_NOT),
    "POST /me/sessions/end": Entry(),
    "GET /settings": Entry(),
    "GET /settings/inboxes": Entry("managers"),
    "GET /settings/inboxes/new": Entry("managers"),
    "POST /settings/inboxes/new": Entry("managers", PROGRAM),
    "GET /settings/inboxes/{inbox_id}": Entry("managers"),
    "POST /settings/inboxes/{inbox_id}": Entry("managers", {"name": "官方客服"}),
    "POST /settings/inboxes/{inbox_id}/pause": Entry("managers"),
    "POST /settings/inboxes/{inbox_id}/resume": Entry("managers"),
    "GET /settings/inboxes/{inbox_id}/policy": Entry("managers"),
    "POST /settings/inboxes/{inbox_id}/policy": Entry("managers", answers=(422,)),  # somebody else was quicker
    "POST /settings/inboxes/{inbox_id}/policy/preview": Entry("managers"),
    "GET /settings/tokens": Entry("managers"),
    "POST /settings/tokens": Entry("managers", {"name": "crm", "scopes": "knowledge:read"}),
    "POST /settings/tokens/{token_id}/revoke": Entry("managers"),
    "GET /settings/notifiers": Entry("managers"),
    "POST /settings/notifiers/test": Entry("managers", {"name": "x"}, NOW_NOT),
    "GET /settings/sessions": Entry("managers"),
    "POST /settings/sessions/{session_id}/end": Entry("managers", answers=NOW_NOT),
    "GET /settings/retention": Entry("managers"),
    "GET /settings/audit": Entry("managers"),
    "POST /settings/audit/export": Entry("managers"),
    "GET /settings/connections/{connection_id}": Entry("managers"),
    "GET /settings/connections/{connection_id}/steps": Entry("managers"),
    "GET /settings/connections/{connection_id}/contacts": Entry("managers", answers=NOW_NOT),
    "POST /settings/connections/{connection_id}/contacts": Entry("managers", answers=NOW_NOT),
    "POST /settings/connections/{connection_id}/contacts/ways": Entry("managers", answers=NOW_NOT),
    "POST /settings/connections/{connection_id}/contacts/ways/remove": Entry("managers", answers=NOW_NOT),
    "POST /settings/inboxes/{inbox_id}/link": Entry("managers", answers=NOW_NOT),
    "POST /settings/connections/{connection_id}/check": Entry("managers"),
    "POST /settings/connections/{connection_id}": Entry("managers"),
    "GET /settings/people": Entry(),
    "GET /settings/teams": Entry(),
    "GET /settings/labels": Entry(),
    "GET /settings/health": Entry(),
    "GET /settings/views": Entry(),
    "GET /settings/views/new": Entry(),
    "GET /settings/views/{view_id}": Entry(),
    "POST /settings/views/draft": Entry(),
    "POST /settings/views/preview": Entry(),
    "POST /settings/views": Entry("agents", VIEW),
    "POST /settings/views/{view_id}": Entry("supervisors", VIEW),
    "POST /settings/views/{view_id}/remove": Entry("supervisors"),
    "GET /settings/macros": Entry(),
    "GET /settings/macros/new": Entry(),
    "GET /settings/macros/{macro_id}": Entry(),
    "POST /settings/macros/draft": Entry(),
    "POST /settings/macros/preview": Entry(),
    "POST /settings/macros": Entry("agents", form=MACRO),
    "POST /settings/macros/{macro_id}": Entry("supervisors", {**MACRO, "revision": "1"}),
    "POST /settings/macros/{macro_id}/remove": Entry("supervisors"),
    "GET /settings/snippets": Entry(),
    "POST /settings/snippets": Entry("agents", {"name": "问候", "text": "您好"}),
    "POST /settings/snippets/{snippet_id}": Entry("supervisors", {"name": "发票", "text": "申请"}),
    "POST /settings/snippets/{snippet_id}/remove": Entry("supervisors"),
    "GET /knowledge": Entry(),
    "POST /knowledge/try": Entry(form={"question": "怎么退款"}),
    "POST /knowledge/synonyms": Entry("supervisors", {"words": "退款、退钱", "base": "default"}),
    "POST /knowledge/preview": Entry(form={"answer": "好"}),
    "GET /knowledge/articles/new": Entry(),
    "GET /knowledge/articles/{article_id}": Entry(),
    "GET /knowledge/sources": Entry(),
    "GET /knowledge/imports": Entry(),
    "POST /knowledge/uploads": Entry("supervisors", answers=(422,)),
    "POST /knowledge/imports/{import_id}/{verb}": Entry("supervisors", answers=(404,)),
    "POST /knowledge/sources/{source_id}/remove": Entry("supervisors"),
    "POST /knowledge/export": Entry("supervisors", {"base": "default"}),
    "GET /knowledge/learnt": Entry(),
    "POST /knowledge/learnt/{wording_id}/{verb}": Entry("supervisors", answers=(404,)),
    "GET /knowledge/gaps": Entry(),
    "GET /knowledge/gaps/{gap_id}": Entry(),
    "GET /knowledge/gaps/{gap_id}/articles": Entry(),
    "POST /knowledge/articles": Entry("supervisors", {"question": "几点开门", "answer": "九点"}),
    "POST /knowledge/articles/{article_id}": Entry("supervisors", {"question": "x", "answer": "y"}, (422,)),
    "POST /knowledge/articles/{article_id}/phrasings/{phrasing_id}/remove": Entry("supervisors", answers=(422,)),
    "POST /knowledge/articles/{article_id}/remove": Entry("supervisors"),
    "POST /knowledge/gaps/{gap_id}/answer": Entry("supervisors", {"question": "能寄到日本吗", "answer": "能"}),
    "POST /knowledge/gaps/{gap_id}/join": Entry("supervisors", {"article_id": "1"}, (422,)),
    "POST /knowledge/gaps/{gap_id}/{verb}": Entry("supervisors", answers=(404,)),
    "GET /reports": Entry("supervisors"),
    "GET /reports/now": Entry("supervisors"),
    "POST /reports/export": Entry("supervisors"),
    "GET /rules": Entry(),
    "GET /rules/new": Entry(),
    "GET /rules/{rule_id}": Entry(),
    "POST /rules/draft": Entry(),
    "POST /rules/preview": Entry(),
    "POST /rules/rehearse": Entry(),
    "POST /rules": Entry("ruling", RULE),
    "POST /rules/shipped": Entry("ruling", {"key": "agent_offline"}),
    "POST /rules/{rule_id}": Entry("ruling", {**RULE, "revision": "1"}),
    "POST /rules/{rule_id}/{verb}": Entry("ruling"),
    "POST /settings/people": Entry("managers", COLLEAGUE),
    "POST /settings/people/{agent_id}": Entry("managers", {"name": "苏禾"}),
    "POST /settings/people/{agent_id}/second-factor/remove": Entry("managers"),
    "POST /settings/second-factor": Entry("managers", {"required": "false"}),
    "POST /settings/people/{agent_id}/link": Entry("managers"),
    "POST /settings/people/{agent_id}/disable": Entry("managers"),
    "POST /settings/people/{agent_id}/enable": Entry("managers"),
    "POST /settings/teams": Entry("managers", {"name": "售前"}),
    "POST /settings/teams/{team_id}": Entry("managers", {"name": "售后二组"}),
    "POST /settings/teams/{team_id}/remove": Entry("managers"),
    "POST /settings/labels": Entry("supervisors", {"name": "发票", "color": "1"}),
    "POST /settings/labels/{label_id}": Entry("supervisors", {"name": "退货", "color": "2"}),
    "POST /settings/labels/{label_id}/remove": Entry("supervisors"),
    "POST /settings/inboxes/{inbox_id}/assignment": Entry("managers", {"by": "balanced"}),
    "POST /settings/health/jobs/{job_id}/again": Entry("managers", answers=NOW_NOT),
    "POST /settings/health/deliveries/{delivery_id}/again": Entry("managers", answers=NOW_NOT),
    # What takes away what the addresses above are about comes last.
    "POST /settings/inboxes/{inbox_id}/remove": Entry("managers"),
    "POST /settings/inboxes/{inbox_id}/restore": Entry("managers", answers=(409,)),
    "POST /settings/connections/{connection_id}/remove": Entry("managers"),
}
WORDS = {"token": "1.nonsense", "session_id": "nonsense", "verb": "on"}
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
        token, _ = await create_token(tx, "walk", now=seed.clock.now())
        held = load_view({"conditions": [{"kind": "assigned_to_me"}]})
        view = await add_view(tx, name="我的", conditions=held, owner_id=None, by=SYSTEM, now=seed.clock.now())
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
            "wording_id": wording,
            "import_id": sent,
            "source_id": source,
            "conversation_id": seed.conversations["马骁"],
            "message_id": message,
            "agent_id": seed.agents["苏禾"],
            "team_id": team,
            "label_id": label,
            "contact_id": contact,
            "field_id": known,
            "rule_id": rule,
            "notification_id": 999999,
            "workspace_id": 999999,
            "provider_id": 999999,
            "snippet_id": snippet,
            "macro_id": macro,
            "view_id": view,
            "inbox_id": seed.inbox.inbox_id,
            "connection_id": crm.id,
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
