"""Labels of contacts: put on anywhere, once; found, merged, and never in the way of a message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.conversations.test_merging import person
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import open_inbox

from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.conversations import labels
from zhiban.conversations.contact_labels import contact_labels, label_contact, label_contact_of, labels_of_contacts
from zhiban.conversations.ingest import ingest
from zhiban.conversations.labelled_contacts import labelled_contacts
from zhiban.conversations.merging import merge_contacts
from zhiban.conversations.queries import history
from zhiban.events import SYSTEM, Actor, ContactLabelsChanged
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.word_search import query
from zhiban.people.contacts import ensure_contacts
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import IncomingMessage, Kind, SenderRole

ALL = Access(1, Role.OWNER)
LIN = Actor("agent", 1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def added(tx: Transaction, *names: str) -> list[int]:
    return [await labels.add_label(tx, name=name, color=1, by=SYSTEM, now=NOON) for name in names]


async def changes(tx: Transaction, conversation_id: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    found = [one for one in await history(tx, conversation_id) if isinstance(one, ContactLabelsChanged)]
    return [(one.added, one.removed) for one in found]


async def test_a_label_is_put_on_once_and_told_where_it_was_done(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        vip, old = await added(tx, "大客户", "老客户")
        state = await desk.handed_over(tx, "wm1")
        assert await label_contact_of(tx, state.id, add=[vip, old], by=LIN, now=NOON)
        assert not await label_contact_of(tx, state.id, add=[vip], remove=[99], by=LIN, now=NOON)
        assert await label_contact_of(tx, state.id, add=[vip], remove=[vip, old], by=LIN, now=NOON)
        assert await contact_labels(tx, state.contact_id) == (vip,)
        assert await changes(tx, state.id) == [((vip, old), ()), ((), (old,))]
        lines = await tx.values(
            "select content - 'by' from message where content ->> 'what' = 'contact_labels_changed'"
        )
        assert lines[0] == {"what": "contact_labels_changed", "added": [vip, old], "removed": []}
        assert (await desk.state(tx, "wm1")).labels == ()  # the conversation's own are others
        with pytest.raises(NotFound):
            await label_contact_of(tx, state.id, add=[4711], by=LIN, now=NOON)
        await labels.remove_label(tx, vip, by=SYSTEM, now=NOON)
        assert await contact_labels(tx, state.contact_id) == ()
        with pytest.raises(NotFound):
            await label_contact_of(tx, state.id, add=[vip], by=LIN, now=NOON)


async def test_from_their_own_page_it_stands_in_the_last_conversation_that_one_sees(desk: Desk) -> None:
    other = await open_inbox(desk.database, desk.workspace_id, public_id="other")
    async with desk.database.transaction(desk.workspace_id) as tx:
        (vip,) = await added(tx, "大客户")
        first = await desk.handed_over(tx, "wm1")
        later = IncomingMessage("x1", "wm1", "wm1", SenderRole.CONTACT, Kind.TEXT, "在吗", NOON + timedelta(hours=1))
        await ingest(tx, other, [later], now=NOON + timedelta(hours=1), process_id=1)
        (second,) = await tx.values("select id from conversation where id <> %(id)s", id=first.id)
        assert first.contact_id is not None
        here = Access(1, Role.AGENT, (desk.inbox.inbox_id,))
        assert await label_contact(tx, here, first.contact_id, add=[vip], by=LIN, now=NOON)
        assert await label_contact(tx, ALL, first.contact_id, remove=[vip], by=LIN, now=NOON)
        assert (await changes(tx, first.id), await changes(tx, second)) == ([((vip,), ())], [((), (vip,))])


async def test_who_has_no_conversation_is_labelled_and_logged_and_a_group_is_no_contact(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        (vip,) = await added(tx, "大客户")
        member = (await ensure_contacts(tx, "memory", "m", ["member"], now=NOON))["member"].id
        assert await label_contact(tx, ALL, member, add=[vip], by=LIN, now=NOON)
        (fact,) = await tx.rows("select contact_id, data from event where kind = 'member_labels_changed'")
        assert fact == (member, {"added": [vip], "removed": []})
        state = await desk.handed_over(tx, "wm1")
        await tx.run("update conversation set kind = 'group', contact_id = null where id = %(id)s", id=state.id)
        with pytest.raises(Conflict, match="A group is no contact"):
            await label_contact_of(tx, state.id, add=[vip], by=LIN, now=NOON)


async def test_the_one_who_stays_has_the_labels_of_both(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        vip, old, late = await added(tx, "大客户", "老客户", "拖欠")
        base, other = await person(desk, tx, "wm1"), await person(desk, tx, "wm2")
        await label_contact(tx, ALL, base, add=[vip, late], by=LIN, now=NOON)
        await label_contact(tx, ALL, other, add=[vip, old], by=LIN, now=NOON)
        await merge_contacts(tx, ALL, base, other, by=LIN, now=NOON)
        assert await labels_of_contacts(tx, [base, other]) == {base: tuple(sorted((vip, old, late)))}
        with pytest.raises(NotFound):
            await label_contact(tx, ALL, other, add=[old], by=LIN, now=NOON)


async def test_two_who_label_and_one_who_merges_at_once_lose_nothing(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        ids = await added(tx, "甲", "乙", "丙", "丁")
        base, other = await person(desk, tx, "wm1"), await person(desk, tx, "wm2")
        conversation = (await desk.state(tx, "wm2")).id

    async def put_on(label: int) -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await label_contact_of(tx, conversation, add=[label], by=LIN, now=NOON)

    async def merge() -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await merge_contacts(tx, ALL, base, other, by=LIN, now=NOON)

    await asyncio.gather(put_on(ids[0]), put_on(ids[1]), merge(), put_on(ids[2]), put_on(ids[3]))
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await labels_of_contacts(tx, [base, other]) == {base: tuple(ids)}


async def test_contacts_are_found_by_a_label_page_by_page_and_by_words_among_them(desk: Desk) -> None:
    other = await open_inbox(desk.database, desk.workspace_id, public_id="other")
    async with desk.database.transaction(desk.workspace_id) as tx:
        (vip,) = await added(tx, "大客户")
        people = [await person(desk, tx, f"wm{n}", name=f"客户{n}") for n in range(7)]
        for contact_id in people[:6]:
            await label_contact(tx, ALL, contact_id, add=[vip], by=LIN, now=NOON)
        await merge_contacts(tx, ALL, people[0], people[1], by=LIN, now=NOON)

        async def shown(
            words: str = "", access: Access = ALL, before: int | None = None
        ) -> tuple[list[int], int | None]:
            page = await labelled_contacts(tx, access, vip, query(words), most=3, before=before)
            return [one.contact.id for one in page.hits], page.before

        assert await shown() == ([people[5], people[4], people[3]], people[3])
        assert await shown(before=people[3]) == ([people[2], people[0]], None)
        assert await shown("客户4") == ([people[4]], None)
        assert await shown("没有") == ([], None)
        assert await shown(access=Access(1, Role.AGENT, (other.inbox_id,))) == ([], None)


class Statements:
    """What is asked of the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        for name in ("rows", "row", "value", "values", "run", "objects", "object"):
            monkeypatch.setattr(Transaction, name, self._noted(getattr(Transaction, name), name))

    def _noted(self, method: Any, name: str) -> Any:
        async def noted(tx: Transaction, *args: Any, **params: Any) -> Any:
            self.asked.append(str(args[1] if name.startswith("object") else args[0]))
            return await method(tx, *args, **params)

        return noted

    def about_labels(self) -> Sequence[str]:
        return [one for one in self.asked if "contact_label" in one]


@pytest.mark.parametrize("condition", ["label", "contact_label"])
async def test_a_message_asks_for_labels_of_its_contact_only_where_a_rule_does(
    desk: Desk, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        (vip,) = await added(tx, "大客户")
        definition = load_definition(
            {
                "on": ["message_created"],
                "conditions": {"conditions": [{"kind": condition, "labels": [vip]}]},
                "actions": [{"kind": "set_priority", "priority": 4}],
            }
        )
        await rules.add(tx, name="大客户优先", definition=definition, enabled=True, by=SYSTEM, now=NOON)
        contact = await person(desk, tx, "wm1")
        await label_contact(tx, ALL, contact, add=[vip], by=LIN, now=NOON)
    statements = Statements(monkeypatch)
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await desk.writes(tx, "wm1", "还在吗")
    asks = condition == "contact_label"
    assert len(statements.about_labels()) == asks
    assert state.priority == (4 if asks else 0)
