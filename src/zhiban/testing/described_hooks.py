"""Webhooks in the shape in which vendors describe them, with every field that they name, written by us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class DescribedPlace:
    """A repository with an issue and a comment on it, about which one call is."""

    id: int
    name: str  # owner/name
    number: int
    comment_id: int
    since: datetime  # when the issue was opened
    now: datetime


@dataclass(frozen=True)
class DescribedHook:
    """One call. `name` says for people what it is about."""

    name: str
    event: str
    payload: Json


# A place of its own for each call, so that none answers for another. The state of its issue, which is "new" where it
# was opened just now and not long ago; and whether it is private.
Places = Callable[[str, bool], DescribedPlace]
