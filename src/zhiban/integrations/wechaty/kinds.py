"""What a WeChat account takes."""

from __future__ import annotations

from typing import Final

from zhiban.integrations.wechaty.config import LABEL, NAME
from zhiban.ports import ChannelKind, Kind, Limits, LinkLimit, MediaLimit

TEXT_CHARACTERS: Final = 2_000
# What WeChat's own interface for sharing a web page takes; gateways pass it on as they get it.
LINK: Final = LinkLimit(title=512, description=1024, url=10 << 10)

WECHAT_GROUP: Final = ChannelKind(
    NAME,
    LABEL,
    "users",
    Limits(
        text=TEXT_CHARACTERS,
        link=LINK,
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
