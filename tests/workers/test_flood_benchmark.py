"""The benchmark of a flood fails when it should."""

from __future__ import annotations

from bench.gateway_flood import failures

GOOD = {1: [0, 2, 4], 2: [1, 3, 5]}


def test_a_flood_that_is_stored_whole_in_order_and_answered_soon_passes() -> None:
    assert failures(GOOD, 6, [200.0] * 99 + [5000.0]) == []


def test_what_is_lost_doubled_disordered_late_or_unanswered_fails() -> None:
    soon: list[float | None] = [200.0] * 20
    assert failures({1: [0, 2, 4], 2: [1, 3]}, 6, soon) == ["1 of 6 messages lost, 0 doubled"]
    assert failures({1: [0, 2, 2, 4], 2: [1, 3, 5]}, 6, soon) == ["0 of 6 messages lost, 1 doubled"]
    assert failures({1: [0, 4, 2], 2: [1, 3, 5]}, 6, soon) == ["messages out of order"]
    assert len(failures(GOOD, 6, [200.0] * 90 + [None] * 10)) == 1  # whoever is not answered waits for ever
    assert len(failures(GOOD, 6, [1200.0] * 20)) == 1
    assert len(failures(GOOD, 6, [])) == 1
