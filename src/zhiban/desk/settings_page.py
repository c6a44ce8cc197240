"""What the pages of the settings have in common: who may change connections, and what connecting one needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from fastapi import Depends, Request

from zhiban.channels.connecting import callback_address
from zhiban.channels.connections import Connections
from zhiban.channels.inboxes import ConnectionRow
from zhiban.desk.page import DeskPage
from zhiban.kit.breaker_store import BreakerStore
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.http import Http
from zhiban.kit.i18n import mark
from zhiban.kit.settings import Settings
from zhiban.kit.vault import Vault
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import NotAllowed, Permission
from zhiban.people.sign_in_providers import signs_in_through
from zhiban.ports import CheckResult, Integration, TrackerIntegration

MOST_CHECKS = 1000  # connections whose last checks are remembered


@frozen_dataclass
class ChannelSetup:
    """What the pages about connections need to know of the installation."""

    integrations: Mapping[str, Integration]
    connections: Connections
    vault: Vault
    settings: Settings
    trackers: Mapping[str, TrackerIntegration]
    http: Http
    breakers: BreakerStore


@frozen_dataclass
class SettingsPlace:
    """Where the pages about one part that vendors play stand, and what that list is called. Connections of channels
    stand apart from their list, which is of inboxes."""

    part: Literal["channel", "tracker"]
    home: str
    title: str
    at: str

    @property
    def new(self) -> str:
        return f"{self.home}/new"


CHANNEL_PLACE = SettingsPlace("channel", "/settings/inboxes", mark("收件箱和渠道"), "/settings/connections")
TRACKER_PLACE = SettingsPlace("tracker", "/settings/trackers", mark("工单系统"), "/settings/trackers")


class RecentChecks:
    """What vendors last said of their connections, in this process: asked again by whoever wants to know it now."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[datetime, Sequence[CheckResult]]] = {}

    def put(self, workspace_id: int, connection_id: int, results: Sequence[CheckResult], *, at: datetime) -> None:
        self._known.pop((workspace_id, connection_id), None)
        self._known[workspace_id, connection_id] = at, tuple(results)
        while len(self._known) > MOST_CHECKS:
            del self._known[next(iter(self._known))]

    def get(self, workspace_id: int, connection_id: int) -> tuple[datetime, Sequence[CheckResult]] | None:
        return self._known.get((workspace_id, connection_id))

    def forget(self, workspace_id: int, connection_id: int) -> None:
        """What was said held for other values."""
        self._known.pop((workspace_id, connection_id), None)


class ConnectionsPage(DeskPage):
    """One request of somebody who manages connections."""

    place: ClassVar[SettingsPlace]

    @property
    def setup(self) -> ChannelSetup:
        found: ChannelSetup = self.request.app.state.channel_setup
        return found

    @property
    def checks(self) -> RecentChecks:
        found: RecentChecks = self.request.app.state.recent_checks
        return found

    def address_of(self, integration: Integration | TrackerIntegration | None, public_id: str) -> str:
        """The address that the vendor has to call."""
        return callback_address(integration, public_id, at=self.address)


class InboxesPage(ConnectionsPage):
    """One request of somebody who manages inboxes."""

    section = "inboxes"
    place = CHANNEL_PLACE

    def integration(self, vendor: str) -> Integration | None:
        """None where this version does not know the vendor of a row."""
        return self.setup.integrations.get(vendor)

    def callback(self, row: ConnectionRow) -> str:
        """The address that the vendor has to call."""
        return self.address_of(self.integration(row.vendor), row.public_id)

    async def may_change(self, tx: Transaction, connection_id: int) -> bool:
        """Whether what this connection is does not also say who somebody is, or this agent decides about that."""
        return self.agent.access.may(Permission.MANAGE_SIGN_IN) or not await signs_in_through(tx, connection_id)

    async def check_may_change(self, tx: Transaction, connection_id: int) -> None:
        """Raises NotAllowed; what the transaction has written by then is not kept."""
        if not await self.may_change(tx, connection_id):
            raise NotAllowed("Colleagues sign in through this connection: only an owner changes or removes it.")


class TrackersPage(ConnectionsPage):
    """One request of somebody who manages where issues live."""

    section = "trackers"
    place = TRACKER_PLACE

    def tracker(self, vendor: str) -> TrackerIntegration:
        """Raises NotFound."""
        found = self.setup.trackers.get(vendor)
        if found is None:
            raise NotFound("There is no such tracker.")
        return found


async def _managing(request: Request, agent: CurrentAgent) -> InboxesPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.MANAGE_INBOXES)
    return InboxesPage(request, agent)


async def _managing_trackers(request: Request, agent: CurrentAgent) -> TrackersPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.MANAGE_INBOXES)
    return TrackersPage(request, agent)


ManagingInboxes = Annotated[InboxesPage, Depends(_managing)]
ManagingTrackers = Annotated[TrackersPage, Depends(_managing_trackers)]
