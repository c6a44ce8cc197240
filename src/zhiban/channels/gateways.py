"""Gateways that are listened to: which process does, how the account behind each stands, and when nobody listened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from zhiban.channels.connection_health import mark_broken, mark_mended
from zhiban.event_gateways import spoken
from zhiban.events import SYSTEM, GatewayChanged, GatewayGapNoted
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.kit.pubsub import LIVING
from zhiban.kit.text import clean
from zhiban.ports import GatewayState

LEASE = timedelta(seconds=15)
SILENT = timedelta(seconds=5)  # a process that is dead renews no more; one whose database was away gets so long
UNNOTICED = timedelta(seconds=40)  # how long a gateway may have been frozen before that is noticed
REFUSAL_SHOWN_FOR = timedelta(minutes=30)
SHOWN_FOR = timedelta(days=1)  # a gap of longer ago helps nobody any more
MOST_GAPS = 20

LOGGED_OUT = mark("The gateway's account is not logged in.")
WANTS_SCAN = mark("The gateway's account waits for its QR code to be scanned.")
HEARD_TWICE = mark(
    "The gateway's account is heard over another connection already, and everything would be answered twice. "
    "Remove one of the two, or log another account in."
)

_FREE = f"""(g.leased_by is null or g.lease_expires_at < %(now)s
  or (g.leased_by not in ({LIVING}) and g.lease_expires_at < %(now)s::timestamptz + %(silent)s::interval))"""

_DUE = f"""
from connection c
left join gateway_state g on g.workspace_id = c.workspace_id and g.connection_id = c.id
where c.vendor = any(%(vendors)s::text[]) and c.removed_at is null
  and exists (select from inbox i where i.connection_id = c.id and i.removed_at is null)
  and (g.connection_id is null or ({_FREE} and (g.retry_at is null or g.retry_at <= %(now)s
    or g.configured_at is distinct from c.updated_at)))"""

ANY_DUE = f"exists (select {_DUE})"  # whether `gateways_due` finds any; over `now` and `due_params`

_TAKE = f"""
insert into gateway_state as g (workspace_id, connection_id, leased_by, lease_expires_at, since, configured_at)
select workspace_id, id, %(me)s, %(lease)s, %(now)s, updated_at from connection where id = %(connection)s
on conflict (workspace_id, connection_id) do update
  set leased_by = %(me)s, lease_expires_at = %(lease)s, configured_at = excluded.configured_at
where g.leased_by = %(me)s or {_FREE}
returning g.misses, g.configured_at, g.cursor"""

_RENEW = """
with kept as (update heard_account set held_until = %(lease)s
  where workspace_id = %(workspace)s and connection_id = %(connection)s and held_by = %(me)s)
update gateway_state g set lease_expires_at = %(lease)s, heard_at = coalesce(%(heard_at)s, g.heard_at)
from connection c where g.connection_id = %(connection)s and g.leased_by = %(me)s and c.id = g.connection_id
returning c.updated_at, c.removed_at is not null as removed"""

_GATEWAY = """
select g.connection_id, g.state, g.account, g.account_name, g.qr_code, g.reason, g.since, g.heard_at, g.message_at,
  g.misses, g.refused_account, g.refused_at, g.refused_why
from gateway_state g where g.connection_id = %(connection)s"""

# Rows of other workspaces are not seen from here, so who hears an account stands in a table without walls.
_UNHELD = f"""(h.held_until < %(now)s
  or (h.held_by not in ({LIVING}) and h.held_until < %(now)s::timestamptz + %(silent)s::interval))"""

_HEARD_ELSEWHERE = f"""
select exists (select from heard_account h join connection c on c.id = %(connection)s
where h.vendor = c.vendor and h.account = %(account)s and (h.workspace_id, h.connection_id) <> (c.workspace_id, c.id)
  and not {_UNHELD})"""

# Of two at the same moment the later one waits for the earlier, and sees it.
_CLAIM = f"""
insert into heard_account as h (vendor, account, workspace_id, connection_id, held_by, held_until)
select vendor, %(account)s, workspace_id, id, %(me)s, %(lease)s from connection where id = %(connection)s
on conflict (vendor, account) do update set workspace_id = excluded.workspace_id,
  connection_id = excluded.connection_id, held_by = excluded.held_by, held_until = excluded.held_until
where (h.workspace_id, h.connection_id) = (excluded.workspace_id, excluded.connection_id) or {_UNHELD}
returning true"""

_RELEASE = """
delete from heard_account where workspace_id = %(workspace)s and connection_id = %(connection)s
  and account <> %(account)s"""

_HOLDER = f"""
select g.leased_by, case when g.state = 'online' then g.account else '' end as account from gateway_state g
where g.connection_id = %(connection)s and not {_FREE}"""


class AccountHeardTwice(ZhibanError):
    """Another connection listens to this account at this moment: whatever is said would be taken in twice."""

    def __init__(self) -> None:
        super().__init__(HEARD_TWICE)


@frozen_dataclass
class Gateway:
    """How a gateway stands. `heard_at`: until when nothing is missing."""

    connection_id: int
    state: Literal["connecting", "scan", "online", "logged_out", "refused"]
    account: str
    account_name: str
    qr_code: str
    reason: str
    since: datetime
    heard_at: datetime | None
    message_at: datetime | None
    misses: int
    refused_account: str = ""
    refused_at: datetime | None = None
    refused_why: str = ""

    def has_refused(self, now: datetime) -> bool:
        """Whether another program or account wanted to connect, so lately that somebody still wonders."""
        return self.refused_at is not None and now - self.refused_at < REFUSAL_SHOWN_FOR


@frozen_dataclass
class ListeningGap:
    """Nobody listened between these moments."""

    since: datetime
    until: datetime


@frozen_dataclass
class Turn:
    """The right to listen: how often listening failed before, which configuration it is for, and where it goes on."""

    misses: int
    configured_at: datetime
    cursor: str = ""


@frozen_dataclass
class GatewayHolder:
    """The living process that is connected, and the account that is online there."""

    leased_by: int
    account: str


@frozen_dataclass
class Renewal:
    """What became of the connection meanwhile."""

    updated_at: datetime
    removed: bool


async def gateway(tx: Transaction, connection_id: int) -> Gateway | None:
    """None where nobody has listened to it yet."""
    return await tx.object(Gateway, _GATEWAY, connection=connection_id)


async def gaps(tx: Transaction, connection_id: int, *, now: datetime) -> list[ListeningGap]:
    """When nobody listened lately, so that messages may be missing that somebody would still look for; newest first."""
    return await tx.objects(
        ListeningGap,
        "select (data ->> 'since')::timestamptz as since, (data ->> 'until')::timestamptz as until from event "
        "where kind = 'gateway_gap_noted' and at > %(shown)s and (data ->> 'connection_id')::bigint = %(connection)s "
        "order by at desc, id desc limit %(most)s",
        shown=now - SHOWN_FOR,
        connection=connection_id,
        most=MOST_GAPS,
    )


async def gateways_due(tx: Transaction, vendors: Sequence[str], *, now: datetime) -> list[int]:
    """The connections of these vendors that nobody listens to and that may be tried now."""
    return await tx.values(f"select c.id {_DUE} order by c.id", **due_params(vendors), now=now)


def due_params(vendors: Sequence[str]) -> dict[str, Any]:
    """What `ANY_DUE` asks beside the time."""
    return {"vendors": list(vendors), "silent": LEASE - SILENT}


async def take_gateway(tx: Transaction, connection_id: int, *, me: int, now: datetime) -> Turn | None:
    """Be the one who listens; None when another process is."""
    return await tx.object(
        Turn,
        _TAKE,
        connection=connection_id,
        me=me,
        now=now,
        lease=now + LEASE,
        silent=LEASE - SILENT,
    )


async def holder(tx: Transaction, connection_id: int, *, now: datetime) -> GatewayHolder | None:
    """Who is connected to it; None when any process may be."""
    return await tx.object(GatewayHolder, _HOLDER, connection=connection_id, now=now, silent=LEASE - SILENT)


async def check_heard_once(tx: Transaction, connection_id: int, account: str, *, now: datetime) -> None:
    """Raises AccountHeardTwice where another connection of the same kind hears this account, in whichever workspace."""
    silent = LEASE - SILENT
    if await tx.value(_HEARD_ELSEWHERE, connection=connection_id, account=account, now=now, silent=silent):
        raise AccountHeardTwice


async def hear_account(tx: Transaction, connection_id: int, account: str, *, me: int, now: datetime) -> None:
    """This account has logged in behind this connection, and is heard over no other one as long as that is listened to.

    Only for what a login has proved: whoever names an account holds nothing. Raises AccountHeardTwice.
    """
    await release_accounts(tx, connection_id, but=account)
    claimed = await tx.value(
        _CLAIM, connection=connection_id, account=account, me=me, now=now, lease=now + LEASE, silent=LEASE - SILENT
    )
    if not claimed:
        raise AccountHeardTwice


async def release_accounts(tx: Transaction, connection_id: int, *, but: str = "") -> None:
    """Accounts that are heard over this connection may be heard over another one."""
    await tx.run(_RELEASE, workspace=tx.workspace_id, connection=connection_id, account=but)


async def note_refused(tx: Transaction, connection_id: int, account: str, why: str, *, now: datetime) -> None:
    """Another program wanted to connect and was refused; an operator should know, and it will not say so itself."""
    await tx.run(
        "update gateway_state set refused_account = %(account)s, refused_at = %(now)s, refused_why = %(why)s "
        "where connection_id = %(connection)s",
        account=clean(account)[:100],
        why=why,
        now=now,
        connection=connection_id,
    )


async def renew_gateway(
    tx: Transaction, connection_id: int, *, me: int, heard_at: datetime | None, now: datetime
) -> Renewal | None:
    """Go on listening; nothing was missed until `heard_at`, where that is known. None: another process listens."""
    return await tx.object(
        Renewal,
        _RENEW,
        workspace=tx.workspace_id,
        connection=connection_id,
        me=me,
        heard_at=heard_at,
        lease=now + LEASE,
    )


async def leave_gateway(
    tx: Transaction,
    connection_id: int,
    *,
    me: int,
    misses: int = 0,
    retry_at: datetime | None = None,
    unnoticed: timedelta = timedelta(),
) -> bool:
    """Let any process listen, from `retry_at` on; False where this one did not.

    `unnoticed`: how long before now it may have been silent already.
    """
    left = await tx.run(
        "update gateway_state set leased_by = null, lease_expires_at = null, misses = %(misses)s, "
        "retry_at = %(retry_at)s, heard_at = heard_at - %(unnoticed)s::interval "
        "where connection_id = %(connection)s and leased_by = %(me)s",
        connection=connection_id,
        me=me,
        misses=misses,
        retry_at=retry_at,
        unnoticed=unnoticed,
    )
    if left:
        await release_accounts(tx, connection_id)
    return left > 0


async def note_stored(
    tx: Transaction,
    connection_id: int,
    *,
    message_at: datetime | None,
    heard_at: datetime | None = None,
    cursor: str = "",
) -> None:
    """What was told is stored: when there was a message among it, and until when and where nothing is missing."""
    await tx.run(
        "update gateway_state set message_at = coalesce(%(message_at)s, message_at), "
        "heard_at = coalesce(%(heard_at)s, heard_at), cursor = coalesce(nullif(%(cursor)s, ''), cursor) "
        "where connection_id = %(connection)s",
        message_at=message_at,
        heard_at=heard_at,
        cursor=cursor,
        connection=connection_id,
    )


async def note_state(tx: Transaction, connection_id: int, told: GatewayState, *, now: datetime) -> None:
    """Keep how the gateway stands, and what an operator has to do about it. A repeat changes nothing."""
    before = await gateway(tx, connection_id)
    if before is None:
        return
    silent_since = min((at for at in (before.heard_at, told.silent_since) if at is not None), default=None)
    if told.gap:
        await _note_gap(tx, before, since=before.heard_at and silent_since, now=now)
    elif silent_since != before.heard_at:
        await tx.run(
            "update gateway_state set heard_at = %(since)s where connection_id = %(connection)s",
            since=silent_since,
            connection=connection_id,
        )
    # While a stream begins, what was known of the account before is not news: it follows in a moment.
    account = told.account if told.state == "online" else ""
    await tx.run(
        "update gateway_state set state = %(state)s, account = %(account)s, account_name = %(name)s, "
        "qr_code = %(qr)s, reason = %(why)s, since = case when state = %(state)s then since else %(now)s end, "
        "misses = case when %(state)s in ('online', 'scan', 'logged_out') then 0 else misses end "
        "where connection_id = %(connection)s",
        state=told.state,
        account=account or (before.account if told.state == "connecting" else ""),
        name=clean(told.account_name)[:200] or (before.account_name if account == before.account else ""),
        qr=told.qr_code,
        why=told.reason[:500],
        now=now,
        connection=connection_id,
    )
    if told.state == "connecting":
        return
    if told.state != "online":
        await release_accounts(tx, before.connection_id)
    await _tell(tx, before, told, account, now=now)


async def _tell(tx: Transaction, before: Gateway, told: GatewayState, account: str, *, now: datetime) -> None:
    trouble = {"scan": WANTS_SCAN, "logged_out": LOGGED_OUT, "refused": told.reason}.get(told.state, "")
    if trouble:
        await mark_broken(tx, before.connection_id, trouble, now=now)
    else:
        await mark_mended(tx, before.connection_id, now=now)
        await tx.run(
            "update connection set verified_at = %(now)s where id = %(id)s and verified_at is null",
            now=now,
            id=before.connection_id,
        )
    if (before.state, before.account) != (told.state, account):
        fact = GatewayChanged(
            actor=SYSTEM,
            at=now,
            connection_id=before.connection_id,
            state=told.state,
            previous=before.state,
            account=account,
            previous_account=before.account,
            why=told.reason[:500],
        )
        await event_log.append(tx, fact)


async def _note_gap(tx: Transaction, before: Gateway, *, since: datetime | None, now: datetime) -> None:
    """The first time that anybody listens nothing was missed: there was nothing to miss."""
    await tx.run(
        "update gateway_state set heard_at = %(now)s where connection_id = %(connection)s",
        now=now,
        connection=before.connection_id,
    )
    if since is None:
        return
    await event_log.append(
        tx,
        GatewayGapNoted(
            actor=SYSTEM, at=now, connection_id=before.connection_id, since=spoken(since), until=spoken(now)
        ),
    )
