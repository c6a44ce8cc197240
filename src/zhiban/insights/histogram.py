"""Times as counts in classes, so that medians of any period can be had from sums.

A class is one second wide below a minute and about two per cent of the time above it: what is read back is at most one
per cent off, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log2

_EXACT = 64  # seconds that have a class of their own
_PER_DOUBLING = 32
LONGEST = 10 * 366 * 86_400


def time_class(seconds: float) -> int:
    """The class of a time. What is negative counts as 0, what is longer than ten years as that."""
    whole = min(max(int(seconds), 0), LONGEST)
    if whole < _EXACT:
        return whole
    return _EXACT + floor(_PER_DOUBLING * log2(whole / _EXACT))


def bounds(one: int) -> tuple[float, float]:
    """The shortest time of a class, and what is too long for it, in seconds."""
    if one < _EXACT:
        return float(one), float(one + 1)
    return _EXACT * 2 ** ((one - _EXACT) / _PER_DOUBLING), _EXACT * 2 ** ((one + 1 - _EXACT) / _PER_DOUBLING)


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The time within which this share of all lies, in seconds; None of nothing.

    Within a class times are taken to lie evenly; a class of one second is that second.
    """
    there = sorted((one, n) for one, n in counts.items() if n > 0)
    total = sum(n for _, n in there)
    if not total:
        return None
    wanted = max(1, ceil(total * share))
    before = 0
    for one, n in there:
        if before + n >= wanted:
            low, high = bounds(one)
            return low if one < _EXACT else low + (high - low) * (wanted - before - 0.5) / n
        before += n
    raise AssertionError("The shares of a sum do not exceed it.")
