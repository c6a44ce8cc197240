"""What the simulator's parts share: one call, its answers, planned faults and a movable clock."""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Call:
    """One request, parsed."""

    path: str
    query: Mapping[str, str]
    body: Json
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Raw:
    """An answer that is not JSON, or not 200."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], "Json | Raw"]


class Complaint(Exception):
    """An errcode: the vendor's normal way of refusing. The dispatcher turns it into an answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def answer(self) -> Json:
        words = f"{self.message}, hint: [1767225600123456789], from ip: 192.0.2.7, more info at https://open.work"
        return {"errcode": self.code, "errmsg": words}


def ok(**fields: Any) -> Json:
    return {"errcode": 0, "errmsg": "ok", **fields}


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(slots=True)
class Fault:
    """A planned mishap. With `accept` the call is carried out and only its answer suffers."""

    path: str
    errcode: int | None = None
    errmsg: str = ""
    status: int | None = None
    latency: float = 0.0
    times: int | None = 1
    probability: float = 1.0
    accept: bool = False
    drop: bool = False
    hang: float = 0.0
    body: bytes | None = None

    @property
    def only_slow(self) -> bool:
        return self.errcode is None and self.status is None and self.body is None and not self.drop and not self.hang


class Faults:
    """The plan: for each path the first fault that still has turns left and whose die falls."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._plans: dict[str, list[Fault]] = {}

    def add(self, fault: Fault) -> None:
        self._plans.setdefault(fault.path, []).append(fault)

    def clear(self, seed: int | None = None) -> None:
        self._plans.clear()
        if seed is not None:
            self._random.seed(seed)

    def pick(self, path: str) -> list[Fault]:
        """What strikes this call: at most one mishap, and any mere slowness before it. `*` means every path."""
        if not self._plans:
            return []
        struck: list[Fault] = []
        for plan in (self._plans.get(path, []), self._plans.get("*", [])):
            for fault in list(plan):
                if fault.probability < 1.0 and self._random.random() >= fault.probability:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        plan.remove(fault)
                struck.append(fault)
                if not fault.only_slow:
                    return struck
        return struck


class SimClock:
    """The platform's time, which tests may push forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the journal."""

    at: float
    path: str
    errcode: int | None
    status: int
    seconds: float


class Journal:
    """The calls that came in, the newest 200 000, and their number by path."""

    def __init__(self) -> None:
        self.entries: deque[JournalEntry] = deque(maxlen=200_000)
        self.counts: dict[str, int] = {}

    def add(self, entry: JournalEntry) -> None:
        self.entries.append(entry)
        self.counts[entry.path] = self.counts.get(entry.path, 0) + 1

    def clear(self) -> None:
        self.entries.clear()
        self.counts.clear()


def need(body: Json, name: str) -> str:
    """A required text of the request."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Complaint(40058, f"invalid Request Parameter, missing {name}")
    return value
