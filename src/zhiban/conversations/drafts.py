"""What agents have typed and not sent: a reply and a note of each, which never replace one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from zhiban.conversations.topics import DRAFT_CHANGED
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass


class Mode(StrEnum):
    """For whom a text is written."""

    REPLY = "reply"  # for the contact
    NOTE = "note"  # for colleagues


@frozen_dataclass
class Drafts:
    """The unsent texts of one agent in one conversation. `latest` is the one they wrote last, `formatted` whether the
    reply has marks that are meant as such."""

    texts: Mapping[Mode, str] = field(default_factory=dict)
    latest: Mode = Mode.REPLY
    formatted: bool = False

    def of(self, mode: str) -> str:
        """The text of a mode, empty when there is none."""
        return self.texts.get(Mode(mode), "")


async def drafts(tx: Transaction, conversation_id: int, agent_id: int) -> Drafts:
    """What this agent has typed here."""
    rows = await tx.rows(
        "select mode, text, formatted from draft where conversation_id = %(id)s and agent_id = %(agent)s "
        "order by saved_at desc",
        id=conversation_id,
        agent=agent_id,
    )
    latest = next((Mode(mode) for mode, _, _ in rows), Mode.REPLY)
    formatted = any(meant for mode, _, meant in rows if mode == Mode.REPLY)
    return Drafts({Mode(mode): text for mode, text, _ in rows}, latest, formatted)


async def save_draft(
    tx: Transaction,
    conversation_id: int,
    *,
    agent_id: int,
    mode: Mode,
    text: str,
    formatted: bool = False,
    now: datetime,
) -> None:
    """Keep what an agent has typed for this mode, and whether its marks are meant; empty text forgets it."""
    if not text.strip():
        forgotten = await tx.run(
            "delete from draft where conversation_id = %(conversation)s and agent_id = %(agent)s and mode = %(mode)s",
            conversation=conversation_id,
            agent=agent_id,
            mode=mode,
        )
        if forgotten:
            tx.publish_after_commit(DRAFT_CHANGED, conversation_id)
        return
    await tx.run(
        "insert into draft (workspace_id, conversation_id, agent_id, mode, text, formatted, saved_at) "
        "select %(workspace)s, id, %(agent)s, %(mode)s, %(text)s, %(formatted)s, %(now)s from conversation "
        "where id = %(conversation)s on conflict (workspace_id, conversation_id, agent_id, mode) do update "
        "set text = excluded.text, formatted = excluded.formatted, saved_at = excluded.saved_at",
        workspace=tx.workspace_id,
        conversation=conversation_id,
        agent=agent_id,
        mode=mode,
        text=text,
        formatted=formatted,
        now=now,
    )
    tx.publish_after_commit(DRAFT_CHANGED, conversation_id)


@frozen_dataclass
class Typist:
    """An agent who types, and for whom."""

    conversation_id: int
    agent_id: int
    name: str
    mode: Mode


async def typists(tx: Transaction, ids: Sequence[int], *, since: datetime) -> list[Typist]:
    """Who has typed in these conversations since then and has words there still, each with what they typed last."""
    return await tx.objects(
        Typist,
        "select distinct on (d.conversation_id, d.agent_id) d.conversation_id, d.agent_id, a.name, d.mode "
        "from draft d join agent a on a.workspace_id = d.workspace_id and a.id = d.agent_id "
        "where d.conversation_id = any(%(ids)s::bigint[]) and d.saved_at > %(since)s "
        "order by d.conversation_id, d.agent_id, d.saved_at desc",
        ids=list(ids),
        since=since,
    )
