"""Files beside a reply: what a channel takes, how they go out with the words, once, and what stays when they do not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.recordings import png
from tests.twin import WindowedChannel

from zhiban.conversations import replies
from zhiban.conversations.attachment_jobs import AttachmentJobs
from zhiban.conversations.draft_files import (
    KEPT,
    MOST_FILES,
    DraftFile,
    FileNotTaken,
    StoredContent,
    access_draft_file,
    add_draft_file,
    draft_files,
    remove_draft_file,
)
from zhiban.conversations.outbox import QueuedMessage, ReplyCollision, ReplyTooLong
from zhiban.conversations.outgoing_files import OutgoingFiles
from zhiban.conversations.sending import Deferred, NotToBeSent, SendRejected, SendSucceeded, dispatch
from zhiban.events import Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.file_store import FileMissing, PostgresFileStore, spooled
from zhiban.kit.file_types import HEAD
from zhiban.ports import Kind, Limits, MediaLimit, Outgoing, Refusal, SendRefused, TryLater
from zhiban.testing.channel import FILE_BYTES, MemoryPlace

LIMITS = WindowedChannel.limits
CONTRACT = b"%PDF-1.7 the contract"


async def _once(data: bytes):  # type: ignore[no-untyped-def]
    yield data


@dataclass
class Talk:
    """林晓 answers 周予安, on a channel that takes small files and PNG pictures."""

    desk: Desk
    clock: SetClock
    store: PostgresFileStore
    conversation: int = 0
    outgoing: OutgoingFiles = field(init=False)

    def __post_init__(self) -> None:
        self.outgoing = OutgoingFiles(self.desk.database, self.store, self.clock)

    @property
    def channel(self) -> WindowedChannel:
        channel = self.desk.inbox.channel
        assert isinstance(channel, WindowedChannel)
        return channel

    @property
    def place(self) -> MemoryPlace:
        return self.channel._place

    def work(self):  # type: ignore[no-untyped-def]
        return self.desk.database.transaction(self.desk.workspace_id)

    def actor(self, agent_id: int | None) -> Actor:
        return Actor("agent", agent_id or self.desk.lin)

    async def puts(self, data: bytes, name: str, *, by: int | None = None, limits: Limits = LIMITS) -> DraftFile:
        async with spooled(_once(data), limit=1 << 20, head=HEAD) as spool:
            await self.store.keep(self.desk.workspace_id, spool)
            content = StoredContent(spool.sha256, spool.size, spool.head, name)
        async with self.work() as tx:
            return await add_draft_file(
                tx,
                self.conversation,
                content,
                by=Actor("agent", by or self.desk.lin),
                limits=limits,
                now=self.clock.now(),
            )

    async def replies(
        self, text: str, *files: DraftFile, by: int | None = None, key: str = "k", seen: int | None = None
    ) -> list[int]:
        async with self.work() as tx:
            return await replies.reply(
                tx,
                self.conversation,
                text=text,
                by=by or self.desk.lin,
                limits=LIMITS,
                now=self.clock.now(),
                client_key=key,
                seen=seen,
                files=[one.id for one in files],
            )

    async def waiting(self, *, by: int | None = None) -> list[str]:
        async with self.work() as tx:
            return [one.filename for one in await draft_files(tx, self.conversation, self.actor(by))]

    async def queued(self) -> list[QueuedMessage]:
        async with self.work() as tx:
            return await tx.objects(
                QueuedMessage,
                "select id, author, kind, text, content, external_id, attempts, sent_at, agent_id from message "
                "where state = 'queued' order by id",
            )

    async def sends(self, message: QueuedMessage) -> SendSucceeded | SendRejected | Deferred:
        return await dispatch(self.desk.inbox, "zhou", message, self.outgoing, now=self.clock.now())


@pytest.fixture
async def talk(db: Database, workspace: int) -> Talk:
    clock = SetClock(NOON)
    desk = await open_desk(db, workspace)
    talk = Talk(desk, clock, PostgresFileStore(db, clock))
    async with talk.work() as tx:
        talk.conversation = (await desk.handed_over(tx, "zhou")).id
    return talk


async def test_text_and_files_are_messages_one_after_the_other(talk: Talk) -> None:
    picture, contract = await talk.puts(png(40, 30), "图.png"), await talk.puts(CONTRACT, "../合同.pdf")
    assert (picture.kind, picture.width, picture.height) == (Kind.IMAGE, 40, 30)
    assert (contract.kind, contract.filename) == (Kind.FILE, "合同.pdf")
    assert len(await talk.replies("合同在这里", contract, picture)) == 3
    messages = await talk.queued()
    assert [(one.kind, one.text) for one in messages] == [("text", "合同在这里"), ("file", ""), ("image", "")]
    for one in messages:
        assert await talk.sends(one) == SendSucceeded()
    arrived = talk.place.arrived
    assert [one.media and one.media.filename for one in arrived] == [None, "合同.pdf", "图.png"]
    media = arrived[1].media
    assert media is not None
    assert b"".join([piece async for piece in talk.channel.fetch(media, limit=99).pieces]) == CONTRACT
    assert await talk.waiting() == []
    async with talk.work() as tx:
        assert (await talk.desk.state(tx, "zhou")).replies_used == 3


async def test_the_same_key_sends_once_and_files_alone_are_a_reply(talk: Talk) -> None:
    contract = await talk.puts(CONTRACT, "合同.pdf")
    outcomes = await asyncio.gather(*(talk.replies(" ", contract) for _ in range(4)))
    assert sorted(map(len, outcomes)) == [0, 0, 0, 1]
    assert [one.kind for one in await talk.queued()] == ["file"]
    with pytest.raises(Conflict, match="nothing to send"):
        await talk.replies(" ", key="empty")


async def test_a_file_goes_out_with_one_reply_only(talk: Talk) -> None:
    contract = await talk.puts(CONTRACT, "合同.pdf")
    assert await talk.replies("第一次", contract, key="one")
    with pytest.raises(Conflict, match="no longer there"):
        await talk.replies("第二次", contract, key="two")
    assert [one.text for one in await talk.queued()] == ["第一次", ""]


async def test_what_stops_words_stops_files_and_they_go_on_waiting(talk: Talk) -> None:
    contract = await talk.puts(CONTRACT, "合同.pdf")
    async with talk.work() as tx:
        seen = await tx.value("select max(id) from message")
    await talk.replies("我来", by=talk.desk.chen, key="his")
    with pytest.raises(ReplyCollision):
        await talk.replies("", contract, seen=seen)
    more = [await talk.puts(CONTRACT, f"{number}.pdf") for number in range(4)]
    with pytest.raises(ReplyTooLong) as told:
        await talk.replies("都在这里", *more)
    assert (told.value.needed, told.value.left) == (5, 4)
    assert len(await talk.waiting()) == 5


async def test_files_of_others_are_nobodys(talk: Talk) -> None:
    his = await talk.puts(CONTRACT, "他的.pdf", by=talk.desk.chen)
    with pytest.raises(Conflict, match="no longer there"):
        await talk.replies("拿来", his)
    async with talk.work() as tx:
        with pytest.raises(NotFound):
            await access_draft_file(tx, his.id, Actor("agent", talk.desk.lin))
        with pytest.raises(NotFound):
            await remove_draft_file(tx, his.id, Actor("agent", talk.desk.lin))
    assert await talk.waiting(by=talk.desk.chen) == ["他的.pdf"]
    async with talk.work() as tx:
        await remove_draft_file(tx, his.id, Actor("agent", talk.desk.chen))
    assert await talk.waiting(by=talk.desk.chen) == []


async def test_what_the_channel_does_not_take_is_said_before_it_is_sent(talk: Talk) -> None:
    with pytest.raises(FileNotTaken, match="takes 1000 B at most"):
        await talk.puts(bytes(FILE_BYTES + 1), "大.bin")
    with pytest.raises(FileNotTaken, match="is empty"):
        await talk.puts(b"", "空.txt")
    with pytest.raises(FileNotTaken, match="takes no files"):
        await talk.puts(CONTRACT, "合同.pdf", limits=Limits(2000))
    picky = Limits(2000, media={Kind.FILE: MediaLimit(100, least=50)})
    with pytest.raises(FileNotTaken, match="too small"):
        await talk.puts(CONTRACT, "合同.pdf", limits=picky)
    animated = await talk.puts(b"GIF89a" + bytes(20), "动图.gif")
    assert (animated.kind, animated.as_file) == (Kind.FILE, True)
    page = await talk.puts(b"<html><script>alert(1)</script>", "x.png")
    assert (page.kind, page.inline, page.content_type) == (Kind.FILE, False, "application/octet-stream")
    for number in range(MOST_FILES - 2):
        await talk.puts(CONTRACT, f"{number}.pdf")
    with pytest.raises(Conflict, match=f"At most {MOST_FILES} files"):
        await talk.puts(CONTRACT, "再一个.pdf")


async def test_a_file_is_handed_over_once_while_the_vendor_keeps_it(talk: Talk) -> None:
    await talk.replies("", await talk.puts(CONTRACT, "合同.pdf"))
    (message,) = await talk.queued()
    talk.place.faults.append((TryLater("lost", unknown=True), True))
    assert isinstance(await talk.sends(message), Deferred)
    another_process = OutgoingFiles(talk.desk.database, talk.store, talk.clock)
    assert (await another_process.hand_over(talk.desk.inbox, message.id)).kept
    assert await dispatch(talk.desk.inbox, "zhou", message, another_process, now=NOON) == SendSucceeded()
    assert len(talk.place.arrived) == 1

    talk.clock.set(NOON + timedelta(hours=72))
    assert not (await talk.outgoing.hand_over(talk.desk.inbox, message.id)).kept


async def test_what_may_have_arrived_is_not_said_again_where_a_repeat_would_stand_there_twice(talk: Talk) -> None:
    """Whichever process would try: it counts as sent. Handing a file over says nothing."""
    talk.channel.limits = replace(talk.channel.limits, repeats=False)  # type: ignore[misc]
    await talk.replies("在这里", await talk.puts(CONTRACT, "合同.pdf"))
    words, file = await talk.queued()
    for message in (words, file):
        talk.place.faults.append((TryLater("lost", unknown=True), True))
        assert await talk.sends(message) == SendSucceeded(confirmed=False)
    talk.place.faults.append((TryLater("busy"), False))
    assert isinstance(await talk.sends(replace(words, external_id="z2")), Deferred)
    assert len(talk.place.arrived) == 2


async def test_nothing_is_in_doubt_while_a_file_is_only_handed_over(talk: Talk) -> None:
    """Whoever is killed during a long upload has said nothing yet."""
    talk.channel.limits = replace(talk.channel.limits, repeats=False)  # type: ignore[misc]
    await talk.replies("", await talk.puts(CONTRACT, "合同.pdf"))
    (message,) = await talk.queued()
    marked: list[tuple[int, int]] = []

    async def mark() -> None:
        marked.append((len(talk.channel._files), len(talk.place.arrived)))

    async def seen_to() -> None:
        raise NotToBeSent

    sending = partial(dispatch, talk.desk.inbox, "zhou", message, talk.outgoing, now=NOON)
    with pytest.raises(NotToBeSent):
        await sending(mark=seen_to)
    assert talk.place.arrived == []
    assert await sending(mark=mark) == SendSucceeded()
    assert marked == [(1, 0)]


async def test_a_file_that_the_vendor_lost_is_handed_over_again(talk: Talk) -> None:
    await talk.replies("", await talk.puts(CONTRACT, "合同.pdf"))
    (message,) = await talk.queued()
    await talk.outgoing.hand_over(talk.desk.inbox, message.id)
    talk.channel.expire_files()
    assert await talk.sends(message) == SendSucceeded()
    assert len(talk.place.arrived) == 1


async def test_a_refusal_for_good_is_not_tried_twice(talk: Talk) -> None:
    await talk.replies("", await talk.puts(CONTRACT, "合同.pdf"))
    (message,) = await talk.queued()
    await talk.outgoing.hand_over(talk.desk.inbox, message.id)
    talk.place.faults.append((SendRefused(Refusal.BLOCKED), False))
    assert await talk.sends(message) == SendRejected(Refusal.BLOCKED, 0)
    async with talk.work() as tx:
        await tx.run("delete from stored_file")
        await tx.run("update attachment set reference_until = null")
    assert await talk.sends(message) == SendRejected(Refusal.BAD_MESSAGE, 0)
    assert talk.place.arrived == list[Outgoing]()


async def test_files_of_drafts_are_kept_for_a_month(talk: Talk) -> None:
    contract = await talk.puts(CONTRACT, "合同.pdf")
    jobs = AttachmentJobs(talk.desk.database, None, talk.clock, talk.store)  # type: ignore[arg-type]

    async def there() -> bool:
        try:
            return bool([piece async for piece in talk.store.read(talk.desk.workspace_id, contract.sha256)])
        except FileMissing:
            return False

    talk.clock.set(NOON + KEPT - timedelta(hours=1))
    await jobs.remove_unreferenced_files()
    assert (await talk.waiting(), await there()) == (["合同.pdf"], True)
    talk.clock.set(NOON + KEPT + timedelta(hours=1))
    await jobs.remove_unreferenced_files()
    assert (await talk.waiting(), await there()) == ([], False)
