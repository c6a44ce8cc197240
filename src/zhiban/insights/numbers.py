"""Sums of reports, and what is read from them: counts, shares, medians. Sums of parts are the sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from zhiban.insights.histogram import quantile
from zhiban.insights.models import Marks, Measure

K = TypeVar("K")
MEDIAN, MOST = 0.5, 0.9
# What is stored of these counts for another measure besides.
_TELLING_MORE = frozenset((Measure.FIRST_REPLY, Measure.LATER_REPLY, Measure.CAME_TO_PEOPLE, Measure.RESOLVED))


@dataclass(slots=True)
class Numbers:
    """How often each thing happened, for how many seconds in all, and of times how many fell into each class."""

    counts: dict[Measure, int] = field(default_factory=dict)
    seconds: dict[Measure, int] = field(default_factory=dict)
    classes: dict[Measure, dict[int, int]] = field(default_factory=dict)

    def add(self, measure: Measure, bucket: int, n: int, total: int) -> None:
        """Add what is stored under a measure and a class of times, or the marks of what is counted."""
        self._add(measure, bucket, n, total)
        if measure not in _TELLING_MORE:
            return
        match measure:
            case Measure.FIRST_REPLY | Measure.LATER_REPLY:
                self._add(Measure.REPLY, bucket, n, total)
            case Measure.CAME_TO_PEOPLE if bucket & Marks.GIVEN_AWAY:
                self._add(Measure.HANDED_OFF, 0, n, 0)
            case Measure.RESOLVED:
                if bucket & Marks.ASSISTED:
                    self._add(Measure.RESOLVED_ASSISTED, 0, n, 0)
                if bucket & Marks.GIVEN_AWAY:
                    self._add(Measure.RESOLVED_HANDED_OFF, 0, n, 0)

    def _add(self, measure: Measure, bucket: int, n: int, total: int) -> None:
        self.counts[measure] = self.counts.get(measure, 0) + n
        self.seconds[measure] = self.seconds.get(measure, 0) + total
        there = self.classes.setdefault(measure, {})
        there[bucket] = there.get(bucket, 0) + n

    def __getitem__(self, measure: Measure) -> int:
        return self.counts.get(measure, 0)

    @property
    def conversations(self) -> int:
        """Those that began, and those that went on after they had been resolved."""
        return self[Measure.BEGUN] + self[Measure.RESUMED]

    @property
    def resolved(self) -> int:
        return self[Measure.RESOLVED]

    @property
    def handoff_share(self) -> float | None:
        """Of the resolved cycles that the assistant had, those it gave to people."""
        return share(self[Measure.RESOLVED_HANDED_OFF], self[Measure.RESOLVED_ASSISTED])

    @property
    def rating(self) -> float | None:
        """The average of the stars that contacts gave."""
        return share(sum(stars * n for stars, n in self.stars.items()), self[Measure.RATED])

    @property
    def stars(self) -> dict[int, int]:
        """How many gave so many stars, 1 to 5."""
        given = self.classes.get(Measure.RATED, {})
        return {stars: given.get(stars, 0) for stars in range(1, 6)}

    def median(self, measure: Measure) -> float | None:
        """Half of these times were no longer, in seconds; None where there are none."""
        return quantile(self.classes.get(measure, {}), MEDIAN)

    def most(self, measure: Measure) -> float | None:
        """Nine of ten of these times were no longer, in seconds."""
        return quantile(self.classes.get(measure, {}), MOST)

    def mean(self, measure: Measure) -> float | None:
        """Their average, in seconds; from the times themselves, not from their classes."""
        return share(self.seconds.get(measure, 0), self[measure])


def total(parts: Iterable[Numbers], *, factor: int = 1) -> Numbers:
    """The sum of all parts, so many times."""
    whole = Numbers()
    for part in parts:
        _add_all(whole.counts, part.counts, factor)
        _add_all(whole.seconds, part.seconds, factor)
        for measure, classes in part.classes.items():
            _add_all(whole.classes.setdefault(measure, {}), classes, factor)
    return whole


def _add_all(to: dict[K, int], more: Mapping[K, int], factor: int) -> None:
    for key, n in more.items():
        to[key] = to.get(key, 0) + n * factor


def share(part: float, whole: float) -> float | None:
    """The part of the whole, None of nothing."""
    return part / whole if whole else None
