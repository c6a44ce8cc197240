"""The circuit breaker: every phase and what may happen in it, one probe, and a backlog that comes back spread out."""

from __future__ import annotations

import random

import pytest

from zhiban.kit.breaker import (
    AFTER_PROBE,
    CLOSED,
    Admission,
    Circuit,
    LocalBreakers,
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

KEY = "kf/send_msg:wk1"
PAUSES = Pauses(first=10, longest=100, threshold=2, spread=5, per_second=20, probe=30)

NEW = CLOSED
SHAKEN = Circuit(failures=1)
RECOVERED = Circuit(openings=2, until=200, pause=20)
OPEN = Circuit(Phase.OPEN, openings=1, until=110, pause=10, reason="limited")
PROBING = Circuit(Phase.HALF_OPEN, openings=1, until=130, pause=10, reason="limited")


@pytest.mark.parametrize(
    ("circuit", "now", "admitted"),
    [
        (NEW, 0, Admission.CALL),
        (SHAKEN, 0, Admission.CALL),
        (RECOVERED, 100, Admission.CALL),
        (OPEN, 109.9, Admission.WAIT),
        (OPEN, 110, Admission.PROBE),
        (PROBING, 129.9, Admission.WAIT),
        (PROBING, 130, Admission.PROBE),
    ],
)
def test_who_may_call(circuit: Circuit, now: float, admitted: Admission) -> None:
    assert admission(circuit, now) is admitted


@pytest.mark.parametrize(
    ("circuit", "asked", "phase", "until", "openings"),
    [
        (NEW, None, Phase.CLOSED, 0, 0),  # one failure is no outage
        (SHAKEN, None, Phase.OPEN, 110, 1),
        (NEW, 60, Phase.OPEN, 160, 1),  # who names a pause gets it at once
        (RECOVERED, 60, Phase.OPEN, 200, 3),  # open again soon: longer, up to the longest
        (OPEN, None, Phase.OPEN, 110, 1),  # failed together: one opening
        (OPEN, 5, Phase.OPEN, 110, 1),
        (OPEN, 3600, Phase.OPEN, 3700, 1),  # a longer limit was told
        (PROBING, None, Phase.OPEN, 120, 2),  # the probe failed: twice as long
        (PROBING, 60, Phase.OPEN, 200, 2),
        (PROBING, 3600, Phase.OPEN, 3700, 2),  # as long as it asks for, and no longer
    ],
)
def test_a_failure(circuit: Circuit, asked: float | None, phase: Phase, until: float, openings: int) -> None:
    after = failed(circuit, PAUSES, 100, asked=asked)
    assert (after.phase, after.until, after.openings) == (phase, until, openings)


def test_openings_are_forgotten_after_a_quiet_time() -> None:
    assert failed(RECOVERED, PAUSES, 199, asked=60).openings == 3
    assert failed(RECOVERED, PAUSES, 201, asked=60).openings == 1


def test_pauses_grow_to_the_longest_and_vary() -> None:
    circuit, pauses = NEW, []
    for _ in range(6):
        circuit = failed(probing(circuit, PAUSES, 0), PAUSES, 0, chance=0.0)
        pauses.append(circuit.until)
    assert pauses == [10, 20, 40, 80, 100, 100]
    assert failed(PROBING, PAUSES, 0, chance=1.0).until == 22


@pytest.mark.parametrize(
    ("circuit", "after"),
    [
        (NEW, CLOSED),
        (SHAKEN, CLOSED),
        (RECOVERED, RECOVERED),
        (OPEN, OPEN),  # it went out before the circuit opened
        (PROBING, Circuit(openings=1, until=120, pause=10)),
    ],
)
def test_a_success(circuit: Circuit, after: Circuit) -> None:
    assert succeeded(circuit, 100) == after


def test_a_probe_that_told_nothing_lets_the_next_one_try() -> None:
    assert admission(abandoned(PROBING, 100), 100) is Admission.PROBE
    assert abandoned(OPEN, 100) == OPEN


def test_the_first_comes_back_with_the_end_of_the_pause_and_the_others_over_a_time() -> None:
    assert comeback(OPEN, PAUSES, 100, position=0, chance=0.9) == 10
    assert comeback(OPEN, PAUSES, 100, position=20, chance=0.0) == 10 + AFTER_PROBE + 1
    assert comeback(OPEN, PAUSES, 100, position=2000, chance=1.0) == 10 + AFTER_PROBE + 100 + 5
    assert comeback(PROBING, PAUSES, 100, position=0, chance=0.0) == AFTER_PROBE


async def test_a_thousand_callers_one_probe_and_a_spread_return() -> None:
    clock, dice = [0.0], random.Random(7)
    breakers = LocalBreakers(now=lambda: clock[0], chance=dice.random)
    returning = [await breakers.failed(KEY, PAUSES, asked=60)]
    for _ in range(999):
        with pytest.raises(Paused) as paused:
            await breakers.admit(KEY, PAUSES)
        returning.append(paused.value.after)
    assert sorted(returning)[1] - min(returning) > 0.9
    probed, through = 0, []
    waiting = sorted(returning)
    while waiting:
        clock[0] = waiting.pop(0)
        try:
            await breakers.admit(KEY, PAUSES)
        except Paused as again:
            waiting = sorted([*waiting, clock[0] + again.after])
            continue
        if not through:
            probed += 1
        through.append(clock[0])
        await breakers.succeeded(KEY)
    assert probed == 1
    # Twenty a second on average, and never a crowd.
    assert through[-1] - through[0] > 30
    assert max(sum(at <= other < at + 1 for other in through) for at in through) <= 40


async def test_exactly_one_probe_while_it_is_under_way() -> None:
    clock = [0.0]
    breakers = LocalBreakers(now=lambda: clock[0], chance=lambda: 0.0)
    await breakers.failed(KEY, PAUSES, asked=60)
    clock[0] = 61
    await breakers.admit(KEY, PAUSES)
    for _ in range(5):
        with pytest.raises(Paused):
            await breakers.admit(KEY, PAUSES)
    assert await breakers.failed(KEY, PAUSES, asked=60) == 100
    clock[0] = 162
    await breakers.admit(KEY, PAUSES)
    await breakers.succeeded(KEY)
    await breakers.admit(KEY, PAUSES)


async def test_a_budget_allows_one_call_in_its_time() -> None:
    clock = [0.0]
    breakers = LocalBreakers(now=lambda: clock[0])
    assert await breakers.spend("pull", every=60) == 0
    clock[0] = 20
    assert await breakers.spend("pull", every=60) == 40
    assert await breakers.spend("other", every=60) == 0
    clock[0] = 60
    assert await breakers.spend("pull", every=60) == 0
    assert [await breakers.spend("write", every=60, times=2) for _ in range(3)] == [0, 0, 60]
    clock[0] = 120
    assert await breakers.spend("write", every=60, times=2) == 0
