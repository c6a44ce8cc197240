"""The link by which the first owner of a workspace sets it up."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.events import Actor, AgentJoined
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, Gone
from zhiban.people.models import Role
from zhiban.people.service import add_agent, digest, new_token

SETUP_LIFE = timedelta(days=2)


class SetupLinkSpent(Gone):
    """The link was used, is too old, or never existed."""


async def has_owner(tx: Transaction) -> bool:
    """Whether anybody runs this workspace already."""
    return bool(await tx.value("select 1 from agent where role = 'owner' and disabled_at is null limit 1"))


async def new_setup_link(tx: Transaction, *, now: datetime) -> str:
    """A token for /setup/<token>. Earlier links of this workspace become void."""
    token = new_token(tx.workspace_id)
    await tx.run("delete from setup_link where used_at is null and agent_id is null")
    await tx.run(
        "insert into setup_link (workspace_id, digest, created_at, expires_at) "
        "values (%(workspace)s, %(digest)s, %(now)s, %(until)s)",
        workspace=tx.workspace_id,
        digest=digest(token),
        now=now,
        until=now + SETUP_LIFE,
    )
    return token


async def check_setup_link(tx: Transaction, token: str, *, now: datetime) -> str:
    """The name of the workspace. Raises SetupLinkSpent."""
    found: str | None = await tx.value(
        "select w.name from setup_link s join workspace w on w.workspace_id = s.workspace_id "
        "where s.digest = %(digest)s and s.agent_id is null and s.used_at is null and s.expires_at > %(now)s",
        digest=digest(token),
        now=now,
    )
    if found is None:
        raise SetupLinkSpent("This link was used or is too old. A restart of the server prints a new one.")
    return found


async def set_up(
    tx: Transaction,
    token: str,
    *,
    workspace: str,
    name: str,
    email: str,
    password_hash: str,
    locale: str,
    now: datetime,
) -> int:
    """Create the owner and name the workspace, once. Raises SetupLinkSpent, Conflict."""
    spent = await tx.run(
        "update setup_link set used_at = %(now)s "
        "where digest = %(digest)s and agent_id is null and used_at is null and expires_at > %(now)s",
        digest=digest(token),
        now=now,
    )
    if not spent:
        raise SetupLinkSpent("This link was used or is too old. A restart of the server prints a new one.")
    if not workspace.strip():
        raise Conflict("The workspace needs a name.")
    await tx.run(
        "update workspace set name = %(name)s, locale = %(locale)s where workspace_id = %(workspace)s",
        name=workspace.strip()[:80],
        locale=locale,
        workspace=tx.workspace_id,
    )
    agent_id = await add_agent(tx, email=email, name=name, role=Role.OWNER, password_hash=password_hash, locale=locale)
    await event_log.append(tx, AgentJoined(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
    return agent_id
