"""How we behave in one group."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from zhiban.channels.business_hours import Span
from zhiban.kit.text import clean

WELCOME_SIZE = 1000  # characters


class GroupAnswers(StrEnum):
    """When the assistant answers in a group."""

    NEVER = "never"
    MENTIONED = "mentioned"  # when somebody names it with @, or answers a message of its
    SURE = "sure"  # besides, a question that it knows for certain


class Consent(StrEnum):
    """What a member lets us keep of what they write in a group. What they say to the assistant itself is kept."""

    ALL = "all"
    UNQUOTED = "unquoted"  # kept, and never quoted elsewhere
    UNSTORED = "unstored"  # that they wrote, without what


def _storable(text: str) -> str:
    return clean(text).strip()


def _hours(value: object) -> object:
    """22:00-08:00, as people write it."""
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    start, end = (int(found[part]) * 60 + int(found[part + 1]) for part in (1, 3))
    return {"start": start, "end": end or 24 * 60}


_HOURS = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})", re.ASCII)
Quiet = Annotated[Span | None, BeforeValidator(_hours)]


def is_within(hours: Span, now: datetime, zone: ZoneInfo) -> bool:
    """Whether these hours are now, there; they may go over midnight."""
    local = now.astimezone(zone)
    minute = local.hour * 60 + local.minute
    start, end = hours.start, hours.end
    return start <= minute < end if start < end else minute >= start or minute < end


# Each may what those behind it may: everybody, who bound their account at the tracker, the group's admins.
Who = Literal["all", "bound", "admins", "nobody"]


# No mask reaches into a picture, and what stands in public is copied: nothing is published that nobody chose.
PublishFiles = Literal["never", "pictures", "all"]


class GroupPolicy(BaseModel):
    """What is set for one group. Who has set nothing has these defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    answers: GroupAnswers = GroupAnswers.MENTIONED
    read_only: bool = False  # nothing is ever sent
    quiet: Quiet = None  # the hours in which only what names us is answered
    timezone: str = "Asia/Shanghai"
    base_id: int | None = None  # the knowledge base that answers there; None, or one that is gone: the inbox's
    files: Who = "all"  # who may open tickets by a command
    files_at_once: bool = False  # a command makes a ticket without asking back; for ten minutes it can be undone
    files_per_member: Annotated[int, Field(ge=1, le=100)] = 5  # tickets in a day
    files_per_group: Annotated[int, Field(ge=1, le=1000)] = 50
    replies: Who = "all"  # who may comment on an issue by quoting its message
    changes: Who = "admins"  # who may close, open again, label and assign so
    replies_per_member: Annotated[int, Field(ge=1, le=1000)] = 30  # of both, in a day
    replies_per_group: Annotated[int, Field(ge=1, le=10000)] = 300
    news_cards: bool = True  # news of issues are cards with a link, where the channel has them; otherwise texts
    publish_files: PublishFiles = "never"  # what everybody may see with an issue; otherwise it is only named there
    signature: Literal["real", "alias", "anonymous"] = "alias"  # how speakers are named outside of the group
    welcome: Annotated[str, Field(max_length=WELCOME_SIZE), AfterValidator(_storable)] = ""  # empty: nobody is greeted
    welcome_minutes: Annotated[int, Field(ge=1, le=1440)] = 5  # newcomers of so long are greeted together

    def is_quiet(self, now: datetime) -> bool:
        """Whether these are the quiet hours."""
        return self.quiet is not None and is_within(self.quiet, now, ZoneInfo(self.timezone))
