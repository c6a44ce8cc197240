"""The JSON API of reports: with the scope, in the workspace and the inboxes of whoever asks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.api.conftest import Api
from tests.twin import open_inbox
from zhiban.conversations import service
from zhiban.conversations.ingest import ingest
from zhiban.events import Actor
from zhiban.people.models import Role
from zhiban.people.tokens import Scope
from zhiban.ports import IncomingMessage, Kind, SenderRole
from zhiban.workers.report_counter import ReportCounter


async def test_a_program_reads_what_the_page_shows(api: Api) -> None:
    inbox = await open_inbox(api.app.database, api.workspace)
    now = api.clock.now()
    async with api.app.database.transaction(api.workspace) as tx:
        agent = await tx.value("select id from agent")
        await tx.run("update agent set role = %(role)s", role=Role.OWNER)
        message = IncomingMessage("m1", "马骁", "马骁", SenderRole.CONTACT, Kind.TEXT, "在吗", now)
        await ingest(tx, inbox, [message], now=now, process_id=1)
        conversation = await tx.value("select id from conversation")
        await service.take(tx, conversation, by=agent, now=now)
        await service.resolve(tx, conversation, by=Actor("agent", agent), now=now + timedelta(minutes=3))
    async with asyncio.timeout(60):
        done = False
        while not done:
            await ReportCounter(api.app.database, api.clock).run_once(pause=0, settling=timedelta(0))
            async with api.app.database.transaction(api.workspace) as tx:
                done = await tx.value("select counted_to >= (select max(id) from event) from report_progress")
    token = await api.token("reports", Scope.REPORTS_READ)
    status, found = await api.call("GET", "/api/reports?by=agent", token)
    assert status == 200
    assert (found["until"], found["zone"], found["behind"]) == ("2026-11-20", "Asia/Shanghai", 0)
    assert (found["total"]["begun"], found["total"]["resolved"], len(found["steps"])) == (1, 1, 14)
    assert found["total"]["resolution"]["mean"] == 180
    assert [part["numbers"]["resolved"] for part in found["parts"] if part["name"] == "林晓"] == [1]
    assert found["steps"][-1]["numbers"]["resolved"] == 1
    assert (await api.ask("GET", "/api/reports"))[1]["total"] == found["total"]
    assert (await api.call("GET", "/api/reports", await api.token("reads")))[0] == 403
    status, said = await api.call("GET", "/api/reports?since=2026-11-02&until=2026-11-01", token)
    assert (status, said["detail"]) == (409, "The period ends before it begins.")
    async with api.app.database.transaction(api.workspace) as tx:
        await tx.run("update agent set role = %(role)s, inbox_ids = '{}'", role=Role.SUPERVISOR)
    assert (await api.ask("GET", "/api/reports"))[1]["total"]["begun"] == 0
    assert (await api.ask("GET", f"/api/reports?inbox={inbox.inbox_id}"))[0] == 404
    async with api.app.database.transaction(api.workspace) as tx:
        await tx.run("update agent set role = %(role)s, inbox_ids = null", role=Role.AGENT)
    assert (await api.ask("GET", "/api/reports"))[0] == 403
