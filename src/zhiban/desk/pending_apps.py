"""The way to a tracker that registers an app for us, and back: what the browser keeps meanwhile.

What tells our own request from others travels in a sealed cookie of the browser that began. It is good for the session
and the workspace in which it was begun, for an hour, and once: an answer in another browser, of another session, a
second one, or one that was not asked for, opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from zhiban.kit.breaker_store import BreakerStore
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.vault import SealBroken, Vault

COOKIE = "zhiban_app"
LIFE = timedelta(hours=1)  # for so long GitHub's codes are good
_PLACE = "app request"


class NoSuchApp(Conflict):
    """The answer was not asked for by this browser, or came too late, or for a second time."""

    def __init__(self) -> None:
        super().__init__("This was not begun in this browser, or is over already. Begin again.")


@frozen_dataclass
class PendingApp:
    """What a browser has begun: for whom, at which tracker, with which values, and by which address it is called."""

    workspace_id: int
    session: str
    vendor: str
    values: dict[str, str]
    name: str
    public_id: str
    state: str
    until: float

    def sealed(self, vault: Vault) -> str:
        kept = [self.workspace_id, self.session, self.vendor, self.values, self.name]
        kept += [self.public_id, self.state, self.until]
        return base64.urlsafe_b64encode(vault.seal({"kept": kept}, bound_to=_PLACE)).decode()

    def again(self) -> PendingApp:
        """The same, to be answered once more."""
        return PendingApp(
            self.workspace_id,
            self.session,
            self.vendor,
            self.values,
            self.name,
            self.public_id,
            secrets.token_urlsafe(32),
            self.until,
        )


def digest_of(session: str) -> str:
    """What is kept of a session's cookie."""
    return hashlib.sha256(session.encode()).hexdigest()


def begun(
    workspace_id: int,
    session: str,
    vendor: str,
    values: Mapping[str, str],
    *,
    name: str,
    public_id: str,
    now: datetime,
) -> PendingApp:
    """A new way to a tracker."""
    until = (now + LIFE).timestamp()
    state = secrets.token_urlsafe(32)
    return PendingApp(workspace_id, digest_of(session), vendor, dict(values), name, public_id, state, until)


async def taken(
    vault: Vault,
    breakers: BreakerStore,
    *,
    workspace_id: int,
    session: str,
    cookie: str,
    state: str,
    now: datetime,
) -> PendingApp:
    """What this browser has begun and the answer belongs to; nobody gets it a second time. Raises NoSuchApp."""
    try:
        kept: list[Any] = vault.open(base64.urlsafe_b64decode(cookie), bound_to=_PLACE)["kept"]
        found = PendingApp(*kept)
    except (SealBroken, binascii.Error, ValueError, KeyError, TypeError):
        raise NoSuchApp from None
    ours = found.workspace_id == workspace_id and hmac.compare_digest(found.session, digest_of(session))
    if not ours or now.timestamp() > found.until or not hmac.compare_digest(found.state.encode(), state.encode()):
        raise NoSuchApp
    once = breakers.of(workspace_id, "app/")
    if await once.spend(hashlib.sha256(state.encode()).hexdigest(), every=2 * LIFE.total_seconds()) > 0:
        raise NoSuchApp
    return found
