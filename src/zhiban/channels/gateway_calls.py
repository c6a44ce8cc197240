"""Calls on their way to a program that is connected to another process."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass

LEFT_BEHIND = timedelta(minutes=10)  # whoever waited for it is dead

_PUT = """
with old as (delete from gateway_call where connection_id = %(connection)s and created_at < %(old)s)
insert into gateway_call (workspace_id, connection_id, key, frame, seconds, created_at)
values (%(workspace)s, %(connection)s, %(key)s, %(frame)s, %(seconds)s, %(now)s) returning id"""

_TAKE = """
update gateway_call set state = 'sent' where id in (
  select id from gateway_call where connection_id = %(connection)s and state = 'waiting'
  order by id limit 16 for update skip locked)
returning id, key, frame, seconds"""


@frozen_dataclass
class TakenCall:
    """A call that this process makes for another one."""

    id: int
    key: str
    frame: str
    seconds: float


@frozen_dataclass
class GatewayCallState:
    """How a call stands: `waiting`, `sent`, `answered`, `unsent` (nobody could), or `lost` (sent, and no answer)."""

    state: str
    answer: str | None


async def put_call(tx: Transaction, connection_id: int, key: str, frame: str, seconds: float, *, now: datetime) -> int:
    """Ask whichever process is connected to make this call. Its id."""
    return int(
        await tx.value(
            _PUT,
            workspace=tx.workspace_id,
            connection=connection_id,
            key=key,
            frame=frame,
            seconds=seconds,
            now=now,
            old=now - LEFT_BEHIND,
        )
    )


async def take_calls(tx: Transaction, connection_id: int) -> list[TakenCall]:
    """Those that nobody has taken yet, each for one process alone."""
    return await tx.objects(TakenCall, _TAKE, connection=connection_id)


async def end_call(tx: Transaction, id_: int, state: str, answer: str | None = None) -> None:
    """Say how it ended, to whoever waits for it."""
    await tx.run(
        "update gateway_call set state = %(state)s, answer = %(answer)s, frame = '' where id = %(id)s",
        state=state,
        answer=answer,
        id=id_,
    )


async def outcome(tx: Transaction, id_: int) -> GatewayCallState | None:
    """How it stands; None where it is gone."""
    return await tx.object(GatewayCallState, "select state, answer from gateway_call where id = %(id)s", id=id_)


async def withdraw_call(tx: Transaction, id_: int) -> str:
    """Nobody waits for it any more. Returns how it stood then; what was `waiting` is never sent."""
    found = await tx.value("delete from gateway_call where id = %(id)s returning state", id=id_)
    return str(found or "lost")
