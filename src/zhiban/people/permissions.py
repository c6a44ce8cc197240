"""Who may see and do what: the one place that decides.

An agent's `Access` comes with their session (`SignedInAgent.access`, for pages of the desk `desk.access`), a program's
with its token; both are an endpoint's `caller.access`, and are read anew with every request. It answers two questions:

* **Which inboxes?** `access.sees(inbox_id)` for one row; for a list put `access.condition("c.inbox_id")` behind its
  `where` and give it `**access.params`. One conversation is fetched through `conversations.access`:
  `access_conversation` to show it, `access_conversation_to_answer` for whatever changes it. What an agent may not see
  does not exist for them: it is NotFound.
* **Which verbs?** `access.may(Permission.MANAGE_LABELS)` to show a button, `access.check(…)` before the verb. What an
  agent may see but not do is NotAllowed.

Who else may be given something (an assignee, somebody to mention) is asked with `answering_in` in SQL and
`check_may_answer` before a verb. A new page needs its line in tests/desk/addresses.py: it is tried with every role.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.people.models import Role


class NotAllowed(Conflict):
    """What was wished for is the business of somebody else."""


class Permission(StrEnum):
    """What somebody may do. Everybody who is signed in sees the conversations of their inboxes."""

    ANSWER = "answer"  # everything that changes a conversation, from a note to its status
    MANAGE_LABELS = "manage_labels"
    MANAGE_SNIPPETS = "manage_snippets"  # snippets and macros that all share; their own are everybody's who answers
    MANAGE_KNOWLEDGE = "manage_knowledge"
    MANAGE_RULES = "manage_rules"
    SEE_REPORTS = "see_reports"
    MANAGE_INBOXES = "manage_inboxes"  # connections, how inboxes behave and give work away, tokens, what failed
    MANAGE_PEOPLE = "manage_people"  # colleagues and teams, and where they are signed in
    MANAGE_SIGN_IN = "manage_sign_in"  # whom to trust to say who somebody is: whoever does could become everybody
    DECIDE_RETENTION = "decide_retention"  # what is deleted for good, of the log of who did what, too
    SEE_AUDIT = "see_audit"  # who did what and when, in all inboxes


_AGENT = frozenset({Permission.ANSWER})
_SUPERVISOR = _AGENT | {
    Permission.MANAGE_LABELS,
    Permission.MANAGE_SNIPPETS,
    Permission.MANAGE_KNOWLEDGE,
    Permission.MANAGE_RULES,
    Permission.SEE_REPORTS,
}
_OF_ROLE: dict[Role, frozenset[Permission]] = {
    Role.READ_ONLY: frozenset(),
    Role.AGENT: _AGENT,
    Role.SUPERVISOR: _SUPERVISOR,
    Role.ADMIN: frozenset(Permission) - {Permission.MANAGE_SIGN_IN, Permission.DECIDE_RETENTION},
    Role.OWNER: frozenset(Permission),
}
_RANK = {role: rank for rank, role in enumerate(reversed(Role))}

# Rules act in every inbox: whoever sees only some could make one that acts, or tells them, about the others.
_FOR_ALL_INBOXES = frozenset({Permission.MANAGE_RULES})


@frozen_dataclass
class Access:
    """What an agent, or a program, may see and do. `inbox_ids` None: every inbox, those to come included.

    A program is no agent: `agent_id` is 0, its role gives it nothing, and its `rights` are what its token is for.
    """

    agent_id: int
    role: Role
    inbox_ids: tuple[int, ...] | None = None
    rights: frozenset[Permission] = frozenset()

    def may(self, permission: Permission) -> bool:
        """Whether a verb is theirs, in the inboxes that they see."""
        if permission in _FOR_ALL_INBOXES and self.inbox_ids is not None:
            return False
        return permission in _OF_ROLE[self.role] or permission in self.rights

    def check(self, permission: Permission) -> None:
        """Raises NotAllowed."""
        if self.may(permission):
            return
        match permission:
            case Permission.ANSWER:
                raise NotAllowed("You may look at conversations here, but not change them.")
            case Permission.MANAGE_RULES:
                raise NotAllowed("Only owners, admins, and supervisors of all inboxes may do that.")
            case Permission.MANAGE_SIGN_IN | Permission.DECIDE_RETENTION:
                raise NotAllowed("Only owners may do that.")
            case Permission.MANAGE_INBOXES | Permission.MANAGE_PEOPLE | Permission.SEE_AUDIT:
                raise NotAllowed("Only owners and admins may do that.")
            case _:
                raise NotAllowed("Only owners, admins and supervisors may do that.")

    def sees(self, inbox_id: int) -> bool:
        return self.inbox_ids is None or inbox_id in self.inbox_ids

    def answers(self, inbox_id: int) -> bool:
        return self.sees(inbox_id) and self.may(Permission.ANSWER)

    def condition(self, column: str) -> str:
        """SQL that keeps of a list what this agent sees, beginning with "and"; empty where that is everything."""
        return "" if self.inbox_ids is None else f" and {column} = any(%(inboxes)s::bigint[])"

    @property
    def params(self) -> dict[str, object]:
        """What `condition` refers to."""
        return {"inboxes": None if self.inbox_ids is None else list(self.inbox_ids)}


def access_of(agent_id: int, role: str, inbox_ids: list[int] | None) -> Access:
    """The access that a row of `agent` tells of."""
    return Access(agent_id, Role(role), None if inbox_ids is None else tuple(inbox_ids))


def access_of_program(rights: Iterable[Permission], inbox_ids: Iterable[int] | None) -> Access:
    """What a program may see and do whose token says so."""
    return Access(0, Role.READ_ONLY, None if inbox_ids is None else tuple(inbox_ids), frozenset(rights))


async def access_of_agent(tx: Transaction, agent_id: int) -> Access | None:
    """What this agent may see and do, None where there is none, or a disabled one."""
    row = await tx.row("select role, inbox_ids from agent where id = %(id)s and disabled_at is null", id=agent_id)
    return None if row is None else access_of(agent_id, *row)


# ------------------------------------------------------------------------------------------------------ colleagues


def outranks(role: Role, other: Role) -> bool:
    return _RANK[role] > _RANK[other]


def gives(role: Role) -> tuple[Role, ...]:
    """The roles that somebody may give to others, the lowest first: their own at most."""
    if Permission.MANAGE_PEOPLE not in _OF_ROLE[role]:
        return ()
    return tuple(one for one in reversed(Role) if not outranks(one, role))


def may_be_limited(role: Role) -> bool:
    """Whether this role can be given some inboxes only. Whoever manages inboxes has all of them."""
    return Permission.MANAGE_INBOXES not in _OF_ROLE[role]


def answering_in(inbox: str, *, agent: str = "a") -> str:
    """SQL: whether the row of `agent` is one who may answer in this inbox, both named as in the statement."""
    return (
        f"({agent}.disabled_at is null and {agent}.role <> '{Role.READ_ONLY}' "
        f"and ({agent}.inbox_ids is null or {inbox} = any({agent}.inbox_ids)))"
    )


async def check_may_answer(tx: Transaction, agent_id: int, inbox_id: int) -> str:
    """The name of a colleague who may answer in this inbox, which stays true until the transaction ends.

    Raises NotFound where there is nobody (any more), NotAllowed where they may not.
    """
    row = await tx.row(
        f"select a.name, {answering_in('%(inbox)s')} from agent a "
        "where a.id = %(agent)s and a.disabled_at is null for share",
        agent=agent_id,
        inbox=inbox_id,
    )
    if row is None:
        raise NotFound("There is no such agent.")
    name, answers = row
    if not answers:
        raise NotAllowed(f"{name} may not answer in this inbox.")
    return str(name)
