"""Greeting who writes first, where the channel does not tell that somebody came in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from zhiban.channels.connections import OpenInbox
from zhiban.conversations.changes import Arrived
from zhiban.conversations.models import Author, ConversationState, Status
from zhiban.conversations.outbox import enqueue, key_for
from zhiban.events import Actor
from zhiban.kit.db import Transaction


async def greet_newcomer(
    tx: Transaction, inbox: OpenInbox, state: ConversationState, arrived: Iterable[Arrived], *, now: datetime
) -> None:
    """Queue the inbox's welcome before whatever answers the first message of a new conversation, once.

    Not in groups, nor for who is blocked; and what comes too late for the assistant is no moment for a welcome.
    """
    limits, text = inbox.channel.limits, inbox.settings.welcome
    if limits.welcomes != "first_message" or not text or state.is_group or state.muted:
        return
    oldest = now - inbox.settings.answers_after
    fresh = any(one.from_contact and one.sent_at >= oldest for one in arrived)
    if not fresh or state.status not in (Status.PENDING, Status.OPEN):
        return
    await enqueue(
        tx,
        state,
        author=Author.ASSISTANT,
        actor=Actor("assistant"),
        text=text,
        key=key_for("welcome", tx.workspace_id, state.id),
        limits=limits,
        now=now,
        most=1,
    )
