"""Issues whose files came or went are written anew: what they link with is there, and what is there is linked."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime

from zhiban.conversations.published_files import PublishedFile
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Locale, Texts
from zhiban.tickets import confirming, drafts, filing
from zhiban.tickets.rendering import file_links
from zhiban.tickets.service import lock_ticket, tell


def links_of(files: Sequence[PublishedFile], locale: Locale) -> str:
    """What of these everybody may read, as links in a comment; empty where nothing is."""
    return file_links(files, Texts(locale))


async def write_again(tx: Transaction, ticket_id: int, messages: Set[int], *, key: str, now: datetime) -> None:
    """Let the ticket's issue, and comments that carry these messages to another one, say which files are there now."""
    ticket = await lock_ticket(tx, ticket_id)
    texts = Texts(await drafts.written_in(tx, ticket_id))
    await filing.write_again(tx, ticket, messages, texts=texts, key=key, now=now)
    await confirming.write_joined_again(tx, ticket, messages, texts=texts, key=key, now=now)
    await tell(tx, ticket_id)


async def write_without(tx: Transaction, gone: Sequence[PublishedFile], *, key: str, now: datetime) -> None:
    """Nobody reads these files any more: no ticket's issue links with them. Comments that members wrote by quoting stay
    as they are, as their words do."""
    for ticket_id in sorted({one.ticket_id for one in gone if one.ticket_id is not None}):
        messages = {one.message_id for one in gone if one.ticket_id == ticket_id}
        await write_again(tx, ticket_id, messages, key=key, now=now)
