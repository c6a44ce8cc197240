"""Changing how inboxes and connections behave: policy, assignment, name, knowledge base, texts for new friends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.errors import ForeignKeyViolation

from zhiban.channels.credentials import place_of_notify
from zhiban.channels.inboxes import LONGEST_NAME, ConnectionRow
from zhiban.channels.policy import AssignmentPolicy, Policy
from zhiban.channels.topics import CONFIG
from zhiban.events import DIRECT, SYSTEM, Actor, Cause, ConnectionChanged, InboxConfigured
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Misconfigured, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.text import clean, size_of
from zhiban.kit.vault import Vault
from zhiban.ports.notifiers import public_name


async def set_policy(
    tx: Transaction,
    vault: Vault,
    inbox_id: int,
    policy: Mapping[str, Any],
    *,
    by: Actor,
    now: datetime,
    cause: Cause = DIRECT,
) -> bool:
    """Let the inbox behave by this policy. False when it does already. Raises NotFound.

    Addresses of notifiers hold passwords. They are sealed apart; the policy and the log name them by kind and digest.
    """
    before = await tx.value("select policy from inbox where id = %(id)s for update", id=inbox_id)
    if before is None:
        raise NotFound("There is no such inbox.")
    after, addresses = _apart(policy)
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if not changed:
        return False
    place = place_of_notify(tx.workspace_id, inbox_id)
    await tx.run(
        "update inbox set policy = %(policy)s::jsonb, notify = %(notify)s where id = %(id)s",
        id=inbox_id,
        policy=json.dumps(after, ensure_ascii=False),
        notify=vault.seal({"addresses": addresses}, bound_to=place) if addresses else None,
    )
    was = {key: before[key] for key in changed if key in before}
    became = {key: after[key] for key in changed if key in after}
    await event_log.append(
        tx, InboxConfigured(actor=by, at=now, inbox_id=inbox_id, cause=cause, before=was, after=became)
    )
    tx.publish_after_commit(CONFIG, inbox_id)
    return True


async def set_assignment(
    tx: Transaction, inbox_id: int, assignment: AssignmentPolicy, *, by: Actor, now: datetime
) -> bool:
    """Let the inbox give its conversations away so; everything else of its policy stays. False when it does already.

    Raises NotFound.
    """
    before = await tx.value(
        "select policy from inbox where id = %(id)s and archived_at is null for update", id=inbox_id
    )
    if before is None:
        raise NotFound("There is no such inbox.")
    was, became = Policy.model_validate(before).assignment, assignment.model_dump(mode="json")
    if was == assignment:
        return False
    await tx.run(
        "update inbox set policy = policy || jsonb_build_object('assignment', %(assignment)s::jsonb) where id = %(id)s",
        id=inbox_id,
        assignment=json.dumps(became),
    )
    old: dict[str, object] = {"assignment": before["assignment"]} if "assignment" in before else {}
    fact = InboxConfigured(actor=by, at=now, inbox_id=inbox_id, before=old, after={"assignment": became})
    await event_log.append(tx, fact)
    tx.publish_after_commit(CONFIG, inbox_id)
    return True


def _apart(policy: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The policy with the public names of those who are notified, and their addresses."""
    handoff = policy.get("handoff")
    addresses = [str(one) for one in handoff.get("notify") or ()] if isinstance(handoff, Mapping) else []
    if not isinstance(handoff, Mapping) or not addresses:
        return dict(policy), []
    return {**policy, "handoff": {**handoff, "notify": [public_name(one) for one in addresses]}}, addresses


async def notified(tx: Transaction, vault: Vault, inbox_id: int) -> list[str]:
    """The addresses that the inbox's policy names. Raises SealBroken."""
    sealed = await tx.value("select notify from inbox where id = %(id)s", id=inbox_id)
    if sealed is None:
        return []
    found = vault.open(sealed, bound_to=place_of_notify(tx.workspace_id, inbox_id))
    return [str(address) for address in found["addresses"]]


async def rename(tx: Transaction, inbox_id: int, name: str, *, by: Actor = SYSTEM, now: datetime) -> bool:
    """What people call the inbox. False when they do already. Raises NotFound, Conflict."""
    name = " ".join(clean(name).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise Conflict(f"An inbox needs a name of at most {LONGEST_NAME} characters.")
    return await _configure(tx, inbox_id, "name", name, by=by, now=now)


async def learn_name(tx: Transaction, inbox_id: int, name: str, *, now: datetime) -> None:
    """What the vendor calls the account, where nobody has named the inbox: it is still called by the account's id."""
    before = await tx.value(
        "select name from inbox where id = %(id)s and name = external_id and name <> %(name)s for update",
        id=inbox_id,
        name=name,
    )
    if before is not None:
        await tx.run("update inbox set name = %(name)s where id = %(id)s", id=inbox_id, name=name)
        was: dict[str, object] = {"name": before}
        fact = InboxConfigured(actor=SYSTEM, at=now, inbox_id=inbox_id, before=was, after={"name": name})
        await event_log.append(tx, fact)


async def set_base(tx: Transaction, inbox_id: int, base_id: int | None, *, by: Actor = SYSTEM, now: datetime) -> bool:
    """Which knowledge base the inbox answers from; None is the default one. False when it does already.

    Raises NotFound, also where there is no such base.
    """
    try:
        async with tx.savepoint():
            return await _configure(tx, inbox_id, "base_id", base_id, by=by, now=now)
    except ForeignKeyViolation:
        raise NotFound("There is no such knowledge base.") from None


async def leave_base(tx: Transaction, base_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Every inbox that answers from this base, in use or not, answers from the default one from now on."""
    sql = (
        "with own as (select id from inbox where base_id = %(base)s order by id for no key update) "
        "update inbox set base_id = null where id in (select id from own) returning id"
    )
    for inbox_id in sorted(await tx.values(sql, base=base_id)):
        was: dict[str, object] = {"base_id": base_id}
        fact = InboxConfigured(actor=by, at=now, inbox_id=inbox_id, before=was, after={"base_id": None})
        await event_log.append(tx, fact)
        tx.publish_after_commit(CONFIG, inbox_id)


async def _configure(tx: Transaction, inbox_id: int, column: str, value: object, *, by: Actor, now: datetime) -> bool:
    row = await tx.row(f"select {column} from inbox where id = %(id)s and archived_at is null for update", id=inbox_id)
    if row is None:
        raise NotFound("There is no such inbox.")
    (before,) = row
    if before == value:
        return False
    await tx.run(f"update inbox set {column} = %(value)s where id = %(id)s", id=inbox_id, value=value)
    await event_log.append(
        tx, InboxConfigured(actor=by, at=now, inbox_id=inbox_id, before={column: before}, after={column: value})
    )
    tx.publish_after_commit(CONFIG, inbox_id)
    return True


@frozen_dataclass
class ContactTexts:
    """What a new friend of our members reads and is called. None: nothing was decided."""

    welcome: str | None
    remark: str | None
    welcome_by_source: dict[str, str]
    remark_by_source: dict[str, str]


def contact_texts(row: ConnectionRow) -> ContactTexts:
    config = row.config
    return ContactTexts(
        config.get("contact_welcome"),
        config.get("contact_remark"),
        dict(config.get("contact_welcome_by_source") or {}),
        dict(config.get("contact_remark_by_source") or {}),
    )


async def set_contact_texts(
    tx: Transaction,
    connection_id: int,
    *,
    welcome: str | None = None,
    remark: str | None = None,
    source: str | None = None,
    forget: bool = False,
    limit: int,
    by: Actor = SYSTEM,
    now: datetime,
) -> None:
    """Decide what is given, for everybody or for those who came by `source`; an empty text means none.

    With `forget` both are as if nothing had been decided. `limit` is how many bytes of a welcome the vendor takes.
    Raises NotFound, Misconfigured.
    """
    if size_of(welcome or "") > limit:
        raise Misconfigured(f"The welcome is too long: it may have {limit} bytes.")
    config = await tx.value("select config from connection where id = %(id)s for update", id=connection_id)
    if config is None:
        raise NotFound("There is no such connection.")
    before = json.dumps(config, sort_keys=True)
    for name, text in (("contact_welcome", welcome), ("contact_remark", remark)):
        place, key = (config, name) if source is None else (config.setdefault(f"{name}_by_source", {}), source)
        if forget:
            place.pop(key, None)
        elif text is not None:
            place[key] = clean(text).strip()
    await tx.run(
        "update connection set config = %(config)s::jsonb, updated_at = %(now)s where id = %(id)s",
        config=json.dumps(config, ensure_ascii=False),
        now=now,
        id=connection_id,
    )
    if json.dumps(config, sort_keys=True) != before:
        fact = ConnectionChanged(actor=by, at=now, connection_id=connection_id, changed=("contact_texts",))
        await event_log.append(tx, fact)
    tx.publish_after_commit(CONFIG, connection_id)
