"""What the simulator's parts share: one call, its answers, planned faults and a movable clock."""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zhiban.kit.frozen_dataclass import frozen_dataclass

Json = dict[str, Any]


@dataclass(slots=True)
class Call:
    """One request, parsed."""

    path: str
    query: Mapping[str, str]
    body: Json
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    agent_id: int = 0  # the app whose token it carries


@dataclass(slots=True)
class Raw:
    """An answer that is not JSON, or not 200."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


CallHandler = Callable[[Call], "Json | Raw"]


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


@frozen_dataclass
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


class Quota:
    """How often one endpoint may be called within a sliding minute; 45009 then blocks it for a whole minute."""

    def __init__(self, clock: SimClock, *, per_minute: int | None) -> None:
        self._clock = clock
        self.per_minute = per_minute
        self._times: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}

    def spend(self, what: str) -> None:
        """Count one call; raises Complaint when it is one too many, and while the block lasts."""
        if self.per_minute is None:
            return
        now = self._clock.now()
        if self._blocked.get(what, 0.0) > now:
            raise Complaint(45009, "api freq out of limit, minute limit")
        times = self._times.setdefault(what, deque())
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= self.per_minute:
            self._blocked[what] = now + 60
            raise Complaint(45009, "api freq out of limit, minute limit")
        times.append(now)

    def clear(self) -> None:
        self._times.clear()
        self._blocked.clear()


class Staff:
    """The corp's members, as far as this app may see them (可见范围)."""

    def __init__(self, *names: str) -> None:
        self.members = set(names)
        self.hidden: set[str] = set()

    def sees(self, userid: str) -> bool:
        return userid in self.members and userid not in self.hidden

    def check(self, userid: str) -> None:
        """Raises Complaint for somebody who is no member, or whom the app may not see."""
        if userid not in self.members:
            raise Complaint(60111, "userid not found")
        if userid in self.hidden:
            raise Complaint(60011, "no privilege to access/modify contact/party/agent")


def bad(what: str) -> Complaint:
    """A parameter that the platform does not take."""
    return Complaint(40058, f"invalid Request Parameter, {what}")


def fits(value: object, most: int, what: str, *, least: int = 0) -> str:
    """A text of so many bytes of UTF-8; raises Complaint otherwise."""
    if not isinstance(value, str) or not least <= len(value.encode()) <= most:
        raise bad(what)
    return value


def short(value: object, most: int, what: str) -> str:
    """A text of so many characters; raises Complaint otherwise."""
    if not isinstance(value, str) or len(value) > most:
        raise bad(what)
    return value


def web_address(value: object, what: str) -> str:
    """An address with its scheme, of at most 2048 bytes."""
    found = fits(value, 2048, what, least=1)
    if not found.startswith(("http://", "https://")):
        raise bad(what)
    return found


def need(body: Mapping[str, Any], name: str) -> str:
    """A required text of the request."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Complaint(40058, f"invalid Request Parameter, missing {name}")
    return value
