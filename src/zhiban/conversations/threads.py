"""Finds the conversations of a vendor's threads, and makes those that are new, with their contacts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from zhiban.channels.connections import OpenInbox
from zhiban.conversations import transitions
from zhiban.conversations.changes import Arrived
from zhiban.conversations.models import ConversationState, Status
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.people.contacts import ensure_contacts


@dataclass(slots=True)
class MatchedConversation:
    """A conversation as this batch found it, and the messages that the batch brought.

    `blocked` is asked for new ones only: blocking a contact mutes the conversations that exist.
    """

    state: ConversationState
    blocked: bool = False
    created: bool = False
    arrived: list[Arrived] = field(default_factory=list)


_FIND = (
    f"select {transitions.STATE_COLUMNS} from conversation c "
    "where c.inbox_id = %(inbox)s and c.external_id = any(%(threads)s::text[]) order by c.id for no key update"
)


async def match_or_create(
    tx: Transaction,
    inbox: OpenInbox,
    wanted: Iterable[str],
    *,
    groups: Collection[str] = (),
    quiet: Collection[str] = (),
    now: datetime,
) -> dict[str, MatchedConversation]:
    """The conversations of these threads, locked in the order of their ids; unknown ones are made, with their contacts.

    A new one begins with the assistant where the inbox has one, otherwise with people; one of the `quiet` threads
    begins resolved, as nobody has to do anything for it yet. So do `groups`, which are with no contact.

    Raises Conflict where a thread is a group and was none before, or the reverse.
    """
    threads = list(dict.fromkeys((*wanted, *groups)))
    matched = await _find(tx, inbox, threads)
    if any(one.state.is_group is not (thread in groups) for thread, one in matched.items()):
        raise Conflict("The channel used one name for a group and for a contact.")
    if new_groups := [thread for thread in groups if thread not in matched]:
        matched |= await _create_groups(tx, inbox, new_groups, now=now)
    missing = [thread for thread in threads if thread not in matched]
    if missing:
        kind, account = inbox.connection.vendor.namespace(inbox.kind)
        contacts = await ensure_contacts(tx, kind, account, missing, now=now)
        usual = Status.PENDING if inbox.settings.assistant else Status.OPEN
        for begins in (usual, Status.RESOLVED):
            chosen = {name: contacts[name].id for name in missing if (name in quiet) == (begins is Status.RESOLVED)}
            if not chosen:
                continue
            newcomers = {name for name in chosen if contacts[name].is_new}
            created = await transitions.create(tx, inbox.inbox_id, chosen, status=begins, newcomers=newcomers, now=now)
            for thread, state in created.items():
                matched[thread] = MatchedConversation(state, blocked=contacts[thread].blocked, created=True)
        if elsewhere := [thread for thread in missing if thread not in matched]:
            matched |= await _find(tx, inbox, elsewhere)
    return matched


async def _create_groups(
    tx: Transaction, inbox: OpenInbox, threads: list[str], *, now: datetime
) -> dict[str, MatchedConversation]:
    created = await transitions.create_groups(tx, inbox.inbox_id, threads, now=now)
    matched = {thread: MatchedConversation(state, created=True) for thread, state in created.items()}
    if elsewhere := [thread for thread in threads if thread not in matched]:
        matched |= await _find(tx, inbox, elsewhere)
    return matched


async def _find(tx: Transaction, inbox: OpenInbox, threads: list[str]) -> dict[str, MatchedConversation]:
    rows = await tx.rows(_FIND, inbox=inbox.inbox_id, threads=threads)
    return {state.thread: MatchedConversation(state) for state in map(transitions.as_state, rows)}
