"""The labels of a workspace."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound


async def check_labels(tx: Transaction, ids: Sequence[int]) -> None:
    """Raises NotFound where one of them is not there."""
    known = await tx.value("select count(*) from label where id = any(%(ids)s::bigint[])", ids=list(ids))
    if known < len(set(ids)):
        raise NotFound("There is no such label any more.")
