"""A workspace with one of everything, and every address of the desk filled with it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi.routing import APIRoute

from tests.desk.addresses import ADDRESSES, NOWHERE
from tests.desk.conftest import Answer, Client, Site
from zhiban import bootstrap
from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flows import add_flow
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.macros import add_macro
from zhiban.automation.saved_views import add_view, load_view
from zhiban.channels.service import connect
from zhiban.conversations.labels import add_label
from zhiban.conversations.snippets import add_snippet
from zhiban.events import SYSTEM, Actor
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.uploads import request_import
from zhiban.people import teams
from zhiban.people.contact_fields import add_contact_field
from zhiban.people.tokens import create as create_token
from zhiban.tickets.models import NewTicket
from zhiban.tickets.repositories import link as link_repositories
from zhiban.tickets.service import open_ticket

WORDS = {"token": "1.nonsense", "public_id": "nonsense", "session_id": "nonsense", "verb": "on"}


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
        return await client.ask(method, self.filled(path), data=ADDRESSES[address].form or None)

    def filled(self, path: str) -> str:
        """A path with what its holes stand for."""
        return re.sub(r"\{(\w+)\}", lambda found: str(self.ids.get(found[1], WORDS.get(found[1], ""))), path)

    async def happened(self) -> list[tuple[str, int]]:
        async with self.site.seed.database.transaction(self.site.seed.workspace_id) as tx:
            return list(await tx.rows("select kind, count(*) from event group by 1 order by 1"))


async def begin_walk(site: Site) -> Walk:
    """One of everything that an address can be about."""
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
        asks = load_flow({"steps": [{"question": "单号？", "kind": "number"}]})
        flow = await add_flow(tx, name="登记", definition=asks, enabled=True, by=SYSTEM, now=seed.clock.now())
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
            "flow_id": flow,
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
