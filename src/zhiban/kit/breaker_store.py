"""Circuits and call budgets that all processes share.

Only what is not plainly closed is stored, and every process keeps a copy: a call whose circuit is closed costs a look
into a dictionary. Opening, probing and closing are rows, changed under a lock, so that exactly one process probes.
What changed is published; a copy that is some seconds old is read again beside the call, for what was lost on the way.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import psycopg

from zhiban.kit import metrics
from zhiban.kit.background_tasks import cancelled
from zhiban.kit.breaker import (
    CLOSED,
    Admission,
    Circuit,
    Paused,
    Pauses,
    Phase,
    abandoned,
    admission,
    comeback,
    failed,
    probing,
    succeeded,
)
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.pubsub import PubSub

log = logging.getLogger(__name__)

BREAKER: Final = "breaker"  # topic: circuits of this workspace changed; the id means nothing
FRESH_SECONDS: Final = 10.0

_READ = """
select key, state, openings, extract(epoch from until)::float8, pause, reason from circuit
where state <> 'closed' or until > %(now)s"""

_MAKE = """
insert into circuit (workspace_id, key, state, until) values (%(workspace)s, %(key)s, 'closed', %(now)s)
on conflict do nothing"""

_LOCK = """
select state, openings, extract(epoch from until)::float8, pause, reason from circuit
where key = %(key)s for update"""

_WRITE = """
update circuit set state = %(state)s, openings = %(openings)s, until = to_timestamp(%(until)s), pause = %(pause)s,
  reason = %(reason)s, changed_at = %(now)s where key = %(key)s"""

# A row for each call that is allowed at a time; those that are there are used again before there are more.
_SPEND = """
insert into call_budget as b (workspace_id, key, next_at)
select %(workspace)s, k.key, %(following)s
from unnest(%(keys)s::text[]) with ordinality as k (key, n) left join call_budget c on c.key = k.key
where c.next_at is null or c.next_at <= %(now)s order by c.next_at is null, k.n limit 1
on conflict (workspace_id, key) do update set next_at = excluded.next_at where b.next_at <= %(now)s returning 1"""

_PAUSED = "select key, until, reason from circuit where state <> 'closed' order by key limit 100"

CircuitName = tuple[int, str]  # workspace, key
CircuitChange = Callable[[Circuit, float], Circuit]


@frozen_dataclass
class PausedCall:
    """A kind of call that nobody makes until then."""

    key: str
    until: datetime
    reason: str


async def paused_calls(tx: Transaction) -> list[PausedCall]:
    """What is paused in this workspace; without one, the models."""
    return await tx.objects(PausedCall, _PAUSED)


class BreakerStore:
    """The circuits of all workspaces, as one process knows them."""

    def __init__(
        self, database: Database, pubsub: PubSub, clock: Clock, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._database = database
        self._pubsub = pubsub
        self._clock = clock
        self._chance = chance
        self._circuits: dict[CircuitName, Circuit] = {}
        self._refused: dict[CircuitName, int] = {}
        self._read_at: dict[int, float] = {}
        self._writing = asyncio.Lock()
        self._reading: dict[int, asyncio.Task[None]] = {}
        pubsub.subscribe(BREAKER, self._changed)

    def of(self, workspace_id: int, prefix: str = "") -> SharedBreakers:
        """The circuits of one part of the program. `prefix` keeps its keys apart from others'."""
        return SharedBreakers(self, workspace_id, prefix)

    async def close(self) -> None:
        await cancelled(list(self._reading.values()))

    # ------------------------------------------------------------------------------------------------- deciding

    async def admit(self, name: CircuitName, pauses: Pauses) -> bool:
        """Return when the call may be made, and whether it is the probe. Raises Paused."""
        self._read_if_old(name[0])
        circuit = self._circuits.get(name)
        if circuit is None or admission(circuit, self._now()) is Admission.CALL:
            return False
        if admission(circuit, self._now()) is Admission.PROBE:
            found = Admission.WAIT

            def probe(stored: Circuit, now: float) -> Circuit:
                nonlocal found
                found = admission(stored, now)
                return probing(stored, pauses, now) if found is Admission.PROBE else stored

            circuit = await self._change(name, probe)
            if found is not Admission.WAIT:
                return found is Admission.PROBE
        raise Paused(name[1], after=self._comeback(name, circuit, pauses), reason=circuit.reason)

    async def failed(self, name: CircuitName, pauses: Pauses, *, asked: float | None, reason: str) -> float:
        """A call failed. Returns the seconds of pause for this caller; 0 while others may still call."""

        def fail(stored: Circuit, now: float) -> Circuit:
            return failed(stored, pauses, now, asked=asked, reason=reason, chance=self._chance())

        async with self._writing:
            before = self._circuits.get(name, CLOSED)
            circuit = fail(before, self._now())
            if circuit.phase is Phase.CLOSED or circuit == before:
                # Calls that failed together open the circuit once.
                self._circuits[name] = circuit
            else:
                circuit = await self._write(name, fail, otherwise=circuit)
                self._refused[name] = 0
                metrics.call_paused(name[1])
                log.warning(
                    "Calls of %s are paused for %.0f s: %s", name[1], circuit.until - self._now(), circuit.reason
                )
        return 0.0 if circuit.phase is Phase.CLOSED else self._comeback(name, circuit, pauses)

    async def succeeded(self, name: CircuitName) -> None:
        circuit = self._circuits.get(name)
        if circuit is None or circuit.phase is Phase.OPEN:
            return
        if circuit.phase is Phase.CLOSED:
            self._keep(name, succeeded(circuit, self._now()))
            return
        await self._change(name, succeeded)
        log.info("Calls of %s go out again.", name[1])

    async def abandoned(self, name: CircuitName) -> None:
        circuit = self._circuits.get(name)
        if circuit is not None and circuit.phase is Phase.HALF_OPEN:
            await self._change(name, abandoned)

    async def spend(self, name: CircuitName, *, every: float, times: int = 1) -> float:
        """Take one of `times` calls allowed in `every` seconds. Returns 0, or the seconds until there is one."""
        now = self._clock.now()
        keys = [name[1], *(f"{name[1]}#{n}" for n in range(2, times + 1))]
        async with self._database.transaction(name[0]) as tx:
            following = now + timedelta(seconds=every)
            if await tx.value(_SPEND, workspace=name[0], keys=keys, now=now, following=following):
                return 0.0
            next_at = await tx.value("select min(next_at) from call_budget where key = any(%(keys)s)", keys=keys)
        return max(float((next_at - now).total_seconds()), 0.1)

    def _comeback(self, name: CircuitName, circuit: Circuit, pauses: Pauses) -> float:
        position = self._refused.get(name, 0)
        self._refused[name] = position + 1
        return comeback(circuit, pauses, self._now(), position=position, chance=self._chance())

    def _now(self) -> float:
        return self._clock.now().timestamp()

    # -------------------------------------------------------------------------------------------------- keeping

    async def _change(self, name: CircuitName, change: CircuitChange) -> Circuit:
        async with self._writing:
            return await self._write(name, change, otherwise=change(self._circuits.get(name, CLOSED), self._now()))

    async def _write(self, name: CircuitName, change: CircuitChange, *, otherwise: Circuit) -> Circuit:
        """Change the stored circuit, whatever others have made of it; without a database change our own copy."""
        workspace_id, key = name
        circuit = otherwise
        try:
            async with self._database.transaction(workspace_id) as tx:
                circuit = await self._change_row(tx, key, change, failures=self._circuits.get(name, CLOSED).failures)
        except (psycopg.Error, Unavailable) as error:
            log.warning("The pause of %s is known to this process only: %s", key, str(error).strip())
        else:
            self._pubsub.publish_remote(BREAKER, workspace_id, 0)
        self._keep(name, circuit)
        return circuit

    async def _change_row(self, tx: Transaction, key: str, change: CircuitChange, *, failures: int) -> Circuit:
        now = self._clock.now()
        await tx.run(_MAKE, workspace=tx.workspace_id, key=key, now=now)
        row = await tx.row(_LOCK, key=key)
        if row is None:
            raise RuntimeError("A row that was just made is gone.")
        # Failures in a row are counted by each process for itself.
        phase, *rest = row
        stored = Circuit(Phase(phase), failures, *rest)
        circuit = change(stored, now.timestamp())
        if circuit != stored:
            await tx.run(
                _WRITE,
                key=key,
                state=circuit.phase,
                openings=circuit.openings,
                until=circuit.until,
                pause=circuit.pause,
                reason=circuit.reason[:300],
                now=now,
            )
        return circuit

    def _keep(self, name: CircuitName, circuit: Circuit) -> None:
        if circuit == CLOSED:
            self._circuits.pop(name, None)
        else:
            self._circuits[name] = circuit
        if circuit.phase is Phase.CLOSED:
            self._refused.pop(name, None)

    # ----------------------------------------------------------------------------------- what others have found

    def _changed(self, workspace_id: int, _id: int) -> None:
        self._read_at.pop(workspace_id, None)
        self._read_if_old(workspace_id)

    def _read_if_old(self, workspace_id: int) -> None:
        """Read the workspace's circuits again, beside the call that asks."""
        if time.monotonic() - self._read_at.get(workspace_id, float("-inf")) < FRESH_SECONDS:
            return
        if workspace_id not in self._reading:
            self._reading[workspace_id] = asyncio.create_task(self._read(workspace_id), name="breakers")

    async def _read(self, workspace_id: int) -> None:
        try:
            while time.monotonic() - self._read_at.get(workspace_id, float("-inf")) >= FRESH_SECONDS:
                self._read_at[workspace_id] = time.monotonic()
                async with self._writing:
                    await self._read_rows(workspace_id)
        except (psycopg.Error, Unavailable) as error:
            log.warning("Pauses that other processes made are not known: %s", str(error).strip())
        finally:
            self._reading.pop(workspace_id, None)

    async def _read_rows(self, workspace_id: int) -> None:
        async with self._database.transaction(workspace_id) as tx:
            rows = await tx.rows(_READ, now=self._clock.now())
        known = {(workspace_id, key): Circuit(Phase(phase), 0, *rest) for key, phase, *rest in rows}
        for name, circuit in list(self._circuits.items()):
            if name[0] != workspace_id:
                continue
            if name not in known and circuit.phase is not Phase.CLOSED:
                self._keep(name, CLOSED)
        for name, circuit in known.items():
            if self._circuits.get(name, CLOSED).until != circuit.until:
                self._keep(name, circuit)


class SharedBreakers:
    """The circuits and budgets of one connection, or of one model. Keys name a call, and an account where it counts."""

    def __init__(self, store: BreakerStore, workspace_id: int, prefix: str) -> None:
        self._store = store
        self._workspace_id = workspace_id
        self._prefix = prefix

    async def admit(self, key: str, pauses: Pauses) -> bool:
        """Return when the call may be made, and whether it is the probe. Raises Paused."""
        return await self._store.admit(self._name(key), pauses)

    async def failed(self, key: str, pauses: Pauses, *, asked: float | None = None, reason: str = "") -> float:
        """A call failed. Returns the seconds of pause for this caller; 0 while others may still call."""
        return await self._store.failed(self._name(key), pauses, asked=asked, reason=reason)

    async def succeeded(self, key: str) -> None:
        """A call was answered."""
        await self._store.succeeded(self._name(key))

    async def abandoned(self, key: str) -> None:
        """A call ended without telling anything, because nobody waits for it any more."""
        await self._store.abandoned(self._name(key))

    async def spend(self, key: str, *, every: float, times: int = 1) -> float:
        """Take one of `times` calls allowed in `every` seconds. Returns 0, or the seconds until there is one."""
        return await self._store.spend(self._name(key), every=every, times=times)

    def _name(self, key: str) -> CircuitName:
        return self._workspace_id, self._prefix + key
