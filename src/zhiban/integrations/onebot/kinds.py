"""What a QQ account takes."""

from __future__ import annotations

from typing import Final

from zhiban.integrations.onebot.config import LABEL, NAME
from zhiban.ports import ChannelKind, Kind, Limits, MediaLimit

TEXT_CHARACTERS: Final = 3_000

QQ_GROUP: Final = ChannelKind(
    NAME,
    LABEL,
    "users",
    Limits(
        text=TEXT_CHARACTERS,
        quotes=True,
        mentions=True,
        repeats=False,
        event_reply_seconds=600,
        media={
            Kind.IMAGE: MediaLimit(10 << 20, frozenset(("image/jpeg", "image/png", "image/gif"))),
            Kind.VIDEO: MediaLimit(20 << 20, frozenset(("video/mp4",))),
            Kind.FILE: MediaLimit(20 << 20),
        },
    ),
)
