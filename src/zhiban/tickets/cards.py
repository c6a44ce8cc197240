"""Which issues the messages of ours in a group tell of: whoever quotes one of them means those."""

from __future__ import annotations

from collections.abc import Collection

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

_NOTE = """
insert into issue_card (workspace_id, message_id, issue_id, conversation_id)
values (%(workspace)s, %(message)s, %(issue)s, %(conversation)s) on conflict do nothing"""

_FIND = """
select message_id, issue_id, digest from group_news
where conversation_id = %(conversation)s and message_id = any(%(ids)s::bigint[]) and issue_id is not null
union all
select message_id, issue_id, '' from issue_card
where conversation_id = %(conversation)s and message_id = any(%(ids)s::bigint[])"""

COMMENT = "comment-"  # begins the digest of news about a comment; its row follows


@frozen_dataclass
class IssueCard:
    """The issues that one message tells of. `comment_id`: it tells of this comment and of nothing else."""

    message_id: int
    issue_ids: tuple[int, ...]
    comment_id: int | None = None


async def note_card(tx: Transaction, conversation_id: int, message_id: int, issue_id: int) -> None:
    """This message of ours is about the issue."""
    await tx.run(_NOTE, workspace=tx.workspace_id, message=message_id, issue=issue_id, conversation=conversation_id)


async def cards(tx: Transaction, conversation_id: int, message_ids: Collection[int]) -> dict[int, IssueCard]:
    """Those of these messages that tell of issues, by id."""
    if not message_ids:
        return {}
    told: dict[int, list[tuple[int, str]]] = {}
    for message_id, issue_id, digest in await tx.rows(_FIND, conversation=conversation_id, ids=sorted(message_ids)):
        told.setdefault(message_id, []).append((issue_id, digest))
    return {id_: _card(id_, found) for id_, found in told.items()}


async def several_about(tx: Transaction, conversation_id: int, issue_id: int) -> bool:
    """Whether a group was told of an issue more than once."""
    told = await tx.value(
        "select count(distinct message_id) from group_news where conversation_id = %(id)s and issue_id = %(issue)s",
        id=conversation_id,
        issue=issue_id,
    )
    return bool(told > 1)


def _card(message_id: int, told: list[tuple[int, str]]) -> IssueCard:
    issues = tuple(dict.fromkeys(issue_id for issue_id, _ in told))
    ((_, digest), *others) = told
    alone = digest.removeprefix(COMMENT) if digest.startswith(COMMENT) and not others else ""
    return IssueCard(message_id, issues, int(alone) if alone.isdecimal() else None)
