"""The verbs about contacts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Work

_KNOWN = """
select external_id, contact_id from identity
where kind = %(kind)s and account = %(account)s and external_id = any(%(ids)s::text[])"""

_IDENTIFY = """
insert into identity (workspace_id, contact_id, kind, account, external_id, created_at)
values (%(workspace)s, %(contact)s, %(kind)s, %(account)s, %(external)s, %(now)s)
on conflict (workspace_id, kind, account, external_id) do nothing returning contact_id"""


async def ensure_contacts(
    work: Work, kind: str, account: str, external_ids: Sequence[str], *, now: datetime
) -> dict[str, int]:
    """The contact behind each id at a vendor, created when it is new. Two at once make one contact."""
    known = {
        str(external): int(contact)
        for external, contact in await work.rows(_KNOWN, kind=kind, account=account, ids=list(external_ids))
    }
    for external_id in external_ids:
        if external_id not in known:
            known[external_id] = await _new_contact(work, kind, account, external_id, now=now)
    return known


async def _new_contact(work: Work, kind: str, account: str, external_id: str, *, now: datetime) -> int:
    contact_id = await work.value(
        "insert into contact (workspace_id, created_at, updated_at) "
        "values (%(workspace)s, %(now)s, %(now)s) returning id",
        workspace=work.workspace_id,
        now=now,
    )
    ours = await work.value(
        _IDENTIFY,
        workspace=work.workspace_id,
        contact=contact_id,
        kind=kind,
        account=account,
        external=external_id,
        now=now,
    )
    if ours is not None:
        return int(ours)
    # Somebody else named the same person a moment ago: theirs stays.
    await work.run("delete from contact where id = %(id)s", id=contact_id)
    rows = await work.rows(_KNOWN, kind=kind, account=account, ids=[external_id])
    return int(rows[0][1])


async def learn_profile(
    work: Work,
    kind: str,
    account: str,
    external_id: str,
    *,
    name: str,
    avatar_url: str | None,
    unionid: str | None,
    now: datetime,
) -> None:
    """Keep what the vendor tells about a person. A name that people of ours gave stays."""
    contact_id = await work.value(
        "update identity set unionid = coalesce(%(unionid)s, unionid), profiled_at = %(now)s "
        "where kind = %(kind)s and account = %(account)s and external_id = %(external)s returning contact_id",
        unionid=unionid,
        now=now,
        kind=kind,
        account=account,
        external=external_id,
    )
    if contact_id is not None:
        await work.run(
            "update contact set name = case when name = '' then %(name)s else name end, "
            "avatar_url = coalesce(%(avatar)s, avatar_url), updated_at = %(now)s where id = %(id)s",
            name=name,
            avatar=avatar_url,
            now=now,
            id=contact_id,
        )
