"""Conversations by mail: what is in them, that each is sent once, and what is told where nobody knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from pydantic import SecretStr
from tests.kernel_desk import NOON, Desk, open_desk

from zhiban.automation import queries, service
from zhiban.automation.definition import BadDefinition, load_definition
from zhiban.automation.rehearsal import rehearse
from zhiban.automation.run_view import run_views
from zhiban.automation.wording import RuleWording
from zhiban.conversations import groups, replies
from zhiban.conversations import service as conversations
from zhiban.conversations.ingest import ingest
from zhiban.conversations.transcript_mails import (
    MOST_OF_AGENT,
    MOST_TO_ONE,
    MOST_TRIES,
    TranscriptMail,
    TranscriptMails,
    mail_transcript,
    mails_of,
)
from zhiban.events import SYSTEM, Actor
from zhiban.integrations.smtp import SmtpConfig, SmtpMailer
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import Texts
from zhiban.people.contact_card import change_contact
from zhiban.ports import IncomingMessage, Kind, SenderRole, TryLater
from zhiban.testing.smtp import PASSWORD, USER, SmtpSimulator
from zhiban.tickets.masking import partly


@dataclass
class Post:
    """林晓's desk, a contact who wrote, and a mail server."""

    desk: Desk
    server: SmtpSimulator
    mails: TranscriptMails
    zhou: int
    clock: SetClock = field(default_factory=lambda: SetClock(NOON))

    async def asks(self, to: str = "zhou@example.com", key: str = "desk-1-abcdefgh", **more: object) -> int:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            by = Actor("agent", self.desk.lin)
            given = {"language": "zh", "by": by, "now": NOON, **more}
            return await mail_transcript(tx, self.zhou, to=to, key=key, **given)

    async def sends(self, mail_id: int, mails: TranscriptMails | None = None) -> TranscriptMail:
        try:
            await (mails or self.mails).send(self.desk.workspace_id, mail_id)
        finally:
            async with self.desk.database.transaction(self.desk.workspace_id) as tx:
                found = await mails_of(tx, self.zhou)
        return found[0]

    async def exported(self) -> list[str]:
        async with self.desk.database.transaction(self.desk.workspace_id) as tx:
            return await tx.values("select data ->> 'what' from event where kind = 'data_exported' order by id")


@pytest.fixture
async def post(db: Database, workspace: int) -> AsyncIterator[Post]:
    desk, server = await open_desk(db, workspace), SmtpSimulator()
    async with db.transaction(workspace) as tx:
        for rule in await queries.rules(tx):
            await service.remove(tx, rule.id, by=SYSTEM, now=NOON)
        zhou = (await desk.handed_over(tx, "wm1")).id
        await desk.writes(tx, "wm1", "<script>alert(1)</script> 我的手机13812345678，密码是hunter2pass", at=NOON)
        await replies.add_note(tx, zhou, text="此人难缠", by=Actor("agent", desk.lin), now=NOON)
    async with server.serving() as port:
        config = SmtpConfig(
            host="127.0.0.1",
            port=port,
            security="none",
            user=USER,
            password=SecretStr(PASSWORD),
            sender=USER,
            seconds=1,
        )
        yield Post(desk, server, TranscriptMails(db, SmtpMailer(config), SetClock(NOON), partly), zhou)


async def test_what_was_said_arrives_once_without_notes_and_numbers(post: Post) -> None:
    mail = await post.asks()
    assert await post.asks() == mail  # pressed twice
    assert (await post.sends(mail)).state == "sent"
    await post.sends(mail)  # the job ran again
    (arrived,) = post.server.delivered
    assert arrived["to"] == "zhou@example.com"
    text, page = (part.get_content() for part in arrived.iter_parts())
    for words in (text, page):
        assert "在吗" in words
        for hidden in ("难缠", "13812345678", "hunter2pass"):
            assert hidden not in words
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    (exported,) = await post.exported()
    assert exported.startswith(f"conversation {post.zhou} by mail to ")
    assert "zhou@" not in exported


async def test_secrets_that_go_over_several_lines_stay_here(post: Post) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----"
    async with post.desk.database.transaction(post.desk.workspace_id) as tx:
        await post.desk.writes(tx, "wm1", f"{pem}\n密码：\nqwerty-Zx81", at=NOON)
    await post.sends(await post.asks())
    (arrived,) = post.server.delivered
    for part in arrived.iter_parts():
        assert "密码" in part.get_content()
        for hidden in ("MIIEvQIBADANBgkq", "qwerty-Zx81"):
            assert hidden not in part.get_content()


async def test_who_is_not_to_be_quoted_is_not_in_the_mail_and_others_are_named_as_is_set(post: Post) -> None:
    desk = post.desk
    async with desk.database.transaction(desk.workspace_id) as tx:
        for number, (who, text) in enumerate((("lihua", "付款失败"), ("wangwu", "别写我"), ("lihua", "@王五 你呢"))):
            said = IncomingMessage(f"g{number}", "wr1", who, SenderRole.CONTACT, Kind.TEXT, text, NOON, group=True)
            await ingest(tx, desk.inbox, [said], now=NOON, process_id=1)
        post.zhou = await tx.value("select id from conversation where external_id = 'wr1'")
        for said, name in (("g0", "李华"), ("g1", "王五")):
            await tx.run(
                "update contact set name = %(name)s where id = "
                "(select sender_contact_id from message where external_id = %(said)s)",
                name=name,
                said=said,
            )
        await tx.run(
            "update participant set consent = 'unquoted' where contact_id = "
            "(select sender_contact_id from message where external_id = 'g1')"
        )
    await post.sends(await post.asks())
    async with desk.database.transaction(desk.workspace_id) as tx:
        real = (await groups.chat_of(tx, post.zhou)).policy.model_copy(update={"signature": "real"})
        await groups.configure(tx, post.zhou, real, by=SYSTEM, now=NOON)
    await post.sends(await post.asks(key="desk-1-by-names"))
    alias, named = (one.get_body(("plain",)).get_content() for one in post.server.delivered)
    for words in (alias, named):
        assert "付款失败" in words
        assert "别写我" not in words
        assert "不愿被引用" in words
    assert "成员1" in alias
    assert "李华" not in alias
    assert "王五" not in alias
    assert "李华" in named


async def test_a_mail_that_nobody_answered_for_is_not_tried_again(post: Post) -> None:
    post.server.script.append("vanish")
    mail = await post.asks()
    assert (await post.sends(mail)).state == "unknown"
    assert (await post.sends(mail)).state == "unknown"
    assert len(post.server.delivered) == 1
    assert len(await post.exported()) == 1


async def test_a_process_that_died_while_sending_leaves_it_unknown(post: Post) -> None:
    mail = await post.asks()
    async with post.desk.database.transaction(post.desk.workspace_id) as tx:
        await tx.run("update transcript_mail set state = 'sending', attempts = 1 where id = %(id)s", id=mail)
    assert (await post.sends(mail)).state == "unknown"
    assert post.server.delivered == []


async def test_what_certainly_did_not_leave_is_tried_again_for_a_while(post: Post) -> None:
    mail = await post.asks()
    for _ in range(MOST_TRIES - 1):
        post.server.script.append(("RCPT", "451 4.7.1 Greylisted"))
        with pytest.raises(TryLater):
            await post.sends(mail)
    post.server.script.append(("RCPT", "451 4.7.1 Greylisted"))
    told = await post.sends(mail)
    assert told.state == "refused"
    assert "Greylisted" in Texts("zh").error(told.problem)
    assert "邮件服务器" in Texts("zh").error(told.problem)
    again = await post.asks(key="desk-1-once-more")
    post.server.script.append(("RCPT", "451 4.7.1 Greylisted"))
    with pytest.raises(TryLater):
        await post.sends(again)
    assert (await post.sends(again)).state == "sent"
    assert len(post.server.delivered) == 1


async def test_refusals_and_a_missing_server_are_said(post: Post) -> None:
    post.server.unknown.add("zhou@example.com")
    told = await post.sends(await post.asks())
    assert told.state == "refused"
    assert "No such user" in told.problem
    nowhere = TranscriptMails(post.desk.database, None, SetClock(NOON), partly)
    told = await post.sends(await post.asks(key="desk-1-nowhere"), nowhere)
    assert Texts("zh").error(told.problem) == "没有设置邮件服务器（SMTP_HOST）。"
    assert await post.exported() == []


async def test_nobody_floods_an_address(post: Post) -> None:
    for number in range(MOST_TO_ONE):
        await post.asks("Zhou@example.com", f"desk-1-number-{number}")
    with pytest.raises(Conflict):
        await post.asks("zhou@EXAMPLE.com", "desk-1-one-more")
    for number in range(MOST_OF_AGENT - MOST_TO_ONE):
        await post.asks(f"z{number}@example.com", f"desk-1-other-{number}")
    with pytest.raises(Conflict):
        await post.asks("other@example.com", "desk-1-too-many")
    assert await post.asks("other@example.com", "desk-1-later", now=NOON + timedelta(hours=2))
    with pytest.raises(Conflict):
        await post.asks("zhou@example.com\nBcc: all@example.com", "desk-1-injected")


async def test_a_rule_sends_it_and_its_run_tells_what_became_of_it(post: Post) -> None:
    desk = post.desk
    action = {"kind": "mail_transcript"}
    definition = load_definition({"on": ["conversation_resolved"], "actions": [action]})
    with pytest.raises(BadDefinition):
        load_definition({"on": ["conversation_resolved"], "actions": [{**action, "to": "address", "address": "x"}]})
    async with desk.database.transaction(desk.workspace_id) as tx:
        rule = await service.add(tx, name="寄给对方", definition=definition, enabled=True, by=SYSTEM, now=NOON)
        words = RuleWording(Texts("en"), await queries.names(tx))
        assert definition.actions[0].label(words) == "mail the transcript to the contact's address"
        await conversations.resolve(tx, post.zhou, by=Actor("agent", desk.lin), now=NOON, reason="agent")
        (run,) = await queries.runs_of(tx, rule)
        (view,) = await run_views(tx, [run], words, {})
        assert (view.actions[0].outcome, Texts("zh").error(view.actions[0].error)) == (
            "failed",
            "不知道联系人的邮箱。",
        )
        assert (await rehearse(tx, definition, now=NOON)).fired == 1
        contact = await tx.value("select contact_id from conversation where id = %(id)s", id=post.zhou)
        values = {"email": "zhou@example.com"}
        await change_contact(
            tx, contact, name="周予安", remark="", values=values, by=Actor("agent", desk.lin), now=NOON
        )
        await conversations.reopen(tx, post.zhou, by=desk.lin, now=NOON)
        await conversations.resolve(tx, post.zhou, by=Actor("agent", desk.lin), now=NOON, reason="agent")
        run, _ = await queries.runs_of(tx, rule)
        (view,) = await run_views(tx, [run], words, {})
        assert view.actions[0].outcome == "queued"
        mail = await tx.value("select max(id) from transcript_mail")
    post.server.script.append("swallow")
    assert (await post.sends(mail)).state == "unknown"
    async with desk.database.transaction(desk.workspace_id) as tx:
        (view,) = await run_views(tx, [run], words, {})
    assert view.actions[0].outcome == "unknown"
