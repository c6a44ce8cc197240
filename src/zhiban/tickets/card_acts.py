"""Decides whether a member who quotes a message about an issue may do what they say, and lets it be written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from zhiban.conversations.attachments import attachments_of
from zhiban.conversations.group_policy import Consent, GroupPolicy, PublishFiles
from zhiban.conversations.participants import Participant, participant
from zhiban.conversations.published_files import FileToPublish
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import enqueue
from zhiban.ports import IssueChange
from zhiban.tickets import card_replies, logins, mirroring, publishing
from zhiban.tickets.card_replies import Replier
from zhiban.tickets.card_telling import ANSWER_CARD, SLOW_AFTER
from zhiban.tickets.card_words import (
    LONGEST,
    NUMBERED,
    AssignIssue,
    CardWord,
    CloseIssue,
    LabelIssue,
    React,
    ReopenIssue,
    SayAtIssue,
    UnknownPicture,
    Verb,
    parse_card_word,
    verb_of,
)
from zhiban.tickets.cards import IssueCard
from zhiban.tickets.filing import requester_named, signature_for
from zhiban.tickets.freezing import frozen_files
from zhiban.tickets.frozen import frozen_words
from zhiban.tickets.issues import IssueRow, access_comment, access_issue, label_called
from zhiban.tickets.naming import reference
from zhiban.tickets.neutralising import neutral_line
from zhiban.tickets.queries import tickets_of_issue
from zhiban.tickets.rendering import comment_body, hidden
from zhiban.tickets.repositories import RepositoryRow, access_repository, repositories_of
from zhiban.tickets.tracker_writes import NewComment, NewReaction, TrackerWrite

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
# Refusals, and questions which issue is meant, that are said in a minute; the others are kept in silence.
ANSWERED = 3  # to one member
ANSWERED_GROUP = 6
LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9])?")


@frozen_dataclass
class QuotedCard:
    """A message that quotes one of ours about issues."""

    message: PendingMessage
    card: IssueCard


class _Declined(Exception):
    """Why it is not done, in a sentence for who asked."""


class CardActs:
    """What members do by quoting, in the transaction of a turn."""

    def __init__(
        self, tx: Transaction, snapshot: ConversationSnapshot, texts: Texts, *, now: datetime, publishes: PublishFiles
    ) -> None:
        self._tx = tx
        self._snapshot = snapshot
        self._texts = texts
        self._now = now
        self._publishes = publishes

    async def act(self, quoted: QuotedCard) -> str:
        """What is answered at once: why not. What is done is answered when the tracker has it."""
        message = quoted.message
        said, replier = message.text, self._replier(message)
        try:
            issue, said = await self._meant(quoted.card, said)
        except _Declined as error:
            return await self._decline(replier, quoted.card.issue_ids[0], "comment", str(error))
        offered: list[FileToPublish] = []
        word = parse_card_word(said) if len(message.text) <= LONGEST else None
        if message.kind != "text":  # with words or without, it is shown, and never meant as a command
            offered = await publishing.offers(self._tx, self._snapshot.id, [message.id], self._publishes)
            if not offered and not said.strip():
                return ""
            word = SayAtIssue(await self._shown(message, said)) if len(message.text) <= LONGEST else None
        verb: Verb = (verb_of(word) if word is not None else None) or "comment"
        try:
            repository = await self._allowed(issue, verb, message)
            what = await self._write(word, issue, repository, quoted)
        except _Declined as error:
            return await self._decline(replier, issue.id, verb, str(error))
        reply_id = await card_replies.write(
            self._tx,
            replier,
            issue_id=issue.id,
            repository_id=repository.id,
            number=issue.number,
            verb=verb,
            what=what,
            login_id=await self._login(repository, message),
            not_before=self._now + publishing.PATIENCE if offered else None,
            now=self._now,
        )
        if reply_id is None:
            return ""
        reply = await card_replies.read_reply(self._tx, reply_id)
        if offered and reply is not None and reply.call_id is not None:
            by = Actor("contact", replier.contact_id)
            await publishing.begin_comment(self._tx, reply.call_id, offered, by=by, now=self._now)
        late = SLOW_AFTER + (publishing.PATIENCE if offered else timedelta())
        await enqueue(self._tx, ANSWER_CARD.of(reply_id=reply_id, late=1, at=self._now + late))
        return ""

    async def _shown(self, message: PendingMessage, said: str) -> str:
        """A picture or a file with its size, and the words that came with it."""
        files = await attachments_of(self._tx, [message.id])
        return frozen_words(message.kind, said, message.content, frozen_files(files.get(message.id, [])), self._texts)

    # ------------------------------------------------------------------------------------------------- who may what

    async def _meant(self, card: IssueCard, said: str) -> tuple[IssueRow, str]:
        """The issue that is meant, and the words without its number."""
        rows = [await access_issue(self._tx, id_) for id_ in card.issue_ids]
        if len(rows) == 1:
            return rows[0], said
        named = NUMBERED.match(said.lstrip())
        called = f"{named[1]}{named[2]}".upper() if named is not None else ""
        found = [row for row in rows if reference(row.number, row.url) == called]
        if len(found) != 1:
            numbers = self._texts("、").join(reference(row.number, row.url) for row in rows[:10])
            asked = self._texts("这条里有好几个议题：{numbers}。", numbers=numbers)
            raise _Declined(
                asked + self._texts("请在前面写上编号，比如“{n} …”。", n=reference(rows[0].number, rows[0].url))
            )
        return found[0], said.lstrip()[named.end() if named else 0 :]

    async def _allowed(self, issue: IssueRow, verb: Verb, message: PendingMessage) -> RepositoryRow:
        texts, policy = self._texts, self._policy
        if issue.removed_at is not None:
            raise _Declined(texts("那条议题已经不在了。"))
        try:
            repository = await access_repository(self._tx, issue.repository_id)
        except NotFound:
            raise _Declined(texts("那个仓库我们已经够不到了。")) from None
        if repository.id not in {row.id for row in await repositories_of(self._tx, self._snapshot.id)}:
            raise _Declined(texts("这个群已经不和{name}绑定了。", name=repository.name))
        if repository.archived:
            raise _Declined(texts("{name}已经归档，不能再写。", name=repository.name))
        member = await self._member(message)
        changes = verb not in ("comment", "react")
        who = policy.changes if changes else policy.replies
        if who == "nobody" or policy.replies == "nobody":
            raise _Declined(texts("这个群没有开放引用卡片来操作议题。"))
        # Whoever writes under their own account is let by the tracker, or not.
        own = changes and (await self._login(repository, message) is not None or await self._is_theirs(issue, message))
        if who == "bound" and not (_is_admin(member) or own or await self._login(repository, message) is not None):
            raise _Declined(texts("这个群要先绑定自己的账号才能操作议题：请@我说“绑定账号”。"))
        if who == "admins" and not (_is_admin(member) or own):
            raise _Declined(
                texts("这个群只有群管理和提出的人可以这样改议题。")
                if changes
                else texts("这个群只有群管理可以这样评论议题。")
            )
        if verb == "comment" and member is not None and member.consent != Consent.ALL:
            raise _Declined(texts("您说过不要引用您，所以没有写过去；@我说“可以引用我”就恢复。"))
        await self._check_quota(message)
        if not await mirroring.admits(self._tx, repository.id, issue.id, now=self._now):
            raise _Declined(texts("这条议题的动静太多，先停一会儿，请过一刻钟再说。"))
        return repository

    async def _check_quota(self, message: PendingMessage) -> None:
        policy, since, conversation_id = self._policy, self._now - DAY, self._snapshot.id
        sender = message.sender_contact_id
        if (
            await card_replies.written_since(self._tx, conversation_id, sender, since=since)
            >= policy.replies_per_member
        ):
            raise _Declined(self._texts("您今天已经写了{n}次，请明天再来。", n=policy.replies_per_member))
        if await card_replies.written_since(self._tx, conversation_id, None, since=since) >= policy.replies_per_group:
            raise _Declined(self._texts("这个群今天已经写了{n}次，请明天再来。", n=policy.replies_per_group))

    async def _is_theirs(self, issue: IssueRow, message: PendingMessage) -> bool:
        """Whether they asked for it with a ticket of this group."""
        return any(
            ticket.requester_contact_id == message.sender_contact_id and ticket.conversation_id == self._snapshot.id
            for ticket in await tickets_of_issue(self._tx, issue.id)
        )

    async def _decline(self, replier: Replier, issue_id: int, verb: Verb, why: str) -> str:
        declined = await card_replies.declined_since(self._tx, replier.conversation_id, since=self._now - MINUTE)
        heard = declined.get(replier.contact_id, 0) < ANSWERED
        # Whoever is answered no more takes nothing away from the others.
        heard = heard and sum(min(each, ANSWERED) for each in declined.values()) < ANSWERED_GROUP
        kept = await card_replies.keep(
            self._tx, replier, issue_id, verb, call_id=None, outcome=card_replies.DECLINED, now=self._now
        )
        return why if kept is not None and heard else ""

    # ----------------------------------------------------------------------------------------------- what is written

    async def _write(
        self, word: CardWord | None, issue: IssueRow, repository: RepositoryRow, quoted: QuotedCard
    ) -> TrackerWrite:
        match word:
            case None:
                raise _Declined(self._texts("要说的太长了，请到{url}写。", url=issue.url))
            case SayAtIssue(text=text):
                via = await self._via(repository, quoted.message)
                return NewComment(comment_body(text, self._texts), via=via)
            case CloseIssue(planned=planned):
                return IssueChange(state="closed", reason="completed" if planned else "not_planned")
            case ReopenIssue():
                return IssueChange(state="open")
            case LabelIssue(names=names, add=add):
                labels = await self._labels(names, repository)
                return IssueChange(add_labels=labels) if add else IssueChange(remove_labels=labels)
            case AssignIssue(names=names):
                return IssueChange(add_assignees=await self._logins(names, repository))
            case React(reaction=reaction):
                comment = ""
                if quoted.card.comment_id is not None:
                    row = await access_comment(self._tx, quoted.card.comment_id)
                    comment = row.external_id if row.removed_at is None else ""
                return NewReaction(reaction, comment)
            case UnknownPicture():
                raise _Declined(self._texts("那边没有这个表情，可以用👍 👎 😄 🎉 😕 ❤️ 🚀 👀。"))
            case never:
                assert_never(never)

    async def _via(self, repository: RepositoryRow, message: PendingMessage) -> str:
        """Where words come from: a public repository need not know the group."""
        texts = self._texts
        signature = signature_for(repository, self._policy.signature)
        sender = message.sender_contact_id
        name = await requester_named(self._tx, signature, self._snapshot.id, sender, message.sender_name)
        group = self._snapshot.state.subject if repository.private else ""
        via = neutral_line(hidden(f"{group or texts('群聊')} · {name or texts('群成员')}", texts))
        return f"*via {via}*"

    async def _labels(self, names: Sequence[str], repository: RepositoryRow) -> tuple[str, ...]:
        """As they are written there. A tracker would make new ones of what it does not know."""
        known = [await label_called(self._tx, repository.id, name) for name in names]
        unknown = [name for name, there in zip(names, known, strict=True) if there is None]
        if unknown:
            raise _Declined(self._texts("没有这样的标签：{names}", names=self._texts("、").join(unknown)))
        return tuple(name for name in known if name is not None)

    async def _logins(self, names: Sequence[str], repository: RepositoryRow) -> tuple[str, ...]:
        """Of members by the accounts that they bound, of others as they are written."""
        bound = await logins.bound_by_name(self._tx, repository.connection_id, self._snapshot.id)
        names = [bound.get(name.casefold(), name) for name in names]
        wrong = [name for name in names if not LOGIN.fullmatch(name)]
        if wrong:
            raise _Declined(self._texts("不知道{names}在那边的账号，请写登录名。", names=self._texts("、").join(wrong)))
        return tuple(names)

    # --------------------------------------------------------------------------------------------------- who is who

    @property
    def _policy(self) -> GroupPolicy:
        return self._snapshot.group.policy if self._snapshot.group is not None else GroupPolicy()

    def _replier(self, message: PendingMessage) -> Replier:
        return Replier(
            self._snapshot.id,
            message.id,
            message.sender_contact_id or 0,
            message.sender_ref,
            message.sender_name,
            self._texts.locale,
        )

    async def _login(self, repository: RepositoryRow, message: PendingMessage) -> int | None:
        """The account under which they write there themselves."""
        row = await logins.bound(self._tx, repository.connection_id, message.sender_contact_id or 0)
        return row.id if row is not None else None

    async def _member(self, message: PendingMessage) -> Participant | None:
        return await participant(self._tx, self._snapshot.id, message.sender_contact_id or 0)


def _is_admin(member: Participant | None) -> bool:
    return member is not None and member.role in ("admin", "owner")
