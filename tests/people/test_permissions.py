"""Who may do what: the table of roles, and what may be given to whom."""

from __future__ import annotations

import pytest
from tests.twin import open_inbox

from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import NotFound
from zhiban.people import agents, presence
from zhiban.people.models import Role
from zhiban.people.permissions import Access, NotAllowed, Permission, check_may_answer, gives
from zhiban.people.service import add_agent

A, L, S, K, R, T, *_rest = Permission
TABLE = {
    Role.READ_ONLY: set(),
    Role.AGENT: {A},
    Role.SUPERVISOR: {A, L, S, K, R, T},
    Role.ADMIN: set(Permission) - {Permission.MANAGE_SIGN_IN, Permission.DECIDE_RETENTION},
    Role.OWNER: set(Permission),
}


@pytest.mark.parametrize("role", list(Role))
def test_what_each_role_may_do(role: Role) -> None:
    everywhere, somewhere = Access(1, role), Access(1, role, (7,))
    assert {one for one in Permission if everywhere.may(one)} == TABLE[role]
    # Rules act in every inbox.
    assert {one for one in Permission if somewhere.may(one)} == TABLE[role] - {R}
    assert (everywhere.sees(8), somewhere.sees(7), somewhere.sees(8)) == (True, True, False)
    for one in Permission:
        if not everywhere.may(one):
            with pytest.raises(NotAllowed):
                everywhere.check(one)


def test_nobody_gives_a_role_above_their_own() -> None:
    assert set(gives(Role.OWNER)) == set(Role)
    assert set(gives(Role.ADMIN)) == set(Role) - {Role.OWNER}
    assert [gives(role) for role in (Role.SUPERVISOR, Role.AGENT, Role.READ_ONLY)] == [(), (), ()]


async def test_access_is_given_taken_and_told(db: Database, workspace: int, clock: SetClock) -> None:
    first = await open_inbox(db, workspace, public_id="a", name="甲")
    second = await open_inbox(db, workspace, public_id="b", name="乙")
    now = clock.now()
    async with db.transaction(workspace) as tx:
        owner = await add_agent(tx, email="o@b.example", name="欧阳", role=Role.OWNER, password_hash="x")
        ning = await add_agent(tx, email="n@b.example", name="阿宁", role=Role.AGENT, password_hash="x")
        await agents.set_access(tx, ning, role=Role.AGENT, inbox_ids=[first.inbox_id], giver=Role.ADMIN, now=now)
        assert await check_may_answer(tx, ning, first.inbox_id) == "阿宁"
        with pytest.raises(NotAllowed):
            await check_may_answer(tx, ning, second.inbox_id)
        with pytest.raises(NotFound):
            await agents.set_access(tx, ning, role=Role.AGENT, inbox_ids=[99], now=now)
        # Cards of a handoff go to whoever may answer there.
        await agents.change(tx, ning, accounts={"wecom": "ning"}, now=now)
        told = [await agents.accounts_at(tx, "wecom", inbox_id=one.inbox_id) for one in (first, second)]
        assert (told, await agents.accounts_at(tx, "wecom")) == ([["ning"], []], ["ning"])
        await presence.beat(tx, ning, now=now)
        (there,) = await presence.assignable(tx, now=now)
        assert (there.answers(first.inbox_id), there.answers(second.inbox_id)) == (True, False)
        seen = [await presence.availabilities(tx, inbox_id=one.inbox_id) for one in (first, second)]
        assert [ning in one for one in seen] == [True, False]
        # Whoever only reads is given nothing, however much they are there.
        await agents.set_access(tx, ning, role=Role.READ_ONLY, inbox_ids=None, now=now)
        assert await presence.assignable(tx, now=now) == []
        with pytest.raises(NotAllowed):
            await check_may_answer(tx, ning, first.inbox_id)
        # Above oneself: not by giving, not by taking.
        for role in (Role.OWNER, Role.ADMIN):
            with pytest.raises(NotAllowed):
                await agents.set_access(tx, ning, role=role, inbox_ids=None, giver=Role.SUPERVISOR, now=now)
        with pytest.raises(NotAllowed):
            await agents.set_access(tx, owner, role=Role.AGENT, inbox_ids=None, giver=Role.ADMIN, now=now)
        # The last owner stays; with another one, they may go.
        with pytest.raises(NotAllowed):
            await agents.set_access(tx, owner, role=Role.ADMIN, inbox_ids=None, now=now)
        await agents.set_access(tx, ning, role=Role.OWNER, inbox_ids=[first.inbox_id], now=now)
        assert (await agents.agent_row(tx, ning)).inbox_ids is None
        await agents.set_access(tx, owner, role=Role.SUPERVISOR, inbox_ids=[], now=now)
        with pytest.raises(NotAllowed):
            await agents.disable(tx, ning, now=now)
        changes = await tx.values("select data -> 'after' from event where kind = 'agent_changed' order by id")
    assert changes == [
        {"inbox_ids": [first.inbox_id]},
        {"accounts": {"wecom": "ning"}},
        {"role": "read_only", "inbox_ids": None},
        {"role": "owner"},
        {"role": "supervisor", "inbox_ids": []},
    ]
