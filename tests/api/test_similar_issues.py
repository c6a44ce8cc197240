"""The JSON API of issues about the same: found as in a draft, and only where a token may read."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.api.conftest import Api
from tests.twin import open_inbox
from zhiban.conversations.ingest import ingest
from zhiban.events import SYSTEM
from zhiban.people import tokens
from zhiban.people.tokens import Scope
from zhiban.ports import IncomingMessage, Issue, Kind, Repository, SenderRole, TrackerUser
from zhiban.tickets import issues, repositories
from zhiban.tickets.issue_vectors import IssueVectorJobs

TITLES = (
    "CSV export broken: Excel shows garbage", "导出 PDF 时中文变成方框", "Memory usage grows until the tab crashes",
    "首页加载特别慢", "Undo does not restore deleted columns", "验证码短信收不到", "Dark mode setting is forgotten",
    "手机上表格不能左右滑动", "E-mail reports are sent twice", "希望支持甘特图",
)  # fmt: skip


async def repository(api: Api, name: str = "acme/tables", *, private: bool = False) -> int:
    """One whose tracker cannot be asked any more: what is known of it is named."""
    now = api.clock.now()
    async with api.app.database.transaction(api.workspace) as tx:
        connection = await tx.value(
            "insert into connection (workspace_id, public_id, vendor, part, name, config, secrets, created_at, "
            "removed_at) values (%(w)s, %(name)s, 'github', 'tracker', '', '{}', '', %(now)s, %(now)s) returning id",
            w=api.workspace,
            name=name.replace("/", "-"),
            now=now,
        )
        found = await repositories.keep(tx, connection, Repository(name, name, private=private), now=now)
        for number, title in enumerate(TITLES, 1):
            url = f"https://github.com/{name}/issues/{number}"
            issue = Issue(name, number, url, title, "closed" if number == 9 else "open", TrackerUser("lin"), now, now)
            await issues.note(tx, found, issue, quietly=True, now=now)
    return found


async def similar(api: Api, token: str, repository_id: int, text: str) -> tuple[int, list[tuple[int, str]]]:
    path = f"/api/issues/similar?repository={repository_id}&text={quote(text)}"
    status, said = await api.call("GET", path, token)
    return status, [(one["number"], one["state"]) for one in said.get("issues", ())]


async def test_a_program_asks_before_it_reports(api: Api) -> None:
    token, where = await api.token("监控", Scope.TICKETS_READ), await repository(api)
    assert await similar(api, token, where, "E-mail reports come twice, the same reports") == (200, [(9, "closed")])
    assert await similar(api, token, where, "日报每次发两封一样的邮件") == (200, [])
    await IssueVectorJobs(api.app.database, api.app.embedders).embed(api.workspace, where)
    status, found = await similar(api, token, where, "日报每次发两封一样的邮件")
    assert (status, found[0]) == (200, (9, "closed"))
    assert await similar(api, token, where, "今天天气真好，中午吃什么") == (200, [])


@pytest.mark.parametrize(("repository_id", "text", "status"), [(99, "x", 404), (0, "x", 422), (1, "", 422)])
async def test_what_makes_no_sense(api: Api, repository_id: int, text: str, status: int) -> None:
    await repository(api)
    assert (await similar(api, await api.token("监控", Scope.TICKETS_READ), repository_id, text))[0] == status


async def test_another_scope_reads_none(api: Api) -> None:
    where = await repository(api)
    assert (await similar(api, await api.token("知识", Scope.KNOWLEDGE_READ), where, "导出"))[0] == 403


async def test_a_token_of_some_inboxes_reads_private_repositories_that_a_group_there_is_linked_with(api: Api) -> None:
    public, private = await repository(api), await repository(api, "acme/secret", private=True)
    mine = await open_inbox(api.app.database, api.workspace, public_id="ours", name="一家店")
    now = api.clock.now()
    async with api.app.database.transaction(api.workspace) as tx:
        _, token = await tokens.create(tx, "一家店", inbox_ids=[mine.inbox_id], scopes=(Scope.TICKETS_READ,), now=now)
    assert (await similar(api, token, public, "E-mail reports are sent twice"))[0] == 200
    assert (await similar(api, token, private, "E-mail reports are sent twice"))[0] == 404
    whole = await api.token("全部", Scope.TICKETS_READ)
    assert (await similar(api, whole, private, "E-mail reports are sent twice"))[0] == 200
    message = IncomingMessage("m1", "g1", "lin", SenderRole.CONTACT, Kind.TEXT, "大家好", now, group=True)
    async with api.app.database.transaction(api.workspace) as tx:
        await ingest(tx, mine, [message], now=now, process_id=1)
        group = await tx.value("select id from conversation where kind = 'group'")
        await repositories.link(tx, group, "acme/secret", by=SYSTEM, now=now)
    assert await similar(api, token, private, "E-mail reports are sent twice") == (200, [(9, "closed")])
