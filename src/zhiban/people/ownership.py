"""What an agent keeps for themselves or shares with all: who may change it, and how it may be called."""

from __future__ import annotations

from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.permissions import NotAllowed, Permission
from zhiban.people.service import SignedInAgent


def may_keep(agent: SignedInAgent, owner_id: int | None) -> bool:
    """Whether they may add, change and remove what belongs to `owner_id`; None: what is everybody's."""
    if owner_id is None:
        return agent.access.may(Permission.MANAGE_SNIPPETS)
    return owner_id == agent.id and agent.access.may(Permission.ANSWER)


def check_may_keep(agent: SignedInAgent, owner_id: int | None) -> None:
    """Raises NotAllowed."""
    if owner_id == agent.id:
        agent.access.check(Permission.ANSWER)
    elif not may_keep(agent, owner_id):
        raise NotAllowed("Only owners, admins and supervisors may change what is shared.")


async def in_turn(tx: Transaction, what: str) -> None:
    """Two who change things of this kind at once do so one after the other: the second reads what the first wrote."""
    await tx.value(
        "select pg_advisory_xact_lock(hashtextextended(%(what)s, %(workspace)s))", what=what, workspace=tx.workspace_id
    )


def clean_name(name: str, *, longest: int) -> str:
    """The name as it is stored. Raises Conflict."""
    name = " ".join(name.split())
    if not name:
        raise Conflict(mark("It needs a name."))
    if len(name) > longest:
        raise Conflict(mark(f"A name has at most {longest} characters here."))
    if not name.isprintable():
        raise Conflict(mark("A name has visible characters only."))
    return name
