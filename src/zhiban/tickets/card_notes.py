"""What members say at an issue by quoting is read at its tickets as well, once it stands there."""

from __future__ import annotations

from zhiban.conversations.groups import chat_of
from zhiban.conversations.spoken import spoken
from zhiban.events import Actor, IssueWritten
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.tickets import card_replies, involving
from zhiban.tickets.card_words import SayAtIssue, parse_card_word, without_number
from zhiban.tickets.filing import requester_named, signature_for
from zhiban.tickets.models import Audience
from zhiban.tickets.queries import tickets_of_issue
from zhiban.tickets.repositories import find_repository


async def note_at_tickets(tx: Transaction, reply_id: int, fact: IssueWritten) -> None:
    """The comment is written: its words stand at the tickets of the issue, signed as it is there."""
    reply = await card_replies.read_reply(tx, reply_id)
    if reply is None or reply.verb != "comment" or reply.recalled_at is not None:
        return
    repository = await find_repository(tx, fact.repository_id)
    signature = signature_for(repository, (await chat_of(tx, reply.conversation_id)).policy.signature)
    name = await requester_named(tx, signature, reply.conversation_id, reply.contact_id, reply.name)
    for message in await spoken(tx, reply.conversation_id, [reply.message_id]):
        word = parse_card_word(without_number(message.words))
        if not isinstance(word, SayAtIssue):
            continue
        for ticket in await tickets_of_issue(tx, fact.issue_id):
            await involving.comment(
                tx,
                ticket.id,
                word.text,
                audience=Audience.ISSUE,
                name=name or Texts(reply.locale)("群成员"),
                url=fact.url,
                key=f"card-{reply.message_id}-{ticket.id}",
                by=Actor("contact", reply.contact_id),
                now=fact.at,
            )
