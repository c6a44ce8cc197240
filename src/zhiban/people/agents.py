"""The verbs about colleagues: who they are, what they may do, and the link by which each chooses a password."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime

from zhiban.events import (
    SYSTEM,
    Actor,
    AgentChanged,
    AgentDisabled,
    AgentEnabled,
)
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Locale, to_locale
from zhiban.people import presence
from zhiban.people.models import Role
from zhiban.people.permissions import NotAllowed, Permission, answering_in, gives, may_be_limited, outranks
from zhiban.people.service import SESSIONS, SignedInAgent, end_sessions

# "@all" and "a|b" would send a card to everybody, or to several.
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", re.ASCII)


@frozen_dataclass
class AgentRow:
    """An agent as the others see them. `joined`: they have chosen a password; `accounts`: their ids at vendors.

    `inbox_ids`: the inboxes they see; None: every one. `second_factor`: they are asked for a code after the password.
    """

    id: int
    email: str
    name: str
    role: str
    inbox_ids: list[int] | None
    accounts: dict[str, str]
    joined: bool
    second_factor: bool
    availability: str
    seen_at: datetime | None
    disabled_at: datetime | None


_COLLEAGUES = """
select a.id, a.email, a.name, a.role, a.inbox_ids, a.password_hash is not null as joined, a.disabled_at,
  exists (select from second_factor f where f.workspace_id = a.workspace_id and f.agent_id = a.id
    and f.enrolled_at is not null) as second_factor,
  coalesce((select p.status from agent_presence p where p.workspace_id = a.workspace_id and p.agent_id = a.id),
    'offline') as availability,
  coalesce((select jsonb_object_agg(i.vendor, i.external_id) from agent_identity i
    where i.workspace_id = a.workspace_id and i.agent_id = a.id), '{}') as accounts,
  (select max(s.seen_at) from agent_session s where s.workspace_id = a.workspace_id and s.agent_id = a.id) as seen_at
from agent a"""


async def agent_rows(tx: Transaction) -> list[AgentRow]:
    """Everybody, those who are disabled last."""
    order = " order by a.disabled_at is not null, a.role <> 'owner', a.name, a.id limit 500"
    return await tx.objects(AgentRow, _COLLEAGUES + order)


async def has_closed_steps(tx: Transaction, agent_id: int) -> bool:
    """Whether this agent does not want to see any more what is left to do at first."""
    return bool(await tx.value("select steps_closed_at is not null from agent where id = %(id)s", id=agent_id))


async def close_steps(tx: Transaction, agent_id: int, *, now: datetime) -> None:
    """This agent has seen what is left to do at first, and does not want to see it any more."""
    await tx.run(
        "update agent set steps_closed_at = %(now)s where id = %(id)s and steps_closed_at is null",
        id=agent_id,
        now=now,
    )


async def locale_of_agent(tx: Transaction, agent_id: int) -> Locale:
    """The language that an agent chose; Chinese where they chose none."""
    return to_locale(await tx.value("select locale from agent where id = %(id)s", id=agent_id))


async def agent_row(tx: Transaction, agent_id: int) -> AgentRow:
    """Raises NotFound."""
    found = await tx.object(AgentRow, _COLLEAGUES + " where a.id = %(id)s", id=agent_id)
    if found is None:
        raise NotFound("There is no such agent.")
    return found


async def agent_by_email(tx: Transaction, email: str) -> AgentRow:
    """The colleague with this address. Raises NotFound."""
    address = email.strip().lower()
    found = await tx.object(AgentRow, _COLLEAGUES + " where a.email = %(email)s", email=address)
    if found is None:
        raise NotFound(f"There is no agent with the address {address}; zhiban agent list shows them all.")
    return found


# --------------------------------------------------------------------------------------------- who may do what


def may_change(agent: SignedInAgent, row: AgentRow) -> bool:
    """An owner changes everybody, an admin those below them and themselves.

    Whoever makes a link for an account could use it as well: so nobody gets at the account of an equal or of somebody
    above them.
    """
    if not agent.access.may(Permission.MANAGE_PEOPLE):
        return False
    own = Role(agent.role)
    return own is Role.OWNER or row.id == agent.id or outranks(own, Role(row.role))


async def to_change(tx: Transaction, agent: SignedInAgent, agent_id: int) -> AgentRow:
    """The colleague whom `agent` wants to change. Raises NotFound, NotAllowed."""
    agent.access.check(Permission.MANAGE_PEOPLE)
    row = await agent_row(tx, agent_id)
    if not may_change(agent, row):
        raise NotAllowed("Only an owner may change the accounts of owners and admins.")
    return row


# ------------------------------------------------------------------------------------------------------- changes


async def change(
    tx: Transaction,
    agent_id: int,
    *,
    name: str | None = None,
    accounts: Mapping[str, str] | None = None,
    by: Actor = SYSTEM,
    now: datetime,
) -> None:
    """Change what is given; an empty account takes the agent's id at that vendor away. Raises NotFound, Conflict."""
    row = await agent_row(tx, agent_id)
    if name is not None and not name.strip():
        raise Conflict("An agent needs a name and an e-mail address.")
    await tx.run(
        "update agent set name = coalesce(%(name)s, name) where id = %(id)s",
        id=agent_id,
        name=name.strip()[:80] if name else None,
    )
    for vendor, external_id in (accounts or {}).items():
        await _set_account(tx, agent_id, vendor, external_id.strip())
    await _record_change(tx, row, await agent_row(tx, agent_id), by=by, now=now)


async def set_access(
    tx: Transaction,
    agent_id: int,
    *,
    role: Role,
    inbox_ids: Collection[int] | None,
    giver: Role = Role.OWNER,
    by: Actor = SYSTEM,
    now: datetime,
) -> None:
    """What this agent may see and do from now on, also in the pages that they have open. `giver`: the role of who says.

    `inbox_ids` None: every inbox. What they have in hand and may answer no more waits for the others after the commit.
    Raises NotFound, NotAllowed (above the giver's own role, or the last owner).
    """
    # One change of roles at a time, so that two owners cannot demote each other.
    await tx.run("select 1 from agent where role = 'owner' or id = %(id)s order by id for update", id=agent_id)
    row = await agent_row(tx, agent_id)
    if role != row.role:
        check_gives(giver, role)
        if outranks(Role(row.role), giver):
            raise NotAllowed("Only an owner may change the accounts of owners and admins.")
        if row.role == Role.OWNER:
            await _check_other_owner(tx, agent_id)
    limited = await limits(tx, role, inbox_ids)
    if (str(role), limited) == (row.role, row.inbox_ids):
        return
    await tx.run(
        "update agent set role = %(role)s, inbox_ids = %(inboxes)s where id = %(id)s",
        role=str(role),
        inboxes=limited,
        id=agent_id,
    )
    tx.publish_after_commit(SESSIONS, agent_id)
    await _record_change(tx, row, await agent_row(tx, agent_id), by=by, now=now)


def check_gives(giver: Role, role: Role) -> None:
    """Raises NotAllowed where who gives a role does not have it, or a higher one, themselves."""
    if role not in gives(giver):
        raise NotAllowed("Nobody gives a role above their own.")


async def _check_other_owner(tx: Transaction, agent_id: int) -> None:
    """Raises NotAllowed when no other owner could let people in."""
    if not await tx.value(
        "select 1 from agent where role = 'owner' and disabled_at is null and password_hash is not null "
        "and id <> %(id)s limit 1",
        id=agent_id,
    ):
        raise NotAllowed("The last owner stays: nobody could let them in again.")


async def limits(tx: Transaction, role: Role, inbox_ids: Collection[int] | None) -> list[int] | None:
    """What is stored of the inboxes that were chosen. Raises NotFound when one does not exist."""
    if inbox_ids is None or not may_be_limited(role):
        return None
    return await known_inboxes(tx, inbox_ids)


async def known_inboxes(tx: Transaction, inbox_ids: Collection[int]) -> list[int]:
    """These inboxes in order. Raises NotFound when one does not exist."""
    wanted = sorted(set(inbox_ids))
    if await tx.value("select count(*) from inbox where id = any(%(ids)s::bigint[])", ids=wanted) != len(wanted):
        raise NotFound("There is no such inbox.")
    return wanted


async def _record_change(tx: Transaction, old: AgentRow, new: AgentRow, *, by: Actor, now: datetime) -> None:
    """What others see differently, by name; nothing when nothing changed."""
    before, after = asdict(old), asdict(new)
    changed = [name for name in ("name", "role", "inbox_ids", "accounts") if before[name] != after[name]]
    if changed:
        was, became = {name: before[name] for name in changed}, {name: after[name] for name in changed}
        await event_log.append(tx, AgentChanged(actor=by, at=now, agent_id=new.id, before=was, after=became))


async def _set_account(tx: Transaction, agent_id: int, vendor: str, external_id: str) -> None:
    """A card that is tapped must lead to one agent, and a message for one must not reach a group. Raises Conflict."""
    if not external_id:
        await tx.run(
            "delete from agent_identity where agent_id = %(agent)s and vendor = %(vendor)s",
            agent=agent_id,
            vendor=vendor,
        )
        return
    if not _ACCOUNT.fullmatch(external_id):
        raise Conflict("An account has letters, digits and . _ - @ only, and begins with a letter or a digit.")
    taken = await tx.value(
        "select 1 from agent_identity where vendor = %(vendor)s and lower(external_id) = lower(%(account)s) "
        "and agent_id <> %(agent)s",
        vendor=vendor,
        account=external_id,
        agent=agent_id,
    )
    if taken:
        raise Conflict(f"Another agent has the account {external_id} already.")
    await tx.run(
        "insert into agent_identity (workspace_id, agent_id, vendor, external_id) "
        "values (%(workspace)s, %(agent)s, %(vendor)s, %(account)s) "
        "on conflict (workspace_id, agent_id, vendor) do update set external_id = excluded.external_id",
        workspace=tx.workspace_id,
        agent=agent_id,
        vendor=vendor,
        account=external_id,
    )


async def agent_with_account(tx: Transaction, vendor: str, external_id: str) -> int | None:
    """The agent, not disabled, who has this id at the vendor."""
    found: int | None = await tx.value(
        "select a.id from agent_identity i join agent a on a.workspace_id = i.workspace_id and a.id = i.agent_id "
        "where i.vendor = %(vendor)s and lower(i.external_id) = lower(%(account)s) and a.disabled_at is null",
        vendor=vendor,
        account=external_id,
    )
    return found


async def accounts_at(tx: Transaction, vendor: str, *, inbox_id: int | None = None) -> list[str]:
    """The ids at the vendor of all agents who are not disabled; with `inbox_id`, of those who may answer there."""
    answers = answering_in("%(inbox)s") if inbox_id is not None else "a.disabled_at is null"
    return await tx.values(
        "select i.external_id from agent_identity i join agent a on a.workspace_id = i.workspace_id "
        f"and a.id = i.agent_id where i.vendor = %(vendor)s and {answers} order by a.id",
        vendor=vendor,
        inbox=inbox_id,
    )


async def disable(tx: Transaction, agent_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Sign them out everywhere and let nobody give them work; what they had waits for the others.

    Raises NotFound, NotAllowed.
    """
    await tx.run("select 1 from agent where role = 'owner' or id = %(id)s order by id for update", id=agent_id)
    row = await agent_row(tx, agent_id)
    if row.disabled_at is not None:
        return
    if row.role == Role.OWNER:
        await _check_other_owner(tx, agent_id)
    await tx.run("update agent set disabled_at = %(now)s where id = %(id)s", now=now, id=agent_id)
    await end_sessions(tx, agent_id)
    await tx.run("delete from setup_link where agent_id = %(id)s and used_at is null", id=agent_id)
    await presence.leave(tx, agent_id, by=by, reason="disabled", now=now)
    await event_log.append(tx, AgentDisabled(actor=by, at=now, agent_id=agent_id))


async def enable(tx: Transaction, agent_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Let them in again, with the password they had. Raises NotFound."""
    row = await agent_row(tx, agent_id)
    if row.disabled_at is None:
        return
    await tx.run("update agent set disabled_at = null where id = %(id)s", id=agent_id)
    await event_log.append(tx, AgentEnabled(actor=by, at=now, agent_id=agent_id))
