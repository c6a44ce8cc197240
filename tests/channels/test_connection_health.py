"""What an operator has to mend is said where they look, and told in the log once for each change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from tests.twin import open_inbox
from zhiban.channels import accounts, connection_health
from zhiban.desk.audit_words import KINDS
from zhiban.kit.db import Database, Transaction
from zhiban.ports import VendorAccount

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
OURS = (
    "connection_broke", "connection_mended", "inbox_broke", "inbox_mended", "contact_reading_stopped",
    "contact_reading_resumed", "inbox_configured",
)  # fmt: skip


async def told(tx: Transaction) -> list[str]:
    rows = await tx.values("select kind from event where kind = any(%(kinds)s) order by id", kinds=list(OURS))
    return [str(kind) for kind in rows]


async def test_each_change_is_told_once(db: Database, workspace: int) -> None:
    inbox = await open_inbox(db, workspace)
    link, here = inbox.connection.id, inbox.inbox_id
    later = NOW + timedelta(hours=1)
    steps: tuple[tuple[Callable[[Transaction], Awaitable[None]], list[str]], ...] = (
        (lambda tx: connection_health.mark_inbox_broken(tx, here, "No.", now=NOW), ["inbox_broke"]),
        (lambda tx: connection_health.mark_inbox_broken(tx, here, "No.", now=later), []),
        (lambda tx: connection_health.mark_broken(tx, link, "Down.", now=NOW, inbox_id=here), ["connection_broke"]),
        (lambda tx: connection_health.mark_mended(tx, link, now=NOW), ["connection_mended"]),
        (lambda tx: connection_health.mark_mended(tx, link, here, now=NOW), ["inbox_mended"]),
        (lambda tx: connection_health.mark_mended(tx, link, here, now=NOW), []),
        (lambda tx: connection_health.mark_broken(tx, link, "Down.", now=NOW), ["connection_broke"]),
        (lambda tx: connection_health.mark_broken(tx, link, "Down.", now=NOW, inbox_id=here), ["inbox_broke"]),
        (lambda tx: connection_health.mark_mended(tx, link, here, now=NOW), ["connection_mended"]),
        (lambda tx: connection_health.note_contacts_off(tx, link, "Off.", now=NOW), ["contact_reading_stopped"]),
        (lambda tx: connection_health.note_contacts_off(tx, link, "Off.", now=NOW), []),
        (lambda tx: connection_health.note_contacts_off(tx, link, None, now=NOW), ["contact_reading_resumed"]),
    )
    known: list[str] = []
    async with db.transaction(workspace) as tx:
        for number, (step, kinds) in enumerate(steps):
            await step(tx)
            known += kinds
            assert await told(tx) == known, number
    assert set(known) <= KINDS.keys()


async def test_the_first_moment_of_a_trouble_stays(db: Database, workspace: int) -> None:
    inbox = await open_inbox(db, workspace)
    async with db.transaction(workspace) as tx:
        for minutes, why in ((0, "One."), (5, "Another.")):
            at = NOW + timedelta(minutes=minutes)
            await connection_health.mark_inbox_broken(tx, inbox.inbox_id, why, now=at)
        row = await tx.row("select broken, broken_at from inbox where id = %(id)s", id=inbox.inbox_id)
        assert (row, await told(tx)) == (("Another.", NOW), ["inbox_broke", "inbox_broke"])


async def test_what_the_vendor_calls_an_account_is_told(db: Database, workspace: int) -> None:
    inbox = await open_inbox(db, workspace)
    for name in ("售后客服", "别的名字"):  # a second name changes nothing: the inbox is called something by then
        account = VendorAccount("twin", "account-7", name)
        unnamed = VendorAccount("twin", "account-7", "account-7")
        await accounts.keep_accounts(db, inbox.connection, [unnamed], now=NOW)
        await accounts.keep_accounts(db, inbox.connection, [account], now=NOW)
    async with db.transaction(workspace) as tx:
        assert await tx.values("select name from inbox where external_id = 'account-7'") == ["售后客服"]
        rows = await tx.rows("select data from event where kind = 'inbox_configured'")
    assert rows == [({"before": {"name": "account-7"}, "after": {"name": "售后客服"}},)]
