"""Several conversations of the list at once: chosen by mouse and key, done, told, undone; other desks follow."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser import Visit, holds
from tests.desk.conftest import Client, Site
from tests.desk.seed import create_seed
from tests.desk.test_accessibility import STILL, faults
from tests.desk.test_browser import CONTRAST
from tests.desk.test_desk import next_event, told
from zhiban.conversations import labels
from zhiban.events import SYSTEM
from zhiban.people import teams


async def act(agent: Client, do: str, ids: list[int], to: str = "", key: str = "") -> dict[str, Any]:
    answer = await agent.post("/desk/bulk", {"do": do, "ids": ",".join(map(str, ids)), "to": to, "key": key})
    assert answer.status == 200, answer.text[-300:]
    return dict(json.loads(answer.text))


async def test_it_is_done_told_undone_and_seen_by_others(site: Site) -> None:
    lin, chen = await site.signed_in(), await site.signed_in("chenmo")
    seed, label = site.seed, site.seed.labels["缺陷"]
    ids = [seed.conversations[who] for who in ("周予安", "赵一鸣", "沈嘉宁")]
    theirs = (await create_seed(seed.database, seed.clock, slug="other")).conversations["周予安"]
    found = json.loads((await lin.get("/desk/matching?queue=mine&status=open")).text)
    assert (set(ids) <= set(found["ids"]), found["more"]) == (True, False)
    session, stream = await told(chen)
    async with session:
        await next_event(stream)
        done = await act(lin, "resolve", [*ids, theirs])
        assert done["words"] == "已解决3个。4个里有1个没有改：没有这个会话（1个）"
        assert done["refused"] == [theirs]
        changed: set[object] = set()
        while not set(ids) <= changed:
            said = (await next_event(stream))[1]
            changed |= set(said["conversations"])  # type: ignore[call-overload]
        stream.close()
    assert done["undo"] == {"do": "undo-resolve", "ids": ",".join(map(str, sorted(ids)))}
    snoozed = await act(lin, "snooze", ids, "hour")
    assert snoozed["words"] == "已搁置0个。3个里有3个没有改：会话已解决，请先重新打开再搁置（3个）"
    assert snoozed["undo"] is None
    assert (await act(chen, "undo-resolve", ids))["words"].startswith("已撤销0个。3个里有3个没有改：")
    assert (await act(lin, "undo-resolve", ids))["words"] == "已撤销3个"
    for do, to, words in (
        ("label", str(label), "已给3个加上标签"),
        ("label", str(label), "已给0个加上标签，3个本来就是这样"),
        ("unlabel", str(label), "已给3个去掉标签"),
        ("priority", "2", "已改3个的优先级"),
        ("assign", str(seed.agents["陈默"]), "已分配3个"),
        ("assign", "me", "已分配3个"),
        ("assign", "nobody", "已取消分配3个"),
        ("assign", "assistant", "已交回值班助手3个"),
        ("team", "none", "0个不再属于小组，3个本来就是这样"),
        ("snooze", "hour", "已搁置3个"),
        ("reopen", "", "已重新打开3个"),
    ):
        assert (await act(lin, do, ids, to))["words"] == words, do
    for do, to, status in (("label", "999", 404), ("team", "999", 404), ("priority", "7", 409), ("explode", "", 409),
                           ("snooze", "1999", 409), ("assign", "x", 409)):  # fmt: skip
        assert (await lin.post("/desk/bulk", {"do": do, "ids": str(ids[0]), "to": to})).status == status, do
    assert (await lin.post("/desk/bulk", {"do": "resolve", "ids": "x,²"})).status == 409
    many = ",".join(str(number) for number in range(501))
    assert (await lin.post("/desk/bulk", {"do": "resolve", "ids": many})).status == 409


async def undone(agent: Client, done: dict[str, Any]) -> dict[str, Any]:
    """Press undo, as the page does with what it was told."""
    answer = await agent.post("/desk/bulk", {"key": "", **done["undo"]})
    assert answer.status == 200, answer.text[-300:]
    return dict(json.loads(answer.text))


async def test_what_was_done_to_several_is_taken_back_from_each_as_it_was(site: Site) -> None:
    """One is the agent's, one a colleague's, one nobody's, one the assistant's: each is what it was, or the change of
    whoever was quicker stays."""
    lin, chen, seed = await site.signed_in(), await site.signed_in("chenmo"), site.seed
    ids = [seed.conversations[who] for who in ("周予安", "赵一鸣", "沈嘉宁", "叶知秋")]
    mine, colleagues, nobodys, _ = ids
    chens, bug = str(seed.agents["陈默"]), seed.labels["缺陷"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        team, other = [str(await teams.create(tx, name=name, now=seed.clock.now())) for name in ("售前", "售后")]
    await act(lin, "assign", [colleagues], chens)
    await act(lin, "assign", [nobodys], "nobody")
    await act(lin, "priority", [mine], "4")
    await act(lin, "team", [mine], other)
    await act(lin, "label", [mine], str(bug))

    async def stand() -> list[tuple[object, ...]]:
        sql = "select id, status, assignee_id, team_id, priority, labels from conversation where id = any(%(ids)s)"
        async with seed.database.transaction(seed.workspace_id) as tx:
            return [tuple(row) for row in await tx.rows(f"{sql} order by id", ids=ids)]

    before = await stand()
    for do, to, count in (
        ("assign", "me", 3), ("assign", chens, 3), ("assign", "assistant", 3), ("assign", "nobody", 2),
        ("team", team, 4), ("team", "none", 1), ("priority", "3", 4), ("priority", "0", 2), ("label", str(bug), 3),
        ("unlabel", str(bug), 1),
    ):  # fmt: skip
        done = await act(lin, do, ids, to)
        assert await stand() != before, do
        back = await undone(lin, done)
        assert (back["words"], back["undo"]) == (f"已撤销{count}个", None), (do, to)
        assert await stand() == before, (do, to)
    # Nobody's work is undone who was quicker.
    for do, to, other_do, other_to, why in (
        ("assign", "me", "assign", chens, "已经有人重新分配了"),
        ("team", team, "team", "none", "已经有人重新分配了"),
        ("priority", "3", "priority", "1", "已经有人改了优先级"),
    ):
        done = await act(lin, do, ids, to)
        await act(chen, other_do, [nobodys], other_to)
        late = await undone(lin, done)
        assert late["refused"] == [nobodys], do
        assert f"1个没有改：{why}（1个）" in late["words"]
    done = await act(lin, "assign", [mine], chens)
    await act(chen, "snooze", [mine], "hour")
    assert "1个没有改：已经有人重新处理了（1个）" in (await undone(lin, done))["words"]
    # What nobody changed has nothing to be undone, and neither has what was snoozed: that has its own way back.
    assert (await act(lin, "team", [mine], "none"))["undo"] is not None
    assert (await act(lin, "team", [mine], "none"))["undo"] is None
    assert (await act(lin, "assign", [mine], "me"))["undo"] is None


async def test_an_undo_that_somebody_wrote_by_hand_changes_nothing_else(site: Site) -> None:
    lin, seed = await site.signed_in(), site.seed
    mine = seed.conversations["周予安"]
    theirs = (await create_seed(seed.database, seed.clock, slug="other")).conversations["周予安"]
    watcher = str(seed.agents["林晓"])

    async def post(**form: str) -> tuple[int, str]:
        answer = await lin.post("/desk/bulk", {"ids": str(mine), **form})
        return answer.status, answer.text

    for form in (
        {"do": "undo-assign", "to": watcher, "was": f"{mine}:²"},
        {"do": "undo-assign", "to": watcher, "was": "x:1,:,1"},
        {"do": "undo-team", "to": "none", "was": f"{mine}:-1"},
        {"do": "undo-priority", "to": "0", "was": f"{mine}:99"},
        {"do": "undo-assign", "to": watcher, "was": f"{theirs}:nobody", "ids": str(theirs)},
    ):
        status, text = await post(**form)
        assert (status, json.loads(text)["words"][:5]) == (200, "已撤销0个"), form
    for form in ({"do": "undo-explode"}, {"do": "undo-priority", "to": "x"}, {"do": "undo-label", "to": "x"}):
        assert (await post(**form))[0] == 409, form
    for label in ("undo-label", "undo-unlabel"):
        assert (await post(do=label, to="999999"))[0] == 404
    for form in ({"do": "undo-assign", "to": watcher}, {"do": "undo-team", "to": "none"}):
        status, text = await post(**form, was=f"{mine}:999999")
        assert (status, json.loads(text)["refused"]) == (200, [mine]), form


async def test_neither_a_label_nor_a_team_that_is_gone_comes_back_by_an_undo(site: Site) -> None:
    lin, seed, now = await site.signed_in(), site.seed, site.seed.clock.now()
    ids, bug = [seed.conversations["周予安"]], seed.labels["缺陷"]
    async with seed.database.transaction(seed.workspace_id) as tx:
        team = await teams.create(tx, name="售前", now=now)
    await act(lin, "label", ids, str(bug))
    await act(lin, "team", ids, str(team))
    unlabelled, without = await act(lin, "unlabel", ids, str(bug)), await act(lin, "team", ids, "none")
    async with seed.database.transaction(seed.workspace_id) as tx:
        await labels.remove_label(tx, bug, by=SYSTEM, now=now)
        await teams.remove(tx, team, now=now)
    assert (await lin.post("/desk/bulk", unlabelled["undo"])).status == 404
    assert (await undone(lin, without))["refused"] == ids
    async with seed.database.transaction(seed.workspace_id) as tx:
        (row,) = await tx.rows("select labels, team_id from conversation where id = any(%(ids)s)", ids=ids)
    assert bug not in row[0]
    assert row[1] is None


async def test_they_are_snoozed_until_a_date_and_time_of_ones_own(site: Site) -> None:
    lin, zone, now = await site.signed_in(), ZoneInfo("Asia/Shanghai"), site.seed.clock.now()
    ids = [site.seed.conversations[who] for who in ("周予安", "赵一鸣")]
    form = {"do": "snooze", "ids": ",".join(map(str, ids))}
    for at, why in (
        ("", "请选日期和时间。"),
        ("soon", "请选日期和时间。"),
        (f"{(now - timedelta(minutes=2)).astimezone(zone):%Y-%m-%dT%H:%M}", "回来的时间要在以后。"),
        (f"{(now + timedelta(days=367)).astimezone(zone):%Y-%m-%dT%H:%M}", "回来的时间要在一年以内。"),
    ):
        refused = await lin.post("/desk/bulk", {**form, "at": at}, hx_request="true")
        assert (refused.status, refused.text) == (409, why)
    chosen = (now + timedelta(days=40)).astimezone(zone).replace(second=0, microsecond=0)
    done = json.loads((await lin.post("/desk/bulk", {**form, "at": f"{chosen:%Y-%m-%dT%H:%M}"})).text)
    assert done["words"].startswith("已搁置2个，到")
    assert f"{chosen:%H:%M}" in done["words"]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        back = await tx.values("select snoozed_until from conversation where id = any(%(ids)s)", ids=ids)
    assert back == [chosen, chosen]
    assert (await act(lin, done["undo"]["do"], ids))["words"] == "已撤销2个"


async def test_a_macro_acts_on_each_whole_or_not_at_all(site: Site) -> None:
    lin = await site.signed_in()
    ids = [site.seed.conversations[who] for who in ("周予安", "赵一鸣")]
    form = [("name", "收尾"), ("a.0.kind", "set_priority"), ("a.0.priority", "4"), ("a.1.kind", "snooze"),
            ("a.1.minutes", "5")]  # fmt: skip
    macro = (await lin.post("/settings/macros", form)).headers["location"].rsplit("/", 1)[-1]
    await act(lin, "resolve", ids[:1])
    done = await act(lin, "macro", ids, macro, key="k1")
    assert done["words"] == ("已对1个执行宏“收尾”。2个里有1个没有改：第2个动作：会话已解决，请先重新打开再搁置（1个）")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        rows = await tx.rows("select priority, status from conversation where id = any(%(ids)s) order by id", ids=ids)
        again = await tx.value("select count(*) from event where kind = 'macro_applied'")
    assert (rows, again) == ([(0, "resolved"), (4, "snoozed")], 1)


async def chosen(page: Page) -> list[str]:
    return await page.eval_on_selector_all(
        "#rows input:checked", "all => all.map(one => one.parentElement.querySelector('b').textContent)"
    )


@pytest.mark.browser
async def test_by_mouse_and_key_and_what_cannot_be_done_stays_chosen(site: Site, enter: Visit) -> None:
    page = await enter("/?queue=mine")
    names = await page.locator("#rows .conv b").all_text_contents()
    boxes, bar = page.locator("#rows li > input"), page.locator("#bulk .bulk")
    await page.locator("#rows li").first.hover()
    await boxes.first.check()
    await expect(bar.locator("b")).to_have_text("已选1个")
    await boxes.nth(2).click(modifiers=["Shift"])
    await expect(bar.locator("b")).to_have_text("已选3个")
    assert await chosen(page) == names[:3]
    # What comes in meanwhile neither loses the choice nor joins it.
    await page.mouse.move(900, 400)
    colleague = await site.signed_in("chenmo")
    await colleague.post(f"/conversations/{site.seed.conversations[names[3]]}/priority", {"to": "4"})
    await expect(page.locator("#rows .prio")).to_have_count(2)
    assert await chosen(page) == names[:3]
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    await bar.get_by_role("button", name="选中全部").click()
    await expect(bar.locator("b")).to_have_text(f"已选{len(names)}个")
    await page.keyboard.press("Escape")
    await expect(bar).to_have_count(0)
    await page.keyboard.press("x")
    await expect(bar.locator("b")).to_have_text("已选1个")
    await boxes.nth(1).check()
    await page.emulate_media(color_scheme="dark")
    await page.locator("[data-bulk=label] summary").click()
    await holds(page, STILL)
    assert await page.evaluate(CONTRAST) == []
    await page.locator("[data-bulk=label] .opt", has_text="缺陷").click()
    await expect(page.locator(".toast").last).to_contain_text("已给2个加上标签")
    await expect(page.locator("#rows .tag", has_text="缺陷")).to_have_count(2)
    await expect(bar).to_have_count(0)
    await page.locator(".toast").last.get_by_role("button", name="撤销").click()
    await expect(page.locator("#rows .tag", has_text="缺陷")).to_have_count(0)
    for box in (0, 1):
        await boxes.nth(box).check()
    await bar.get_by_role("button", name="解决").click()
    await expect(page.locator(".toast").last).to_contain_text("已解决2个")
    await expect(page.locator("#rows .conv")).to_have_count(len(names) - 2)
    await page.locator(".toast").last.get_by_role("button", name="撤销").click()
    await expect(page.locator("#rows .conv")).to_have_count(len(names))


@pytest.mark.browser
async def test_a_time_that_cannot_be_is_told_beside_the_field_and_nothing_is_lost(site: Site, enter: Visit) -> None:
    page = await enter("/?queue=mine")
    for box in (0, 1):
        await page.locator("#rows li").nth(box).hover()
        await page.locator("#rows li > input").nth(box).check()
    menu = page.locator("[data-bulk=snooze]")
    await menu.locator("summary").click()
    await page.fill("#bulk-at", "2020-01-01T09:00")
    await page.keyboard.press("Enter")
    await expect(page.locator("#bulk-why")).to_have_text("回来的时间要在以后。")
    await expect(page.locator("#bulk b")).to_have_text("已选2个")
    await expect(page.locator(".toast")).to_have_count(0)
    await holds(page, STILL)
    assert await faults(page) == []
    assert await page.evaluate(CONTRAST) == []
    back = (site.seed.clock.now() + timedelta(days=3)).astimezone(ZoneInfo("Asia/Shanghai"))
    await page.fill("#bulk-at", f"{back:%Y-%m-%dT%H:%M}")
    await menu.get_by_role("button", name="搁置到这个时间").click()
    await expect(page.locator(".toast").last).to_contain_text("已搁置2个，到")
    await expect(page.locator("#bulk .bulk")).to_have_count(0)


@pytest.mark.browser
async def test_what_can_be_done_with_several_is_asked_for_once(site: Site, enter: Visit) -> None:
    """The answer to the second choice would take the place of a menu that stands open, with what was written there."""
    page, asked = await enter("/?queue=mine"), list[str]()
    going = asyncio.Event()

    async def late(route: Route) -> None:
        asked.append(route.request.url)
        await going.wait()
        await route.continue_()

    await page.route("**/desk/bulk?*", late)
    for box in (0, 1):
        await page.locator("#rows li > input").nth(box).check()
    going.set()
    await expect(page.locator("#bulk b")).to_have_text("已选2个")
    await page.locator("[data-bulk=snooze] summary").click()
    await expect(page.locator("#bulk-at")).to_be_visible()
    assert len(asked) == 1


@pytest.mark.browser
async def test_on_a_phone_one_begins_with_a_button(site: Site, enter: Visit) -> None:
    page = await enter("/?queue=mine", width=390, height=844, touch=True)
    await page.get_by_role("button", name="选择几个会话").tap()
    for row in (0, 1):
        await page.locator("#rows .conv").nth(row).tap()
    await expect(page.locator("#bulk b")).to_have_text("已选2个")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.locator("#bulk [data-none]").tap()
    await page.locator("#rows .conv").first.tap()
    await expect(page.locator("#thread-name")).to_be_visible()
