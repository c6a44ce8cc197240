"""What a channel lets an agent send, in the words of the composer: how much longer, how often, which files."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.conversations.draft_files import shown_size
from zhiban.conversations.outbox import allowance
from zhiban.conversations.queries import ThreadHead
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Kind, Limits, ReplyWindow


@frozen_dataclass
class ReplyAllowance:
    """What the channel still allows: `messages` of `part` (counted in `unit`) until `closes_at`.

    `closed`: why nothing more.
    """

    messages: int | None = None
    left: timedelta | None = None
    of: ReplyWindow | None = None
    closed: str = ""
    closes_at: datetime | None = None
    part: int = 0
    unit: str = "characters"


def reply_allowance(head: ThreadHead, limits: Limits, now: datetime) -> ReplyAllowance:
    """What may be said in this thread now."""
    if head.contact_blocked:
        return ReplyAllowance(closed="blocked")
    if head.kind == "group" and limits.hears == "nothing":
        return ReplyAllowance(closed="mute")
    window = limits.reply_window
    may = allowance(
        window,
        last_incoming_at=head.last_incoming_at,
        replies_used=head.replies_used,
        native_state=head.native_state,
    )
    left = None if may.closes_at is None else may.closes_at - now
    return ReplyAllowance(may.left, left, window, may.closed(now) or "", may.closes_at, limits.text, limits.unit)


@frozen_dataclass
class TakenFiles:
    """What the channel takes of one kind of files: `limit` is the largest in words, `formats` which, empty for any."""

    kind: str
    most: int  # bytes
    limit: str
    formats: str = ""


def taken_files(limits: Limits) -> tuple[TakenFiles, ...]:
    """What can be said before a file is chosen; of kinds that are taken like any file, nothing of their own."""
    rest = limits.media.get(Kind.FILE)
    return tuple(
        TakenFiles(kind.value, found.most, shown_size(found.most), ", ".join(sorted(map(_format, found.types))))
        for kind in (Kind.IMAGE, Kind.VIDEO, Kind.FILE)
        if (found := limits.media.get(kind)) is not None and (kind is Kind.FILE or found != rest)
    )


def _format(content_type: str) -> str:
    return content_type.partition("/")[2].upper().replace("JPEG", "JPG")
