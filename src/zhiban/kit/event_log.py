"""Writes events into the log, in the transaction of the change, and announces what changed after the commit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from zhiban.kit.db import Transaction

CONVERSATION_CHANGED = "live"  # topic: something about this conversation changed on the screen
CONVERSATION_WAITING = "lane"  # topic: this conversation has something to answer or to send
ACCOUNT_WAITING = "pull"  # topic: this inbox has something to fetch
DELIVERY_WAITING = "read"  # topic: this delivery waits to be read


class ActorLike(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def id(self) -> int | None: ...


class Recordable(Protocol):
    """What an event must offer; `zhiban.events.Event` does."""

    @property
    def kind(self) -> str: ...

    @property
    def actor(self) -> ActorLike: ...

    @property
    def at(self) -> datetime: ...

    @property
    def cause(self) -> str: ...

    @property
    def conversation_id(self) -> int | None: ...

    @property
    def message_id(self) -> int | None: ...

    @property
    def contact_id(self) -> int | None: ...

    @property
    def inbox_id(self) -> int | None: ...

    @property
    def before(self) -> Mapping[str, Any] | None: ...

    @property
    def after(self) -> Mapping[str, Any] | None: ...


_INSERT = """
insert into event (workspace_id, kind, conversation_id, message_id, contact_id, inbox_id, actor_kind, actor_id,
  cause, before, after, at)
select %(workspace)s, * from unnest(%(kind)s::text[], %(conversation)s::bigint[], %(message)s::bigint[],
  %(contact)s::bigint[], %(inbox)s::bigint[], %(actor_kind)s::text[], %(actor_id)s::bigint[], %(cause)s::text[],
  %(before)s::jsonb[], %(after)s::jsonb[], %(at)s::timestamptz[])"""


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


async def append(tx: Transaction, *events: Recordable) -> None:
    """Append to the log. Conversations named in the events are announced as changed."""
    if not events:
        return
    await tx.run(_INSERT, workspace=tx.workspace_id, **_columns(events))
    for event in events:
        if event.conversation_id is not None:
            tx.publish_after_commit(CONVERSATION_CHANGED, event.conversation_id)


def _columns(events: Sequence[Recordable]) -> dict[str, list[Any]]:
    return {
        "kind": [event.kind for event in events],
        "conversation": [event.conversation_id for event in events],
        "message": [event.message_id for event in events],
        "contact": [event.contact_id for event in events],
        "inbox": [event.inbox_id for event in events],
        "actor_kind": [event.actor.kind for event in events],
        "actor_id": [event.actor.id for event in events],
        "cause": [event.cause for event in events],
        "before": [_json(event.before) for event in events],
        "after": [_json(event.after) for event in events],
        "at": [event.at for event in events],
    }
