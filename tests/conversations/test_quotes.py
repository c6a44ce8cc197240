"""Answers to a certain message: how they name it, what contacts answer, and what cannot be answered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel

from zhiban.conversations import queries, replies
from zhiban.conversations.ingest import ingest
from zhiban.conversations.outbox import QueuedMessage
from zhiban.conversations.quotes import quote_line
from zhiban.conversations.sending import as_outgoing
from zhiban.events import Actor
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.ports import IncomingMessage, Kind, QuotedWords, SenderRole

QUOTING = replace(WindowedChannel.limits, quotes=True)
PLAIN = WindowedChannel.limits


async def asked(desk: Desk, tx: Transaction, *texts: str) -> list[int]:
    """The contact writes these; returns the messages."""
    before = await tx.value("select coalesce(max(id), 0) from message")
    for text in texts:
        await desk.writes(tx, "zhou", text)
    return list(await tx.values("select id from message where id > %(id)s and direction = 'in' order by id", id=before))


async def answered(desk: Desk, tx: Transaction, text: str, to: int, *, limits=PLAIN) -> QueuedMessage:  # type: ignore[no-untyped-def]
    state = await desk.state(tx, "zhou")
    (sent, *_) = await replies.reply(tx, state.id, text=text, by=desk.lin, limits=limits, now=NOON, reply_to=to)
    return (
        await tx.objects(
            QueuedMessage,
            "select id, author, kind, text, content, external_id, attempts, sent_at from message where id = %(id)s",
            id=sent,
        )
    )[0]


async def test_a_channel_that_can_is_told_and_shows_it_itself(db: Database, workspace: int) -> None:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        first, _second = await asked(desk, tx, "能开发票吗？", "还有，能寄到日本吗？")
        sent = await answered(desk, tx, "能", first, limits=QUOTING)
        assert (sent.text, as_outgoing("zhou", sent).reply_to) == ("能", "m1")
        page = await queries.message_page(tx, (await desk.state(tx, "zhou")).id, first=None)
        quoted = page.rows[-1].quoted
        assert quoted is not None
        assert (quoted.id, quoted.words) == (first, "能开发票吗？")


async def test_elsewhere_a_short_line_says_it_unless_it_is_the_last_word(db: Database, workspace: int) -> None:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        first, second = await asked(desk, tx, "能开\n发票吗？" + "我很着急" * 20, "还有，能寄到日本吗？")
        sent = await answered(desk, tx, "能", first)
        line, _, words = sent.text.partition("\n")
        assert (line[:8], len(line), words) == ("「能开 发票吗？", 42, "能")
        assert as_outgoing("zhou", sent).reply_to is None
        own = await answered(desk, tx, "补充一句", sent.id)
        assert own.text == "补充一句"  # nothing of the contact stands between
        last = await answered(desk, tx, "也能", second)
        assert last.text == "也能"
        assert await tx.value("select reply_to_id from message where id = %(id)s", id=last.id) == second


async def test_what_a_contact_answers_is_known(db: Database, workspace: int) -> None:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        (first,) = await asked(desk, tx, "在吗")

        def answer(id_: str, reply_to: str, *, thread: str = "zhou") -> IncomingMessage:
            contact = SenderRole.CONTACT
            return IncomingMessage(id_, thread, thread, contact, Kind.TEXT, "就是它", NOON, reply_to=reply_to)

        batch = [answer("a1", "m1"), answer("a2", "a1"), answer("a3", "unknown"), answer("a4", "m1", thread="other")]
        batch.append(answer("a5", "a5"))
        await ingest(tx, desk.inbox, batch, now=NOON, process_id=1)
        await ingest(tx, desk.inbox, batch, now=NOON, process_id=1)
        rows = await tx.rows("select external_id, reply_to_id, id from message where external_id like 'a%%'")
        found = {external: answers for external, answers, _ in rows}
        ids = {external: id_ for external, _, id_ in rows}
        assert found == {"a1": first, "a2": ids["a1"], "a3": None, "a4": None, "a5": None}


async def test_two_pictures_that_are_quoted_are_two(db: Database, workspace: int) -> None:
    """Where a vendor says what a message quotes and not which one, the words of pictures are all alike."""
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        batch = [
            IncomingMessage(
                f"p{n}",
                "group",
                "zhou",
                SenderRole.CONTACT,
                Kind.TEXT,
                "这张呢",
                NOON,
                group=True,
                quoted=QuotedWords(Kind.TEXT, "[图片]", (name,)),
            )
            for n, name in enumerate(("cos.example/a", "cos.example/b", "cos.example/a"))
        ]
        await ingest(tx, desk.inbox, batch, now=NOON, process_id=1)
        first, second, third = await tx.values(
            "select reply_to_id from message where external_id like 'p%%' order by id"
        )
        assert first == third != second


async def test_only_what_the_contact_can_see_is_answered(db: Database, workspace: int) -> None:
    desk = await open_desk(db, workspace)
    async with db.transaction(workspace) as tx:
        (first,) = await asked(desk, tx, "在吗")
        state = await desk.state(tx, "zhou")
        note = await replies.add_note(tx, state.id, text="记一下", by=Actor("agent", desk.lin), now=NOON)
        await desk.writes(tx, "somebody else", "我的事")
        foreign = await tx.value("select max(id) from message")
        for unknown in (note, foreign, 999_999):
            with pytest.raises(NotFound):
                await answered(desk, tx, "好", unknown)
        await tx.run("update message set recalled_at = now() where id = %(id)s", id=first)
        with pytest.raises(Conflict, match="taken back"):
            await answered(desk, tx, "好", first)


def test_a_line_is_short_and_never_empty() -> None:
    assert quote_line("") == ""
    assert quote_line("合同.pdf") == "「合同.pdf」\n"
    assert len(quote_line("长" * 500)) == 43
