"""Two contacts who are one: what the one takes over, what moves, and what arrives meanwhile and afterwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.conversations.test_message_search import contacts
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import open_inbox

from zhiban.conversations import service
from zhiban.conversations.ingest import ingest
from zhiban.conversations.merging import merge_contacts
from zhiban.conversations.queries import history
from zhiban.events import Actor, ContactsMerged, ConversationContactChanged
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.people.contact_card import change_contact, contact_card
from zhiban.people.contact_fields import add_contact_field, contact_fields, remove_contact_field
from zhiban.people.models import Role
from zhiban.people.permissions import Access, NotAllowed
from zhiban.ports import IncomingMessage, Kind, SenderRole

ALL = Access(1, Role.OWNER)
LIN = Actor("agent", 1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def person(desk: Desk, tx: Transaction, who: str, **values: str) -> int:
    """A contact who has written, with what our people know of them."""
    id_ = (await desk.writes(tx, who)).contact_id
    assert id_ is not None
    name, remark = values.pop("name", ""), values.pop("remark", "")
    await change_contact(tx, id_, name=name, remark=remark, values=values, by=LIN, now=NOON)
    return id_


async def test_what_is_filled_in_is_checked_kept_and_found(db: Database, desk: Desk) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        contact = await person(desk, tx, "wm1", name="  马 骁 ", phone="138 1234 5678", notes="老客户\n先问工期")
        assert await contacts(tx, "13812345678") == ["马 骁"]
        added = {"会员": "list", "生日": "date", "欠款": "number", "签约": "checkbox"}
        for name, kind in added.items():
            await add_contact_field(tx, name=name, kind=kind, choices=["金", "银", "金", " "], by=LIN, now=NOON)
        fields = {one.name: one for one in await contact_fields(tx)}
        assert fields["会员"].choices == ("金", "银")
        good = {"会员": "银", "生日": "1990-02-28", "欠款": " 12.50 ", "签约": "yes", "没有的": "x", "phone": ""}
        assert await change_contact(tx, contact, name="马骁", remark="", values=good, by=LIN, now=NOON)
        assert not await change_contact(tx, contact, name="马骁", remark="", values=good, by=LIN, now=NOON)
        card = await contact_card(tx, contact)
        kept = {"会员": "银", "生日": "1990-02-28", "欠款": "12.5", "签约": "yes", "notes": "老客户\n先问工期"}
        assert (card.name, card.attributes) == ("马骁", kept)
        edited = await tx.values("select data -> 'fields' from event where kind = 'contact_edited' order by id")
        assert edited == [["name", "phone", "notes"], ["name", "会员", "生日", "欠款", "签约", "phone"]]
        for name, value in (("会员", "铜"), ("生日", "1990-02-30"), ("欠款", "很多"), ("欠款", "nan"), ("签约", "no"),
                            ("phone", "1" * 501)):  # fmt: skip
            with pytest.raises(Conflict):
                await change_contact(tx, contact, name="", remark="", values={name: value}, by=LIN, now=NOON)
        with pytest.raises(Conflict, match="at most 80"):
            await change_contact(tx, contact, name="长" * 81, remark="", values={}, by=LIN, now=NOON)
        for name, kind, choices in (("会员", "text", []), ("Phone", "text", []), ("x", "list", []), ("x", "json", [])):
            with pytest.raises(Conflict):
                await add_contact_field(tx, name=name, kind=kind, choices=choices, by=LIN, now=NOON)
        await remove_contact_field(tx, fields["会员"].id, by=LIN, now=NOON)
        with pytest.raises(NotFound):
            await remove_contact_field(tx, fields["会员"].id, by=LIN, now=NOON)
        assert "会员" not in {one.name for one in await contact_fields(tx)}
        assert (await contact_card(tx, contact)).attributes["会员"] == "银"


async def test_the_base_wins_field_by_field_and_has_the_conversations_from_then_on(db: Database, desk: Desk) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        base = await person(desk, tx, "wm1", name="马骁", phone="138", company="")
        other = await person(desk, tx, "wm2", name="小马", remark="马总", phone="139", company="云帆", email="a@b.cn")
        assert await merge_contacts(tx, ALL, base, other, by=LIN, now=NOON) == 1
        card = await contact_card(tx, base)
        assert (card.name, card.remark) == ("马骁", "马总")
        assert card.attributes == {"phone": "138", "company": "云帆", "email": "a@b.cn"}
        assert sorted(card.external_ids) == ["wm1", "wm2"]
        moved = await desk.state(tx, "wm2")
        assert moved.contact_id == base
        (fact,) = [one for one in await history(tx, moved.id) if isinstance(one, ConversationContactChanged)]
        assert (fact.contact_id, fact.to_contact_id, fact.actor) == (other, base, LIN)
        assert await tx.value("select count(*) from event where kind = %(k)s", k=ContactsMerged.kind()) == 1
        assert await contacts(tx, "139") == []
        assert await contacts(tx, "云帆") == ["马骁"]
        again = await desk.writes(tx, "wm2", "又是我", at=NOON + timedelta(minutes=1))
        assert (again.id, again.contact_id) == (moved.id, base)
        sender = "select sender_contact_id from message where text = '又是我'"
        assert await tx.value(sender) == base
        # A third is merged into the second's heir, and nobody into somebody who is gone.
        third = await person(desk, tx, "wm3")
        await merge_contacts(tx, ALL, third, base, by=LIN, now=NOON)
        assert (await contact_card(tx, other)).merged_into == third
        for pair in ((base, third), (third, base), (other, third)):
            with pytest.raises(NotFound):
                await merge_contacts(tx, ALL, *pair, by=LIN, now=NOON)
        with pytest.raises(Conflict, match="itself"):
            await merge_contacts(tx, ALL, third, third, by=LIN, now=NOON)


async def test_who_may_not_see_or_change_them_merges_nothing_and_blocking_is_not_undone(
    db: Database, desk: Desk
) -> None:
    async with db.transaction(desk.workspace_id) as tx:
        base, other = await person(desk, tx, "wm1"), await person(desk, tx, "wm2")
        here = desk.inbox.inbox_id
        for access, error in (
            (Access(1, Role.AGENT, (here + 1,)), NotFound),
            (Access(1, Role.READ_ONLY), NotAllowed),
        ):
            with pytest.raises(error):
                await merge_contacts(tx, access, base, other, by=LIN, now=NOON)
        await service.block(tx, (await desk.state(tx, "wm2")).id, by=LIN, now=NOON)
        with pytest.raises(Conflict, match="blocked"):
            await merge_contacts(tx, ALL, base, other, by=LIN, now=NOON)


@pytest.mark.parametrize("first", ["merge", "message"])
async def test_messages_that_race_the_merge_arrive_at_the_one_who_stays(db: Database, desk: Desk, first: str) -> None:
    """One in the conversation that moves, and one that begins another conversation, in another inbox."""
    async with db.transaction(desk.workspace_id) as tx:
        base, other = await person(desk, tx, "wm1"), await person(desk, tx, "wm2")
    second = await open_inbox(db, desk.workspace_id, public_id="second")
    half, may_end = asyncio.Event(), asyncio.Event()

    async def merge() -> None:
        async with db.transaction(desk.workspace_id) as tx:
            await merge_contacts(tx, ALL, base, other, by=LIN, now=NOON)
            half.set()
            if first == "merge":
                await may_end.wait()

    async def arrive() -> None:
        async with db.transaction(desk.workspace_id) as tx:
            for inbox, key in ((desk.inbox, "r1"), (second, "r2")):
                message = IncomingMessage(key, "wm2", "wm2", SenderRole.CONTACT, Kind.TEXT, "在吗", NOON)
                await ingest(tx, inbox, [message], now=NOON, process_id=1)
            half.set()
            if first == "message":
                await may_end.wait()

    begun, then = (merge, arrive) if first == "merge" else (arrive, merge)
    one = asyncio.create_task(begun())
    await half.wait()
    two = asyncio.create_task(then())
    await asyncio.wait([two], timeout=0.3)
    assert not two.done()  # it waits for the other
    may_end.set()
    await asyncio.gather(one, two)
    async with db.transaction(desk.workspace_id) as tx:
        assert set(await tx.values("select contact_id from conversation")) == {base}
        assert await tx.values("select count(*) from conversation") == [3]
