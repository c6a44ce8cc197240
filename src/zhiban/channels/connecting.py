"""Connecting a vendor, as the terminal and the settings page do it: the address, the checks, the state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from zhiban.channels.connections import Connections
from zhiban.channels.inboxes import ConnectionRow, InboxConfig, InboxRow
from zhiban.channels.webhooks import ADDRESS
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.kit.settings import Settings
from zhiban.ports import SOCKETS, AcceptsSockets, CheckResult, Integration, TrackerIntegration


def callback_path(integration: Integration | TrackerIntegration | None, public_id: str) -> str:
    """Where the vendor has to call, below our own address."""
    own = [path for path in integration.addresses if "{public_id}" in path] if integration else []
    return (own or [ADDRESS])[0].format(public_id=public_id)


def callback_address(integration: Integration | TrackerIntegration | None, public_id: str, *, at: str) -> str:
    """The whole address below `at`, ours as it is seen from outside: for a WebSocket where the vendor opens one."""
    if isinstance(integration, Integration) and AcceptsSockets in integration.talents:
        secure, _, rest = at.partition("://")
        return f"{'wss' if secure == 'https' else 'ws'}://{rest}{SOCKETS}{public_id}" if rest else SOCKETS + public_id
    return at + callback_path(integration, public_id)


async def checks_of(connections: Connections, workspace_id: int, row: ConnectionRow) -> AsyncIterator[CheckResult]:
    """What the vendor finds of its own credentials, addresses and permissions. Calls the vendor."""
    try:
        link = await connections.any(workspace_id, row.id)
        async for result in link.receiver.checks():
            yield result
    except ZhibanError as error:
        yield CheckResult(mark("连接"), "fail", problem=error.sentence)
    if row.contacts_off:
        cure = mark("不用客户联系，可以不管")
        yield CheckResult(mark("客户联系"), "skip", problem=row.contacts_off, cure=cure)


def told(result: CheckResult, texts: Texts) -> str:
    """What a check found, in the reader's language."""
    return texts.error(result.problem) if result.problem else texts(result.said, **result.values)


def is_in_environment(integration: Integration | None, settings: Settings, row: ConnectionRow) -> bool:
    """Whether the settings of the installation describe this connection too, so that the next start makes it again."""
    values = integration.environment(settings) if integration else None
    if integration is None or values is None:
        return False
    fields = [field.name for field in integration.setup.fields if field.identifies]
    return all(values.get(field) == row.config.get(field) for field in fields)


@frozen_dataclass
class InboxState:
    """How an inbox is. `why` is the sentence of an error, where it is broken."""

    word: Literal["removed", "archived", "broken", "paused", "working"]
    why: str = ""

    def told(self, texts: Texts) -> str:
        match self.word:
            case "removed":
                return texts("已移除")
            case "archived":
                return texts("已停用")
            case "broken":
                return texts("有问题：{reason}", reason=texts.error(self.why))
            case "paused":
                return texts("已暂停")
            case "working":
                return texts("正常")


def inbox_state(row: InboxRow | InboxConfig, connection: ConnectionRow) -> InboxState:
    if row.removed_at is not None:
        return InboxState("removed")
    if row.archived_at is not None:
        return InboxState("archived")
    if broken := row.broken or connection.broken:
        return InboxState("broken", broken)
    return InboxState("paused" if row.paused_at is not None else "working")
