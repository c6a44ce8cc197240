"""Rules and macros that send files: once, with words or without, or with a reason why not."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel
from zhiban.automation import macros, queries, service
from zhiban.automation.attached_files import access_attached, file_remarks, forget_unused_files
from zhiban.automation.definition import load_definition
from zhiban.automation.engine import RuleEngine
from zhiban.automation.macro_definition import load_macro
from zhiban.automation.models import RuleRun
from zhiban.automation.rehearsal import rehearse
from zhiban.automation.rule_book import RuleBook
from zhiban.automation.rule_files import BadRuleFile, from_yaml, to_yaml
from zhiban.automation.wording import RuleWording
from zhiban.bootstrap import reactions
from zhiban.conversations import service as conversations
from zhiban.conversations.action_files import MOST_OF_ONE, ActionFile, add_action_file
from zhiban.conversations.attachment_jobs import AttachmentJobs
from zhiban.conversations.draft_files import FileNotTaken, StoredContent
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.conversations.groups import configure
from zhiban.conversations.models import Priority
from zhiban.conversations.retention import unused_files
from zhiban.events import SYSTEM, Actor
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.file_store import PostgresFileStore, Spool
from zhiban.kit.i18n import Texts
from zhiban.ports import Kind, Limits

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + (4).to_bytes(4, "big") + (3).to_bytes(4, "big")
LIMITS = WindowedChannel.limits
NO_FILES = replace(LIMITS, media={})


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    desk = await open_desk(db, workspace)
    takes(desk, LIMITS)
    async with db.transaction(workspace) as tx:
        for rule in await queries.rules(tx):
            await service.remove(tx, rule.id, by=SYSTEM, now=NOON)
    return desk


def takes(desk: Desk, limits: Limits) -> None:
    desk.database.reactions = reactions(RuleEngine(RuleBook(), lambda _: limits))


async def file(tx: Transaction, name: str, content: bytes, *, by: int | None = None) -> ActionFile:
    stored = StoredContent(hashlib.sha256(content).hexdigest(), len(content), content, name)
    return await add_action_file(tx, stored, by=by, now=NOON)


async def rule(tx: Transaction, *actions: dict[str, Any], by: Actor = SYSTEM) -> int:
    told = {"on": ["conversation_updated"], "actions": list(actions)}
    return await service.add(tx, name="发价目", definition=load_definition(told), enabled=True, by=by, now=NOON)


async def set_off(desk: Desk, tx: Transaction, who: str) -> RuleRun:
    state = await desk.handed_over(tx, who)
    await tx.run("delete from rule_run")  # what the handing over set off
    await tx.run("delete from attachment")
    await tx.run("delete from message where direction = 'out'")
    await tx.run("update conversation set replies_used = 0")
    await conversations.set_priority(tx, state.id, priority=Priority.HIGH, by=Actor("agent", desk.lin), now=NOON)
    (run,) = await queries.runs_about(tx, state.id)
    return run


async def sent(tx: Transaction) -> list[tuple[str, str, str | None]]:
    """Kind, words and file of what waits to be sent."""
    return await tx.rows(
        "select m.kind, m.text, a.filename from message m left join attachment a on a.message_id = m.id "
        "where m.direction = 'out' and m.state = 'queued' order by m.id"
    )


async def test_one_agent_does_not_take_all_the_room_there_is(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        first = await file(tx, "价目.txt", b"1", by=desk.lin)
        await tx.run(
            "insert into action_file (workspace_id, filename, content_type, size, sha256, added_by, created_at) "
            "select workspace_id, filename, content_type, size, sha256, added_by, created_at from action_file, "
            "generate_series(2, %(most)s) where id = %(id)s",
            most=MOST_OF_ONE,
            id=first.id,
        )
        with pytest.raises(Conflict, match=str(MOST_OF_ONE)):
            await file(tx, "价目.txt", b"1", by=desk.lin)
        await file(tx, "价目.txt", b"1", by=desk.chen)


async def test_words_and_files_go_out_once_each_as_a_message(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        picture, table = await file(tx, "图.png", PNG), await file(tx, "价目.txt", b"1")
        await rule(
            tx, {"kind": "send_attachment", "files": [table.id, picture.id, table.id], "text": "给您{{contact.name}}"}
        )
        run = await set_off(desk, tx, "wm1")
        assert await sent(tx) == [("text", "给您", None), ("file", "", "价目.txt"), ("image", "", "图.png")]
        assert (run.outcome, [one["outcome"] for one in run.actions]) == ("acted", ["queued"])
        assert (await desk.state(tx, "wm1")).replies_used == 3
        told = load_definition((await queries.rules(tx))[0].definition)
        words = RuleWording(Texts(), await queries.names(tx))
        assert told.label(words).endswith("发消息“给您{{contact.name}}”，附上“价目.txt”和“图.png”和“价目.txt”")


@pytest.mark.parametrize(
    ("limits", "spent", "why"),
    [
        (NO_FILES, 0, "This channel takes no files."),
        (LIMITS, 4, "This reply takes 2 messages, and 1 may still be sent. Shorten it."),
    ],
)
async def test_what_the_channel_does_not_take_is_told_in_the_run_and_nothing_of_it_leaves(
    desk: Desk, limits: Limits, spent: int, why: str
) -> None:
    takes(desk, limits)
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await file(tx, "价目.txt", b"1")
        state = await desk.handed_over(tx, "wm1")
        await tx.run("update conversation set replies_used = %(n)s", n=spent)
        await rule(
            tx,
            {"kind": "send_attachment", "files": [table.id], "text": "给您"},
            {"kind": "add_note", "text": "发了价目"},
        )
        await conversations.set_priority(tx, state.id, priority=Priority.HIGH, by=Actor("agent", desk.lin), now=NOON)
        (run,) = await queries.runs_about(tx, state.id)
        assert await sent(tx) == []
        assert run.outcome == "failed"
        assert [(one["outcome"], one.get("error")) for one in run.actions] == [("failed", why), ("done", None)]


async def test_a_group_in_which_nothing_may_be_said_is_told_of_and_not_passed_over(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await file(tx, "价目.txt", b"1")
        state = await desk.handed_over(tx, "wm1")
        await tx.run("update conversation set kind = 'group', contact_id = null where id = %(id)s", id=state.id)
        await configure(tx, state.id, GroupPolicy(read_only=True), by=SYSTEM, now=NOON)
        await rule(tx, {"kind": "send_attachment", "files": [table.id]}, {"kind": "send_message", "text": "你好"})
        await conversations.set_priority(tx, state.id, priority=Priority.HIGH, by=Actor("agent", desk.lin), now=NOON)
        (run,) = await queries.runs_about(tx, state.id)
        assert [one["outcome"] for one in run.actions] == ["failed", "failed"]
        assert "read only" in run.actions[0]["error"]
        assert await sent(tx) == []


async def test_a_macro_sends_them_as_the_agent_once_or_does_nothing(desk: Desk) -> None:
    lin = Actor("agent", desk.lin)
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await file(tx, "价目.txt", b"1", by=desk.lin)
        told = load_macro([{"kind": "set_priority", "priority": 4}, {"kind": "send_attachment", "files": [table.id]}])
        id_ = await macros.add_macro(tx, name="价目", definition=told, owner_id=None, by=lin, now=NOON)
        macro = await macros.access_macro(tx, id_, agent_id=desk.lin)
        state = await desk.handed_over(tx, "wm1")

        async def run(key: str, limits: Limits = LIMITS) -> Any:
            return await macros.run_macro(
                tx, macro, state.id, agent_id=desk.lin, limits_of=lambda _: limits, key=key, now=NOON
            )

        assert (await run("1"), await run("1")) == (("done", "queued"), None)
        assert await sent(tx) == [("file", "", "价目.txt")]
        with pytest.raises(macros.MacroFailed, match="takes no files") as failed:
            await run("2", NO_FILES)
        assert failed.value.position == 1


async def test_one_sends_only_what_one_has_added_or_what_stood_there(desk: Desk) -> None:
    lin, chen = Actor("agent", desk.lin), Actor("agent", desk.chen)
    async with desk.database.transaction(desk.workspace_id) as tx:
        mine, theirs = await file(tx, "我的.txt", b"1", by=desk.lin), await file(tx, "别人的.txt", b"2", by=desk.chen)
        for ids in ([theirs.id], [mine.id, 4711]):
            with pytest.raises(Conflict, match="no longer there"):
                await rule(tx, {"kind": "send_attachment", "files": ids}, by=lin)
        id_ = await rule(tx, {"kind": "send_attachment", "files": [mine.id]}, by=lin)
        both = load_definition(
            {"on": ["conversation_updated"], "actions": [{"kind": "send_attachment", "files": [mine.id, theirs.id]}]}
        )
        await service.change(tx, id_, definition=both, by=chen, now=NOON)  # 林晓's stood there
        told = load_macro([{"kind": "send_attachment", "files": [mine.id]}])
        with pytest.raises(Conflict, match="no longer there"):
            await macros.add_macro(tx, name="借用", definition=told, owner_id=desk.chen, by=chen, now=NOON)
        private = await file(tx, "私人.txt", b"3", by=desk.lin)
        told = load_macro([{"kind": "send_attachment", "files": [private.id]}])
        await macros.add_macro(tx, name="私人", definition=told, owner_id=desk.lin, by=lin, now=NOON)
        assert (await access_attached(tx, mine.id, agent_id=desk.chen)).filename == "我的.txt"  # everybody sees rules
        assert (await access_attached(tx, private.id, agent_id=desk.lin)).filename == "私人.txt"
        for id_ in (private.id, 4711):
            with pytest.raises(NotFound):
                await access_attached(tx, id_, agent_id=desk.chen)


async def test_what_a_rule_or_macro_names_stays_and_what_nothing_names_goes(desk: Desk) -> None:
    clock = SetClock(NOON)
    store = PostgresFileStore(desk.database, clock)
    contents = {name: name.encode() for name in ("rule", "macro", "removed", "nobody")}
    for content in contents.values():
        await store.keep(
            desk.workspace_id, Spool(io.BytesIO(content), hashlib.sha256(content).hexdigest(), len(content), content)
        )
    async with desk.database.transaction(desk.workspace_id) as tx:
        ids = {name: (await file(tx, f"{name}.txt", content)).id for name, content in contents.items()}
        await rule(tx, {"kind": "send_attachment", "files": [ids["rule"]]})
        told = load_macro([{"kind": "send_attachment", "files": [ids["macro"]]}])
        await macros.add_macro(tx, name="宏", definition=told, owner_id=desk.lin, by=SYSTEM, now=NOON)
        gone = await rule(tx, {"kind": "send_attachment", "files": [ids["removed"]]})
        await service.remove(tx, gone, by=SYSTEM, now=NOON)
        assert await forget_unused_files(tx, now=NOON + timedelta(days=29)) == 0
        assert await forget_unused_files(tx, now=NOON + timedelta(days=31)) == 2
        assert [one.id for one in (await queries.names(tx)).files.values()] == [ids["rule"], ids["macro"]]
    clock.advance(timedelta(days=40))
    connections: Any = None  # no vendor is asked
    await AttachmentJobs(desk.database, connections, clock, store).remove_unreferenced_files()
    async with desk.database.transaction(desk.workspace_id) as tx:
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        assert set(await tx.values("select sha256 from stored_file")) == {digests["rule"], digests["macro"]}
        # Nor does the content go with the last message that carried it.
        assert set(await unused_files(tx, list(digests.values()))) == {digests["removed"], digests["nobody"]}


async def test_a_file_that_is_gone_fails_its_action_and_says_so(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await file(tx, "价目.txt", b"1")
        await rule(tx, {"kind": "send_attachment", "files": [table.id]})
        await tx.run("delete from action_file")
        run = await set_off(desk, tx, "wm1")
        assert run.actions[0]["error"] == "A file of this action is not there any more."
        definition = load_definition((await queries.rules(tx))[0].definition)
        words = RuleWording(Texts(), await queries.names(tx))
        assert "已删除的一项" in definition.label(words)


async def test_rehearsal_says_what_it_would_send_and_where_it_could_not(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await file(tx, "价目.txt", b"12345")
        definition = load_definition(
            {"on": ["message_created"], "actions": [{"kind": "send_attachment", "files": [table.id]}]}
        )
        for n in range(3):
            await desk.writes(tx, f"wm{n}")
        found = await rehearse(tx, definition, now=NOON)
        names = await queries.names(tx)

        def said(limits: Limits) -> list[str]:
            return file_remarks(definition, found, names, lambda _: limits, Texts())

        assert said(LIMITS) == ["会发：“价目.txt”（5 B）。"]
        assert said(NO_FILES) == [
            "会发：“价目.txt”（5 B）。",
            "其中3次，会话的渠道收不了这些文件，发附件这一步不会做。",
        ]
        assert await sent(tx) == []
        await tx.run("delete from action_file")
        names = await queries.names(tx)
        assert said(LIMITS) == ["有文件已经不在了，发附件这一步不会做。"]


async def test_hostile_names_and_types_are_told_by_their_bytes(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        page = await file(tx, "../../etc/pass\u202ewd\0.png", b"<html><script>alert(1)</script>")
        assert not set("/\0\u202e") & set(page.filename)
        assert not page.inline
        picture = await file(tx, "page.html", PNG)
        assert (picture.filename, picture.content_type, picture.inline) == ("page.html", "image/png", True)
        with pytest.raises(FileNotTaken, match="empty"):
            await file(tx, "leer.txt", b"")
        assert LIMITS.kind_of(picture.content_type, picture.size) is Kind.IMAGE


async def test_files_travel_by_name_and_content(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        table = await file(tx, "价目.txt", b"1")
        await file(tx, "另一份.txt", b"1")
        await rule(tx, {"kind": "send_attachment", "files": [table.id], "text": "给您"})
        names = await queries.names(tx)
        written = to_yaml(await queries.rules(tx), names)
        assert f"    - name: 价目.txt\n      sha256: {table.sha256}\n" in written
        (read,) = from_yaml(written, names)
        assert read.definition.actions[0].stored()["files"] == (table.id,)
        with pytest.raises(BadRuleFile, match=r"is not here\. Keep the folder"):
            from_yaml(written, replace(names, files={}))
        # One that is gone is written as its number, which means another file elsewhere.
        gone = to_yaml(await queries.rules(tx), replace(names, files={}))
        assert f"    - {table.id}\n" in gone
        with pytest.raises(BadRuleFile, match=r"is not here\. Keep the folder"):
            from_yaml(gone, names)
        (read,) = from_yaml(gone, replace(names, files={}))  # and where it is gone as well, it stays as it is
        assert read.definition.actions[0].stored()["files"] == (table.id,)
