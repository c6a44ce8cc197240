"""An inbox of the channel in memory, opened over real rows."""

from __future__ import annotations

from zhiban.channels.connections import OpenConnection, OpenInbox, ensure_inbox
from zhiban.channels.policy import Policy
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database
from zhiban.ports import Limits, ReplyWindow
from zhiban.testing.channel import MemoryChannel, MemoryPlace, MemoryVendor


class WindowedChannel(MemoryChannel):
    """With limits like those of a messenger: five replies in 48 hours."""

    limits = Limits(
        2000,
        reply_window=ReplyWindow(hours=48, messages=5),
        event_reply_seconds=20,
        link=MemoryChannel.limits.link,
        media=MemoryChannel.limits.media,
        media_hours=MemoryChannel.limits.media_hours,
    )


async def open_inbox(
    database: Database,
    workspace_id: int,
    *,
    channel: str = MemoryChannel.kind,
    public_id: str = "memory",
    name: str = "内存",
    **policy: object,
) -> OpenInbox:
    """A new inbox with this policy, ready to receive and to send."""
    async with database.transaction(workspace_id) as tx:
        connection_id = await tx.value(
            "insert into connection (workspace_id, public_id, vendor, name, secrets) "
            "values (%(w)s, %(public)s, 'memory', %(name)s, '') returning id",
            w=workspace_id,
            public=public_id,
            name=name,
        )
        inbox_id = await ensure_inbox(tx, connection_id, channel, "main", name, now=SystemClock().now())
    return opened(workspace_id, connection_id, inbox_id, channel=channel, public_id=public_id, name=name, **policy)


def opened(
    workspace_id: int,
    connection_id: int,
    inbox_id: int,
    *,
    channel: str,
    public_id: str,
    name: str,
    **policy: object,
) -> OpenInbox:
    """An inbox that `open_inbox` made, perhaps in another process."""
    place = MemoryPlace()
    return OpenInbox(
        workspace_id=workspace_id,
        inbox_id=inbox_id,
        connection=OpenConnection(workspace_id, connection_id, public_id, "memory", MemoryVendor(place)),
        kind=channel,
        external_id="main",
        name=name,
        base_id=None,
        settings=Policy.model_validate(policy),
        channel=WindowedChannel(place),
    )
