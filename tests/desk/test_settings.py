"""Tokens, notices, sessions and the audit log in the settings."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta

import pytest

from tests.desk.conftest import TOLD, Client, Site
from tests.desk.seed import create_seed
from zhiban.channels import configuring
from zhiban.channels.policy import Policy
from zhiban.desk.audit_log import AuditFilter, audit_rows
from zhiban.desk.audit_words import AUDITED, KINDS
from zhiban.events import FACTS, SYSTEM, Actor, ConnectionBroke, LabelAdded, SignedIn
from zhiban.kit import event_log
from zhiban.people import tokens
from zhiban.people.tokens import InvalidToken, Scope, authenticate
from zhiban.ports import ConnectionBroken, TryLater
from zhiban.ports.notifiers import public_name
from zhiban.tickets.reminders import reminders_of

AUDIT = "/settings/audit"


# ---------------------------------------------------------------------------------------------------------- tokens


async def test_a_token_is_shown_once_and_revoked(site: Site) -> None:
    owner = await site.signed_in()
    form = [("name", "crm"), ("scopes", "knowledge:read"), ("scopes", "knowledge:write"), ("until", "2099-12-31")]
    page = (await owner.post("/settings/tokens", form)).text
    (made,) = set(re.findall(r"zhiban_\d+_[\w-]+", page))
    now = site.seed.clock.now()
    found = await authenticate(site.seed.database, made, now=now)
    assert (found.name, found.created_by) == ("crm", "林晓")
    assert found.scopes == {Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE}
    assert found.expires_at is not None
    assert found.expires_at.isoformat() == "2099-12-31T16:00:00+00:00"  # the end of that day in Shanghai
    again = (await owner.get("/settings/tokens")).text
    assert (made in again, "最近使用：刚刚" in again) == (False, True)
    for _twice in range(2):
        assert (await owner.post(f"/settings/tokens/{found.id}/revoke")).status == 303
    with pytest.raises(InvalidToken):
        await authenticate(site.seed.database, made, now=now)
    log = (await owner.get(f"{AUDIT}?about=inboxes")).text
    assert made not in log
    assert [line.split(" ", 3)[3] for line in await lines(owner, "?about=api_token_revoked")] == ["吊销令牌 名字：crm"]


async def test_a_token_may_see_some_inboxes_which_its_list_and_the_log_name(site: Site) -> None:
    owner = await site.signed_in()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        (inbox_id, name), *_ = await tx.rows("select id, name from inbox order by id")
    form = [("name", "crm"), ("scopes", "tickets:read"), ("sees", "some"), ("inbox", str(inbox_id))]
    page = (await owner.post("/settings/tokens", form)).text
    (made,) = set(re.findall(r"zhiban_\d+_[\w-]+", page))
    found = await authenticate(site.seed.database, made, now=site.seed.clock.now())
    assert (found.inbox_ids, found.access.inbox_ids) == ((inbox_id,), (inbox_id,))
    assert f"只看{name}" in (await owner.get("/settings/tokens")).text
    (line,) = await lines(owner, "?about=api_token_created")
    assert f"能看的收件箱：{name}" in line
    for ticked in ([], [("inbox", "4711")]):
        refused = await owner.post(
            "/settings/tokens", [("name", "bot"), ("scopes", "tickets:read"), ("sees", "some"), *ticked]
        )
        assert (refused.status, 'value="some" checked' in refused.text) == (422, True)


async def test_what_cannot_be_a_token_is_refused_and_stands_there_still(site: Site) -> None:
    owner = await site.signed_in()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tokens.create(tx, "crm", now=site.seed.clock.now())
    for form in (
        {"name": "crm", "scopes": "knowledge:read"},
        {"name": "bot"},
        {"name": "bot", "scopes": "knowledge:read", "until": "2001-01-01"},
        {"name": "bot", "scopes": "knowledge:read", "until": "soon"},
        {"name": "bot", "scopes": "knowledge:read", "until": "9999-12-31"},
        {"name": " ", "scopes": "knowledge:read"},
    ):
        refused = await owner.post("/settings/tokens", form)
        assert (refused.status, "没有生成" in refused.text, "zhiban_" in refused.text) == (422, True, False), form
    assert (await owner.post("/settings/tokens", {"name": "bot", "scopes": "everything"})).status == 422
    assert (await owner.post("/settings/tokens/999/revoke")).status == 404


# --------------------------------------------------------------------------------------------------------- notices


async def test_a_test_is_sent_to_the_address_that_is_meant_and_its_outcome_is_told(site: Site) -> None:
    owner, robot = await site.signed_in(), "wecom-robot:693a91f6-7aaa-4bc4-97a0-0ec2b1f00aaa"
    vault, inbox = site.app.state.channel_setup.vault, site.seed.inbox.inbox_id
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        policy = Policy.model_validate({"handoff": {"notify": [robot]}}).model_dump(mode="json")
        await configuring.set_policy(tx, vault, inbox, policy, by=SYSTEM, now=site.seed.clock.now())
    page = (await owner.get("/settings/notifiers")).text
    assert (public_name(TOLD) in page, public_name(robot) in page) == (True, True)
    assert (TOLD in page, robot in page) == (False, False)
    sent = await owner.post("/settings/notifiers/test", {"name": public_name(robot), "inbox": str(inbox)})
    assert (sent.status, "测试通知发出了" in sent.text) == (200, True)
    assert [(to, notice.title) for to, notice in site.notices.pinned] == [(robot, "测试通知")]
    site.notices.script.append(TryLater("The robot is away.", after=1))
    site.notices.script.append(ConnectionBroken("The address leads to nobody", code=404))
    for why in ("The robot is away.", "404"):
        failed = await owner.post("/settings/notifiers/test", {"name": public_name(TOLD)})
        assert (failed.status, "没有送到" in failed.text, why in failed.text) == (422, True, True)
    assert (await owner.post("/settings/notifiers/test", {"name": public_name(robot)})).status == 404  # of no inbox


# -------------------------------------------------------------------------------------------------------- sessions


async def test_a_colleague_is_signed_out_by_whoever_may_change_their_account(site: Site) -> None:
    owner, colleague = await site.signed_in(), await site.signed_in("chenmo")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        await tx.run("update agent set role = 'admin' where name = '苏禾'")
    admin = await site.signed_in("suhe")
    page = (await admin.get("/settings/sessions")).text
    assert "3处登录" in page
    (of_agent,) = re.findall(r"/settings/sessions/[0-9a-f]{64}/end", page)  # not the owner's, not one's own
    all_of_them = re.findall(r"/settings/sessions/[0-9a-f]{64}/end", (await owner.get("/settings/sessions")).text)
    (of_admin,) = set(all_of_them) - {of_agent}
    assert (await colleague.post(of_agent)).status in (403, 409)
    assert (await admin.post(of_agent)).status == 303
    assert (await colleague.get("/")).status == 303
    assert (await admin.post(of_agent)).status == 404
    assert (await owner.post(of_admin)).status == 303
    assert (await admin.get("/settings/sessions")).status == 303  # to sign in
    log = (await owner.get(f"{AUDIT}?about=session_revoked")).text
    assert ("陈默" in log, "苏禾" in log) == (True, True)


# ----------------------------------------------------------------------------------------------------------- audit


def test_every_kind_of_the_log_that_is_named_exists() -> None:
    kinds = {fact.kind() for fact in FACTS}
    assert set(KINDS) <= kinds
    assert sum(len(named) for _, named in AUDITED.values()) == len(KINDS)  # none stands twice


async def lines(client: Client, query: str = "") -> list[str]:
    """What the table says, a line for each fact."""
    page = await client.get(AUDIT + query)
    assert page.status == 200
    body = page.text.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in body.split("</tr>") if "<td>" in row]


async def test_labels_stand_in_the_log_by_name(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    bug, id_ = seed.labels["缺陷"], seed.conversations["周予安"]
    await owner.post(f"/conversations/{id_}/contact-labels", {"add": str(bug)})
    await owner.post(f"/conversations/{id_}/contact-labels", {"remove": str(bug)})
    removed, added = await lines(owner, "?about=contact_labels_changed")
    assert "林晓 改联系人的标签" in removed
    assert "去掉：缺陷" in removed
    assert "加上：缺陷" in added


async def test_the_log_says_who_did_what_and_when(site: Site) -> None:
    owner, at = await site.signed_in(), f"/settings/inboxes/{site.seed.inbox.inbox_id}"
    await owner.post(at, {"name": "售后"})
    await owner.post(f"{at}/pause")
    found = await lines(owner, "?about=inboxes")
    assert [line.split(" ", 2)[2] for line in found[:2]] == [
        "林晓 暂停收件箱 售后",
        "林晓 修改收件箱 售后；名字：青禾官方客服 → 售后",
    ]
    assert await lines(owner, "?about=inbox_paused") == found[:1]
    assert (await lines(owner, f"?agent={site.seed.agents['陈默']}"))[:1] != found[:1]
    assert await lines(owner, "?about=inboxes&text=官方") == found[1:2]
    assert await lines(owner, "?text=%25") == await lines(owner, "?text=%25%25") == []  # means itself
    assert await lines(owner, "?about=inboxes&since=2000-01-01&until=2000-01-02") == []
    for strange in ("?about=x", "?agent=x", "?since=x", "?before=x", "?before=2026-01-01T00:00~1", "?until=0001-01-01"):
        await lines(owner, strange)
    assert "售后" in "".join(await lines(owner, "?about=x"))  # what nobody knows asks for the usual


async def test_pages_follow_each_other_though_facts_share_a_moment(site: Site) -> None:
    owner, now = await site.signed_in(), site.seed.clock.now() - timedelta(days=400)
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        facts = [LabelAdded(actor=SYSTEM, at=now, label_id=n, name=f"标签{n}") for n in range(1, 121)]
        await event_log.append(tx, *facts)
    seen: list[str] = []
    query = "?about=label_added&until=" + (now + timedelta(days=1)).date().isoformat()
    for _page in range(3):
        page = (await owner.get(AUDIT + query)).text
        seen += re.findall(r"名字：(标签\d+)", page)
        older = re.search(r'href="(/settings/audit)(\?[^"]+)">更早的', page)
        query = older[2].replace("&amp;", "&") if older else ""
    assert (seen, query) == ([f"标签{n}" for n in range(120, 0, -1)], "")


async def test_it_is_taken_along_as_a_file_that_runs_nothing(site: Site) -> None:
    owner, now = await site.signed_in(), site.seed.clock.now()
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        evil = LabelAdded(actor=Actor("api", ref="=HYPERLINK(1)"), at=now, label_id=1, name="=1+1")
        await event_log.append(tx, evil)
    answer = await owner.post(f"{AUDIT}/export", {"about": "label_added"})
    rows = list(csv.reader(io.StringIO(answer.text.lstrip("\ufeff"))))
    assert answer.headers["content-disposition"].startswith('attachment; filename="audit-')
    assert rows[0] == ["时间", "谁", "做了什么", "关于", "会话"]
    assert all(not cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    assert "名字：=1+1" in rows[1][3]
    assert "导出了数据 导出了什么：audit_log；条数：" in (await lines(owner, "?about=data"))[0]


async def test_the_log_of_others_is_not_seen(site: Site) -> None:
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    async with site.seed.database.transaction(other.workspace_id) as tx:
        await event_log.append(
            tx, ConnectionBroke(actor=SYSTEM, at=site.seed.clock.now(), connection_id=1, why="Elsewhere.")
        )
        await event_log.append(tx, SignedIn(actor=SYSTEM, at=site.seed.clock.now(), agent_id=1))
    assert not [line for line in await lines(await site.signed_in()) if "Elsewhere" in line]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        assert await audit_rows(tx, AuditFilter(["connection_broke"])) == []


async def test_what_is_yes_or_no_of_a_connection_is_chosen_rather_than_typed(site: Site) -> None:
    owner = await site.signed_in()
    for vendor in ("wechaty", "onebot"):
        page = (await owner.get(f"/settings/inboxes/new?vendor={vendor}")).text
        chosen = dict(re.findall(r'<select class="input" name="v\.(\w+)">.*?value="(\w+)" selected', page))
        assert chosen | {"tls": "false"} == {
            "tls": "false", "accept_friends": "true", "accept_invitations": "true", "read_only": "false",
        }  # fmt: skip


# ------------------------------------------------------------------------------------------- reminders of tickets


async def test_how_owners_are_reminded_is_kept_and_what_makes_no_sense_is_said(site: Site) -> None:
    owner, seed = await site.signed_in(), site.seed
    form = {"daily": "1", "due_hours": "12", "unanswered_hours": "48", "hours.timezone": "Asia/Shanghai"}
    for changed, said in (
        ({"group": "abc"}, "这个会话不是群"),
        ({"group": "0"}, "这个会话不是群"),
        ({"group": str(seed.conversations["周予安"])}, "这个会话不是群"),
        ({"group": "987654"}, "没有这个会话"),
        ({"group": "9" * 40}, "这个会话不是群"),
        ({"due_hours": "0"}, "小时数不对"),
        ({"unanswered_hours": "many"}, "小时数不对"),
    ):
        refused = await owner.post("/settings/reminders", {**form, **changed})
        assert (refused.status, said in refused.text) == (422, True), (changed, refused.text)
        if "due_hours" not in changed:
            assert 'value="12"' in refused.text  # what was typed is still there
    assert (await owner.post("/settings/reminders", form)).status == 303
    async with seed.database.transaction(seed.workspace_id) as tx:
        kept = await reminders_of(tx)
    assert (kept.daily, kept.group, kept.due_hours, kept.unanswered_hours) == (True, None, 12, 48)
