"""The verbs about connections: connect, discover, restrict. Taking them out of use is `withdrawing`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from zhiban.channels.connections import CALLBACK, ensure_inbox
from zhiban.channels.credentials import place_of_secrets
from zhiban.channels.topics import CONFIG
from zhiban.events import (
    SYSTEM,
    Actor,
    ConnectionAdded,
    ConnectionChanged,
    Event,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job, enqueue
from zhiban.kit.vault import Vault
from zhiban.ports import ConnectionBroken, Integration, TrackerIntegration
from zhiban.ports.setup import Values

DISCOVER_INBOXES = Job("discover_inboxes", attempts=6, wait=5, final=(ConnectionBroken,))
KEY_GRACE = timedelta(days=1)  # after a change the former keys still open calls that were under way or are repeated

_ALIKE = """
select id, config, secrets, removed_at, public_id from connection
where vendor = %(vendor)s and part = %(part)s and config @> %(identity)s::jsonb
order by removed_at nulls first, id limit 1 for update"""

_UPDATE = """
update connection set config = %(config)s::jsonb, secrets = %(secrets)s, token = null, token_expires_at = null,
  broken = null, broken_at = null, removed_at = null, updated_at = %(now)s where id = %(id)s"""


class OperatorsAlone(Misconfigured):
    """Somebody else than the operator would change what the operator has opened."""

    def __init__(self) -> None:
        super().__init__("This connection reaches a private network: only the operator changes it, in the terminal.")


@frozen_dataclass
class _StoredConnection:
    id: int
    config: dict[str, Any]
    secrets: bytes
    removed_at: datetime | None
    public_id: str


@frozen_dataclass
class Connected:
    """The connection, whether anything about it changed, and the secrets that were made up for it."""

    id: int
    changed: bool
    made_up: Mapping[str, str]


async def connect(
    tx: Transaction,
    vault: Vault,
    integration: Integration | TrackerIntegration,
    values: Values,
    *,
    name: str | None = None,
    operators: Values | None = None,
    renewed: Sequence[str] = (),
    public_id: str | None = None,
    by: Actor = SYSTEM,
    now: datetime,
) -> Connected:
    """Create the connection that the values describe, or take a change of them over. Secrets are sealed.

    Which connection is meant is told by the fields that identify it. What is not given stays as it is, or is filled
    in; the secrets `renewed` are made up anew. What only the operator sets (see SetupField) is taken from nobody else;
    a new connection has it from `operators`, and is called at `public_id` where one was promised. Raises Misconfigured.
    """
    setup = integration.setup
    given = {key: value.strip() if isinstance(value, str) else value for key, value in values.items()}
    if by != SYSTEM:
        given = setup.without_operators(given)
    identity = {field.name: given.get(field.name) or None for field in setup.fields if field.identifies}
    alike = await _alike(tx, integration, identity)
    if alike is None:
        alike = await _named_further(tx, vault, integration, identity, given)
    if alike is None:
        config, hidden = setup.split(setup.complete({**(operators or {}), **given}))
        connection_id = await _create(
            tx, vault, integration, name or integration.label, config, hidden, public_id, now=now
        )
        await event_log.append(
            tx,
            ConnectionAdded(
                actor=by, at=now, connection_id=connection_id, vendor=integration.name, part=_part(integration)
            ),
        )
        return Connected(connection_id, True, _made_up(integration, hidden, given))
    connection_id, known_config, removed_at = alike.id, alike.config, alike.removed_at
    place = place_of_secrets(tx.workspace_id, alike.public_id)
    known = vault.open(alike.secrets, bound_to=place) if removed_at is None else {}
    operators_alone = by != SYSTEM and is_operators_alone(integration, known_config, operators)
    if operators_alone and removed_at is not None:  # nobody has what was opened for what was there before
        known_config = {**setup.without_operators(known_config), **(operators or {})}
    staying = {name: value for name, value in setup.only(known).items() if name not in renewed}
    config, hidden = setup.split(setup.complete({**setup.only(known_config), **staying, **given}))
    if removed_at is None and not _differs(config, hidden, known_config, known):
        return Connected(int(connection_id), False, {})
    if operators_alone and removed_at is None:
        raise OperatorsAlone
    made_up = _made_up(integration, hidden, {**staying, **given})
    changed = tuple(
        sorted(key for key, value in {**config, **hidden}.items() if {**known_config, **known}.get(key) != value)
    )
    config, hidden = _with_grace(integration, {**known_config, **config}, hidden, known, now=now)
    await tx.run(
        _UPDATE,
        config=json.dumps(config, ensure_ascii=False),
        secrets=vault.seal({**known, **hidden}, bound_to=place),
        now=now,
        id=connection_id,
    )
    fact: Event
    if removed_at is not None:
        await _announce_address(tx, integration.name, connection_id)
        fact = ConnectionAdded(
            actor=by, at=now, connection_id=int(connection_id), vendor=integration.name, part=_part(integration)
        )
    else:
        fact = ConnectionChanged(actor=by, at=now, connection_id=int(connection_id), changed=changed)
    await event_log.append(tx, fact)
    await _connected(tx, integration, int(connection_id), config, now=now)
    return Connected(int(connection_id), True, made_up)


def is_operators_alone(
    integration: Integration | TrackerIntegration, config: Values, operators: Values | None = None
) -> bool:
    """Whether the operator has opened for this connection what others do not have (`operators`): then nobody else
    changes it. What everybody's new connection has as well is no reason."""
    if not integration.setup.is_operators(config):
        return False
    named = [field.name for field in integration.setup.fields if field.operator]
    return any((config.get(name) or None) != ((operators or {}).get(name) or None) for name in named)


async def address_of(tx: Transaction, integration: TrackerIntegration, values: Values) -> str | None:
    """The public id of the connection that these values mean, where there is or was one."""
    fields = [field.name for field in integration.setup.fields if field.identifies]
    found = await _alike(tx, integration, {name: values.get(name) or None for name in fields})
    return found.public_id if found is not None else None


async def _alike(
    tx: Transaction, integration: Integration | TrackerIntegration, identity: Mapping[str, Any]
) -> _StoredConnection | None:
    """The connection of this identity, one in use before one that was removed."""
    return await tx.object(
        _StoredConnection,
        _ALIKE,
        vendor=integration.name,
        part=_part(integration),
        identity=json.dumps(identity),
    )


async def _named_further(
    tx: Transaction,
    vault: Vault,
    integration: Integration | TrackerIntegration,
    identity: Mapping[str, Any],
    given: Values,
) -> _StoredConnection | None:
    """The connection that was made before an optional part of its identity was known, with the same secret: two that
    share a secret would both work for the same accounts."""
    optional = [field.name for field in integration.setup.fields if field.identifies and not field.required]
    fixed = [field.name for field in integration.setup.fields if field.secret and not field.rotates]
    if not any(identity[name] for name in optional) or not all(given.get(name) for name in fixed):
        return None
    found = await _alike(tx, integration, {**identity, **dict.fromkeys(optional)})
    if found is None or found.removed_at is not None:
        return None
    known = vault.open(found.secrets, bound_to=place_of_secrets(tx.workspace_id, found.public_id))
    return found if all(known.get(name) == given[name] for name in fixed) else None


def _made_up(integration: Integration | TrackerIntegration, hidden: Mapping[str, Any], given: Values) -> dict[str, str]:
    """Secrets that were filled in: nobody has seen them yet."""
    fields = [field.name for field in integration.setup.fields if field.secret]
    return {key: str(hidden[key]) for key in fields if hidden.get(key) and not given.get(key)}


def _differs(
    config: Mapping[str, Any], hidden: Mapping[str, Any], known_config: Mapping[str, Any], known: Mapping[str, Any]
) -> bool:
    return {**known_config, **config} != known_config or {**known, **hidden} != known


def _with_grace(
    integration: Integration | TrackerIntegration,
    config: dict[str, Any],
    hidden: dict[str, Any],
    known: Mapping[str, Any],
    *,
    now: datetime,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """When a key that rotates has changed, the former ones are accepted for a day."""
    keys = [field.name for field in integration.setup.fields if field.rotates]
    if not any(known.get(key) for key in keys) or all(known.get(key) == hidden.get(key, "") for key in keys):
        return config, hidden
    former = {f"previous_{key}": known.get(key, "") for key in keys}
    return {**config, "previous_until": (now + KEY_GRACE).isoformat()}, {**hidden, **former}


def _part(integration: Integration | TrackerIntegration) -> Literal["channel", "tracker"]:
    return "tracker" if isinstance(integration, TrackerIntegration) else "channel"


def new_public_id() -> str:
    """By which a vendor will name a connection in our address."""
    return secrets.token_hex(10)


async def _create(
    tx: Transaction,
    vault: Vault,
    integration: Integration | TrackerIntegration,
    name: str,
    config: Mapping[str, Any],
    hidden: Mapping[str, Any],
    public_id: str | None,
    *,
    now: datetime,
) -> int:
    public_id = public_id or new_public_id()
    connection_id = await tx.value(
        "insert into connection (workspace_id, public_id, vendor, part, name, config, secrets) "
        "values (%(workspace)s, %(public)s, %(vendor)s, %(part)s, %(name)s, %(config)s::jsonb, %(secrets)s) "
        "returning id",
        workspace=tx.workspace_id,
        public=public_id,
        vendor=integration.name,
        part=_part(integration),
        name=name,
        config=json.dumps(config, ensure_ascii=False),
        secrets=vault.seal(hidden, bound_to=place_of_secrets(tx.workspace_id, public_id)),
    )
    await _announce_address(tx, integration.name, int(connection_id))
    await _connected(tx, integration, int(connection_id), config, now=now)
    return int(connection_id)


async def _announce_address(tx: Transaction, vendor: str, connection_id: int) -> None:
    """Let webhooks find the connection: by its public id, and as one of its vendor."""
    await tx.run(
        "insert into directory (kind, key, workspace_id, ref) "
        "select k.kind, c.public_id, c.workspace_id, c.id from connection c, unnest(%(kinds)s::text[]) as k(kind) "
        "where c.id = %(id)s on conflict do nothing",
        kinds=[CALLBACK, f"{CALLBACK}/{vendor}"],
        id=connection_id,
    )


async def _connected(
    tx: Transaction,
    integration: Integration | TrackerIntegration,
    connection_id: int,
    config: Values,
    *,
    now: datetime,
) -> None:
    """Make the inbox of the connection itself, and look for the accounts behind it. A tracker has none."""
    if isinstance(integration, TrackerIntegration):
        tx.publish_after_commit(CONFIG, connection_id)
        return
    own = integration.own_account(config)
    if own is not None:
        await ensure_inbox(tx, connection_id, own.kind, own.external_id, own.name, own=True, wanted=True, now=now)
    tx.publish_after_commit(CONFIG, connection_id)
    await discover(tx, connection_id)


async def discover(tx: Transaction, connection_id: int) -> None:
    """Ask the vendor for the connection's accounts after the commit, and make an inbox of each."""
    await enqueue(tx, DISCOVER_INBOXES.of(key=str(connection_id), connection_id=connection_id))


async def restrict(
    tx: Transaction, connection_id: int, accounts: Sequence[str], *, by: Actor = SYSTEM, now: datetime
) -> None:
    """Let only these accounts become inboxes; none means every account. Raises NotFound."""
    row = await tx.row(
        "select coalesce(config -> 'only_accounts', '[]') from connection where id = %(id)s for update",
        id=connection_id,
    )
    if row is None:
        raise NotFound("There is no such connection.")
    (before,) = row
    if list(before) == list(accounts):
        return
    await tx.run(
        "update connection set config = case when cardinality(%(only)s::text[]) = 0 then config - 'only_accounts' "
        "else config || jsonb_build_object('only_accounts', to_jsonb(%(only)s::text[])) end where id = %(id)s",
        only=list(accounts),
        id=connection_id,
    )
    await event_log.append(
        tx, ConnectionChanged(actor=by, at=now, connection_id=connection_id, changed=("only_accounts",))
    )
    tx.publish_after_commit(CONFIG, connection_id)
