"""From messages to lines that nothing later changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from zhiban.conversations.attachments import Attachment
from zhiban.conversations.group_policy import Consent
from zhiban.conversations.models import Author
from zhiban.conversations.participants import participant
from zhiban.conversations.spoken import SpokenMessage, files_of, spoken
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.tickets.command import parse
from zhiban.tickets.draft_words import parse_word
from zhiban.tickets.frozen import FrozenFile, FrozenLine, frozen_words
from zhiban.tickets.masking import whole_secrets
from zhiban.tickets.models import TicketMessage
from zhiban.tickets.windows import Said

QUOTED = 500  # characters of what a message answers
LOOKED_AT = 400  # messages before a command


class Unusable(StrEnum):
    """Why a message that somebody may see is not put into a ticket."""

    RECALLED = "recalled"
    UNQUOTED = "unquoted"  # its writer does not want to be quoted
    COMMAND = "command"  # said to us about tickets


def may_pick(message: SpokenMessage) -> bool:
    """Whether it is something that was said."""
    return message.kind not in ("activity", "note", "move", "survey")


def unusable(message: SpokenMessage, *, group: bool) -> Unusable | None:
    if message.recalled:
        return Unusable.RECALLED
    if not message.quotable:
        return Unusable.UNQUOTED
    aside = message.author == Author.CONTACT and message.kind == "text" and is_aside(message.text, group=group)
    return Unusable.COMMAND if aside else None


def as_said(message: SpokenMessage, *, group: bool) -> Said:
    """A message as windows look at it."""
    mine = message.author == Author.CONTACT and message.kind == "text"
    return Said(
        message.id,
        message.author,
        message.contact_id if message.contact_id is not None else message.agent_id,
        tuple(dict.fromkeys(filter(None, (message.nickname, message.name)))),
        message.kind,
        message.text,
        message.sent_at,
        recalled=message.recalled,
        aside=mine and is_aside(message.text, group=group),
        opted_out=not message.quotable,
    )


def is_aside(text: str, *, group: bool) -> bool:
    """Whether it is said to us about tickets, rather than about the matter."""
    if parse_word(text) is not None and (len(text) > 1 or group):
        return True
    return parse(text, addressed=True) is not None


async def freeze(
    tx: Transaction, conversation_id: int, messages: Sequence[SpokenMessage], texts: Texts
) -> list[FrozenLine]:
    """These messages in words, with what they answer; whoever does not want to be quoted is not quoted there either."""
    files = await files_of(tx, messages)
    answered = await spoken(
        tx, conversation_id, sorted({one.reply_to_id for one in messages if one.reply_to_id is not None})
    )
    quoted = {one.id: one for one in answered if one.quotable and not one.recalled}
    quoted_files = await files_of(tx, list(quoted.values()))
    return [
        FrozenLine(
            one.id,
            _speaker(one),
            one.name or (texts("值班助手") if one.contact_id is None else ""),
            one.nickname,
            one.sent_at,
            frozen_words(one.kind, one.words, one.content, frozen_files(files.get(one.id, [])), texts),
            _called(quoted.get(one.reply_to_id or 0)),
            _quoted(quoted.get(one.reply_to_id or 0), quoted_files, texts),
            one.recalled,
            one.contact_id if one.author == Author.CONTACT else None,
        )
        for one in messages
    ]


async def still_there(tx: Transaction, conversation_id: int, lines: Sequence[FrozenLine]) -> tuple[FrozenLine, ...]:
    """Those of these that nobody has recalled meanwhile, whose speakers still let themselves be quoted; and what they
    answer only where that is so of it as well."""
    there = {one.id: one for one in await spoken(tx, conversation_id, [line.message_id for line in lines])}
    answered = sorted({one.reply_to_id for one in there.values() if one.reply_to_id is not None})
    quotable = {one.id for one in await spoken(tx, conversation_id, answered) if one.quotable and not one.recalled}
    kept = {id_ for id_, one in there.items() if not one.recalled and (one.quotable or one.author != Author.CONTACT)}
    return tuple(
        line if there[line.message_id].reply_to_id in quotable else replace(line, quoted="", quoted_name="")
        for line in lines
        if line.message_id in kept
    )


async def still_quotable(tx: Transaction, messages: Sequence[TicketMessage]) -> list[FrozenLine]:
    """What may be read of these outside: not what is said by members who do not want to be quoted any more.

    What was recalled is an empty line; what its conversation has forgotten goes by what its speaker says now.
    """
    kept: list[FrozenLine] = []
    for conversation_id in dict.fromkeys(message.conversation_id for message in messages):
        lines = [message.line for message in messages if message.conversation_id == conversation_id]
        known = {one.id for one in await spoken(tx, conversation_id, [line.message_id for line in lines])}
        there = {line.message_id: line for line in await still_there(tx, conversation_id, lines)}
        for line in lines:
            if line.message_id in there:
                kept.append(there[line.message_id])
            elif line.recalled or (line.message_id not in known and await _lets_quote(tx, conversation_id, line)):
                kept.append(line)
    return kept


async def _lets_quote(tx: Transaction, conversation_id: int, line: FrozenLine) -> bool:
    member = await participant(tx, conversation_id, line.contact_id) if line.contact_id is not None else None
    return member is None or member.consent == Consent.ALL


def _speaker(message: SpokenMessage) -> str:
    if message.author == Author.CONTACT:
        return f"contact-{message.contact_id}"
    return f"agent-{message.agent_id}" if message.agent_id is not None else message.author


def _called(message: SpokenMessage | None) -> str:
    return "" if message is None else message.nickname or message.name


def _quoted(message: SpokenMessage | None, files: dict[int, list[Attachment]], texts: Texts) -> str:
    if message is None:
        return ""
    words = frozen_words(message.kind, message.words, message.content, frozen_files(files.get(message.id, [])), texts)
    return whole_secrets(words, QUOTED)


def frozen_files(files: Sequence[Attachment]) -> list[FrozenFile]:
    """What is kept of the files of a message: what they are called, how large they are, how long they last."""
    return [
        FrozenFile(one.filename, one.size, round(one.seconds) if one.seconds else None, one.state != "failed")
        for one in files
    ]
