"""Pictures and files stand at the issue where the group wants that, and are gone when they should be."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.kit.test_pictures import SECRET, drawn, exif, saved
from tests.tickets.cards import CardChat
from tests.tickets.chat import START, Chat, group_chat
from tests.tickets.stand import TrackerStand, tracker_stand
from tests.tickets.test_neutralising import PARSER, flat
from zhiban.conversations import groups
from zhiban.conversations import retention as conversation_retention
from zhiban.conversations.attachments import attachments_of
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.published_files import public_copy, read_token
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Gone, NotFound
from zhiban.kit.file_store import PostgresFileStore, spooled
from zhiban.kit.file_types import HEAD, content_type, safe_name, sniff
from zhiban.ports import Kind, Media
from zhiban.tickets import repositories, retention
from zhiban.tickets.publishing_jobs import PublishingJobs

URL = "https://desk.example"
PHOTO = saved(drawn(), "JPEG", exif=exif(6))
LINK = re.compile(r"https://desk\.example/f/([0-9a-z-]+)")


@dataclass
class Publishing:
    """A group whose members show pictures, the tracker, and the jobs that publish."""

    chat: Chat
    stand: TrackerStand
    store: PostgresFileStore
    jobs: PublishingJobs

    async def shows(self, who: str, data: bytes, *, name: str = "", kind: Kind = Kind.IMAGE, text: str = "") -> str:
        """A member sends a file, which has come."""
        id_ = await self.chat.says(who, text, kind=kind, media=(Media(f"ref-{name}", kind, name or None),))
        await self.come(data, name=name)
        return id_

    async def come(self, data: bytes, *, name: str = "") -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield data

        async with spooled(pieces(), limit=50 << 20, head=HEAD) as spool:
            await self.store.keep(self.chat.workspace_id, spool)
        type_ = sniff(spool.head)
        await self.chat.rows(
            "update attachment set state = 'stored', sha256 = %(sha)s, size = %(size)s, content_type = %(type)s, "
            "filename = %(name)s where state = 'pending' returning id",
            sha=spool.sha256,
            size=spool.size,
            type=content_type(type_, name, None),
            name=safe_name(name) or f"image{type_.extension if type_ else ''}",
        )

    async def publish(self) -> None:
        """Run the jobs that were asked for and not run yet."""
        rows = await self.chat.rows(
            "delete from jobs.procrastinate_jobs where task_name = 'publish_files' "
            "returning (args ->> 'ticket_id')::bigint"
        )
        for (ticket_id,) in sorted(set(rows)):
            await self.jobs.publish_files(self.chat.workspace_id, ticket_id)

    async def files(self, command: str = "以上1条开工单") -> str:
        """A member asks for a ticket and says yes; returns the preview."""
        preview = await self.chat.asks("liang", command)
        await self.chat.asks("liang", "确认")
        await self.publish()
        await self.stand.work()
        return preview

    def body(self, number: int = 1) -> str:
        return self.stand.board.issue("acme/shop", number).body

    async def read(self, address: str) -> bytes:
        """What the world reads there. Raises NotFound, Gone."""
        workspace, file_id, secret = read_token(address.rpartition("/")[2])
        async with self.chat.database.transaction(workspace) as tx:
            copy = await public_copy(tx, file_id, secret)
        return b"".join([piece async for piece in self.store.read(workspace, copy.sha256)])


@pytest.fixture
async def place(db: Database, workspace: int) -> AsyncIterator[Publishing]:
    async with (
        tracker_stand(db, workspace, clock=SetClock(START)) as stand,
        group_chat(db, workspace, clock=stand.clock) as chat,
    ):
        chat.commands._public = True
        await stand.repository()
        async with db.transaction(workspace) as tx:
            await repositories.link(tx, chat.conversation_id, "acme/shop", by=SYSTEM, now=stand.now)
        store = PostgresFileStore(db, stand.clock)
        yield Publishing(chat, stand, store, PublishingJobs(db, store, stand.clock, url=URL))


def links(body: str) -> list[str]:
    """The last parts of our own addresses; nothing else in the body is a picture or a link of a name."""
    tokens = flat(PARSER.parse(body))
    shown = [token.attrGet("src") for token in tokens if token.type == "image"]
    linked = [token.attrGet("href") for token in tokens if token.type == "link_open"]
    assert all(LINK.fullmatch(str(address)) for address in (*shown, *linked)), (shown, linked)
    return [str(address) for address in (*shown, *linked)]


async def test_a_picture_stands_at_the_issue_and_says_nothing_but_what_one_sees(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    preview = await place.files()
    assert "会公开的：图片1张。仓库是公开的，谁都看得到。" in preview
    (address,) = links(place.body())
    made = await place.read(address)
    assert SECRET in PHOTO
    assert SECRET not in made
    facts = await place.stand.facts("file_published")
    assert [fact["ticket_id"] for fact in facts] == [1]
    with pytest.raises(NotFound):
        await place.read(address[:-1] + ("0" if address[-1] != "0" else "1"))


async def test_nothing_is_published_unless_the_group_says_so(place: Publishing) -> None:
    await place.shows("yang", PHOTO)
    preview = await place.files()
    assert "公开的：" not in preview
    assert links(place.body()) == []
    assert "[图片" in place.body().replace("\\", "")
    assert await place.chat.rows("select 1 from published_file") == []


async def test_without_an_address_for_everybody_files_are_named(place: Publishing) -> None:
    place.chat.commands._public = False
    await place.chat.behaves(publish_files="all")
    await place.shows("yang", PHOTO)
    assert "ZHIBAN_URL" in await place.files()
    assert links(place.body()) == []


async def test_what_is_not_wanted_is_left_out(place: Publishing) -> None:
    await place.chat.behaves(publish_files="all")
    await place.shows("yang", PHOTO)
    await place.shows("lu", b"line 1\n", name="app.log", kind=Kind.FILE)
    assert "图片1张、文件1份" in await place.chat.asks("liang", "以上2条开工单")
    assert "文件1份" in (without := await place.chat.asks("liang", "不要图片"))
    assert "图片1张" not in without
    assert "图片1张、文件1份" in await place.chat.asks("liang", "带上图片")
    assert "只写名称，不公开" in await place.chat.asks("liang", "不要图片和文件")
    await place.chat.asks("liang", "确认")
    await place.publish()
    await place.stand.work()
    assert links(place.body()) == []
    await place.files("以上2条开工单，不要图片")
    assert len(links(place.body(2))) == 1


async def test_a_file_has_its_name_and_size_and_an_address(place: Publishing) -> None:
    await place.chat.behaves(publish_files="all")
    hostile = "a](www.evil.example)[@octocat #1 13800006021 ![x](y) <b> `z`.log"
    await place.shows("lu", b"line 1\n" * 100, name=hostile, kind=Kind.FILE)
    await place.files()
    (address,) = links(place.body())
    assert await place.read(address) == b"line 1\n" * 100
    assert "13800006021" not in place.body()
    assert "700 B" in place.body()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.exe", b"MZ"),
        ("page.html", b"<script>"),
        ("film.mp4", b"\0\0\0\x18ftypmp42"),
        ("live.heic", b"\0\0\0\x18ftypheic"),
    ],
)
async def test_what_runs_or_cannot_be_cleaned_is_only_named(place: Publishing, name: str, data: bytes) -> None:
    await place.chat.behaves(publish_files="all")
    await place.shows("lu", data, name=name, kind=Kind.FILE)
    assert "公开的：" not in await place.files()
    assert links(place.body()) == []


async def test_a_picture_sent_as_a_file_is_cleaned_as_well(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("lu", PHOTO, name="IMG_1.jpg", kind=Kind.FILE)
    await place.files()
    (address,) = links(place.body())
    assert SECRET not in await place.read(address)


@pytest.mark.parametrize("data", [PHOTO[:200], b"\xff\xd8\xff<script>", b"GIF89a" + b"\xff" * 50])
async def test_a_broken_picture_is_named_and_the_issue_comes(place: Publishing, data: bytes) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", data)
    await place.files()
    assert links(place.body()) == []
    assert await place.chat.rows("select state, problem <> '' from published_file") == [("refused", True)]


async def test_the_issue_waits_a_little_for_a_picture_and_no_longer(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.chat.says("yang", "", kind=Kind.IMAGE, media=(Media("slow", Kind.IMAGE),))
    await place.files()
    assert place.stand.board.issues == {}
    place.chat.clock.advance(timedelta(minutes=2))
    await place.stand.work()
    assert links(place.body()) == []
    await place.come(PHOTO)
    await place.publish()
    await place.stand.work()
    assert len(links(place.body())) == 1
    assert len(place.stand.board.issues) == 1


async def test_what_is_recalled_is_gone_from_the_issue_and_from_its_address(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    recalled = await place.shows("yang", PHOTO)
    await place.shows("lu", PHOTO)  # the same picture
    await place.files("以上2条开工单")
    first, second = links(place.body())
    await place.files("以上2条开工单")  # and a second ticket of the same
    third, fourth = links(place.body(2))
    assert len({first, second, third, fourth}) == 4
    await place.chat.recalls(recalled)
    await place.stand.work()
    assert (links(place.body()), links(place.body(2))) == ([second], [fourth])
    for gone in (first, third):
        with pytest.raises(Gone):
            await place.read(gone)
    assert await place.read(second) == await place.read(fourth)


async def test_recalled_before_it_was_cleaned_it_is_never_published(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    id_ = await place.shows("yang", PHOTO)
    await place.shows("lu", PHOTO)
    await place.chat.asks("liang", "以上2条开工单")
    await place.chat.asks("liang", "确认")
    await place.chat.recalls(id_)
    await place.publish()
    await place.stand.work()
    assert len(links(place.body())) == 1
    assert await place.chat.rows("select state from published_file order by message_id") == [
        ("withdrawn",),
        ("published",),
    ]


async def test_undoing_the_ticket_takes_its_pictures_back(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.files()
    (address,) = links(place.body())
    await place.chat.asks("liang", "撤销")
    await place.stand.work()
    assert links(place.body()) == []
    with pytest.raises(Gone):
        await place.read(address)


async def test_who_does_not_want_to_be_quoted_any_more_is_seen_no_more(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.shows("lu", PHOTO)
    await place.files("以上2条开工单")
    first, second = links(place.body())
    chat = place.chat
    async with chat.database.transaction(chat.workspace_id) as tx:
        ((yang,),) = await tx.rows("select contact_id from participant where nickname = '老杨'")
        by = SYSTEM
        await groups.set_consent(tx, chat.conversation_id, yang, Consent.UNQUOTED, by=by, now=chat.clock.now())
    await place.stand.work()
    assert links(place.body()) == [second]
    with pytest.raises(Gone):
        await place.read(first)


async def test_a_ticket_that_is_forgotten_takes_its_pictures_with_it(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.files()
    (address,) = links(place.body())
    now = place.chat.clock.now()
    async with place.chat.database.transaction(place.chat.workspace_id) as tx:
        await tx.run("update ticket set state = 'done', done_at = %(now)s", now=now)
        await retention.forget_words(tx, before=now + timedelta(days=1), limit=10, now=now)
    with pytest.raises(Gone):
        await place.read(address)


async def test_a_group_that_changes_its_mind_before_the_yes_is_heard(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.chat.asks("liang", "以上1条开工单")
    await place.chat.behaves(publish_files="never")
    await place.chat.asks("liang", "确认")
    await place.publish()
    await place.stand.work()
    assert links(place.body()) == []


async def test_put_to_an_issue_that_there_is_a_picture_comes_with_the_comment(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.files()
    recalled = await place.shows("yang", PHOTO, text="又来了")
    await place.shows("lu", PHOTO)
    await place.chat.asks("liang", "以上2条开工单")
    await place.chat.asks("liang", "加到 #1")
    await place.publish()
    await place.stand.work()
    (comment,) = place.stand.board.comments["acme/shop", 1]
    first, second = links(comment.body)
    assert await place.read(first) == await place.read(second)
    await place.chat.recalls(recalled)
    await place.stand.work()
    (comment,) = place.stand.board.comments["acme/shop", 1]
    assert links(comment.body) == [second]


async def test_a_job_that_runs_twice_publishes_once(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.files()
    before = place.body()
    await place.jobs.publish_files(place.chat.workspace_id, 1)
    await place.stand.work()
    assert place.body() == before
    assert len(await place.stand.facts("file_published")) == 1


async def test_what_everybody_reads_is_no_file_that_nobody_names(place: Publishing) -> None:
    await place.chat.behaves(publish_files="pictures")
    await place.shows("yang", PHOTO)
    await place.files()
    found: Any = await place.chat.rows("select sha256 from published_file")
    async with place.chat.database.transaction(place.chat.workspace_id) as tx:
        files = await attachments_of(tx, [id_ for (id_,) in await tx.rows("select message_id from published_file")])
    ((source,),) = files.values()
    assert found[0][0] != source.sha256


# ------------------------------------------------------------------------------------- comments by quoting a message


@pytest.fixture
async def cards(place: Publishing) -> CardChat:
    return CardChat(place.chat, place.stand)


async def commented(place: Publishing) -> None:
    rows = await place.chat.rows(
        "delete from jobs.procrastinate_jobs where task_name = 'publish_files_of_comment' "
        "returning (args ->> 'call_id')::bigint"
    )
    for (call_id,) in rows:
        await place.jobs.publish_with_comment(place.chat.workspace_id, call_id)
    await place.stand.work()


async def shows_to(place: Publishing, card: str, text: str = "") -> str:
    id_ = await place.chat.says("lu", text, kind=Kind.IMAGE, media=(Media("r", Kind.IMAGE),), reply_to=card)
    await place.come(PHOTO)
    assert await place.chat.turn() == []
    await commented(place)
    return id_


async def test_a_picture_that_quotes_a_card_becomes_a_comment_and_goes_with_its_message(
    place: Publishing, cards: CardChat
) -> None:
    await place.chat.behaves(publish_files="pictures")
    id_ = await shows_to(place, await cards.card(), "关闭")
    (body,) = cards.said()
    (address,) = links(body)
    assert "关闭" in body  # words beside a picture are words
    assert body.endswith("*via 群聊 · 陆知行*")
    assert SECRET not in await place.read(address)
    await place.chat.recalls(id_)
    await place.stand.work()
    assert cards.said() == []
    with pytest.raises(Gone):
        await place.read(address)


async def test_where_nothing_is_published_a_picture_is_named_beside_words_and_else_not_written(
    place: Publishing, cards: CardChat
) -> None:
    card = await cards.card()
    await shows_to(place, card)
    assert cards.said() == []
    await shows_to(place, card, "我这边的截图")
    (body,) = cards.said()
    assert links(body) == []
    assert "我这边的截图" in body
    assert "图片" in body


async def test_what_comes_too_late_for_its_comment_is_not_published(place: Publishing, cards: CardChat) -> None:
    await place.chat.behaves(publish_files="pictures")
    card = await cards.card()
    await place.chat.says("lu", "看", kind=Kind.IMAGE, media=(Media("r", Kind.IMAGE),), reply_to=card)
    await place.chat.turn()
    place.chat.clock.advance(timedelta(minutes=2))
    await place.stand.work()
    (body,) = cards.said()
    assert links(body) == []
    await place.come(PHOTO)
    await commented(place)
    assert await place.chat.rows("select state from published_file") == [("withdrawn",)]


async def test_what_a_comment_shows_goes_with_its_message(place: Publishing, cards: CardChat) -> None:
    await place.chat.behaves(publish_files="pictures")
    await shows_to(place, await cards.card())
    (address,) = links(cards.said()[0])
    chat, later = place.chat, place.chat.clock.now() + timedelta(days=2)
    epoch = datetime.fromtimestamp(0, UTC)
    async with chat.database.transaction(chat.workspace_id) as tx:
        await tx.run("update conversation set status = 'resolved', resolved_at = %(at)s", at=chat.clock.now())
        await conversation_retention.forget_messages(tx, before=later, after=(epoch, 0), run_began=later, now=later)
    with pytest.raises(Gone):
        await place.read(address)
    (fact,) = await place.stand.facts("file_withdrawn")
    assert fact["call_id"] is not None
