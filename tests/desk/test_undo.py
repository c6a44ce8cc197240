"""What was resolved by mistake stands again as it was."""

from __future__ import annotations

import asyncio
import json
import re

from tests.desk.conftest import Client, Site
from tests.desk.test_browser import says
from zhiban.conversations import service
from zhiban.conversations.labels import remove_label
from zhiban.events import SYSTEM, Actor
from zhiban.people import teams


async def shown(agent: Client, conversation: int) -> tuple[str, str]:
    """The row in the list and the pane beside the thread, without what time alone changes."""
    rows = (await agent.get("/desk/rows?queue=mine&status=open")).text
    row = rows.split(f'<li id="row-{conversation}">')[1].split("</li>")[0]
    page = (await agent.get(f"/conversations/{conversation}")).text
    side = page.split('id="facts"')[1].split("</aside>")[0]
    return re.sub(r"等\d+分", "等", row), side


async def test_undone_snoozing_gives_the_assistant_back_what_was_the_assistants(site: Site) -> None:
    agent, chen, ye = await site.signed_in(), await site.signed_in("chenmo"), site.seed.conversations["叶知秋"]
    here = f"/conversations/{ye}"

    async def stands() -> tuple[object, ...]:
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            found = await tx.row(
                "select status, assignee_id, snoozed_until, waiting_since, handoff_reason from conversation "
                "where id = %(id)s",
                id=ye,
            )
            unanswered = await tx.values(
                "select text from message where conversation_id = %(id)s and state = 'pending'", id=ye
            )
        assert found is not None
        return (*found, unanswered)

    await says(site, "叶知秋", "还有，多久到账？")
    before = await stands()
    assert (before[0], before[-1]) == ("pending", ["还有，多久到账？"])
    snoozed = await agent.post(f"{here}/snooze", {"until": "hour"}, hx_request="true")
    assert f'hx-post="{here}/undo-snooze"' in snoozed.text
    assert (await stands())[-1] == []
    assert (await chen.post(f"{here}/undo-snooze", hx_request="true")).status == 409
    undone = await agent.post(f"{here}/undo-snooze", {"queue": "mine"}, hx_request="true")
    assert undone.headers["hx-redirect"] == f"{here}?queue=mine&status=open"
    assert await stands() == before
    assert "<b>林晓</b>撤销了搁置" in (await agent.get(here)).text
    again = await agent.post(f"{here}/undo-snooze", hx_request="true")
    assert (again.status, again.text) == (409, "已经有人重新处理了。")
    for do, words in (("snooze", "已搁置1个"), ("undo-snooze", "已撤销1个")):
        done = json.loads((await agent.post("/desk/bulk", {"do": do, "ids": str(ye), "to": "hour"})).text)
        assert done["words"] == words
        if do == "snooze":
            assert done["undo"] == {"do": "undo-snooze", "ids": str(ye)}
    assert await stands() == before


async def test_who_reopens_has_it_and_takes_it_from_nobody_who_was_quicker(site: Site) -> None:
    lin, chen, zhou = await site.signed_in(), await site.signed_in("chenmo"), site.seed.conversations["周予安"]
    here = f"/conversations/{zhou}"

    async def assignee() -> tuple[object, ...]:
        async with site.seed.database.transaction(site.seed.workspace_id) as tx:
            found = await tx.row("select status, assignee_id from conversation where id = %(id)s", id=zhou)
        assert found is not None
        return tuple(found)

    await lin.post(f"{here}/resolve")
    assert "已重新打开，由您处理" in (await chen.post(f"{here}/reopen", hx_request="true")).text
    assert await assignee() == ("open", site.seed.agents["陈默"])
    await lin.post(f"{here}/reopen")
    assert await assignee() == ("open", site.seed.agents["陈默"])
    await chen.post(f"{here}/resolve")
    done = json.loads((await lin.post("/desk/bulk", {"do": "reopen", "ids": str(zhou)})).text)
    assert done["words"] == "已重新打开1个"
    assert await assignee() == ("open", site.seed.agents["林晓"])


async def test_undoing_restores_the_row_the_reason_and_the_past(site: Site) -> None:
    agent, conversation = await site.signed_in(), site.seed.conversations["沈嘉宁"]
    await agent.get(f"/conversations/{conversation}")  # read, so that only the resolution changes anything
    before = await shown(agent, conversation)
    assert "data-sla" in before[0]
    assert "知识里没有答案" in before[1]
    await agent.post(f"/conversations/{conversation}/resolve", {"queue": "mine"}, hx_request="true")
    undone = await agent.post(f"/conversations/{conversation}/undo-resolve", {"queue": "mine"}, hx_request="true")
    assert undone.headers["hx-redirect"] == f"/conversations/{conversation}?queue=mine&status=open"
    assert await shown(agent, conversation) == before
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert (
            await tx.value(
                "select count(*) from message where state = 'queued' and conversation_id = %(id)s", id=conversation
            )
            == 0
        )


def undo_of(answer: str) -> tuple[str, dict[str, str]]:
    """What the word about it posts to undo it, and with which values."""
    path, values = re.findall(r"""hx-post="([^"]+)" hx-vals='([^']+)'""", answer.split("data-toast")[1])[0]
    return path, json.loads(values)


async def test_assigning_and_labelling_are_taken_back_unless_somebody_was_quicker(site: Site) -> None:
    lin, chen, seed = await site.signed_in(), await site.signed_in("chenmo"), site.seed
    zhou, ye = seed.conversations["周予安"], seed.conversations["叶知秋"]

    async def stands(id_: int) -> tuple[object, ...]:
        async with seed.database.transaction(seed.workspace_id) as tx:
            return await tx.row("select status, assignee_id, labels from conversation where id = %(id)s", id=id_) or ()

    before = await stands(zhou)
    chens = {"to": str(seed.agents["陈默"])}
    done = await lin.post(f"/conversations/{zhou}/assign", chens, hx_request="true")
    path, values = undo_of(done.text)
    undone = await lin.post(path, values, hx_request="true")
    assert (undone.status, "data-toast" in undone.text) == (200, False)
    assert await stands(zhou) == before
    done = await lin.post(f"/conversations/{zhou}/assign", chens, hx_request="true")
    await chen.post(f"/conversations/{zhou}/assign", {"to": "nobody"})
    late = await lin.post(*undo_of(done.text), hx_request="true")
    assert (late.status, late.text) == (409, "已经有人重新分配了。")
    # Quicker by so little that it is not to be seen yet when the other's click arrives.
    done = await lin.post(f"/conversations/{zhou}/assign", chens, hx_request="true")
    async with seed.database.transaction(seed.workspace_id) as tx:
        await service.assign(tx, zhou, to=None, by=Actor("agent", seed.agents["陈默"]), now=seed.clock.now())
        waiting = asyncio.create_task(lin.post(*undo_of(done.text), hx_request="true"))
        await asyncio.wait([waiting], timeout=0.5)
    assert (await waiting).status == 409
    # What was the assistant's is the assistant's again.
    assistants = await stands(ye)
    done = await lin.post(f"/conversations/{ye}/assign", {"to": "me"}, hx_request="true")
    await lin.post(*undo_of(done.text), hx_request="true")
    assert (await stands(ye))[:2] == assistants[:2] == ("pending", None)
    async with seed.database.transaction(seed.workspace_id) as tx:
        label = await tx.value("select min(id) from label")
    for name in ("add", "remove"):
        now = await stands(zhou)
        done = await lin.post(f"/conversations/{zhou}/labels", {name: str(label)}, hx_request="true")
        assert await stands(zhou) != now
        await lin.post(*undo_of(done.text), hx_request="true")
        assert await stands(zhou) == now
        await lin.post(f"/conversations/{zhou}/labels", {"add": str(label)})


async def test_an_assignment_is_not_taken_back_once_somebody_has_gone_on_with_it(site: Site) -> None:
    """Whoever was given it snoozes or resolves it within those seconds: undoing would open it again for nobody."""
    lin, chen, seed = await site.signed_in(), await site.signed_in("chenmo"), site.seed
    zhou = seed.conversations["周予安"]
    here, chens = f"/conversations/{zhou}", {"to": str(seed.agents["陈默"])}

    async def stands() -> tuple[object, ...]:
        async with seed.database.transaction(seed.workspace_id) as tx:
            return await tx.row("select status, assignee_id from conversation where id = %(id)s", id=zhou) or ()

    for path, form in (("snooze", {"until": "hour"}), ("resolve", {})):
        given = await lin.post(f"{here}/assign", chens, hx_request="true")
        assert (await chen.post(f"{here}/{path}", form, hx_request="true")).status == 200
        gone_on = await stands()
        late = await lin.post(*undo_of(given.text), hx_request="true")
        assert late.status == 409, path
        assert await stands() == gone_on
        await lin.post(f"{here}/reopen", hx_request="true")
    # What a colleague did is undone by nobody else, and once only.
    given = await lin.post(f"{here}/assign", chens, hx_request="true")
    path, values = undo_of(given.text)
    assert (await lin.post(path, values, hx_request="true")).status == 200
    assert (await lin.post(path, values, hx_request="true")).status == 409
    assert await stands() == ("open", seed.agents["林晓"])
    resolved = await lin.post(f"{here}/resolve", hx_request="true")
    assert resolved.status == 200
    assert (await chen.post(f"{here}/undo-resolve", hx_request="true")).status == 409
    assert (await stands())[0] == "resolved"


async def test_a_team_is_taken_back_unless_somebody_was_quicker(site: Site) -> None:
    lin, chen, seed = await site.signed_in(), await site.signed_in("chenmo"), site.seed
    zhou = seed.conversations["周予安"]
    here = f"/conversations/{zhou}/team"
    async with seed.database.transaction(seed.workspace_id) as tx:
        first, second = [str(await teams.create(tx, name=name, now=seed.clock.now())) for name in ("售前", "售后")]

    async def team() -> str:
        async with seed.database.transaction(seed.workspace_id) as tx:
            return str(await tx.value("select team_id from conversation where id = %(id)s", id=zhou))

    given = await lin.post(here, {"to": first}, hx_request="true")
    undone = await lin.post(*undo_of(given.text), hx_request="true")
    assert (undone.status, "data-toast" in undone.text, await team()) == (200, False, "None")
    await lin.post(here, {"to": first}, hx_request="true")
    given = await lin.post(here, {"to": second}, hx_request="true")
    assert "hx-vals" not in (await lin.post(here, {"to": second}, hx_request="true")).text.split("data-toast")[1][:400]
    await lin.post(*undo_of(given.text), hx_request="true")
    assert await team() == first
    given = await lin.post(here, {"to": second}, hx_request="true")
    await chen.post(here, {"to": "none"})
    late = await lin.post(*undo_of(given.text), hx_request="true")
    assert (late.status, late.text, await team()) == (409, "已经有人重新分配了。", "None")


async def test_a_label_is_taken_back_once_and_only_where_it_still_is(site: Site) -> None:
    lin, chen, seed = await site.signed_in(), await site.signed_in("chenmo"), site.seed
    zhou, bug = seed.conversations["周予安"], seed.labels["缺陷"]
    here = f"/conversations/{zhou}/labels"

    async def stands() -> tuple[list[int], int]:
        async with seed.database.transaction(seed.workspace_id) as tx:
            facts = await tx.value("select count(*) from event where kind = 'conversation_labelled'")
            return await tx.value("select labels from conversation where id = %(id)s", id=zhou), facts

    added = undo_of((await lin.post(here, {"add": str(bug)}, hx_request="true")).text)
    await chen.post(here, {"remove": str(bug)}, hx_request="true")
    there = await stands()
    late = await lin.post(*added, hx_request="true")  # a colleague has taken it off: nothing is left to be undone
    assert (late.status, await stands()) == (200, there)
    added = undo_of((await lin.post(here, {"add": str(bug)}, hx_request="true")).text)
    await chen.post(f"/conversations/{zhou}/resolve", hx_request="true")
    assert (await lin.post(*added, hx_request="true")).status == 200  # resolved or not, the label was a mistake
    assert (await stands())[0] == there[0]
    taken = undo_of((await lin.post(here, {"add": str(bug)}, hx_request="true")).text)
    await lin.post(*taken, hx_request="true")
    taken = undo_of((await lin.post(here, {"add": str(bug)}, hx_request="true")).text)
    taken = undo_of((await lin.post(here, {"remove": str(bug)}, hx_request="true")).text)
    async with seed.database.transaction(seed.workspace_id) as tx:
        await remove_label(tx, bug, by=SYSTEM, now=seed.clock.now())
    assert (await lin.post(*taken, hx_request="true")).status in (404, 409)


async def test_a_priority_is_taken_back_unless_somebody_was_quicker(site: Site) -> None:
    lin, chen, seed = await site.signed_in(), await site.signed_in("chenmo"), site.seed
    zhou = seed.conversations["周予安"]
    here = f"/conversations/{zhou}/priority"

    async def priority() -> int:
        async with seed.database.transaction(seed.workspace_id) as tx:
            return int(await tx.value("select priority from conversation where id = %(id)s", id=zhou))

    given = await lin.post(here, {"to": "3"}, hx_request="true")
    assert "优先级：高" in given.text.split("data-toast")[1]
    undone = await lin.post(*undo_of(given.text), hx_request="true")
    assert (undone.status, "data-toast" in undone.text, await priority()) == (200, False, 0)
    await lin.post(here, {"to": "2"}, hx_request="true")
    given = await lin.post(here, {"to": "4"}, hx_request="true")
    assert "data-toast" not in (await lin.post(here, {"to": "4"}, hx_request="true")).text
    await lin.post(*undo_of(given.text), hx_request="true")
    assert await priority() == 2
    given = await lin.post(here, {"to": "4"}, hx_request="true")
    await chen.post(here, {"to": "1"})
    late = await lin.post(*undo_of(given.text), hx_request="true")
    assert (late.status, late.text, await priority()) == (409, "已经有人改了优先级。", 1)


async def test_what_was_nobodys_and_given_to_the_assistant_is_open_and_nobodys_again(site: Site) -> None:
    lin, seed = await site.signed_in(), site.seed
    here = f"/conversations/{seed.conversations['周予安']}/assign"

    async def stands() -> tuple[object, ...]:
        async with seed.database.transaction(seed.workspace_id) as tx:
            sql = "select status, assignee_id from conversation where id = %(id)s"
            return await tx.row(sql, id=seed.conversations["周予安"]) or ()

    await lin.post(here, {"to": "nobody"}, hx_request="true")
    given = await lin.post(here, {"to": "assistant"}, hx_request="true")
    assert await stands() == ("pending", None)
    assert (await lin.post(*undo_of(given.text), hx_request="true")).status == 200
    assert await stands() == ("open", None)
