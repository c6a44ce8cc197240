"""An inbox of a channel that exists in memory only, opened over real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zhiban.channels.connections import OpenConnection, OpenInbox, ensure_inbox
from zhiban.channels.policy import Policy
from zhiban.kit.clock import SystemClock
from zhiban.kit.db import Database
from zhiban.ports import Incoming, Limits, Outgoing, ReplyWindow


@dataclass
class TwinChannel:
    """Takes whatever is sent."""

    limits: Limits
    kind: str = "twin"
    label: str = "孪生"
    icon: str = "globe"
    sent: list[Outgoing] = field(default_factory=list)

    def read(self, _body: str) -> Sequence[Incoming]:
        return ()

    async def send(self, message: Outgoing) -> str:
        self.sent.append(message)
        return message.key


class TwinVendor:
    """Whose contacts are called by their thread."""

    def namespace(self, _kind: str) -> tuple[str, str]:
        return "twin", "qinghe"


async def open_inbox(
    database: Database,
    workspace_id: int,
    *,
    window: ReplyWindow | None = None,
    channel: str = "twin",
    public_id: str = "twin",
    name: str = "孪生",
    **policy: object,
) -> OpenInbox:
    """A new inbox with this policy, ready to receive and to send."""
    async with database.transaction(workspace_id) as tx:
        connection_id = await tx.value(
            "insert into connection (workspace_id, public_id, vendor, name, secrets) "
            "values (%(w)s, %(public)s, 'twin', %(name)s, '') returning id",
            w=workspace_id,
            public=public_id,
            name=name,
        )
        inbox_id = await ensure_inbox(tx, connection_id, channel, "main", name, now=SystemClock().now())
    connection = OpenConnection(workspace_id, connection_id, public_id, "twin", TwinVendor())  # type: ignore[arg-type]
    return OpenInbox(
        workspace_id=workspace_id,
        inbox_id=inbox_id,
        connection=connection,
        kind=channel,
        external_id="main",
        name=name,
        base_id=None,
        settings=Policy.model_validate(policy),
        channel=TwinChannel(Limits(2000, reply_window=window, event_reply_seconds=20)),  # type: ignore[arg-type]
    )
