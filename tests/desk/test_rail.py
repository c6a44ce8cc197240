"""The rail's inboxes and teams, what is folded in it, and lists that are filtered without saving a view."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import parse_qs, quote, urlsplit

from tests.desk.conftest import Client, Site
from tests.twin import open_inbox
from zhiban.conversations import service
from zhiban.conversations.ingest import ingest
from zhiban.events import Actor
from zhiban.people import teams
from zhiban.ports import IncomingMessage, Kind, SenderRole


async def writes_elsewhere(site: Site, name: str = "外人") -> int:
    """A second inbox in which somebody waits for people. Returns it."""
    seed = site.seed
    inbox = await open_inbox(seed.database, seed.workspace_id, public_id="other", name="别处")
    async with seed.database.transaction(seed.workspace_id) as tx:
        now = seed.clock.now()
        said = IncomingMessage("m-other", name, name, SenderRole.CONTACT, Kind.TEXT, "在吗", now)
        await ingest(tx, inbox, [said], now=now, process_id=1)
        await tx.run("update contact set name = %(name)s where name = ''", name=name)
        (id_,) = await tx.values("select id from conversation where inbox_id = %(i)s", i=inbox.inbox_id)
        await service.hand_off(tx, id_, reason="asked", actor=Actor("assistant"), now=now)
    return inbox.inbox_id


def entries(page: str, what: str) -> dict[str, str]:
    """The names in a part of the rail, with their counts."""
    part = page.split(f'id="rail-{what}"')[1].split("</ul>")[0] if f'id="rail-{what}"' in page else ""
    return dict(re.findall(r'title="([^"]+)">[^<]*</span>(?:<span class="count">(\d+)</span>)?', part))


async def rows(agent: Client, query: str) -> list[str]:
    return re.findall(r'id="row-(\d+)"', (await agent.get(f"/desk/rows?{query}")).text)


async def test_inboxes_and_teams_stand_in_the_rail_once_there_are_two(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    assert (entries((await agent.get("/")).text, "inboxes"), entries((await agent.get("/")).text, "teams")) == ({}, {})
    other = await writes_elsewhere(site)
    zhou = seed.conversations["周予安"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        lin, now = seed.agents["林晓"], seed.clock.now()
        made = [
            await teams.create(tx, name=name, members=members, now=now)
            for name, members in (("售后", [lin]), ("售前", [lin]), ("别组", []))
        ]
        await service.assign_team(tx, zhou, to=made[0], by=Actor("agent", seed.agents["林晓"]), now=seed.clock.now())
        here = await tx.value("select count(*) from conversation where status = 'open' and inbox_id <> %(o)s", o=other)
    page = (await agent.get("/")).text
    assert entries(page, "inboxes")["别处"] == "1"
    assert str(here) in entries(page, "inboxes").values()
    assert entries(page, "teams") == {"售前": "", "售后": "1"}
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update agent set locale = 'en' where id = %(id)s", id=seed.agents["林晓"])
    english = (await agent.get("/")).text
    assert [title for title in ("Inboxes", "Teams", "Views", "Labels") if f"<h2>{title}</h2>" not in english] == []
    (alone,) = await rows(agent, f"queue=all&inbox={other}")
    assert alone not in await rows(agent, f"queue=all&inbox={seed.inbox.inbox_id}")
    assert await rows(agent, f"queue=teams&team={made[0]}") == [str(zhou)]
    assert await rows(agent, f"queue=teams&team={made[1]}") == await rows(agent, f"queue=teams&team={made[2]}") == []
    listed = (await agent.get(f"/desk/list?queue=all&inbox={other}")).text
    assert '<span class="cut">别处</span>' in listed
    assert f"inbox={other}" in listed.split('id="states"')[1]  # the tabs stay in it
    # Resolving opens what waits in the same inbox, of which nothing is left.
    done = await agent.post(f"/conversations/{alone}/resolve", {"queue": "all", "inbox": str(other)}, hx_request="true")
    assert done.headers["hx-push-url"] == f"/?queue=all&status=open&inbox={other}"
    # Who may not see an inbox has it neither in the rail nor by its number.
    async with seed.database.transaction(seed.workspace_id) as tx:
        sql = "update agent set role = 'agent', inbox_ids = array[%(o)s]::bigint[] where id = %(id)s"
        await tx.run(sql, o=other, id=seed.agents["陈默"])
    chen = await site.signed_in("chenmo")
    assert entries((await chen.get("/")).text, "inboxes") == {}
    assert await rows(chen, f"queue=all&inbox={seed.inbox.inbox_id}") == []


async def test_what_is_folded_stays_so(site: Site) -> None:
    agent = await site.signed_in()
    assert '<details data-fold="views" open>' in (await agent.get("/")).text
    folded = (await agent.get("/", cookie="")).text
    assert '<details data-fold="views" open>' in folded
    agent.cookies.update_cookies({"folded": "views.inboxes"})
    page = (await agent.get("/")).text
    assert '<details data-fold="views">' in page
    assert '<details data-fold="labels" open>' in page


async def test_a_list_is_filtered_without_saving_a_view(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    typed = {"c.match": "all", "c.0.kind": "contact_name", "c.0.operator": "contains", "c.0.values": "周予安"}
    looked = await agent.post("/settings/views/filter", typed)
    assert looked.status == 303
    address = looked.headers["location"]
    page = (await agent.get(address)).text
    zhou = str(seed.conversations["周予安"])
    (found,) = parse_qs(urlsplit(address).query)["filter"]
    assert await rows(agent, f"queue=all&filter={quote(found)}") == [zhou]
    assert '<h1 class="grow">筛选' in page
    assert "contact_name" in html.unescape(page.split('id="states"')[1].split("</nav>")[0])  # the tabs keep it
    async with seed.database.transaction(seed.workspace_id) as tx:
        assert await tx.value("select count(*) from saved_view") == 0
    edit = html.unescape(page.split("改或存为视图")[0].rsplit('href="', 1)[1].split('"')[0])
    assert "周予安" in (await agent.get(edit)).text
    kept = await agent.post("/settings/views", {"name": "周", **typed})
    assert kept.status == 303
    for broken in ("x", "[]", '{"conditions": []}', '{"conditions": [{"kind": "message_text"}]}', "x" * 3000):
        assert await rows(agent, f"queue=all&filter={quote(broken)}") == []
        assert (await agent.get(f"/settings/views/new?filter={quote(broken)}")).status == 200
    # What somebody wants to look at is looked at, by button and by Enter; keeping it is the other button.
    looks = (await agent.get("/settings/views/new?look=1")).text
    assert '<button hidden formaction="/settings/views/filter" formnovalidate>' in looks
    assert re.search(r'data-look="solid" formaction="/settings/views/filter"[^>]*>看这些会话', looks)
    drawn = await agent.post("/settings/views/draft", {**typed, "look": "1", "do": "+c"}, hx_request="true")
    assert ('name="look"' in drawn.text, "要存下来，就起个名字" in drawn.text) == (True, True)
    assert ">保存</button>" in (await agent.get("/settings/views/new")).text
    empty = await agent.post("/settings/views/filter", {"c.match": "all"})
    assert empty.status == 422


async def test_what_the_database_could_not_read_is_no_filter_and_no_view(site: Site) -> None:
    """A view that all share is counted with every look at the desk: one that fails would close it to everybody."""
    agent = await site.signed_in()
    for hostile in (
        {"kind": "inbox", "inboxes": [2**63]},
        {"kind": "contact_name", "values": ["\0"]},
        {"kind": "contact_attribute", "name": "x\0", "values": ["1"]},
        {"kind": "contact_attribute", "name": "x", "operator": "days_before", "values": ["1e300"]},
        {"kind": "contact_attribute", "name": "x", "operator": "days_before", "values": ["nan"]},
    ):
        assert await rows(agent, f"queue=all&filter={quote(json.dumps({'conditions': [hostile]}))}") == [], hostile
    typed = {"name": "x", "shared": "true", "c.match": "all", "c.0.kind": "inbox", "c.0.operator": "any_of"}
    assert (await agent.post("/settings/views", {**typed, "c.0.inboxes": str(2**63)})).status == 422
    assert (await agent.get("/")).status == 200


async def test_where_counting_stops_the_words_beside_the_list_say_so(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run(
            "insert into conversation (workspace_id, inbox_id, external_id, status, waiting_since) "
            "select %(w)s, %(inbox)s, 'many' || n, 'open', now() from generate_series(1, 1001) n",
            w=seed.workspace_id,
            inbox=seed.inbox.inbox_id,
        )
    assert "还有1,000+个会话未分配" in (await agent.get("/?queue=mine")).text
    alone = await site.signed_in("suhe")
    page = (await alone.get("/?queue=mine")).text
    assert ("还有1,000+个未分配" in page, "看看未分配里的1,000+个会话" in page) == (True, True)
    async with seed.database.transaction(seed.workspace_id) as tx:
        sql = "update conversation set assignee_id = %(a)s where external_id like 'many%%'"
        await tx.run(sql, a=seed.agents["苏禾"])
    assert "1,000+个人在等您" in (await alone.get("/?queue=mine")).text
