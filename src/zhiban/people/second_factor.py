"""The second factor: a code from an app on the agent's phone, asked for after the password.

The secret is sealed for its agent. A code works once: the step of the last one is kept, and only a later one is taken.
Recovery codes stand in for the phone, each once; only their digests are stored. Callers reserve each attempt with the
throttle first.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from zhiban.events import (
    SYSTEM,
    Actor,
    RecoveryCodesCreated,
    RecoveryCodeUsed,
    SecondFactorEnrolled,
    SecondFactorFailed,
    SecondFactorRemoved,
    SecondFactorRequired,
)
from zhiban.kit import event_log
from zhiban.kit.db import NO_WORKSPACE, Database, Transaction
from zhiban.kit.errors import Conflict, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.vault import Vault
from zhiban.people import totp
from zhiban.people.service import SESSIONS, digest, end_sessions, open_session, workspace_of

RECOVERY_CODES = 10
MOST_WRONG = 5  # codes after one password
BEGUN_LIFE = timedelta(minutes=15)  # of a secret that nobody confirmed: whoever saw it must not wait for that
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that is taken for something else
_GROUPS, _GROUP = 4, 4  # 79 random bits


class WrongCode(ZhibanError):
    """The code is not one of now, was used already, or is no recovery code."""


class SignInOver(ZhibanError):
    """Nobody waits for the code (any more): the password comes first."""


@frozen_dataclass
class FactorState:
    """What an agent sees of their own. `codes_left`: recovery codes that were not used."""

    enrolled: bool
    required: bool
    codes_left: int


def place_of(workspace_id: int, agent_id: int) -> str:
    """What the secret of an agent is bound to."""
    return f"agent/{workspace_id}/{agent_id}/second_factor"


async def factor_state(tx: Transaction, agent_id: int) -> FactorState:
    found = await tx.object(
        FactorState,
        "select exists (select from second_factor f where f.agent_id = %(id)s and f.enrolled_at is not null) "
        "as enrolled, w.second_factor_required as required, "
        "(select count(*) from recovery_code c where c.agent_id = %(id)s and c.used_at is null) as codes_left "
        "from workspace w where w.workspace_id = %(workspace)s",
        id=agent_id,
        workspace=tx.workspace_id,
    )
    return found or FactorState(enrolled=False, required=False, codes_left=0)


async def begin(tx: Transaction, vault: Vault, agent_id: int, *, now: datetime) -> str:
    """A new secret, which counts once a code of it was typed. Returns it. Raises Conflict when one is in force."""
    secret = totp.new_secret()
    begun = await tx.value(
        "insert into second_factor as f (workspace_id, agent_id, secret, created_at) "
        "values (%(workspace)s, %(agent)s, %(secret)s, %(now)s) on conflict (workspace_id, agent_id) do update "
        "set secret = excluded.secret, created_at = excluded.created_at where f.enrolled_at is null returning 1",
        workspace=tx.workspace_id,
        agent=agent_id,
        secret=vault.seal({"totp": secret}, bound_to=place_of(tx.workspace_id, agent_id)),
        now=now,
    )
    if begun is None:
        raise Conflict("There is a second factor already. Remove it first.")
    return secret


_BEGUN = "select secret from second_factor where agent_id = %(id)s and enrolled_at is null and created_at > %(since)s"


async def secret_begun(tx: Transaction, vault: Vault, agent_id: int, *, now: datetime) -> str | None:
    """The secret that is shown until its first code was typed, or its time is over. Raises SealBroken."""
    sealed = await tx.value(_BEGUN, id=agent_id, since=now - BEGUN_LIFE)
    return None if sealed is None else _opened(vault, sealed, tx.workspace_id, agent_id)


async def confirm(
    tx: Transaction, vault: Vault, agent_id: int, code: str, *, token: str, now: datetime
) -> tuple[str, ...]:
    """The first code of the new secret: from now on it is asked for. Ends every session but that of `token`.

    Returns the recovery codes, which cannot be shown again. Raises WrongCode, Conflict.
    """
    sealed = await tx.value(_BEGUN + " for update", id=agent_id, since=now - BEGUN_LIFE)
    if sealed is None:
        raise Conflict("There is nothing to confirm. Begin again.")
    step = totp.matching_step(_opened(vault, sealed, tx.workspace_id, agent_id), code, now=now)
    if step is None:
        raise WrongCode("The code is not right. Is the clock of the phone right?")
    await tx.run(
        "update second_factor set enrolled_at = %(now)s, last_step = %(step)s where agent_id = %(id)s",
        now=now,
        step=step,
        id=agent_id,
    )
    await end_sessions(tx, agent_id, but=token)
    await event_log.append(tx, SecondFactorEnrolled(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
    return await _new_codes(tx, agent_id)


async def check(tx: Transaction, vault: Vault, agent_id: int, typed: str, *, now: datetime) -> bool:
    """Whether this is a code of now that was not used before, or a recovery code, which it uses up.

    A wrong one is told to the log. Raises SealBroken.
    """
    row = await tx.row(
        "select secret, last_step from second_factor where agent_id = %(id)s and enrolled_at is not null for update",
        id=agent_id,
    )
    if row is None:
        return False
    sealed, last_step = row
    secret = _opened(vault, sealed, tx.workspace_id, agent_id)
    step = totp.matching_step(secret, typed, now=now, after=last_step)
    if step is not None:
        await tx.run("update second_factor set last_step = %(step)s where agent_id = %(id)s", step=step, id=agent_id)
        return True
    used = await tx.run(
        "update recovery_code set used_at = %(now)s "
        "where agent_id = %(id)s and digest = %(digest)s and used_at is null",
        now=now,
        id=agent_id,
        digest=_digest(tx.workspace_id, agent_id, typed),
    )
    if used:
        await event_log.append(tx, RecoveryCodeUsed(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
        return True
    await event_log.append(tx, SecondFactorFailed(actor=SYSTEM, at=now, agent_id=agent_id))
    return False


# ----------------------------------------------------------------------------------------- after the password


@frozen_dataclass
class Awaiting:
    """Who gave a password and has to give the code."""

    agent_id: int
    email: str


_AWAITING = """
select a.id as agent_id, a.email from agent_session s join agent a on a.id = s.agent_id
where s.digest = %(digest)s and s.awaits_code and s.expires_at > %(now)s and a.disabled_at is null for update of s"""


async def awaiting(database: Database, token: str, *, now: datetime) -> Awaiting | None:
    """Who waits in this session for their second factor; None when nobody does (any more)."""
    workspace_id = workspace_of(token)
    if workspace_id == NO_WORKSPACE:
        return None
    async with database.page_transaction(workspace_id) as tx:
        return await tx.object(Awaiting, _AWAITING, digest=digest(token), now=now)


async def complete_sign_in(
    database: Database, vault: Vault, token: str, typed: str, *, now: datetime, hint: str = ""
) -> str:
    """Sign in whoever waits in this session, with a code. Returns a fresh session's token.

    After MOST_WRONG wrong codes the password is asked for again. Raises WrongCode, SignInOver, SealBroken.
    """
    async with database.page_transaction(workspace_of(token)) as tx:
        who = await tx.object(Awaiting, _AWAITING, digest=digest(token), now=now)
        if who is None:
            raise SignInOver("That took too long. Sign in again.")
        right = await check(tx, vault, who.agent_id, typed, now=now)
        wrong = 0
        if not right:
            wrong = await tx.value(
                "update agent_session set wrong_codes = wrong_codes + 1 where digest = %(digest)s "
                "returning wrong_codes",
                digest=digest(token),
            )
        if right or wrong >= MOST_WRONG:
            await tx.run("delete from agent_session where digest = %(digest)s", digest=digest(token))
        fresh = await open_session(tx, agent_id=who.agent_id, now=now, hint=hint) if right else ""
    if wrong >= MOST_WRONG:
        raise SignInOver("Too many wrong codes. Sign in again.")
    if not fresh:
        raise WrongCode("The code is not right, or was used already.")
    return fresh


async def renew_codes(tx: Transaction, agent_id: int, *, now: datetime) -> tuple[str, ...]:
    """New recovery codes in the place of the old ones. Raises Conflict without a second factor."""
    if not (await factor_state(tx, agent_id)).enrolled:
        raise Conflict("There is no second factor.")
    await event_log.append(tx, RecoveryCodesCreated(actor=Actor("agent", agent_id), at=now, agent_id=agent_id))
    return await _new_codes(tx, agent_id)


async def remove(tx: Transaction, agent_id: int, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Ask this agent for the password alone. Once more is nothing."""
    await tx.run("delete from recovery_code where agent_id = %(id)s", id=agent_id)
    enrolled = await tx.value(
        "delete from second_factor where agent_id = %(id)s returning enrolled_at is not null", id=agent_id
    )
    if enrolled:
        await event_log.append(tx, SecondFactorRemoved(actor=by, at=now, agent_id=agent_id))


async def require(tx: Transaction, required: bool, *, by: Actor = SYSTEM, now: datetime) -> None:
    """Whether everybody needs a second factor. Who has none is asked to set one up before anything else."""
    changed = await tx.run(
        "update workspace set second_factor_required = %(required)s "
        "where workspace_id = %(workspace)s and second_factor_required <> %(required)s",
        required=required,
        workspace=tx.workspace_id,
    )
    if not changed:
        return
    await event_log.append(tx, SecondFactorRequired(actor=by, at=now, required=required))
    for agent_id in await tx.values("select id from agent where disabled_at is null"):
        tx.publish_after_commit(SESSIONS, agent_id)


async def is_required(tx: Transaction) -> bool:
    return bool(
        await tx.value(
            "select second_factor_required from workspace where workspace_id = %(workspace)s",
            workspace=tx.workspace_id,
        )
    )


# ---------------------------------------------------------------------------------------------------------- keys


async def check_open(tx: Transaction, vault: Vault) -> None:
    """Raises SealBroken when a secret of this workspace opens with none of the keys."""
    for agent_id, sealed in await tx.rows("select agent_id, secret from second_factor order by 1"):
        _opened(vault, sealed, tx.workspace_id, agent_id)


async def reseal(tx: Transaction, vault: Vault) -> None:
    """Seal all secrets of this workspace with the first key. Raises SealBroken."""
    for agent_id, sealed in await tx.rows("select agent_id, secret from second_factor order by 1 for update"):
        if not vault.is_current(sealed):
            await tx.run(
                "update second_factor set secret = %(secret)s where agent_id = %(id)s",
                secret=vault.reseal(sealed, bound_to=place_of(tx.workspace_id, agent_id)),
                id=agent_id,
            )


def _opened(vault: Vault, sealed: bytes, workspace_id: int, agent_id: int) -> str:
    return str(vault.open(sealed, bound_to=place_of(workspace_id, agent_id))["totp"])


async def _new_codes(tx: Transaction, agent_id: int) -> tuple[str, ...]:
    codes = tuple(
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    )
    await tx.run("delete from recovery_code where agent_id = %(id)s", id=agent_id)
    await tx.run(
        "insert into recovery_code (workspace_id, agent_id, digest) "
        "select %(workspace)s, %(id)s, digest from unnest(%(digests)s::bytea[]) as digest",
        workspace=tx.workspace_id,
        id=agent_id,
        digests=[_digest(tx.workspace_id, agent_id, code) for code in codes],
    )
    return codes


def _digest(workspace_id: int, agent_id: int, code: str) -> bytes:
    """The same however it was typed: capitals, blanks and hyphens do not matter."""
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return hashlib.sha256(f"recovery code/{workspace_id}/{agent_id}/{plain}".encode("utf-8", "replace")).digest()
