"""The kinds of channels that WeCom has, and what each takes."""

from __future__ import annotations

from typing import Final

from zhiban.integrations.wecom.bot_config import LABEL, NAME
from zhiban.kit.i18n import mark
from zhiban.ports import ChannelKind, Kind, Limits, MediaLimit, OffersContactLinks, Polls, ReplyWindow, ShowsCards

# What the platform takes as uploads (media/upload), and for how long it keeps them: three days, less a margin.
MEDIA: Final = {
    Kind.IMAGE: MediaLimit(10 << 20, frozenset({"image/jpeg", "image/png"}), least=6),
    Kind.VOICE: MediaLimit(2 << 20, frozenset({"audio/amr"}), least=6),
    Kind.VIDEO: MediaLimit(10 << 20, frozenset({"video/mp4"}), least=6),
    Kind.FILE: MediaLimit(20 << 20, least=6),
}
MEDIA_HOURS: Final = 71.0

KF: Final = ChannelKind(
    "wecom_kf",
    mark("微信客服"),
    "message",
    Limits(
        text=2000,  # of 2048, beyond which WeCom cuts without a word; a little is kept for a mark
        unit="bytes",
        reply_window=ReplyWindow(hours=48, messages=5),
        reserved=1,
        event_reply_seconds=20,
        menus=True,
        media=MEDIA,
        media_hours=MEDIA_HOURS,
    ),
    (Polls, OffersContactLinks),
)
APP: Final = ChannelKind(
    "wecom_app",
    mark("企业微信应用"),
    "message",
    Limits(text=2000, unit="bytes", welcomes="first_message", media=MEDIA, media_hours=MEDIA_HOURS),
    (ShowsCards,),
)
CUSTOMER_GROUPS: Final = ChannelKind(
    "wecom_customer_groups", mark("企业微信客户群"), "users", Limits(text=2000, hears="nothing")
)
BOT: Final = ChannelKind(
    NAME,
    LABEL,
    "users",
    Limits(
        text=20_000,
        unit="bytes",
        reply_window=ReplyWindow(hours=58 / 60, messages=2),  # one answer is fetched, one is posted
        reserved=1,
        hears="addressed",
        welcomes="itself",
    ),
)
