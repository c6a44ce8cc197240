"""A process ends while a OneBot program has our words in its hands: they are not said again."""

from __future__ import annotations

import asyncio
import io
import json

import psycopg
import pytest

from tests.channels.test_sockets import LI, Desk, desk
from zhiban.conversations import replies
from zhiban.conversations.draft_files import DraftFile
from zhiban.kit.clock import SystemClock
from zhiban.kit.file_store import pieces_of, spooled
from zhiban.kit.file_types import HEAD
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.workers import conversation_worker

__all__ = ["desk"]


async def test_what_the_program_had_in_its_hands_when_a_process_ended_is_not_said_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_worker, "RENEW_SECONDS", 0.2)
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    await desk.program.says(LI, "在吗")
    await desk.eventually("select count(*) > 0 from message where direction = 'in' and state = 'handled'")
    await desk.eventually("select count(*) = 0 from message where state = 'queued'")
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        lin = await add_agent(tx, email="lin@example.com", name="林", role=Role.AGENT, password_hash=None)
        limits, conversation_id = (
            (await desk.inbox()).channel.limits,
            await tx.value("select id from conversation where kind <> 'group'"),
        )
        desk.program.faults.append("held")
        now = SystemClock().now()
        await replies.reply(tx, conversation_id, text="明天寄", by=lin, limits=limits, now=now)
    await desk.program.until(lambda: desk.program.sent and desk.program.sent[-1].text == "明天寄")
    before = len(desk.program.sent)
    # However long it takes, no other process may take it for lost.
    ((until,),) = await desk.rows("select lease_expires_at from conversation_work where leased_by is not null")
    await desk.eventually(f"select true from conversation_work where lease_expires_at > '{until}'")
    assert desk.app.workers is not None
    await desk.app.workers.conversation_worker.close(within=0.1)
    assert await desk.rows("select state, tried_at is null from message where text = '明天寄'") == [("queued", False)]
    await desk.restart()
    await desk.eventually("select state = 'sent' from message where text = '明天寄'")
    assert await desk.rows("select failure from message where text = '明天寄'") == [("unconfirmed",)]
    assert len(desk.program.sent) == before


async def asked(desk: Desk) -> None:
    """Li writes, and was told what there is to be told."""
    await desk.program.connect(desk.url)
    await desk.becomes("online")
    await desk.program.says(LI, "在吗")
    await desk.eventually("select count(*) > 0 from message where direction = 'in' and state = 'handled'")
    await desk.eventually("select count(*) = 0 from message where state = 'queued'")


async def answers(desk: Desk, text: str, *files: DraftFile) -> None:
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        lin = await add_agent(tx, email="lin@example.com", name="林", role=Role.AGENT, password_hash=None)
        limits = (await desk.inbox()).channel.limits
        conversation_id = await tx.value("select id from conversation where kind <> 'group'")
        now = SystemClock().now()
        await replies.reply(tx, conversation_id, text=text, attached=files, by=lin, limits=limits, now=now)


async def renamed(desk: Desk, table: str, to: str) -> None:
    async with await psycopg.AsyncConnection.connect(desk.urls.owner, autocommit=True) as owner:
        await owner.execute(f"alter table {table} rename to {to}")


async def test_what_the_database_kept_from_being_handed_over_is_sent_when_it_is_back(desk: Desk) -> None:
    await asked(desk)
    async with spooled(pieces_of(io.BytesIO(b"1")), limit=9, head=HEAD) as spool:
        await desk.app.files.keep(desk.workspace_id, spool)
        file = DraftFile(1, "file", "价目.txt", "text/plain", spool.size, spool.sha256)
    before = len(desk.program.sent)
    desk.program.faults.append("held")
    await answers(desk, "价目", file)
    await desk.program.until(lambda: len(desk.program.sent) > before)
    # The words are on their way; their file cannot be read when its turn comes.
    await renamed(desk, "attachment", "gone")
    key = await desk.eventually("select external_id from message where text = '价目'")
    await desk.program.raw(json.dumps({"status": "ok", "retcode": 0, "data": {"message_id": 5}, "echo": key}))
    await desk.eventually("select tried_at is null and attempts > 0 or state = 'sent' from message where kind = 'file'")
    await renamed(desk, "gone", "attachment")
    await desk.eventually("select state = 'sent' from message where kind = 'file'")
    assert await desk.rows("select failure from message where kind = 'file'") == [(None,)]
    assert len(desk.program.uploaded) == 1


async def test_a_call_goes_on_while_the_database_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_worker, "RENEW_SECONDS", 0.1)
    await asked(desk)
    desk.program.faults.append("held")
    await answers(desk, "明天寄")
    await desk.program.until(lambda: bool(desk.program.sent) and desk.program.sent[-1].text == "明天寄")
    key = await desk.eventually("select external_id from message where text = '明天寄'")
    await renamed(desk, "conversation_work", "gone")
    await asyncio.sleep(0.5)  # some renewals fail
    await renamed(desk, "gone", "conversation_work")
    await desk.program.raw(json.dumps({"status": "ok", "retcode": 0, "data": {"message_id": 5}, "echo": key}))
    await desk.eventually("select state = 'sent' from message where text = '明天寄'")
    assert await desk.rows("select failure from message where text = '明天寄'") == [(None,)]
