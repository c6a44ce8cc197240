"""The labels of a workspace: made, renamed, removed, and what stays of a removed one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from zhiban.conversations import labels
from zhiban.conversations.labels import Label, access_label, add_label, change_label, remove_label
from zhiban.events import SYSTEM, Event, LabelAdded, LabelChanged, LabelRemoved
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


async def kinds(tx: Transaction) -> list[str]:
    return list(await tx.values("select kind from event where kind like 'label%%' order by id"))


async def test_a_label_is_made_renamed_and_removed_each_with_its_fact(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        refund = await add_label(tx, name="  退款  申请 ", color=5, by=SYSTEM, now=NOW)
        await add_label(tx, name="Bug", color=1, by=SYSTEM, now=NOW)
        assert [one.name for one in await labels.labels(tx)] == ["Bug", "退款 申请"]
        await change_label(tx, refund, name="退款", color=2, by=SYSTEM, now=NOW)
        await change_label(tx, refund, name="退款", color=2, by=SYSTEM, now=NOW)  # nothing changed: no fact
        assert await access_label(tx, refund) == Label(refund, "退款", 2)
        await remove_label(tx, refund, by=SYSTEM, now=NOW)
        assert [one.name for one in await labels.labels(tx)] == ["Bug"]
        assert (await labels.label_names(tx))[refund] == "退款"
        for gone in (
            access_label(tx, refund),
            remove_label(tx, refund, by=SYSTEM, now=NOW),
            change_label(tx, refund, name="x", color=1, by=SYSTEM, now=NOW),
        ):
            with pytest.raises(NotFound):
                await gone
        again = await add_label(tx, name="退款", color=1, by=SYSTEM, now=NOW)
        assert again != refund
        facts: tuple[type[Event], ...] = (LabelAdded, LabelAdded, LabelChanged, LabelRemoved, LabelAdded)
        assert await kinds(tx) == [fact.kind() for fact in facts]


@pytest.mark.parametrize(
    ("name", "color", "why"),
    [
        (" ", 1, "needs a name"),
        ("长" * 31, 1, "at most 30"),
        ("退\u202e款", 1, "visible characters"),
        ("退款", 7, "no such colour"),
        ("BUG", 1, "a label BUG already"),
    ],
)
async def test_what_is_no_label_is_refused_in_words(
    db: Database, workspace: int, name: str, color: int, why: str
) -> None:
    async with db.transaction(workspace) as tx:
        await add_label(tx, name="bug", color=1, by=SYSTEM, now=NOW)
        other = await add_label(tx, name="other", color=1, by=SYSTEM, now=NOW)
        with pytest.raises(Conflict, match=why):
            await add_label(tx, name=name, color=color, by=SYSTEM, now=NOW)
        with pytest.raises(Conflict, match=why):
            await change_label(tx, other, name=name, color=color, by=SYSTEM, now=NOW)
        assert await kinds(tx) == ["label_added", "label_added"]


async def test_two_who_make_the_same_label_at_once_make_one(db: Database, workspace: int) -> None:
    async def make(name: str) -> object:
        async with db.transaction(workspace) as tx:
            return await add_label(tx, name=name, color=1, by=SYSTEM, now=NOW)

    made = await asyncio.gather(make("退款"), make("退款"), make("退款"), return_exceptions=True)
    assert sum(isinstance(one, int) for one in made) == 1
    assert sum(isinstance(one, Conflict) for one in made) == 2


async def test_there_is_an_end_to_labels(db: Database, workspace: int) -> None:
    async with db.transaction(workspace) as tx:
        await tx.run(
            "insert into label (workspace_id, name) select %(w)s, 'l' || n from generate_series(1, %(most)s) n",
            w=workspace,
            most=labels.MOST,
        )
        with pytest.raises(Conflict, match="200 labels already"):
            await add_label(tx, name="one more", color=1, by=SYSTEM, now=NOW)
