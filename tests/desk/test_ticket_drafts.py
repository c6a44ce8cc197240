"""Messages that a colleague picks at the desk become a draft, and the draft a ticket."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from tests.desk.conftest import Answer, Client, Site
from tests.desk.test_tickets import rows
from tests.waiting import LOCK_AWAITED
from zhiban.channels.service import connect
from zhiban.conversations import transitions
from zhiban.conversations.spoken import spoken
from zhiban.desk.pages import ticket_drafts
from zhiban.events import Actor
from zhiban.integrations.openai import ModelConfig, OpenAIChat
from zhiban.kit.http import Http
from zhiban.kit.i18n import Texts
from zhiban.ports import Issue, Repository, TrackerUser
from zhiban.testing.llm import KEY, LlmSimulator, ModelFault
from zhiban.testing.serving import served
from zhiban.testing.tracker import MemoryBoard, memory_integration
from zhiban.tickets import drafts, issues, repositories, titling
from zhiban.tickets.drafts import Requester, TicketDraft, Wish
from zhiban.tickets.freezing import freeze


@pytest.fixture
async def lin(site: Site) -> Client:
    return await site.signed_in()


async def repository(site: Site) -> int:
    """A public repository with an issue that is much like what 周予安 says."""
    seed, now = site.seed, site.seed.clock.now()
    someone = TrackerUser("chenmo")
    async with seed.database.transaction(seed.workspace_id) as tx:
        vault = site.app.state.channel_setup.vault
        connection = (await connect(tx, vault, memory_integration(MemoryBoard()), {}, now=now)).id
        found = await repositories.keep(tx, connection, Repository("1", "qinghe/sync"), now=now)
        said = await tx.values(
            "select text from message where conversation_id = %(id)s order by id limit 3",
            id=seed.conversations["周予安"],
        )
        title, url = "Webhook 一直报 401", "https://x.example/7"
        alike = Issue("qinghe/sync", 7, url, title, "open", someone, now, now, body="\n".join(said))
        await issues.note(tx, found, alike, quietly=True, now=now)
    return found


async def pickable(lin: Client, conversation: int) -> list[int]:
    return list(json.loads((await lin.get(f"/conversations/{conversation}/pickable")).text)["yes"])


async def begun(lin: Client, conversation: int, ids: list[int], key: str = "k") -> str:
    form = [("key", key), *(("message", str(id_)) for id_ in ids)]
    answer = await lin.post(f"/conversations/{conversation}/ticket-drafts", form)
    assert answer.status == 303, answer.text[-200:]
    return answer.headers["location"]


def sent(page: Answer, do: str, **changes: str) -> list[tuple[str, str]]:
    """The form of the page with these changes, as a browser sends it."""
    title = re.search(r'name="title" value="([^"]*)"', page.text)
    form = {"title": title[1] if title else "", **changes}
    picked = re.findall(r'name="message" value="(\d+)" checked', page.text)
    return [*form.items(), *(("message", id_) for id_ in picked), ("do", do)]


async def test_what_was_picked_is_frozen_looked_at_and_opened_once(lin: Client, site: Site) -> None:
    where, conversation = await repository(site), site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    address = await begun(lin, conversation, ids[:2])
    assert await begun(lin, conversation, ids[:2]) == address  # sent twice
    windows = await asyncio.gather(*(begun(lin, conversation, ids[:3], key=f"window-{n}") for n in range(3)))
    assert len(set(windows)) == 1 != len({address, *windows})  # another selection replaces it, once
    address = await begun(lin, conversation, ids[:2], key="k-2")
    assert await begun(lin, conversation, ids[:2], key="k-3") == address
    page = await lin.get(address)
    assert "升级到 2.4 之后 Webhook 一直报 401" in page.text
    assert "定格了2条" in page.text
    saved = await lin.post(address, sent(page, "save", repository=str(where), note="急 13800006021"))
    assert saved.headers["location"] == address
    page = await lin.get(address)
    assert "会发到qinghe/sync的内容" in page.text
    assert "可能重复" in page.text
    assert "周予安 ·" not in page.text  # a public repository names nobody
    opened = await lin.post(address, sent(page, "open", repository=str(where), title="验签失败", priority="4"))
    assert re.fullmatch(r"/tickets/\d+", opened.headers["location"]), opened.text[-300:]
    assert (await lin.post(address, sent(page, "open"))).headers["location"] == opened.headers["location"]
    assert (await lin.get(address)).headers["location"] == opened.headers["location"]
    assert await rows(site, "select title, priority, requester, tracker_state from ticket") == [
        ("验签失败", 4, "周予安", "waiting")
    ]
    assert await rows(site, "select kind, content from tracker_call") != []
    ended = "select state, lines::text from ticket_draft order by id"
    assert await rows(site, ended) == [("replaced", "[]"), ("replaced", "[]"), ("filed", "[]")]


async def test_it_is_put_to_a_ticket_or_an_issue_that_there_is(lin: Client, site: Site) -> None:
    where, conversation = await repository(site), site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    assert (await lin.post("/tickets", {"title": "旧的"})).status == 303
    address = await begun(lin, conversation, ids[:1])
    page = await lin.get(address)
    assert (await lin.post(address, sent(page, "join", number="99"))).status == 422
    joined = await lin.post(address, sent(page, "join", number="#1"))
    assert "旧的" in (await lin.get(joined.headers["location"])).text
    assert await rows(site, "select count(*)::int from ticket_message") == [(1,)]

    again = await begun(lin, conversation, ids[1:3], key="k2")
    await lin.post(again, sent(await lin.get(again), "save", repository=str(where)))
    page = await lin.get(again)
    issue = re.search(r'value="(issue:\d+)"', page.text)
    assert issue is not None
    taken = await lin.post(again, sent(page, issue[1], repository=str(where)))
    assert await rows(site, "select tracker_state, issue_id is not null from ticket order by id desc limit 1") == [
        ("opened", True)
    ]
    calls = await rows(site, "select kind, content from tracker_call")
    assert [kind for kind, _ in calls] == ["comment"]
    assert "周予安" not in str(calls)
    assert taken.status == 303


OWN = "你们好，升级到 2.4 之后 Webhook 一直报 401"


async def test_a_model_calls_it_better_while_somebody_may_wait(
    lin: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert titling.DESK_SECONDS == 3
    simulator, conversation = LlmSimulator(), site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    async with served(simulator.app) as url, Http() as http:
        config = ModelConfig(base=f"{url}/v1/", model="simulated", key=SecretStr(KEY), timeout=5, tries=1)
        settings = site.app.state.desk
        site.app.state.desk = replace(settings, naming=OpenAIChat(config, http))

        def written(title: str, summary: str = "") -> str:
            return json.dumps({"title": title, "summary": summary}, ensure_ascii=False)

        simulator.then(written("Webhook 9.9.9 报错"))  # of which nobody spoke
        page = await lin.get(await begun(lin, conversation, ids[:2], key="k2"))
        assert f'value="{OWN}"' in page.text
        simulator.then(written("Webhook 一直报 401", "升级之后 Webhook 报 401。"))
        address = await begun(lin, conversation, ids[:3], key="k3")
        page = await lin.get(address)
        assert 'value="Webhook 一直报 401"' in page.text
        assert "升级之后 Webhook 报 401。</textarea>" in page.text
        assert await begun(lin, conversation, ids[:3], key="k4") == address
        assert len(simulator.asked) == 2  # whoever comes back asks nobody again
        # It is a colleague's to change, and goes with what it was made of.
        await lin.post(address, [*sent(page, "save", summary="升级之后 Webhook 报 401。")[:-2], ("do", "save")])
        assert "升级之后 Webhook 报 401。</textarea>" not in (await lin.get(address)).text
        await lin.post(address, sent(await lin.get(address), "open", summary="自己写的"))
        assert await rows(site, "select summary from ticket") == [("自己写的",)]
        simulator.then(ModelFault.HANG)
        monkeypatch.setattr(ticket_drafts, "DESK_SECONDS", 0.2)
        page = await lin.get(await begun(lin, conversation, ids[:1], key="k5"))
        assert f'value="{OWN}"' in page.text
        assert len(simulator.asked) == 3


async def test_nothing_that_may_not_be_used_gets_in(lin: Client, site: Site) -> None:
    seed, conversation = site.seed, site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    async with seed.database.transaction(seed.workspace_id) as tx:
        note = await tx.value(
            "select id from message where direction = 'internal' and kind <> 'activity' order by id limit 1"
        )
        other = await tx.value(
            "select id from message where conversation_id <> %(c)s and direction = 'in' limit 1", c=conversation
        )
    strange = [id_ for id_ in (note, other) if id_ is not None]
    form = [("message", str(id_)) for id_ in strange]
    assert (await lin.post(f"/conversations/{conversation}/ticket-drafts", form)).status == 409
    address = await begun(lin, conversation, [*ids[:2], *strange])
    page = await lin.get(address)
    assert "定格了2条" in page.text
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.takes_back(tx, "周予安", int(ids[0]), at=seed.clock.now())
    page = await lin.get(address)
    assert "定格了1条，1条撤回了或不让引用" in page.text
    assert (await lin.post(address, [("title", "x"), ("do", "open")])).status == 422  # nothing is ticked
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run("update ticket_draft set expires_at = now() - interval '1 second'")
    assert "已经作废" in (await lin.get(address)).text
    assert (await lin.post(address, sent(page, "open"))).status == 422
    assert await rows(site, "select count(*)::int from ticket") == [(0,)]


async def asked_in_chat(site: Site, conversation: int, ids: list[int], key: str) -> tuple[TicketDraft, int]:
    """A draft as a command in the chat begins it, and who asked."""
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        lines = await freeze(tx, conversation, await spoken(tx, conversation, ids[:2]), Texts("zh"))
        contact = next(line.contact_id for line in lines if line.contact_id is not None)
        found = await drafts.begin(
            tx,
            conversation,
            Requester(contact, "周予安"),
            Wish(lines, "一直报 401"),
            message_id=ids[1],
            key=key,
            locale="zh",
            life=timedelta(days=999),
            now=site.seed.clock.now(),
        )
    assert found is not None
    return found, contact


async def test_of_the_desk_and_the_chat_one_decides(lin: Client, site: Site) -> None:
    conversation = site.seed.conversations["周予安"]
    ids, now = await pickable(lin, conversation), site.seed.clock.now()
    found, contact = await asked_in_chat(site, conversation, ids, "c1")
    page = await lin.get(f"/ticket-drafts/{found.id}")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await transitions.lock(tx, conversation)  # as a turn of the chat does before it reads what waits
        (draft,) = await drafts.open_drafts(tx, conversation, now=now)
        opening = asyncio.create_task(lin.post(f"/ticket-drafts/{found.id}", sent(page, "open")))
        async with asyncio.timeout(30):
            while not opening.done() and not await tx.value(LOCK_AWAITED):  # noqa: ASYNC110 - it happens in PostgreSQL
                await asyncio.sleep(0.005)
        await drafts.end(tx, draft, "cancelled", by=Actor("contact", contact), now=now)
    assert (await opening).status == 422
    assert await rows(site, "select state, ticket_id, lines from ticket_draft") == [("cancelled", None, [])]
    assert await rows(site, "select count(*)::int from ticket") == [(0,)]


async def test_what_a_contact_asked_for_is_decided_at_the_desk_as_well(lin: Client, site: Site) -> None:
    conversation = site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    drafted: list[int] = []
    for key in ("c1", "c2"):
        found, contact = await asked_in_chat(site, conversation, ids, key)
        drafted.append(found.id)
        address = f"/ticket-drafts/{found.id}"
        assert f'href="{address}"' in (await lin.get(f"/conversations/{conversation}")).text
        if key == "c1":
            assert (await lin.post(address, {"do": "cancel"})).status == 303
    page = await lin.get(address)
    assert "定格了2条" in page.text
    opened = await lin.post(address, sent(page, "open", title="Webhook 报 401"))
    again = await lin.post(address, sent(page, "open", title="Webhook 报 401"))
    assert opened.headers["location"] == again.headers["location"]
    assert await rows(site, "select title, requester, requester_contact_id from ticket") == [
        ("Webhook 报 401", "周予安", contact)
    ]
    told = "select (args ->> 'draft_id')::bigint from jobs.procrastinate_jobs where task_name = 'tell_chat_of_draft'"
    assert [id_ for (id_,) in await rows(site, told + " order by id")] == drafted
    assert f'href="{address}"' not in (await lin.get(f"/conversations/{conversation}")).text


async def test_a_draft_is_its_makers_alone(lin: Client, site: Site) -> None:
    conversation = site.seed.conversations["周予安"]
    ids = await pickable(lin, conversation)
    address = await begun(lin, conversation, ids[:1])
    chen = await site.signed_in("chenmo")
    assert (await chen.get(address)).status == 404
    assert (await chen.post(address, {"do": "open", "title": "x"})).status == 404
    page = await lin.get(address)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set inbox_ids = '{}', role = 'agent' where id = %(id)s", id=site.seed.agents["林晓"])
    assert (await lin.get(address)).status == 404
    assert (await lin.post(address, sent(page, "open"))).status == 404
    assert await rows(site, "select count(*)::int from ticket") == [(0,)]
