"""Tells who quoted a message about an issue what became of it, once; and that it takes long, where it does."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.channels.connections import OpenInbox
from zhiban.channels.inboxes import access_connection
from zhiban.conversations import transitions
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Job
from zhiban.ports import Mention
from zhiban.tickets import logins
from zhiban.tickets.card_replies import LEFT, WRITTEN, CardReply, read_reply
from zhiban.tickets.cards import note_card
from zhiban.tickets.issues import IssueRow, access_issue
from zhiban.tickets.models import PROBLEMS
from zhiban.tickets.naming import reference
from zhiban.tickets.queries import tickets_of_issue
from zhiban.tickets.repositories import find_repository

ANSWER_CARD = Job("answer_quoted_card", attempts=5)
SLOW_AFTER = timedelta(seconds=20)  # until somebody hears that the tracker takes its time


async def inbox_waiting_for(tx: Transaction, reply_id: int) -> int | None:
    """The inbox of the group that is answered; None where there is nothing to answer."""
    reply = await read_reply(tx, reply_id)
    return None if reply is None else (await transitions.lock(tx, reply.conversation_id)).inbox_id


async def answer(tx: Transaction, inbox: OpenInbox, reply_id: int, *, late: bool, now: datetime) -> None:
    """Say in the group what became of it; with `late`, that it waits, where it still does."""
    reply = await read_reply(tx, reply_id)
    if reply is None or late != (reply.outcome is None) or (reply.recalled_at is not None) != (reply.outcome == LEFT):
        return
    state = await transitions.lock(tx, reply.conversation_id)
    issue = await access_issue(tx, reply.issue_id)
    if allowance_of(state, inbox.channel.limits.reply_window).closed(now) or await _told_as_ticket(tx, reply):
        return
    result = await enqueue(
        tx,
        state,
        author=Author.TRACKER,
        actor=Actor("tracker"),
        text=await _words(tx, reply, issue),
        key=key_for("card-reply", reply.id, "late" if late else LEFT if reply.outcome == LEFT else "settled"),
        limits=inbox.channel.limits,
        now=now,
        mentions=(Mention(reply.ref, reply.name),) if reply.ref else (),
    )
    for message in result.messages[:1]:
        await note_card(tx, reply.conversation_id, message.id, issue.id)


async def _told_as_ticket(tx: Transaction, reply: CardReply) -> bool:
    """Whether the group hears of it as the end of its ticket."""
    if reply.verb != "close" or reply.outcome != WRITTEN:
        return False
    return any(
        one.conversation_id == reply.conversation_id and one.done_at is not None and one.done_at >= reply.created_at
        for one in await tickets_of_issue(tx, reply.issue_id)
    )


async def _words(tx: Transaction, reply: CardReply, issue: IssueRow) -> str:
    texts = Texts(reply.locale)
    repository = await find_repository(tx, issue.repository_id)
    where = f"{repository.name} {reference(issue.number, issue.url)}"
    if reply.outcome is None:
        broken = (await access_connection(tx, repository.connection_id, part="tracker")).broken
        if broken:
            return texts("{where}还没能写：那边不认我们的凭据了，同事修好以后会补上。", where=where)
        return texts("{where}那边还没有回应，写好了会在这里说。", where=where)
    if reply.outcome == LEFT:
        line = (
            texts("{where}那边不让我们撤掉您的表情，请到那里自己撤。", where=where)
            if reply.verb == "react"
            else texts("{where}那边不让我们删您撤回的那条，请到那里自己删。", where=where)
        )
        return "\n".join(filter(None, (line, reply.url or issue.url)))
    if reply.outcome != WRITTEN:
        why = texts(PROBLEMS[reply.outcome]) if reply.outcome in PROBLEMS else texts("那边没有接受这份内容。")
        return "\n".join(filter(None, (texts("{where}没能写成：{why}", where=where, why=why), reply.url)))
    lines = [_done(reply, where, issue, texts)]
    if reply.dropped:
        names = texts("、").join(reply.dropped)
        lines.append(texts("没有写上：{names}，那边没有给我们这个权限，或者没有这个人。", names=names))
    if reply.verb == "comment":
        lines.append(reply.url)
        if issue.state == "closed":
            lines.append(texts("这条议题是关闭的；要重开，请引用它说“重开”。"))
    if await logins.revoked_since(tx, repository.connection_id, reply.contact_id, reply.created_at):
        lines.append(texts("您在那边的授权失效了，这次用机器人的名义写；要恢复请再说一次“绑定账号”。"))
    return "\n".join(filter(None, lines))


def _done(reply: CardReply, where: str, issue: IssueRow, texts: Texts) -> str:
    match reply.verb:
        case "comment":
            return texts("已评论到{where}", where=where)
        case "close":
            return texts("已关闭{where}", where=where)
        case "reopen":
            return texts("已重新打开{where}", where=where)
        case "label":
            return texts("{where}的标签：{names}", where=where, names=texts("、").join(issue.labels) or texts("没有"))
        case "assign":
            return texts(
                "{where}指派给：{names}", where=where, names=texts("、").join(issue.assignees) or texts("没有人")
            )
        case "react":
            return texts("已在{where}回了这个表情", where=where)
