"""Which of the messages that wait are said to us about tickets, and what has to be known to act on them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from zhiban.assistant import group_words
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage
from zhiban.conversations.spoken import said_between, spoken_before
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.tickets.binding import BindingWord, parse_binding
from zhiban.tickets.card_acts import QuotedCard
from zhiban.tickets.card_words import AssignIssue, parse_card_word
from zhiban.tickets.cards import IssueCard, cards, several_about
from zhiban.tickets.command import TicketCommand, parse
from zhiban.tickets.draft_words import Cancel, Confirm, DraftWord, Undo, parse_word
from zhiban.tickets.drafts import TicketDraft, open_drafts
from zhiban.tickets.freezing import LOOKED_AT, as_said, freeze, is_aside
from zhiban.tickets.frozen import FrozenLine
from zhiban.tickets.login_words import LoginWord, parse_login_word
from zhiban.tickets.queries import tickets_where
from zhiban.tickets.typed_names import names_us_by_hand
from zhiban.tickets.windows import ChosenMessages, WindowQuestion, choose

UNDO_LIFE = timedelta(minutes=10)
SHOWN = ("image", "file")  # what may be shown at an issue by quoting a message about it
_HAN = re.compile(r"[\u3400-\u9fff]")


@frozen_dataclass
class AskedTicket:
    """A command, with the messages that it means as they stood when it was written.

    `not_left_out`: why those stay that were to be left out; empty where all is as it was wanted.
    """

    message: PendingMessage
    command: TicketCommand
    chosen: ChosenMessages | WindowQuestion
    lines: tuple[FrozenLine, ...]
    not_left_out: str = ""


@frozen_dataclass
class SaidWord:
    """A word to a draft, or about a ticket."""

    message: PendingMessage
    word: DraftWord


@frozen_dataclass
class AskedBinding:
    """A word about which repository the group belongs with."""

    message: PendingMessage
    word: BindingWord


@frozen_dataclass
class AskedLogin:
    """A word about the member's own account at the tracker."""

    message: PendingMessage
    word: LoginWord


TicketTalk = AskedLogin | AskedTicket | SaidWord | AskedBinding | QuotedCard


def texts_for(text: str) -> Texts:
    """The language in which somebody is answered: theirs."""
    return Texts("zh") if _HAN.search(text) else Texts("en")


async def ticket_talk(tx: Transaction, snapshot: ConversationSnapshot, *, now: datetime) -> list[TicketTalk]:
    """What of the waiting messages is for us, in order. Costs nothing where none of them looks like it."""
    found: list[TicketTalk] = []
    quiet = snapshot.group is not None and snapshot.group.policy.is_quiet(now)
    quoted = await _quoted_cards(tx, snapshot)
    for message in snapshot.pending:
        card = quoted.get(message.reply_to_id or 0)
        if message.kind in SHOWN and card is not None and _is_about(message, parse_word(message.text)):
            found.append(QuotedCard(message, await _meant(tx, snapshot, message, card)))
            continue
        if message.kind != "text" or message.choice is not None or _sender(snapshot, message) is None:
            continue
        word = parse_word(message.text)
        if card is not None and _is_about(message, word):
            found.append(QuotedCard(message, await _meant(tx, snapshot, message, card)))
            continue
        if word is not None:
            if await _is_expected(tx, snapshot, message, word, quiet=quiet, now=now):
                found.append(SaidWord(message, word))
            continue
        named = snapshot.state.is_group and (message.mentions_us or await names_us_by_hand(tx, snapshot, message))
        login = parse_login_word(message.text) if named else None
        if login is not None:
            found.append(AskedLogin(message, login))
            continue
        binding = parse_binding(message.text) if named else None
        if binding is not None:
            found.append(AskedBinding(message, binding))
            continue
        if quiet and not message.mentions_us and not named:
            continue  # in the quiet hours only what names us is answered
        addressed = named or message.mentions_us or not snapshot.state.is_group
        command = parse(message.text, addressed=addressed, quoting=message.reply_to_id is not None)
        if command is not None:
            found.append(await _asked(tx, snapshot, message, command))
    return found


async def _quoted_cards(tx: Transaction, snapshot: ConversationSnapshot) -> dict[int, IssueCard]:
    """What of ours about issues the waiting messages quote."""
    if not snapshot.state.is_group:
        return {}
    return await cards(tx, snapshot.id, {one.reply_to_id for one in snapshot.pending if one.reply_to_id is not None})


async def _meant(
    tx: Transaction, snapshot: ConversationSnapshot, message: PendingMessage, card: IssueCard
) -> IssueCard:
    """What is known of the message that is quoted. Whoever repeats nothing but a title, as clients do with cards, names
    the issue, and not which of several cards about it."""
    quoted = message.content.get("quoted")
    words = str(quoted.get("text") or "") if isinstance(quoted, Mapping) else ""
    by_title = bool(words) and "://" not in words
    if card.comment_id is None or not by_title or not await several_about(tx, snapshot.id, card.issue_ids[0]):
        return card
    return replace(card, comment_id=None)


def _is_about(message: PendingMessage, word: DraftWord | None) -> bool:
    """Whether somebody who quotes a message about issues means them: not a ticket, a draft, our help, or each other."""
    if isinstance(word, Undo) or (word is not None and not (isinstance(word, Confirm | Cancel) and not word.plainly)):
        return False
    bare = group_words.bare(message.text)
    if message.mentions_us and (group_words.wants_help(bare) or group_words.wish(bare) is not None):
        return False
    if message.mentions_us and parse_login_word(message.text) is not None:
        return False
    if parse(message.text, addressed=True, quoting=True) is not None or parse_binding(message.text) is not None:
        return False
    return not message.mentions or isinstance(parse_card_word(message.text), AssignIssue)


def sender_of(snapshot: ConversationSnapshot, message: PendingMessage) -> int:
    """The contact who wrote it."""
    sender = _sender(snapshot, message)
    if sender is None:
        raise ValueError("nobody wrote it")
    return sender


def _sender(snapshot: ConversationSnapshot, message: PendingMessage) -> int | None:
    return message.sender_contact_id or snapshot.state.contact_id


async def _is_expected(
    tx: Transaction,
    snapshot: ConversationSnapshot,
    message: PendingMessage,
    word: DraftWord,
    *,
    quiet: bool,
    now: datetime,
) -> bool:
    """Whether there is something that such a word can be about: otherwise it is said about something else."""
    if isinstance(word, Undo):
        recent = await tickets_where(
            tx,
            "t.conversation_id = %(conversation)s and t.created_at > %(since)s and t.requester_contact_id is not null "
            "limit 1",
            conversation=snapshot.id,
            since=now - UNDO_LIFE,
        )
        return bool(recent)
    sender = _sender(snapshot, message)
    drafts = await open_drafts(tx, snapshot.id, now=now)
    mine = any(draft.requester.contact_id == sender for draft in drafts)
    answers = any(draft.preview_message_id == message.reply_to_id for draft in drafts if message.reply_to_id)
    if quiet and not message.mentions_us:
        return mine
    plainly = getattr(word, "plainly", True)
    if not plainly and snapshot.state.is_group and not (answers or message.mentions_us):
        own = next((draft for draft in drafts if draft.requester.contact_id == sender), None)
        return own is not None and await _nothing_between(tx, snapshot.id, own, message)
    return mine or answers or (plainly and bool(drafts) and message.mentions_us)


async def _nothing_between(tx: Transaction, conversation_id: int, draft: TicketDraft, message: PendingMessage) -> bool:
    """Whether this came right after the preview, but for what was said to us: a group says 1 and ok all day."""
    if draft.preview_message_id is None:
        return False
    between = await said_between(tx, conversation_id, draft.preview_message_id, message.id)
    return all(is_aside(text, group=True) for text in between)


async def _asked(
    tx: Transaction, snapshot: ConversationSnapshot, message: PendingMessage, command: TicketCommand
) -> AskedTicket:
    said = await spoken_before(tx, snapshot.id, message.id, limit=LOOKED_AT)
    group = snapshot.state.is_group
    looked = [as_said(one, group=group) for one in said]
    chosen = choose(command.window, looked, at=message.sent_at, quoted_id=message.reply_to_id)
    if isinstance(chosen, WindowQuestion):
        return AskedTicket(message, command, chosen, ())
    taken = set(chosen.ids)
    texts = texts_for(message.text)
    lines = await freeze(tx, snapshot.id, [one for one in said if one.id in taken], texts)
    places, why = command.options.leave_out, ""
    gone = {lines[place - 1].message_id for place in places if lines and place <= len(lines)}
    if any(place > len(lines) for place in places):
        why = texts("草稿里只有{n}条。", n=len(lines))
    elif len(gone) == len(lines):
        why = texts("至少要留一条；不要了请回复2。") if gone else ""
    kept = lines if why else [line for line in lines if line.message_id not in gone]
    return AskedTicket(message, command, chosen, tuple(kept), why)
