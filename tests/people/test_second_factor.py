"""A second factor's life in the database: sealed, confirmed, used once, renewed, removed, asked of everybody."""

from __future__ import annotations

from datetime import timedelta

import pytest

from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.errors import Conflict
from zhiban.kit.vault import SealBroken, Vault
from zhiban.people import second_factor, service, totp
from zhiban.people.models import Role
from zhiban.people.second_factor import MOST_WRONG, RECOVERY_CODES, SignInOver, WrongCode

VAULT = Vault(["a key of this test"])
ROTATED = Vault(["another key, newer", "a key of this test"])


async def test_a_second_factor_from_beginning_to_end(db: Database, workspace: int, clock: SetClock) -> None:
    now = clock.now()
    async with db.page_transaction(workspace) as tx:
        ning = await service.add_agent(tx, email="n@b.example", name="阿宁", role=Role.AGENT, password_hash="x")
        here = await service.open_session(tx, agent_id=ning, now=now)
        there = await service.open_session(tx, agent_id=ning, now=now)
        first = await second_factor.begin(tx, VAULT, ning, now=now)
        secret = await second_factor.begin(tx, VAULT, ning, now=now)  # once more is a new one, until it counts
        assert (await second_factor.secret_begun(tx, VAULT, ning, now=now), first == secret) == (secret, False)
        late = now + second_factor.BEGUN_LIFE
        assert await second_factor.secret_begun(tx, VAULT, ning, now=late) is None
        with pytest.raises(Conflict):
            await second_factor.confirm(tx, VAULT, ning, totp.code_of(secret, totp.step_at(late)), token=here, now=late)
        sealed = await tx.value("select secret from second_factor")
        assert secret.encode() not in bytes(sealed)
        # Until its first code was typed it is asked of nobody.
        assert not (await service.session_after_password(tx, agent_id=ning, now=now)).awaits_code
        with pytest.raises(WrongCode):
            await second_factor.confirm(tx, VAULT, ning, "000000", token=here, now=now)
        code = totp.code_of(secret, totp.step_at(now))
        codes = await second_factor.confirm(tx, VAULT, ning, code, token=here, now=now)
        assert len(set(codes)) == RECOVERY_CODES
        with pytest.raises(Conflict):
            await second_factor.begin(tx, VAULT, ning, now=now)
        assert not await tx.value("select count(*) from recovery_code where digest::text like %(c)s", c=codes[0])
    assert await service.session_access(db, here, now=now) is not None
    assert await service.session_access(db, there, now=now) is None

    async def waits() -> str:
        async with db.page_transaction(workspace) as tx:
            session = await service.session_after_password(tx, agent_id=ning, now=clock.now())
        assert session.awaits_code
        assert await service.signed_in_agent(db, session.token, now=clock.now()) is None
        assert not await service.beat(db, session.token, now=clock.now())
        return session.token

    async def enters(token: str, code: str) -> str:
        return await second_factor.complete_sign_in(db, VAULT, token, code, now=clock.now())

    token = await waits()
    with pytest.raises(WrongCode):  # the code that confirmed does not work again
        await enters(token, code)
    clock.advance(timedelta(seconds=30))
    later = totp.code_of(secret, totp.step_at(clock.now()))
    fresh = await enters(token, later)
    assert await service.signed_in_agent(db, fresh, now=clock.now()) is not None
    with pytest.raises(SignInOver):  # the session that waited is gone
        await enters(token, later)
    with pytest.raises(WrongCode):
        await enters(await waits(), later)
    assert await enters(await waits(), codes[3].upper().replace("-", " "))
    with pytest.raises(WrongCode):
        await enters(await waits(), codes[3])
    # Who guesses has to know the password again and again, and is told to the log.
    token = await waits()
    for n in range(MOST_WRONG):
        with pytest.raises(SignInOver if n == MOST_WRONG - 1 else WrongCode):
            await enters(token, f"{n:06d}")
    assert await second_factor.awaiting(db, token, now=clock.now()) is None
    token = await waits()
    clock.advance(service.CODE_LIFE + timedelta(seconds=1))
    with pytest.raises(SignInOver):
        await enters(token, codes[4])

    async with db.page_transaction(workspace) as tx:
        assert (await second_factor.factor_state(tx, ning)).codes_left == RECOVERY_CODES - 1
        renewed = await second_factor.renew_codes(tx, ning, now=clock.now())
        assert not await second_factor.check(tx, VAULT, ning, codes[5], now=clock.now())
        # Another key opens it, after it was sealed anew; the secret of one agent never opens for another.
        await second_factor.check_open(tx, ROTATED)
        await second_factor.reseal(tx, ROTATED)
        with pytest.raises(SealBroken):
            await second_factor.check_open(tx, VAULT)
        assert await second_factor.check(tx, ROTATED, ning, renewed[0], now=clock.now())
        other = await service.add_agent(tx, email="o@b.example", name="别人", role=Role.AGENT, password_hash="x")
        await tx.run(
            "insert into second_factor (workspace_id, agent_id, secret, created_at, enrolled_at) "
            "select workspace_id, %(other)s, secret, created_at, enrolled_at from second_factor",
            other=other,
        )
        with pytest.raises(SealBroken):
            await second_factor.check(tx, ROTATED, other, "000000", now=clock.now())
        await second_factor.remove(tx, ning, now=clock.now())
        await second_factor.remove(tx, ning, now=clock.now())
        assert not (await service.session_after_password(tx, agent_id=ning, now=clock.now())).awaits_code
        kinds = await tx.rows(
            "select kind, count(*) from event where kind ~ '^(second|recovery)' group by 1 order by 1"
        )
    assert dict(kinds) == {
        "recovery_code_used": 2,
        "recovery_codes_created": 1,
        "second_factor_enrolled": 1,
        "second_factor_failed": 3 + MOST_WRONG + 1,
        "second_factor_removed": 1,
    }


async def test_it_can_be_asked_of_everybody(db: Database, workspace: int, clock: SetClock) -> None:
    now = clock.now()
    async with db.page_transaction(workspace) as tx:
        ning = await service.add_agent(tx, email="n@b.example", name="阿宁", role=Role.AGENT, password_hash="x")
        token = await service.open_session(tx, agent_id=ning, now=now)
    assert await service.session_access(db, token, now=now) is not None
    async with db.page_transaction(workspace) as tx:
        await second_factor.require(tx, True, now=now)
        await second_factor.require(tx, True, now=now)
    agent = await service.signed_in_agent(db, token, now=now)
    assert agent is not None
    assert agent.must_enrol
    assert await service.session_access(db, token, now=now) is None  # streams end
    async with db.page_transaction(workspace) as tx:
        secret = await second_factor.begin(tx, VAULT, ning, now=now)
        await second_factor.confirm(tx, VAULT, ning, totp.code_of(secret, totp.step_at(now)), token=token, now=now)
        assert await tx.value("select count(*) from event where kind = 'second_factor_required'") == 1
    assert await service.session_access(db, token, now=now) is not None
