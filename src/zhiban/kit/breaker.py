"""A circuit breaker: which calls have to pause, who tries first afterwards, and when the others follow.

While a circuit is closed every call goes out. It opens when the other side asks for a pause or fails too often; then no
call goes out. When the pause is over exactly one call is let through, the probe: its success closes the circuit, its
failure opens it again for twice as long. Those who had to wait come back spread out, so that they do not fail together.

The functions here decide and touch nothing. `LocalBreakers` keeps circuits for one process; `kit.breaker_store` shares
them between all processes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Final

from zhiban.kit.errors import Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass

EXTRA: Final = 0.1  # share of a pause that chance may add, so that processes do not probe in step
AFTER_PROBE: Final = 1.0  # seconds that a probe gets before the first of the others comes back


class Phase(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@frozen_dataclass
class Pauses:
    """How one kind of call is treated. All times are seconds."""

    first: float = 5.0  # the first pause, where the other side names none; each further one is twice as long
    longest: float = 300.0  # the longest pause, unless the other side asks for a longer one
    threshold: int = 1  # failures in a row that open the circuit
    spread: float = 5.0  # by how much chance delays those who come back
    per_second: float = 20.0  # how many of them come back in a second
    probe: float = 30.0  # a probe that has not reported by then is given up, and another call may try


@frozen_dataclass
class Circuit:
    """What is known about one kind of call. Moments are seconds of the caller's clock."""

    phase: Phase = Phase.CLOSED
    failures: int = 0  # in a row, while closed
    openings: int = 0  # in a row, without a quiet time between them
    until: float = 0.0  # open: no call before; half open: the probe's time; closed: openings are remembered until then
    pause: float = 0.0  # the length of the last pause
    reason: str = ""  # why it opened, in the caller's words


CLOSED: Final = Circuit()


class Admission(StrEnum):
    CALL = "call"
    PROBE = "probe"
    WAIT = "wait"


class Paused(Unavailable):
    """Calls of this kind are paused. `after` is how many seconds this caller should wait, `reason` why it opened."""

    def __init__(self, key: str, *, after: float, reason: str = "") -> None:
        super().__init__(f"Calls of {key} are paused for {after:.0f} s: {reason}")
        self.after = after
        self.reason = reason


def admission(circuit: Circuit, now: float) -> Admission:
    """What a call may do now. Whoever gets PROBE has to store `probing` before anybody else asks."""
    match circuit.phase:
        case Phase.CLOSED:
            return Admission.CALL
        case Phase.OPEN | Phase.HALF_OPEN:
            return Admission.WAIT if now < circuit.until else Admission.PROBE


def probing(circuit: Circuit, pauses: Pauses, now: float) -> Circuit:
    """One call has gone out to try."""
    return replace(circuit, phase=Phase.HALF_OPEN, until=now + pauses.probe)


def failed(
    circuit: Circuit, pauses: Pauses, now: float, *, asked: float | None = None, reason: str = "", chance: float = 0.0
) -> Circuit:
    """A call failed. `asked` seconds of pause, when the other side named them; `chance` is random, from 0 to 1.

    Calls that were under way together fail together: while open, only a pause that ends later changes anything.
    """
    if circuit.phase is Phase.OPEN and now < circuit.until:
        later = now + (asked or 0.0)
        return replace(circuit, until=later, pause=asked or 0.0, reason=reason) if later > circuit.until else circuit
    failures = circuit.failures + 1
    if circuit.phase is Phase.CLOSED and asked is None and failures < pauses.threshold:
        return replace(circuit, failures=failures)
    before = circuit.openings if circuit.phase is not Phase.CLOSED or now < circuit.until else 0
    base = pauses.first if asked is None else asked
    pause = min(base * 2.0**before, max(pauses.longest, base))
    return Circuit(
        phase=Phase.OPEN,
        openings=before + 1,
        until=now + pause * (1 + EXTRA * chance),
        pause=pause,
        reason=reason or circuit.reason,
    )


def succeeded(circuit: Circuit, now: float) -> Circuit:
    """A call was answered. One that went out before the circuit opened says nothing about now."""
    match circuit.phase:
        case Phase.OPEN:
            return circuit
        case Phase.HALF_OPEN:
            # A circuit that opens again soon goes on where it was: the limit is still near.
            return Circuit(openings=circuit.openings, until=now + 2 * circuit.pause, pause=circuit.pause)
        case Phase.CLOSED:
            return replace(circuit, failures=0) if now < circuit.until else CLOSED


def abandoned(circuit: Circuit, now: float) -> Circuit:
    """The probe ended without telling anything: the next call is the probe."""
    return replace(circuit, phase=Phase.OPEN, until=now) if circuit.phase is Phase.HALF_OPEN else circuit


def comeback(circuit: Circuit, pauses: Pauses, now: float, *, position: int, chance: float) -> float:
    """Seconds after which the caller that was refused in this position (counted from 0) should come back.

    The first of an open circuit comes as soon as the pause is over, to probe; the others follow in about the order in
    which they were refused, so many a second.
    """
    left = max(circuit.until - now, 0.0)
    if circuit.phase is Phase.HALF_OPEN:
        left = 0.0  # a probe usually reports long before its time is over
    elif position == 0:
        return left
    return left + AFTER_PROBE + position / pauses.per_second + chance * pauses.spread


class LocalBreakers:
    """Circuits and budgets of one process, for tests and for what is not shared."""

    def __init__(
        self, *, now: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random
    ) -> None:
        self._now = now
        self._chance = chance
        self._circuits: dict[str, Circuit] = {}
        self._refused: dict[str, int] = {}
        self._spent: dict[str, list[float]] = {}

    async def admit(self, key: str, pauses: Pauses) -> bool:
        """Return when the call may be made, and whether it is the probe. Raises Paused."""
        circuit, now = self._circuits.get(key, CLOSED), self._now()
        match admission(circuit, now):
            case Admission.WAIT:
                position = self._refused.get(key, 0)
                self._refused[key] = position + 1
                after = comeback(circuit, pauses, now, position=position, chance=self._chance())
                raise Paused(key, after=after, reason=circuit.reason)
            case Admission.PROBE:
                self._circuits[key] = probing(circuit, pauses, now)
                return True
            case Admission.CALL:
                return False

    async def failed(self, key: str, pauses: Pauses, *, asked: float | None = None, reason: str = "") -> float:
        """A call failed. Returns the seconds of pause for this caller; 0 while others may still call."""
        now = self._now()
        before = self._circuits.get(key, CLOSED)
        circuit = failed(before, pauses, now, asked=asked, reason=reason, chance=self._chance())
        self._circuits[key] = circuit
        if circuit.phase is Phase.CLOSED:
            return 0.0
        if circuit.openings != before.openings:
            self._refused[key] = 0
        position = self._refused.get(key, 0)
        self._refused[key] = position + 1
        return comeback(circuit, pauses, now, position=position, chance=self._chance())

    async def succeeded(self, key: str) -> None:
        """A call was answered."""
        if (circuit := self._circuits.get(key)) is not None:
            self._keep(key, succeeded(circuit, self._now()))

    async def abandoned(self, key: str) -> None:
        """A call ended without telling anything, because nobody waits for it any more."""
        if (circuit := self._circuits.get(key)) is not None:
            self._keep(key, abandoned(circuit, self._now()))

    def _keep(self, key: str, circuit: Circuit) -> None:
        if circuit == CLOSED:
            del self._circuits[key]
            self._refused.pop(key, None)
        else:
            self._circuits[key] = circuit

    async def spend(self, key: str, *, every: float, times: int = 1) -> float:
        """Take one of `times` calls allowed in `every` seconds. Returns 0, or the seconds until there is one."""
        now = self._now()
        taken = [until for until in self._spent.get(key, ()) if until > now]
        if len(taken) >= times:
            return min(taken) - now
        self._spent[key] = [*taken, now + every]
        return 0.0
