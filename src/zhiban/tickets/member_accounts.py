"""Opens the accounts under which members write: their tokens, renewed before they end."""

from __future__ import annotations

from zhiban.channels.connections import Connections
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.vault import SealBroken
from zhiban.ports import BindsMembers, MemberBindingEnded, Tracker
from zhiban.tickets import logins


class MemberAccounts:
    """One object serves all members of a process. A connection's calls go out one at a time: nobody renews twice."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    async def tracker_of(self, workspace_id: int, tracker: Tracker, login_id: int) -> Tracker:
        """The tracker, written to by this member. Raises MemberBindingEnded, TryLater."""
        now, vault = self._clock.now(), self._connections.vault
        async with self._database.transaction(workspace_id) as tx:
            row = await logins.read_login(tx, login_id)
            if row is None or row.state != "bound" or not isinstance(tracker, BindsMembers):
                raise MemberBindingEnded("revoked")
            try:
                secrets = logins.secrets_of(tx, row, vault)
            except SealBroken:  # sealed with a key that is gone
                raise MemberBindingEnded("revoked") from None
        token = str(secrets["token"])
        if row.expires_at is not None and row.expires_at <= now:
            if not secrets.get("refresh"):
                raise MemberBindingEnded("expired")
            grant = await tracker.renew_member(str(secrets["refresh"]))  # the pair before is void by now
            async with self._database.transaction(workspace_id) as tx:
                await logins.keep_grant(tx, row, vault, grant, now=self._clock.now())
            token = grant.token
        return tracker.as_member(token, login=row.login)
