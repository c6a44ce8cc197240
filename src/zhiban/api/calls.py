"""What endpoints that change something have in common: the caller's transaction, and keys that make nothing twice."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Header, HTTPException

from zhiban.api.auth import Caller
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.i18n import mark

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern="^[!-~]{1,200}$",
        description=mark("A word of your own for this call: sent again with the same one, nothing is made twice."),
    ),
]


@asynccontextmanager
async def transaction_of(database: Database, caller: Caller) -> AsyncIterator[Transaction]:
    """The caller's workspace. What is missing there is told by its name: a program may have sent several ids."""
    try:
        async with database.page_transaction(caller.workspace_id) as tx:
            yield tx
    except NotFound as error:
        raise HTTPException(404, error.sentence) from error


def own_key(caller: Caller, key: str | None) -> str:
    """A key that no other caller can have; without one, a new one."""
    return f"api-{caller.actor.kind}-{caller.actor.id}-{key or secrets.token_urlsafe(16)}"
