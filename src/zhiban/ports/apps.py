"""Trackers where the program registers an app of its own: in the browser of whoever connects, in one press."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports.setup import SetupField, Values


@frozen_dataclass
class AppAddresses:
    """Where we are: our pages, where the app's webhooks go, where the browser comes back with a code, and where it
    comes after the app was installed."""

    home: str
    webhook: str
    back: str
    installed: str


@frozen_dataclass
class AppForm:
    """A form that the browser sends to the tracker. `origin` is whose page that is."""

    address: str
    origin: str
    fields: Mapping[str, str]


class AppCreator(Protocol):
    """Registers an app at a tracker. What says where it is called is the operator's."""

    @property
    def fields(self) -> tuple[SetupField, ...]:
        """What has to be known before."""
        ...

    @property
    def owners(self) -> tuple[tuple[str, str], ...]:
        """Whose the app may be: the value of `owner` that `form` takes, and what it is called."""
        ...

    @property
    def asks(self) -> tuple[str, ...]:
        """What the app may do, and what it hears of: translatable texts for whoever decides."""
        ...

    def form(self, values: Values, owner: str, addresses: AppAddresses, *, state: str) -> AppForm:
        """What the browser sends. The code that answers it comes back with `state`. Raises UnusableValues."""
        ...

    async def credentials(self, values: Values, code: str) -> Values:
        """The values of a connection, for a code that works once.

        Raises TrackerRefused, Misconfigured, ConnectionBroken, and TryLater, which says whether the code may be used.
        """
        ...
