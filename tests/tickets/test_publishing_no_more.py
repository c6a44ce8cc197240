"""What nobody wants to be seen, or nobody has said yes to, is not seen: by a group's word, a refusal, or a rule."""

from __future__ import annotations

import pytest

from tests.tickets.test_publishing import PHOTO, Publishing, links, place
from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.bootstrap import reactions
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Priority
from zhiban.events import SYSTEM, Actor
from zhiban.kit.errors import Gone
from zhiban.kit.i18n import Texts
from zhiban.ports import Kind, Repository
from zhiban.tickets import filing, repositories

__all__ = ["place"]


async def test_a_group_that_wants_nothing_published_any_more_is_heard(place: Publishing) -> None:
    await place.chat.behaves(publish_files="all")
    await place.shows("yang", PHOTO)
    await place.shows("lu", b"2026-11-20 replica lag 3s\n", name="replica.log", kind=Kind.FILE)
    await place.files("以上2条开工单")
    picture, log = links(place.body())
    await place.chat.behaves(publish_files="pictures")
    await place.stand.work()
    assert links(place.body()) == [picture]
    with pytest.raises(Gone):
        await place.read(log)
    await place.shows("yang", PHOTO)
    await place.chat.asks("liang", "以上1条开工单")
    await place.chat.asks("liang", "确认")  # whose picture is being cleaned
    await place.chat.behaves(publish_files="never")
    await place.publish()
    await place.stand.work()
    assert (links(place.body()), links(place.body(2))) == ([], [])
    with pytest.raises(Gone):
        await place.read(picture)
    # Wanted again, what was taken back is not there by itself.
    await place.chat.behaves(publish_files="all")
    await place.publish()
    await place.stand.work()
    assert (links(place.body()), links(place.body(2))) == ([], [])


async def test_what_the_tracker_refuses_is_read_by_nobody_and_goes_nowhere_else_by_itself(place: Publishing) -> None:
    place.stand.board.repositories += [
        Repository("2", "acme/secret", private=True, issues_enabled=False),
        Repository("3", "acme/open"),
    ]
    await place.stand.repository("acme/secret")
    open_id = await place.stand.repository("acme/open")
    async with place.chat.database.transaction(place.chat.workspace_id) as tx:
        await repositories.link(tx, place.chat.conversation_id, "acme/secret", by=SYSTEM, now=place.stand.now)
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    preview = await place.chat.asks("liang", "以上1条开工单，到 acme/secret")
    assert "仓库是公开的" not in preview
    await place.chat.asks("liang", "确认")
    await place.publish()
    ((address,),) = await place.chat.rows("select address from published_file")
    assert await place.read(address)
    await place.stand.work()
    assert await place.chat.rows("select tracker_state from ticket") == [("refused",)]
    with pytest.raises(Gone):
        await place.read(address)
    # A colleague lets it become an issue where everybody reads it. Nobody has said that the picture may be seen there.
    async with place.chat.database.transaction(place.chat.workspace_id) as tx:
        await filing.move_to(tx, 1, open_id, texts=Texts("zh"), by=Actor("agent", 1), now=place.stand.now)
    await place.publish()
    await place.stand.work()
    (body,) = [one.body for (name, _), one in place.stand.board.issues.items() if name == "acme/open"]
    assert links(body) == []
    assert await place.chat.rows("select state from published_file") == [("withdrawn",)]


async def test_a_ticket_that_a_rule_opens_publishes_nothing_though_the_group_wants_it(place: Publishing) -> None:
    """Nobody has seen what would be published. The files are named, those of a quoted message as well."""
    chat = place.chat
    await chat.behaves(publish_files="all")
    shown = await place.shows("yang", PHOTO)
    await place.shows("lu", b"2026-11-20 replica lag 3s\n", name="replica.log", kind=Kind.FILE)
    await chat.says("lu", "这张图里就是", reply_to=shown)
    asked = {"kind": "open_ticket", "title": "群里的事", "messages": 3, "issue": "linked"}
    definition = load_definition({"on": ["conversation_updated"], "conditions": {"conditions": []}, "actions": [asked]})
    async with chat.database.transaction(chat.workspace_id) as tx:
        await rules.add(
            tx, name="开工单", definition=definition, enabled=True, stops=False, by=SYSTEM, now=place.stand.now
        )
    chat.database.reactions = reactions()  # they know the rules of when they began
    async with chat.database.transaction(chat.workspace_id) as tx:
        urgent = Priority.URGENT
        await conversations.set_priority(tx, chat.conversation_id, priority=urgent, by=SYSTEM, now=place.stand.now)
    await place.publish()
    await place.stand.work()
    body = place.body().replace("\\", "")
    assert links(place.body()) == []
    assert "[图片" in body
    assert "replica.log" in body
    assert await chat.rows("select 1 from published_file") == []
