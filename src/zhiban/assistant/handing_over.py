"""How the assistant, or whatever talks in its place, gives a conversation to people as the inbox's policy has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from zhiban.assistant.decide import Facts, HandOff, hand_off
from zhiban.conversations import service as conversations
from zhiban.conversations.models import Priority
from zhiban.conversations.responder import ConversationSnapshot
from zhiban.events import DIRECT, Actor, Cause
from zhiban.kit.db import Transaction


async def hand_over(
    tx: Transaction,
    conversation: ConversationSnapshot,
    facts: Facts,
    decision: HandOff,
    *,
    question: str,
    by: Actor,
    now: datetime,
    cause: Cause = DIRECT,
) -> None:
    """Tell the contact what fits the hour, move the session where the policy wants that, and say how urgent it is."""
    policy = facts.policy
    kind, _, servicer = policy.handoff.to.partition(":")
    native = {"pool": "pool", "servicer": "human"}.get(kind)
    there, away = (hand_off(replace(facts, people_there=one), decision.reason) for one in (True, False))
    handed = await conversations.hand_off(
        tx,
        conversation.id,
        reason=decision.reason.value,
        question=question,
        message_id=conversation.pending[-1].id,
        actor=by,
        now=now,
        notice=there.notice,
        out_of_hours=away.notice,
        hours=policy.hours,
        native_to=native,
        servicer=servicer.strip() or None,
        limits=conversation.inbox.channel.limits,
        cause=cause,
    )
    if handed and decision.urgent:
        await conversations.set_priority(
            tx, conversation.id, priority=Priority.URGENT, at_least=True, by=by, now=now, reason="urgent", cause=cause
        )
