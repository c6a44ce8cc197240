"""The sealed credentials of connections: for which place each is sealed, and how all of them get under a new key."""

from __future__ import annotations

from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.vault import SealBroken, Vault


def place_of_secrets(workspace_id: int, public_id: str) -> str:
    """What the credentials of a connection are bound to; its public id is known before its row is written."""
    return f"connection/{workspace_id}/{public_id}/secrets"


def place_of_token(workspace_id: int, connection_id: int) -> str:
    """What the access token of a connection is bound to."""
    return f"connection/{workspace_id}/{connection_id}/token"


def place_of_notify(workspace_id: int, inbox_id: int) -> str:
    """What the addresses of those are bound to who are told of an inbox's handoffs."""
    return f"inbox/{workspace_id}/{inbox_id}/notify"


async def opened(tx: Transaction, vault: Vault) -> list[tuple[str, dict[str, Any]]]:
    """Name and credentials of each connection of this workspace; one that this key does not open is left out."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, public_id, sealed in await tx.rows("select name, public_id, secrets from connection order by id"):
        try:
            found.append((name, vault.open(sealed, bound_to=place_of_secrets(tx.workspace_id, public_id))))
        except SealBroken:  # the doctor says so, and whoever uses the connection
            continue
    return found


async def check_open(tx: Transaction, vault: Vault) -> None:
    """Raises SealBroken when a connection of this workspace has credentials that none of the keys opens."""
    for public_id, sealed in await tx.rows("select public_id, secrets from connection order by id"):
        vault.open(sealed, bound_to=place_of_secrets(tx.workspace_id, public_id))
    for inbox_id, sealed in await tx.rows("select id, notify from inbox where notify is not null order by id"):
        vault.open(sealed, bound_to=place_of_notify(tx.workspace_id, inbox_id))


async def reseal(tx: Transaction, vault: Vault) -> int:
    """Seal all credentials of this workspace with the first key. Raises SealBroken.

    Returns how many connections were not sealed with it yet.

    Access tokens that need another key are forgotten: they are fetched anew.
    """
    resealed = 0
    rows = await tx.rows("select id, public_id, secrets, token from connection order by id for update")
    for connection_id, public_id, sealed, token in rows:
        if token is not None and not vault.is_current(token):
            await tx.run("update connection set token = null where id = %(id)s", id=connection_id)
        if vault.is_current(sealed):
            continue
        place = place_of_secrets(tx.workspace_id, public_id)
        await tx.run(
            "update connection set secrets = %(secrets)s where id = %(id)s",
            secrets=vault.reseal(sealed, bound_to=place),
            id=connection_id,
        )
        resealed += 1
    for inbox_id, sealed in await tx.rows("select id, notify from inbox where notify is not null for update"):
        if not vault.is_current(sealed):
            place = place_of_notify(tx.workspace_id, inbox_id)
            await tx.run(
                "update inbox set notify = %(notify)s where id = %(id)s",
                notify=vault.reseal(sealed, bound_to=place),
                id=inbox_id,
            )
    return resealed
