"""The sealed credentials of connections, for those who look over all of them."""

from __future__ import annotations

from typing import Any

from zhiban.kit.db import Transaction
from zhiban.kit.vault import SealBroken, Vault


async def opened(tx: Transaction, vault: Vault) -> list[tuple[str, dict[str, Any]]]:
    """Name and credentials of each connection of this workspace; one that this key does not open is left out."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, sealed in await tx.rows("select name, secrets from connection order by id"):
        try:
            found.append((name, vault.open(sealed)))
        except SealBroken:  # the doctor says so, and whoever uses the connection
            continue
    return found
