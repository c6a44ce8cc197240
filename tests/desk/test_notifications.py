"""The bell, the list behind it, and how an agent chooses to be told, as a browser has it."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Page, expect

from tests.browser import holds
from tests.desk.conftest import Site, Visit
from tests.desk.test_accessibility import faults
from tests.desk.test_desk import next_event, told
from zhiban.conversations import replies, service
from zhiban.notifications import preferences, queries
from zhiban.notifications.models import DEFAULT_WAYS, NotificationKind, Way
from zhiban.notifications.service import read_about
from zhiban.people.models import Role
from zhiban.people.permissions import Access


async def give(site: Site, who: str, *, to: str = "林晓", by: str = "陈默") -> int:
    """陈默 gives 林晓 a conversation. Returns it."""
    seed = site.seed
    conversation = seed.conversations[who]
    async with seed.database.transaction(seed.workspace_id) as tx:
        await service.assign(tx, conversation, to=None, by=seed.by(by), now=seed.clock.now())
        await service.assign(tx, conversation, to=seed.agents[to], by=seed.by(by), now=seed.clock.now())
    return conversation


async def test_what_is_told_reaches_the_open_page_and_is_read_with_the_conversation(site: Site) -> None:
    agent, colleague = await site.signed_in(), await site.signed_in("chenmo")
    session, stream = await told(agent)
    async with session:
        await next_event(stream)
        conversation = await give(site, "马骁")
        while not (await next_event(stream))[1]["notified"]:
            pass
        stream.close()
    news = json.loads((await agent.get("/notifications/news?after=0")).text)
    assert (news["unread"], [one["conversation"] for one in news["news"]]) == (1, [conversation])
    assert news["news"][0]["title"] == "陈默把马骁的会话分给您"
    known = json.loads((await agent.get(f"/notifications/news?after={news['latest']}")).text)
    # Again, as another may have been committed before it: whoever asks knows what they were told.
    assert (known["unread"], known["news"]) == (1, news["news"])
    assert "马骁" not in (await colleague.get("/notifications/news?after=0")).text
    assert "陈默把马骁的会话分给您" in (await agent.get("/notifications?unread=true")).text
    row = news["news"][0]["id"]
    assert (await colleague.post(f"/notifications/{row}", {"read": "true"})).status == 404  # another's
    await agent.get(f"/conversations/{conversation}")
    assert json.loads((await agent.get("/notifications/news?after=0")).text)["unread"] == 0
    assert "没有未读的提醒" in (await agent.get("/notifications?unread=true")).text
    assert (await agent.post(f"/notifications/{row}", {"read": "false"})).status == 303
    assert json.loads((await agent.get("/notifications/news")).text)["unread"] == 1
    assert (await agent.post("/notifications/read", {"until": str(row)})).status == 303
    assert json.loads((await agent.get("/notifications/news")).text)["unread"] == 0


async def test_where_one_is_mentioned_is_a_list_until_it_is_read(site: Site) -> None:
    agent, colleague = await site.signed_in(), await site.signed_in("chenmo")
    resolved, others = site.seed.conversations["许冬"], site.seed.conversations["顾南乔"]
    assert 'id="queue-mentioned"' not in (await colleague.get("/")).text
    await agent.post(f"/conversations/{resolved}/notes", {"text": "请 @陈默 看看"})
    await agent.post(f"/conversations/{others}/notes", {"text": "不急"})
    assert 'id="queue-mentioned"' in (await colleague.get("/")).text
    listed = (await colleague.get("/?queue=mentioned")).text
    assert re.findall(r'id="row-(\d+)"', listed) == [str(resolved)]
    assert '<span class="mentions">林晓：请 @陈默 看看</span>' in listed  # who wants what
    assert 'class="mentions"' not in (await colleague.get("/?queue=all&status=resolved")).text
    await colleague.get(f"/conversations/{resolved}")
    assert "提到您的备注都看过了" in (await colleague.get("/?queue=mentioned")).text


async def test_a_long_list_goes_on(site: Site) -> None:
    agent = await site.signed_in()
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as tx:
        for number in range(queries.ROWS + 1):
            text = f"@林晓 第{number}条"
            await replies.add_note(tx, seed.conversations["马骁"], text=text, by=seed.by("陈默"), now=seed.clock.now())
    first = (await agent.get("/notifications")).text
    assert ("第50条" in first, "第0条" in first) == (True, False)
    older = first.split('href="/notifications?before=')[1].split('"')[0]
    assert "第0条" in (await agent.get(f"/notifications?before={older}")).text


async def test_how_one_is_told_is_chosen_by_oneself(site: Site) -> None:
    agent = await site.signed_in()
    page = (await agent.get("/me/notifications")).text
    usual = sum(len(ways) for ways in DEFAULT_WAYS.values())
    assert page.count("checked") == usual + 1  # and no way besides
    form = {"minutes": "5", "assigned.page": "on", "mentioned.personal": "on", "by": "telegram", "telegram": "1007"}
    assert (await agent.post("/me/notifications", form)).status == 303
    page = (await agent.get("/me/notifications")).text
    assert ('name="waiting.page"' in page, page.count("checked"), 'value="1007"' in page) == (True, 3, True)
    assert (await agent.post("/me/notifications", form)).status == 303  # nothing new
    assert (await agent.post("/me/notifications", {**form, "telegram": "1008"})).status == 303
    assert (await agent.post("/me/notifications", form)).status == 303
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        told = await tx.rows(
            "select actor_id, data -> 'changed' from event where kind = 'notification_settings_changed' order by id"
        )
        assert not await tx.rows("select 1 from event where data::text like '%%1008%%'")
    lin = site.seed.agents["林晓"]
    assert told == [(lin, ["ways", "address", "waiting_minutes"]), (lin, ["address"]), (lin, ["address"])]
    log = (await agent.get("/settings/audit?about=people")).text
    assert "改了：提醒方式、不在工作台时怎样找到、等多久算太久" in log
    for wrong in (
        {"telegram": "json://10.0.0.1"},
        {"telegram": "-1007"},
        {"minutes": "0"},
        {"by": "member:wecom"},
        {"by": ""},
    ):
        assert (await agent.post("/me/notifications", {**form, **wrong})).status == 422, wrong
    assert (await agent.post("/me/notifications/try")).headers["location"].endswith("sent=true")
    again = await agent.post("/me/notifications/try")
    assert (again.status, "一分钟只能试一次" in again.text) == (422, True)
    await give(site, "马骁")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        tried = await tx.value("select count(*) from jobs.procrastinate_jobs where task_name = 'try_personal'")
        (row,) = await queries.notifications(tx, Access(site.seed.agents["林晓"], Role.AGENT))
    assert (tried, row.ways) == (1, ["page"])


# What is told on a page is gone after a while, so it is kept here; for how long it stays is not this story's.
LISTENING = """window.told = []; new MutationObserver((changes) => {
  const added = changes.flatMap((one) => [...one.addedNodes]).filter((one) => one.matches?.("#news a"));
  window.told.push(...added.map((one) => one.textContent));
}).observe(document, { childList: true, subtree: true });
window.sounded = 0; window.AudioContext = class { constructor() { window.sounded += 1; }
  createGain() { return { connect() {}, gain: { setValueAtTime() {}, exponentialRampToValueAtTime() {} } }; }
  createOscillator() { return { connect() {}, start() {}, stop() {}, frequency: {} }; } close() {} };"""


@pytest.mark.browser
async def test_two_tabs_make_one_sound_and_who_looks_is_left_alone(site: Site, enter: Visit) -> None:
    desk = await enter()
    await desk.context.add_init_script(LISTENING)
    await desk.reload()
    other = await desk.context.new_page()
    await other.goto(site.url + "/rules")

    async def sounds() -> int:
        return int(await desk.evaluate("window.sounded")) + int(await other.evaluate("window.sounded"))

    async def told(page: Page, *words: str) -> None:
        """So many news have been shown, the last of them with these words."""
        await holds(page, f"window.told.length === {len(words)} && window.told.at(-1).includes('{words[-1]}')")

    def bell(page: Page, text: str) -> object:
        return expect(page.locator(".dock [data-bell]")).to_have_text(text)

    conversation = await give(site, "马骁")
    for page in (desk, other):
        await bell(page, "1")  # type: ignore[misc]
    news = ["陈默把马骁的会话分给您"]
    await told(other, *news)
    for _ in range(600):  # whichever of them it was
        if await sounds():
            break
        await other.wait_for_timeout(50)
    assert await sounds() == 1

    # What is answered again is told once, and what is committed after a newer one is told as well.
    seed = site.seed
    async with seed.database.transaction(seed.workspace_id) as slow:
        by, now = seed.by("陈默"), seed.clock.now()
        await service.assign(slow, seed.conversations["周予安"], to=None, by=by, now=now)
        await service.assign(slow, seed.conversations["周予安"], to=seed.agents["林晓"], by=by, now=now)
        async with seed.database.transaction(seed.workspace_id) as quick:
            await replies.add_note(quick, conversation, text="@林晓 看看", by=by, now=now)
        await bell(other, "2")  # type: ignore[misc]
        news.append("备注里提到您")
        await told(other, *news)
    news.append("周予安的会话分给您")
    await told(other, *news)
    for _ in range(600):
        if await sounds() == 3:
            break
        await other.wait_for_timeout(50)
    assert await sounds() == 3
    async with seed.database.transaction(seed.workspace_id) as tx:
        await read_about(tx, seed.agents["林晓"], seed.conversations["周予安"], now=now)

    await other.goto(f"{site.url}/conversations/{conversation}")
    await other.bring_to_front()
    await bell(desk, "")  # type: ignore[misc]
    # Without a screen every tab believes that it is in front.
    await desk.evaluate("document.hasFocus = () => false")
    looking = f"JSON.parse(localStorage.getItem('zhiban-looking-{site.seed.agents['林晓']}'))?.conversation"
    await holds(other, f"{looking} === {conversation}")
    before = await sounds()
    await give(site, "马骁")  # the one that is looked at
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        access = Access(site.seed.agents["林晓"], Role.AGENT)
        for _ in range(600):
            if not await queries.count_unread(tx, access):
                break
            await other.wait_for_timeout(50)
    await bell(desk, "")  # type: ignore[misc]
    assert await sounds() == before

    await other.goto(site.url + "/notifications")
    assert await faults(other) == []
    await other.goto(site.url + "/me/notifications")
    assert await faults(other) == []


GRANTED = """window.notices = []; window.Notification = class { static permission = "granted";
  constructor(title, how) { window.notices.push([title, how.body]); } };"""


@pytest.mark.browser
async def test_the_browser_tells_whoever_looks_elsewhere_unless_they_do_not_want_it(site: Site, enter: Visit) -> None:
    page, seed = await enter(), site.seed
    await page.context.add_init_script(GRANTED)
    await page.reload()
    await page.wait_for_selector("html[data-ready]")
    await give(site, "马骁")
    await expect(page.locator("#news a")).to_have_count(1)
    assert await page.evaluate("notices") == []  # they have the desk before them
    await page.evaluate("""document.hasFocus = () => false;
      Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
      Object.defineProperty(document, "visibilityState", { get: () => "hidden", configurable: true });
      dispatchEvent(new Event("blur")); document.dispatchEvent(new Event("visibilitychange"));""")
    await give(site, "周予安")
    await holds(page, "notices.length === 1")
    assert "周予安的会话分给您" in (await page.evaluate("notices"))[0][0]
    # Whoever does not want that of a kind is told of others only.
    async with seed.database.transaction(seed.workspace_id) as tx:
        lin, wanted = seed.agents["林晓"], {**DEFAULT_WAYS, NotificationKind.ASSIGNED: [Way.PAGE]}
        await preferences.choose(tx, lin, ways=wanted, address="", waiting_minutes=10, now=seed.clock.now())
    await give(site, "沈嘉宁")
    async with seed.database.transaction(seed.workspace_id) as tx:
        by, now = seed.by("陈默"), seed.clock.now()
        await replies.add_note(tx, seed.conversations["沈嘉宁"], text="@林晓 看看", by=by, now=now)
    await holds(page, "notices.length === 2")
    assert "备注里提到您" in (await page.evaluate("notices"))[1][0]


@pytest.mark.browser
async def test_a_colleague_is_found_behind_an_at_and_told(site: Site, enter: Visit) -> None:
    page = await enter(f"/conversations/{site.seed.conversations['周予安']}")
    await page.keyboard.press("Alt+p")
    note = page.locator("#compose-note")
    await expect(note).to_be_focused()
    await page.keyboard.type("请@")
    await expect(page.locator("#mates .opt")).to_have_count(len(site.seed.agents) - 1)  # everybody but oneself
    assert await faults(page) == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#mates")).to_be_hidden()
    await page.keyboard.type("陈")
    await expect(page.locator("#mates .opt")).to_have_text(["陈默"])
    await page.keyboard.press("Enter")
    await expect(note).to_have_value("请@陈默 ")
    await expect(page.locator("#mates")).to_be_hidden()
    await page.keyboard.type("看看")
    await page.keyboard.press("Enter")
    await expect(page.locator("#messages")).to_contain_text("请@陈默 看看")
    colleague = await site.signed_in("chenmo")
    assert "林晓在周予安的备注里提到您" in (await colleague.get("/notifications")).text
