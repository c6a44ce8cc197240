"""Conversations sent by mail: a row with each wish, a job after the commit, and what became of it.

A mail server that falls silent after it was given a mail may have taken it. Such a mail is not tried again: its row
says that nobody knows, and whoever asked may ask once more. Notes are never in it, numbers and secrets are masked, and
files stay here: the mail names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from html import escape
from typing import Literal

from zhiban.conversations.groups import chat_of
from zhiban.conversations.queries import head
from zhiban.conversations.retention import forgotten_in
from zhiban.conversations.transcript_words import SaidLine, gone_words, outside_of_group, plain_text, said_in
from zhiban.conversations.transcripts import TranscriptLine, record_transcript, transcript
from zhiban.events import Actor, ActorKind
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale, Texts, mark
from zhiban.kit.jobs import Job, Task, enqueue
from zhiban.people.contact_card import contact_card
from zhiban.people.ownership import in_turn
from zhiban.ports import ConnectionBroken, TryLater
from zhiban.ports.mail import Mail, Mailer, MailRefused, mail_address

MOST_TRIES = 6
MOST_TO_ONE = 5  # of one conversation to one address in a day
MOST_OF_AGENT = 20  # that one agent asks for in an hour
MOST_OF_ALL = 500  # of a workspace in a day, rules included
LONGEST = 2_000  # messages in a mail; of a longer conversation the last
SHOWN = 3

SEND_TRANSCRIPT = Job("send_transcript", queue="calls", attempts=MOST_TRIES + 4, wait=30.0, longest=1800.0)

MailState = Literal["queued", "sending", "sent", "refused", "unknown"]
MAIL_LABELS: Mapping[MailState, str] = {
    "queued": mark("等着发出"),
    "sending": mark("正在发出"),
    "sent": mark("邮件服务器收下了"),
    "refused": mark("没有发出"),
    "unknown": mark("不知道发出没有：邮件服务器没有答复。没有自动再发"),
}

_RECENT = """
select count(*) filter (where conversation_id = %(conversation)s and lower(recipient) = lower(%(to)s)) as to_one,
  count(*) filter (where actor_kind = 'agent' and actor_id = %(agent)s and created_at > %(hour)s) as of_agent,
  count(*) as of_all
from transcript_mail where created_at > %(day)s"""

_INSERT = """
insert into transcript_mail (workspace_id, conversation_id, recipient, language, key, actor_kind, actor_id, actor_ref,
  created_at)
values (%(workspace)s, %(conversation)s, %(to)s, %(language)s, %(key)s, %(kind)s, %(id)s, %(ref)s, %(now)s)
returning id"""

_COLUMNS = "id, conversation_id, recipient, language, actor_kind, actor_id, actor_ref, state, attempts, problem"

_SETTLE = """
update transcript_mail set state = %(state)s, problem = %(problem)s, settled_at = %(now)s
where id = %(id)s and state = any(%(of)s)"""


@frozen_dataclass
class _StoredMail:
    id: int
    conversation_id: int
    recipient: str
    language: Locale
    actor_kind: ActorKind
    actor_id: int | None
    actor_ref: str | None
    state: MailState
    attempts: int
    problem: str

    @property
    def actor(self) -> Actor:
        return Actor(self.actor_kind, self.actor_id, self.actor_ref)


@frozen_dataclass
class _KnownMail:
    id: int
    conversation_id: int
    recipient: str


@frozen_dataclass
class TranscriptMail:
    """A mail that was asked for, as our people read it: to whom, and what became of it (`problem` says why not)."""

    recipient: str
    state: MailState
    problem: str
    at: datetime


async def mail_transcript(
    tx: Transaction, conversation_id: int, *, to: str, language: Locale, key: str, by: Actor, now: datetime
) -> int:
    """Send what was said there to this address, after the commit; the same `key` sends once.

    Raises Conflict where this is no address, the key stood for another mail, or too many were asked for lately.
    """
    address = mail_address(to)
    await in_turn(tx, "transcript mails")
    known = await tx.object(
        _KnownMail, "select id, conversation_id, recipient from transcript_mail where key = %(key)s", key=key
    )
    if known is not None:
        if (known.conversation_id, known.recipient.lower()) != (conversation_id, address.lower()):
            raise Conflict(mark("This form has sent a mail already. Open it again for another one."))
        return known.id
    to_one, of_agent, of_all = await tx.row(
        _RECENT,
        conversation=conversation_id,
        to=address,
        agent=by.id if by.kind == "agent" else None,
        hour=now - timedelta(hours=1),
        day=now - timedelta(days=1),
    ) or (0, 0, 0)
    if to_one >= MOST_TO_ONE:
        raise Conflict(mark(f"This conversation went to this address {MOST_TO_ONE} times today. That is enough."))
    if of_agent >= MOST_OF_AGENT:
        raise Conflict(mark(f"{MOST_OF_AGENT} mails an hour at most. Try again later."))
    if of_all >= MOST_OF_ALL:
        raise Conflict(mark(f"{MOST_OF_ALL} transcripts went out by mail today. That is the limit."))
    id_ = int(
        await tx.value(
            _INSERT,
            workspace=tx.workspace_id,
            conversation=conversation_id,
            to=address,
            language=language,
            key=key,
            kind=by.kind,
            id=by.id,
            ref=by.ref,
            now=now,
        )
    )
    await enqueue(tx, SEND_TRANSCRIPT.of(key=f"{tx.workspace_id}-{id_}", mail_id=id_))
    return id_


async def contact_address(tx: Transaction, conversation_id: int) -> str:
    """The contact's e-mail address as it is kept; empty where there is none."""
    contact_id = await tx.value("select contact_id from conversation where id = %(id)s", id=conversation_id)
    return "" if contact_id is None else str((await contact_card(tx, contact_id)).attributes.get("email") or "")


async def mails_of(tx: Transaction, conversation_id: int) -> list[TranscriptMail]:
    """What was asked for of this conversation lately, newest first."""
    return await tx.objects(
        TranscriptMail,
        "select recipient, state, problem, coalesce(settled_at, created_at) as at from transcript_mail "
        "where conversation_id = %(id)s order by id desc limit %(most)s",
        id=conversation_id,
        most=SHOWN,
    )


async def mails_by_key(tx: Transaction, keys: Sequence[str]) -> dict[str, TranscriptMail]:
    """What became of the mails that were asked for under these keys."""
    rows = await tx.rows(
        "select key, recipient, state, problem, coalesce(settled_at, created_at) from transcript_mail "
        "where key = any(%(keys)s::text[])",
        keys=list(keys),
    )
    return {key: TranscriptMail(*rest) for key, *rest in rows}


class TranscriptMails:
    """The job that sends. `mask` hides numbers and secrets in a text."""

    def __init__(self, database: Database, mailer: Mailer | None, clock: Clock, mask: Callable[[str], str]) -> None:
        self._database = database
        self._mailer = mailer
        self._clock = clock
        self._mask = mask

    def tasks(self) -> list[Task]:
        return [Task(SEND_TRANSCRIPT, self.send)]

    async def send(self, workspace_id: int, mail_id: int) -> None:
        """Send one mail, unless that was tried without an end. Raises TryLater where it is worth another attempt."""
        async with self._database.transaction(workspace_id) as tx:
            stored = await tx.object(
                _StoredMail, f"select {_COLUMNS} from transcript_mail where id = %(id)s for update", id=mail_id
            )
            if stored is None or stored.state not in ("queued", "sending"):
                return
            if stored.state == "sending":  # whoever had it did not live to say what came of it
                await self._settle(tx, stored, "unknown", lines=0)
                return
            if self._mailer is None:
                await self._settle(tx, stored, "refused", mark("No mail server is set up (SMTP_HOST)."), of=("queued",))
                return
            mail, lines = await self._written(tx, stored, f"transcript-{workspace_id}-{mail_id}")
            await tx.run(
                "update transcript_mail set state = 'sending', attempts = attempts + 1 where id = %(id)s", id=mail_id
            )
        try:
            await self._mailer.send(mail)
        except (MailRefused, ConnectionBroken) as refusal:
            await self._end(workspace_id, stored, "refused", refusal.sentence)
        except TryLater as error:
            if error.unknown:
                await self._end(workspace_id, stored, "unknown", lines=lines)
                return
            last = stored.attempts + 1 >= MOST_TRIES
            await self._end(workspace_id, stored, "refused" if last else "queued", error.sentence)
            if not last:
                raise
        else:
            await self._end(workspace_id, stored, "sent", lines=lines)

    async def _end(
        self, workspace_id: int, stored: _StoredMail, state: MailState, problem: str = "", *, lines: int = 0
    ) -> None:
        async with self._database.transaction(workspace_id) as tx:
            await self._settle(tx, stored, state, problem, lines=lines)

    async def _settle(
        self,
        tx: Transaction,
        stored: _StoredMail,
        state: MailState,
        problem: str = "",
        *,
        lines: int = 0,
        of: Sequence[MailState] = ("sending",),
    ) -> None:
        """Write what became of it; that it left, or may have left, stands in the log."""
        now = self._clock.now()
        settled = await tx.run(_SETTLE, id=stored.id, state=state, problem=problem, now=now, of=list(of))
        if not settled and state == "sent":  # taken for dead meanwhile
            await tx.run(_SETTLE, id=stored.id, state=state, problem="", now=now, of=["unknown"])
        if settled and state in ("sent", "unknown"):
            where = self._mask(stored.recipient)
            await record_transcript(
                tx, stored.conversation_id, rows=lines, notes=False, by=stored.actor, now=now, mailed_to=where
            )

    async def _written(self, tx: Transaction, stored: _StoredMail, key: str) -> tuple[Mail, int]:
        """The mail as the conversation is now, and how many messages are in it."""
        about = await head(tx, stored.conversation_id)
        lines = await transcript(tx, stored.conversation_id, notes=False, most=LONGEST)
        forgotten = await forgotten_in(tx, stored.conversation_id)
        texts, now = Texts(stored.language), self._clock.now()
        whole = len(lines)
        if about.kind == "group":
            lines = outside_of_group(lines, (await chat_of(tx, about.id)).policy.signature, texts)
        # Masked before they are cut into lines: a key or a password may go over several.
        said = [
            (self._mask(who), one, words)
            for who, one, words in said_in([self._masked(one) for one in lines], about.tag, texts)
        ]
        title = texts("会话记录 #{id}", id=about.id)
        above = [f"{title} · {about.inbox_name} · {texts.stamp(now)}"]
        if forgotten is not None:
            above.append(gone_words(forgotten, texts, now))
        if len(lines) < whole:
            above.append(texts("不愿被引用的成员说的话没有写进来。"))
        if any(one.files for one in lines):
            above.append(texts("文件没有随邮件发出，只写了名字。"))
        subject = texts("{inbox}：会话记录 #{id}", inbox=about.inbox_name, id=about.id)
        text = plain_text(above[0], "\n".join(above[1:]), said, texts)
        return Mail(key, stored.recipient, subject, text, _page(above, said, texts)), len(lines)

    def _masked(self, line: TranscriptLine) -> TranscriptLine:
        return replace(
            line,
            text=self._mask(line.text),
            choices=tuple(map(self._mask, line.choices)),
            files=tuple(map(self._mask, line.files)),
        )


_PAGE = '<div style="max-width:640px;margin:0 auto;font:15px/1.6 sans-serif">{}</div>'
_LINE = '<p style="margin:2px 0;white-space:pre-wrap;overflow-wrap:anywhere">{}</p>'
_WHO = '<p style="margin:16px 0 0;font-size:13px"><b>{}</b> <span style="color:#6b6b6b">{}</span></p>'


def _page(above: Sequence[str], said: Sequence[SaidLine], texts: Texts) -> str:
    """The same as a page for mail programs: text and styles, nothing that is loaded or run."""
    parts = [_LINE.format(escape(line)) for line in above]
    for who, one, words in said:
        parts.append(_WHO.format(escape(who), escape(texts.stamp(one.at))))
        parts += [_LINE.format(escape(line)) for line in words]
    return _PAGE.format("".join(parts))
