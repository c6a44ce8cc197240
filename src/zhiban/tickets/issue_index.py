"""What issues are found by, kept in step with them in the same transaction."""

from __future__ import annotations

from zhiban.kit.db import Transaction
from zhiban.knowledge.packing import Packed
from zhiban.tickets.issue_text import digest_of, key_of, terms_of

_INDEX = """
insert into issue_index as x (workspace_id, issue_id, repository_id, keys, words, digest)
values (%(workspace)s, %(issue)s, %(repository)s, %(keys)s::bigint[], %(words)b::sparsevec, %(digest)s::bytea)
on conflict (workspace_id, issue_id) do update
set keys = excluded.keys, words = excluded.words, digest = excluded.digest
where (x.keys, x.digest) is distinct from (excluded.keys, excluded.digest)"""


async def index_issue(tx: Transaction, repository_id: int, issue_id: int, title: str, body: str) -> None:
    """Let the issue be found by what it says now."""
    terms = terms_of(title, body)
    await tx.run(
        _INDEX,
        workspace=tx.workspace_id,
        issue=issue_id,
        repository=repository_id,
        keys=[key_of(repository_id, term) for term in terms.numbers],
        words=Packed(terms.weights),
        digest=digest_of(title, body),
    )


async def forget_issue(tx: Transaction, issue_id: int) -> None:
    """The issue is not to be found any more."""
    await tx.run(
        "delete from issue_index where issue_id = %(id)s and workspace_id = %(w)s", id=issue_id, w=tx.workspace_id
    )
    await tx.run("delete from issue_vector where issue_id = %(id)s", id=issue_id)
