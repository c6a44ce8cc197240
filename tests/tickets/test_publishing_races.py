"""What is published stays in step with its issue, whoever is killed, late, twice there or thinks better of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.tickets.cards import CardChat
from tests.tickets.test_publishing import PHOTO, Publishing, cards, commented, links, place, shows_to
from zhiban.container import ensure_workspace
from zhiban.conversations.published_files import public_copy, read_token
from zhiban.kit.db import Database
from zhiban.kit.errors import Gone, NotFound
from zhiban.ports import Kind, Media
from zhiban.tickets import file_links, publishing_jobs
from zhiban.tickets.publishing_jobs import PublishingJobs

__all__ = ["cards", "place"]


async def states(place: Publishing) -> list[str]:
    return [state for (state,) in await place.chat.rows("select state from published_file order by id")]


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]]) -> None:
    """Let this happen, once, after a copy was made and before anybody reads it."""
    made = PublishingJobs._copy
    left = [happens]

    async def copy(self: PublishingJobs, *arguments: Any) -> Any:
        found = await made(self, *arguments)
        if left:
            await left.pop()()
        return found

    monkeypatch.setattr(PublishingJobs, "_copy", copy)


async def test_who_is_killed_before_the_issue_links_with_it_has_published_nothing(
    place: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)

    async def killed(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(file_links, "write_again", killed)
        with pytest.raises(RuntimeError):
            await place.files()
    assert await states(place) == ["waiting"]
    await place.jobs.publish_files(place.chat.workspace_id, 1)
    await place.stand.work()
    assert len(links(place.body())) == 1


async def test_a_ticket_that_is_undone_while_its_picture_is_cleaned_stays_undone(
    place: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.chat.says("yang", "", kind=Kind.IMAGE, media=(Media("slow", Kind.IMAGE),))
    await place.chat.asks("liang", "以上2条开工单，标题：丢数据")
    await place.chat.asks("liang", "确认")
    place.chat.clock.advance(timedelta(minutes=2))
    await place.stand.work()
    await place.come(PHOTO)
    meanwhile(monkeypatch, lambda: place.chat.asks("liang", "撤销"))
    await place.publish()
    await place.stand.work()
    issue = place.stand.board.issue("acme/shop", 1)
    assert (issue.title, issue.state, links(issue.body)) == ("（已撤回）", "closed", [])
    assert await states(place) == ["withdrawn"]


async def test_what_is_recalled_while_it_is_cleaned_is_seen_by_nobody(
    place: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.chat.behaves(publish_files="pictures")
    id_ = await place.shows("yang", PHOTO)
    meanwhile(monkeypatch, lambda: place.chat.recalls(id_))
    await place.files()
    assert links(place.body()) == []
    assert await states(place) == ["withdrawn"]


async def test_a_wish_that_was_written_while_its_speaker_said_no_shows_nothing(place: Publishing) -> None:
    """Two transactions at once: the one that takes back does not see the wish, nor the wish that it was taken back."""
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.chat.asks("liang", "以上1条开工单")
    await place.chat.asks("liang", "确认")
    await place.chat.rows("update participant set consent = 'unquoted' where nickname = '老杨' returning 1")
    await place.publish()
    await place.stand.work()
    assert links(place.body()) == []
    assert await states(place) == ["refused"]


async def test_a_picture_that_has_come_waits_for_no_other(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.chat.says("lu", "", kind=Kind.IMAGE, media=(Media("slow", Kind.IMAGE),))
    await place.files("以上2条开工单")
    assert place.stand.board.issues == {}
    place.chat.clock.advance(timedelta(seconds=61))
    await place.stand.work()
    assert len(links(place.body())) == 1
    await place.come(PHOTO)
    await place.publish()
    await place.stand.work()
    assert len(links(place.body())) == 2


async def test_all_that_a_ticket_shows_is_limited_though_nobody_knew_how_large_it_would_be(
    place: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.chat.behaves(publish_files="all")
    for _ in range(3):
        await place.shows("lu", b"line\n" * 100, name="app.log", kind=Kind.FILE)
    monkeypatch.setattr(publishing_jobs, "MOST_BYTES", 1200)
    await place.files("以上3条开工单")
    assert len(links(place.body())) == 2
    assert await states(place) == ["published", "published", "refused"]


async def test_the_name_under_which_a_file_is_saved_says_no_more_than_the_issue(place: Publishing) -> None:
    await place.chat.behaves(publish_files="all")
    await place.shows("lu", b"line 1\n", name="13800006021.log", kind=Kind.FILE)
    await place.files()
    ((name,),) = await place.chat.rows("select name from published_file")
    assert "13800006021" not in name
    assert name.endswith(".log")


async def test_another_workspace_reads_nothing_with_the_same_secret(place: Publishing, db: Database) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.files()
    (address,) = links(place.body())
    _, file_id, secret = read_token(address.rpartition("/")[2])
    other = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    async with db.transaction(other) as tx:
        with pytest.raises(NotFound):
            await public_copy(tx, file_id, secret)


# ----------------------------------------------------------------------------------------------------------- comments


async def calls(place: Publishing) -> list[int]:
    return [id_ for (id_,) in await place.chat.rows("select distinct call_id from published_file")]


async def test_a_job_that_runs_again_takes_nothing_back_of_what_the_comment_shows(
    place: Publishing, cards: CardChat
) -> None:
    await place.chat.behaves(publish_files="pictures")
    await shows_to(place, await cards.card())
    (address,) = links(cards.said()[0])
    (call_id,) = await calls(place)
    await place.jobs.publish_with_comment(place.chat.workspace_id, call_id)
    assert await place.read(address)


async def test_a_job_that_runs_twice_before_the_comment_is_written_links_once(
    place: Publishing, cards: CardChat
) -> None:
    await place.chat.behaves(publish_files="pictures")
    card = await cards.card()
    await place.chat.says("lu", "看", kind=Kind.IMAGE, media=(Media("r", Kind.IMAGE),), reply_to=card)
    await place.come(PHOTO)
    await place.chat.turn()
    (call_id,) = await calls(place)
    await place.jobs.publish_with_comment(place.chat.workspace_id, call_id)
    await commented(place)
    (body,) = cards.said()
    assert len(links(body)) == 1


async def test_a_recall_while_it_is_cleaned_writes_no_comment(
    place: Publishing, cards: CardChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.chat.behaves(publish_files="pictures")
    card = await cards.card()
    id_ = await place.chat.says("lu", "看", kind=Kind.IMAGE, media=(Media("r", Kind.IMAGE),), reply_to=card)
    await place.come(PHOTO)
    await place.chat.turn()
    meanwhile(monkeypatch, lambda: place.chat.recalls(id_))
    await commented(place)
    assert cards.said() == []
    assert await states(place) == ["withdrawn"]
    ((token,),) = await place.chat.rows("select workspace_id || '-' || id || '-' || secret from published_file")
    with pytest.raises(Gone):
        await place.read(f"/f/{token}")
