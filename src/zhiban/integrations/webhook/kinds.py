"""What another program takes."""

from __future__ import annotations

from typing import Final

from zhiban.kit.i18n import mark
from zhiban.ports import ChannelKind, Kind, Limits, LinkLimit, MediaLimit, VendorAccount

NAME: Final = "webhook"
TEXT_CHARACTERS: Final = 10_000
LINK: Final = LinkLimit(title=512, description=1024, url=2048)
INLINE_BYTES: Final = 512 << 10  # of one file inside a call; larger ones are given by their address

PROGRAM: Final = ChannelKind(
    NAME,
    mark("接口渠道"),
    "globe",
    Limits(
        text=TEXT_CHARACTERS,
        welcomes="first_message",
        quotes=True,
        link=LINK,
        formats=True,
        mentions=True,
        media=dict.fromkeys((Kind.IMAGE, Kind.VOICE, Kind.VIDEO, Kind.FILE), MediaLimit(INLINE_BYTES)),
    ),
)


def own_account(source: str) -> VendorAccount:
    """The one account that a program is."""
    return VendorAccount(NAME, source, source)
