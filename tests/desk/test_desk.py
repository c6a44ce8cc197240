"""What the desk shows and does, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from zoneinfo import ZoneInfo

import aiohttp
import psycopg
import pytest

from tests.desk.conftest import Client, Site
from tests.desk.seed import create_seed, new_workspace
from tests.passwords import quickly_hashed
from tests.stories.conftest import until
from zhiban.conversations import service
from zhiban.conversations.topics import CONVERSATION_CHANGED
from zhiban.desk.sse_broker import OVERLAP, PACE_SECONDS
from zhiban.events import SYSTEM
from zhiban.kit.db import Database, Transaction
from zhiban.postgres.provisioning import DatabaseUrls


async def status_of(site: Site, who: str) -> tuple[str, int | None]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        row = await tx.row(
            "select status, assignee_id from conversation where id = %(id)s", id=site.seed.conversations[who]
        )
    assert row is not None
    return row[0], row[1]


async def test_queues_hold_what_their_names_say(site: Site) -> None:
    agent = await site.signed_in()

    async def names(queue: str, status: str = "open") -> set[str]:
        page = (await agent.get(f"/desk/rows?queue={queue}&status={status}")).text
        return {who for who in site.seed.conversations if f'<b class="cut">{who}</b>' in page}

    assert await names("mine") == {"周予安", "沈嘉宁", "赵一鸣", "何思源", "唐亦可"}
    assert await names("unassigned") == {"马骁"}
    assert await names("assistant") == {"叶知秋"}
    assert await names("all") == {"周予安", "沈嘉宁", "赵一鸣", "何思源", "唐亦可", "马骁", "顾南乔", "叶知秋"}
    assert await names("mine", "snoozed") == {"韩露"}
    assert await names("mine", "resolved") == {"许冬"}


async def test_the_longest_wait_stands_first_and_those_who_wait_stand_apart(site: Site) -> None:
    page = (await (await site.signed_in()).get("/desk/rows")).text
    assert "线上要今晚 10 点才能发版" in page  # what they wait with, not what we said meanwhile
    order = [page.index(who) for who in ("等我们回复", "沈嘉宁", "赵一鸣", "周予安", "等对方回复", "何思源", "唐亦可")]
    assert order == sorted(order)


async def test_a_list_is_shown_in_another_order_and_keeps_it(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    zhou, shen = seed.conversations["周予安"], seed.conversations["沈嘉宁"]  # whose is urgent
    for who, priority in ((zhou, "3"), (seed.conversations["唐亦可"], "4")):
        await agent.post(f"/conversations/{who}/priority", {"to": priority}, hx_request="true")

    async def order(sort: str) -> tuple[list[str], str]:
        answer = await agent.get(f"/desk/list?queue=mine&status=open&sort={sort}", hx_request="true")
        return re.findall('<b class="cut">(.+?)</b>', answer.text), answer.headers["hx-push-url"]

    here = "/?queue=mine&status=open"
    assert await order("waiting") == (["沈嘉宁", "赵一鸣", "周予安", "何思源", "唐亦可"], here)
    assert await order("priority") == (["沈嘉宁", "周予安", "赵一鸣", "唐亦可", "何思源"], f"{here}&sort=priority")
    assert (await order("newest"))[0][:3] == ["周予安", "赵一鸣", "沈嘉宁"]
    # What opens next is next in this order, and the way there goes on in it.
    form = {"queue": "mine", "status": "open", "sort": "priority"}
    done = await agent.post(f"/conversations/{shen}/resolve", form, hx_request="true")
    assert done.headers["hx-push-url"] == f"/conversations/{zhou}?queue=mine&status=open&sort=priority"
    assert 'name="sort" value="priority"' in done.text
    page = (await agent.get(f"{here}&sort=priority")).text
    assert 'href="/?queue=unassigned&amp;sort=priority"' in page
    assert f'href="/conversations/{zhou}?queue=mine&amp;status=open&amp;sort=priority"' in page


async def test_a_list_longer_than_a_page_offers_more(site: Site) -> None:
    agent = await site.signed_in()
    short = (await agent.get("/desk/rows?queue=all&limit=3")).text
    assert short.count('class="conv"') == 3
    assert "limit=28" in short
    assert (await agent.get("/desk/rows?queue=all&limit=5000")).status == 422
    assert (await agent.get("/?queue=nonsense&status=nonsense")).status == 200


async def test_opening_reads_and_the_unread_line_stays_until_one_leaves(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    assert 'aria-label="2条未读"' in (await agent.get("/desk/rows")).text
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert "2条新消息" in page
    after = page.split('id="unread-after" name="unread_after" value="')[1].split('"')[0]
    assert "未读" not in (await agent.get("/desk/rows")).text.split("周予安")[1].split("</a>")[0]
    assert "2条新消息" in (await agent.get(f"/conversations/{zhou}/live?unread_after={after}")).text
    assert "2条新消息" not in (await agent.get(f"/conversations/{zhou}")).text
    other = await site.signed_in("chenmo")
    assert "6条未读" in (await other.get("/desk/rows?queue=all")).text.split("周予安")[1].split("</a>")[0]


async def test_a_reply_is_queued_once_whatever_the_network_does(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    for _ in range(2):
        answer = await agent.post(f"/conversations/{zhou}/replies", {"text": "可以的，我先留着。", "key": "k-1"})
        assert answer.status == 204
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert page.count('id="m-k-1"') == 1
    assert "正在发送" in page
    assert "还可回复4条" in page


async def test_a_closed_window_says_why_and_leaves_the_note(site: Site) -> None:
    agent = await site.signed_in()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await site.seed.says(tx, "郑三天", "有人吗", at=site.seed.ago(hours=49))
    zheng = site.seed.conversations["郑三天"]
    refused = await agent.post(f"/conversations/{zheng}/replies", {"text": "在吗", "key": "k-2"}, hx_request="true")
    assert refused.status == 409
    assert refused.text == "对方再发来消息之前，平台不允许任何人回复。"
    page = (await agent.get(f"/conversations/{zheng}")).text
    assert "48小时已过" in page
    assert 'data-mode="note"' in page
    assert (await agent.post(f"/conversations/{zheng}/notes", {"text": "改打电话"})).status == 204
    assert "改打电话" in (await agent.get(f"/conversations/{zheng}")).text


async def test_resolving_opens_the_next_who_waits_and_can_be_undone(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]
    answer = await agent.post(f"/conversations/{zhou}/resolve", {"queue": "mine", "status": "open"}, hx_request="true")
    assert "与沈嘉宁的会话" in answer.text
    assert f"/conversations/{zhou}/undo-resolve" in answer.text
    assert answer.headers["hx-push-url"].startswith(f"/conversations/{site.seed.conversations['沈嘉宁']}?")
    assert (await status_of(site, "周予安"))[0] == "resolved"
    before = await status_of(site, "周予安")
    undone = await agent.post(f"/conversations/{zhou}/undo-resolve", {"undo": "1"}, hx_request="true")
    assert undone.headers["hx-redirect"].startswith(f"/conversations/{zhou}?")
    assert await status_of(site, "周予安") != before
    assert await status_of(site, "周予安") == ("open", site.seed.agents["林晓"])


async def test_a_conversation_goes_from_hand_to_hand(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    conversation = seed.conversations["马骁"]

    async def give(to: str) -> str:
        answer = await agent.post(f"/conversations/{conversation}/assign", {"to": to}, hx_request="true")
        assert answer.status == 200, answer.text
        return answer.text

    assert "由您处理" in await give("me")
    assert await status_of(site, "马骁") == ("open", seed.agents["林晓"])
    assert "已分配给陈默" in await give(str(seed.agents["陈默"]))
    assert "已取消分配" in await give("nobody")
    assert "值班助手在接待" in await give("assistant")
    assert await status_of(site, "马骁") == ("pending", None)
    assert (await agent.post(f"/conversations/{conversation}/assign", {"to": "99999"})).status == 404
    assert (await agent.post(f"/conversations/{conversation}/assign", {"to": "x"})).status == 409


async def test_snoozing_and_taking_up_again(site: Site) -> None:
    agent, zhou = await site.signed_in(), site.seed.conversations["周予安"]

    async def counted() -> list[tuple[str, str]]:
        """What the tabs of the open desk say when it hears of a change."""
        live = (await agent.get("/desk/list?queue=mine&status=open&live=true", hx_request="true")).text
        return re.findall(r'(进行中|搁置) <span class="count">(\d+)</span>', live)

    assert await counted() == [("进行中", "5"), ("搁置", "1")]
    answer = await agent.post(f"/conversations/{zhou}/snooze", {"until": "morning"}, hx_request="true")
    assert await counted() == [("进行中", "4"), ("搁置", "2")]
    assert "09:00" in answer.text
    assert (await status_of(site, "周予安"))[0] == "snoozed"
    assert (await agent.post(f"/conversations/{zhou}/snooze", {"until": "yesterday"})).status == 409
    # A date and time of one's own, in the workspace's zone.
    zone, now = ZoneInfo("Asia/Shanghai"), site.seed.clock.now()
    for at, why in (
        ("", "请选日期和时间。"),
        ("soon", "请选日期和时间。"),
        ("2027-01-01T09:00+09:00", "请选日期和时间。"),
        ("0001-01-01T00:00", "回来的时间要在以后。"),
        (f"{(now - timedelta(minutes=2)).astimezone(zone):%Y-%m-%dT%H:%M}", "回来的时间要在以后。"),
        (f"{(now + timedelta(days=367)).astimezone(zone):%Y-%m-%dT%H:%M}", "回来的时间要在一年以内。"),
    ):
        refused = await agent.post(f"/conversations/{zhou}/snooze", {"at": at}, hx_request="true")
        assert (refused.status, refused.text) == (409, why)
    chosen = (now + timedelta(days=40)).astimezone(zone).replace(second=0, microsecond=0)
    answer = await agent.post(f"/conversations/{zhou}/snooze", {"at": f"{chosen:%Y-%m-%dT%H:%M}"}, hx_request="true")
    assert f"{chosen:%H:%M}" in answer.text
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        back = await tx.value("select snoozed_until from conversation where id = %(id)s", id=zhou)
    assert back == chosen
    assert "已重新打开" in (await agent.post(f"/conversations/{zhou}/reopen", hx_request="true")).text


async def test_a_draft_waits_for_its_agent_only(site: Site) -> None:
    agent, other, zhou = await site.signed_in(), await site.signed_in("chenmo"), site.seed.conversations["周予安"]
    await agent.post(f"/conversations/{zhou}/draft", {"text": "我先把会话", "mode": "note"})
    page = (await agent.get(f"/conversations/{zhou}")).text
    assert "我先把会话</textarea>" in page
    assert 'class="draft"' in page
    assert "我先把会话" not in (await other.get(f"/conversations/{zhou}")).text
    await agent.post(f"/conversations/{zhou}/draft", {"text": "", "mode": "note"})
    assert "我先把会话" not in (await agent.get(f"/conversations/{zhou}")).text


async def test_older_messages_come_a_page_at_a_time_and_stay(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    zhou = seed.conversations["周予安"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        for number in range(60):
            await seed.says(tx, "周予安", f"第{number}句", at=seed.clock.now())

    def first(text: str) -> str:
        return text.split('id="first-shown" name="first" value="')[1].split('"')[0]

    page = (await agent.get(f"/conversations/{zhou}")).text
    assert page.count('<article class="msg" id=') == 40
    assert "更早的消息" in page
    more = (await agent.get(f"/conversations/{zhou}/live?older_than={first(page)}")).text
    assert more.count("<article") + more.count('class="act" id="act-') == 70
    same = (await agent.get(f"/conversations/{zhou}/live?first={first(more)}")).text
    assert same.count("<article") == more.count("<article")
    assert len((await agent.get(f"/conversations/{zhou}")).text.encode()) < 64_000


async def test_the_suggestion_is_asked_for_only_while_somebody_waits(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    zhou = seed.conversations["周予安"]
    assert f'hx-get="/conversations/{zhou}/suggestion"' in (await agent.get(f"/conversations/{zhou}")).text
    shown = (await agent.get(f"/conversations/{zhou}/suggestion")).text
    assert "可以的，我先把会话搁置到今晚 10:30。" in shown
    assert "把握86%" in shown
    assert site.suggested == [zhou]
    resting = seed.conversations["何思源"]
    assert "/suggestion" not in (await agent.get(f"/conversations/{resting}")).text


async def test_another_workspace_looks_like_nothing_at_all(site: Site) -> None:
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    agent = await site.signed_in()
    foreign = other.conversations["周予安"]
    for path in (f"/conversations/{foreign}", f"/conversations/{foreign}/live", f"/conversations/{foreign}/suggestion"):
        assert (await agent.get(path)).status == 404
    for path in ("resolve", "reopen", "notes", "draft"):
        assert (await agent.post(f"/conversations/{foreign}/{path}", {"text": "x"})).status == 404
    assert (await agent.post(f"/conversations/{foreign}/replies", {"text": "x", "key": "k"})).status == 404
    async with other.database.transaction(other.workspace_id) as tx:
        assert await tx.value("select count(*) from message where text = 'x'") == 0


async def test_an_empty_desk_says_what_to_do(site: Site) -> None:
    workspace = await new_workspace(site.seed.database, "leer", "空")
    from zhiban.people.models import Role
    from zhiban.people.service import add_agent

    hashed = quickly_hashed("correct horse battery")
    async with site.seed.database.transaction(workspace) as tx:
        await add_agent(tx, email="solo@qinghe.example", name="独孤", role=Role.OWNER, password_hash=hashed)
    agent = site.client()
    assert (await agent.sign_in("solo")).status == 303
    assert "做完这几步，第一位联系人就有人接待了。" in (await agent.get("/")).text
    assert "还没有会话。" in (await agent.get("/?queue=all")).text
    assert "还没有接入账号" in (await agent.get("/settings/health")).text


async def test_the_health_page_names_what_is_broken_and_tries_it_again(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    page = (await agent.get("/settings/health")).text
    assert "能用，有2处可以更好" in page
    assert "还没有收到过回调" in page
    assert "知识库" in page
    assert "data-news" not in (await agent.get("/")).text
    async with seed.database.transaction(seed.workspace_id) as tx:
        await tx.run(
            "update connection set broken = 'The secret is wrong (40001).', broken_at = now() "
            "where workspace_id = %(w)s",
            w=seed.workspace_id,
        )
        connection = await tx.value("select id from connection limit 1")
        delivery = await tx.value(
            "insert into delivery (workspace_id, connection_id, digest, pulls, body, state, attempts, error) "
            "values (%(w)s, %(c)s, 'x', false, '<xml/>', 'failed', 3, 'No such event.') returning id",
            w=seed.workspace_id,
            c=connection,
        )
        job = await tx.value(
            "insert into procrastinate_jobs (queue_name, task_name, args, status, attempts) "
            "values ('quick', 'notify_handoff', %(args)s::jsonb, 'failed', 8) returning id",
            args=json.dumps({"workspace_id": seed.workspace_id, "conversation_id": seed.conversations["周予安"]}),
        )
    page = (await agent.get("/settings/health")).text
    assert "3处要处理" in page
    assert "40001" in page
    assert "notify_handoff" in page
    assert "data-news" in (await agent.get("/")).text
    assert (await agent.post(f"/settings/health/deliveries/{delivery}/again")).status == 303
    assert (await agent.post(f"/settings/health/jobs/{job}/again")).status == 303
    assert (await agent.post(f"/settings/health/jobs/{job}/again")).status == 404
    assert (await agent.post(f"/settings/health/deliveries/{delivery}/again")).status == 404
    page = (await agent.get("/settings/health")).text
    assert "1处要处理" in page
    assert page.count("data-bad") == 2  # the finding, and the connection it is about


# ------------------------------------------------------------------------------------------------ the live stream


async def told(
    client: Client, path: str = "/stream", **headers: str
) -> tuple[aiohttp.ClientSession, aiohttp.ClientResponse]:
    session = aiohttp.ClientSession(cookie_jar=client.cookies)
    answer = await session.get(client.url + path, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return session, answer


async def next_event(answer: aiohttp.ClientResponse) -> tuple[int, dict[str, object]]:
    """The next event with data. Fails after thirty seconds."""
    async with asyncio.timeout(30):
        id_ = 0
        async for raw in answer.content:
            line = raw.decode().strip()
            if line.startswith("id: "):
                id_ = int(line[4:])
            if line.startswith("data: "):
                return id_, json.loads(line[6:])
    raise AssertionError("the stream ended")


async def test_a_change_reaches_an_open_tab_as_an_id(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    session, stream = await told(agent)
    async with session:
        first, said = await next_event(stream)
        assert not any(said.values())
        async with seed.database.transaction(seed.workspace_id) as tx:
            await seed.says(tx, "周予安", "在吗", at=seed.clock.now())
        last, said = await next_event(stream)
        assert said["conversations"] == [seed.conversations["周予安"]]
        assert last > first
        stream.close()
    await until(lambda: not site.broker.listeners)


class CountingDatabase:
    """A database that counts what is begun through it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transactions = 0

    def transaction(self, workspace_id: int) -> AbstractAsyncContextManager[Transaction]:
        self.transactions += 1
        return self.database.transaction(workspace_id)


async def test_a_change_is_looked_up_once_for_everybody_and_told_whose_it_is(site: Site) -> None:
    people, seed = [await site.signed_in(), await site.signed_in("chenmo"), await site.signed_in("suhe")], site.seed
    tabs = [await told(agent) for agent in (*people, *people, *people)]
    streams = [stream for _, stream in tabs]
    for stream in streams:
        await next_event(stream)
    site.broker.database = counting = CountingDatabase(seed.database)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await seed.says(tx, "顾南乔", "合同好了吗", at=seed.clock.now())  # 陈默's
    heard = [(await next_event(stream))[1] for stream in streams]
    assert {tuple(said["conversations"]) for said in heard} == {(seed.conversations["顾南乔"],)}
    assert [said["mine"] for said in heard] == [False, True, False] * 3
    assert not any(said["unclaimed"] for said in heard)
    assert counting.transactions == 1
    async with seed.database.transaction(seed.workspace_id) as tx:
        await service.assign(tx, seed.conversations["顾南乔"], to=None, by=SYSTEM, now=seed.clock.now())
    heard = [(await next_event(stream))[1] for stream in streams]
    assert {(said["mine"], said["unclaimed"]) for said in heard} == {(False, True)}
    # One change after the other is told at a pace.
    began = asyncio.get_running_loop().time()
    assert seed.database.publish is not None
    for _ in range(4):
        seed.database.publish(CONVERSATION_CHANGED, seed.workspace_id, seed.conversations["顾南乔"])
        await next_event(streams[0])
    assert asyncio.get_running_loop().time() - began > 3 * PACE_SECONDS
    for session, stream in tabs:
        stream.close()
        await session.close()


async def test_a_stream_that_cannot_be_told_ends_and_is_told_when_it_comes_back(site: Site, urls: DatabaseUrls) -> None:
    agent, seed = await site.signed_in(), site.seed
    session, stream = await told(agent)
    async with session, await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as owner:
        known, _ = await next_event(stream)
        await owner.execute("alter table conversation rename to elsewhere")
        assert seed.database.publish is not None
        seed.database.publish(CONVERSATION_CHANGED, seed.workspace_id, seed.conversations["周予安"])
        async with asyncio.timeout(30):
            await stream.content.read()
        await owner.execute("alter table elsewhere rename to conversation")
        async with seed.database.transaction(seed.workspace_id) as tx:
            await seed.says(tx, "周予安", "在吗", at=seed.clock.now())
    session, stream = await told(agent, f"/stream?after={known}")
    async with session:
        _, said = await next_event(stream)
        assert seed.conversations["周予安"] in said["conversations"]
        stream.close()


async def test_after_news_may_have_been_missed_tabs_come_back_and_learn_them(site: Site, urls: DatabaseUrls) -> None:
    agent, seed = await site.signed_in(), site.seed
    session, stream = await told(agent)
    async with session, Database(urls.app, work_size=1) as elsewhere:  # its notices reach nobody
        known, _ = await next_event(stream)
        async with elsewhere.transaction(seed.workspace_id) as tx:
            await seed.says(tx, "周予安", "在吗", at=seed.clock.now())
        async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as owner:
            await owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'zhiban pubsub' and datname = current_database()"
            )
        async with asyncio.timeout(30):
            await stream.content.read()
    session, stream = await told(agent, f"/stream?after={known}")
    async with session:
        _, said = await next_event(stream)
        assert seed.conversations["周予安"] in said["conversations"]
        stream.close()


async def test_a_tab_that_slept_learns_what_it_missed(site: Site) -> None:
    agent, seed = await site.signed_in(), site.seed
    session, stream = await told(agent)
    async with session:
        known, _ = await next_event(stream)
        stream.close()
    async with seed.database.transaction(seed.workspace_id) as tx:
        for number in range(OVERLAP + 5):
            await seed.says(tx, "马骁", f"{number}", at=seed.clock.now())
    known += 3  # beyond the overlap, only what happened afterwards is told
    for path, headers in (
        (f"/stream?after={known + OVERLAP}", {}),
        ("/stream", {"Last-Event-ID": str(known + OVERLAP)}),
    ):
        session, stream = await told(agent, path, **headers)
        async with session:
            _, said = await next_event(stream)
            assert said["conversations"] == [seed.conversations["马骁"]]
            stream.close()


async def test_other_workspaces_are_not_heard(site: Site) -> None:
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    agent, seed = await site.signed_in(), site.seed
    session, stream = await told(agent)
    async with session:
        await next_event(stream)
        async with other.database.transaction(other.workspace_id) as tx:
            await other.says(tx, "周予安", "别处", at=other.clock.now())
        async with seed.database.transaction(seed.workspace_id) as tx:
            await seed.says(tx, "马骁", "这里", at=seed.clock.now())
        _, said = await next_event(stream)
        assert said["conversations"] == [seed.conversations["马骁"]]
        stream.close()


@pytest.mark.parametrize("who", ["", "1.nonsense"])
async def test_strangers_hear_nothing(site: Site, who: str) -> None:
    answer = await site.client().get("/stream", cookie=f"zhiban_session={who}")
    assert answer.status == 303


async def test_colleagues_follow_a_conversation_and_stand_on_its_card(site: Site) -> None:
    lin, seed = await site.signed_in(), site.seed
    path = f"/conversations/{seed.conversations['周予安']}"
    assert "还没有人关注" in (await lin.get(path)).text
    chen = str(seed.agents["陈默"])
    for _ in range(2):
        shown = (await lin.post(f"{path}/followers", {"add": chen})).text
        assert '<span class="tag cut">陈默</span>' in shown
        assert shown.count("关注会话") == 1
    menu = (await lin.get(f"{path}/followers")).text
    assert re.findall(r'name="(\w+)" value="(\d+)" aria-pressed="true"', menu) == [("remove", chen)]
    assert '<span class="tag cut">陈默</span>' not in (await lin.post(f"{path}/followers", {"remove": chen})).text
    assert (await lin.post(f"{path}/followers", {"add": "999999"})).status == 404
