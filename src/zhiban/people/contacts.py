"""The verbs about contacts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.json_safe import json_safe
from zhiban.kit.text import clean
from zhiban.people.contact_search import NEW, index_contacts
from zhiban.ports import Profile

# Known ones as they are, new ones made, in one statement. Who loses a race against another transaction gets no row.
# Each is looked up by itself: joined, a planner that believes the tables small reads all names of the workspace.
_ENSURE = """
with wanted as (
  select w.external_id, i.contact_id, c.blocked_at is not null as blocked
  from unnest(%(ids)s::text[]) as w(external_id)
  left join lateral (
    select workspace_id, contact_id from identity
    where kind = %(kind)s and account = %(account)s and external_id = w.external_id limit 1) i on true
  left join lateral (
    select blocked_at from contact where workspace_id = i.workspace_id and id = i.contact_id limit 1) c on true),
fresh as (
  select external_id, nextval(pg_get_serial_sequence('contact', 'id')) as id from wanted where contact_id is null),
people as (
  insert into contact (workspace_id, id, created_at, updated_at) overriding system value
  select %(workspace)s, id, %(now)s, %(now)s from fresh),
names as (
  insert into identity (workspace_id, contact_id, kind, account, external_id, created_at)
  select %(workspace)s, id, %(kind)s, %(account)s, external_id, %(now)s from fresh
  on conflict (workspace_id, kind, account, external_id) do nothing returning external_id, contact_id)
select external_id, contact_id, blocked, false as is_new from wanted where contact_id is not null
union all select external_id, contact_id, false, true from names"""

_ORPHANS = """
delete from contact c where created_at = %(now)s and not exists (
  select 1 from identity i where i.workspace_id = c.workspace_id and i.contact_id = c.id)"""


@frozen_dataclass
class EnsuredContact:
    """A contact that exists now. `blocked`: what they write calls nobody; `is_new`: nobody knew them before."""

    id: int
    blocked: bool
    is_new: bool = False


async def ensure_contacts(
    tx: Transaction, kind: str, account: str, external_ids: Sequence[str], *, now: datetime
) -> dict[str, EnsuredContact]:
    """The contact behind each id at a vendor, created when it is new. Two at once make one contact."""
    ids = sorted(set(external_ids))
    while True:
        rows = await tx.rows(_ENSURE, workspace=tx.workspace_id, kind=kind, account=account, ids=ids, now=now)
        if len(rows) == len(ids):
            return {external_id: EnsuredContact(id_, blocked, is_new) for external_id, id_, blocked, is_new in rows}
        # Somebody else named one of them a moment ago: theirs stays, ours has no name and goes.
        await tx.run(_ORPHANS, now=now)


# A name that people of ours gave stays; one that the vendor does not tell leaves things as they are. What the vendor
# called the person before is kept with the identity, so that a new name of theirs replaces only their own old one.
_LEARN = """
with told as (
  select * from unnest(%(ids)s::text[], %(names)s::text[], %(avatars)s::text[], %(unionids)s::text[],
    %(profiles)s::jsonb[], %(attributes)s::jsonb[])
    as t(external_id, name, avatar_url, unionid, profile, attributes)),
known as (
  select i.id, i.contact_id, i.profile ->> 'name' as called, t.* from identity i join told t using (external_id)
  where i.kind = %(kind)s and i.account = %(account)s),
kept as (
  update identity i set unionid = coalesce(k.unionid, i.unionid), profiled_at = %(now)s,
    profile = i.profile || k.profile || case when k.name = '' then '{}' else jsonb_build_object('name', k.name) end
  from known k where i.id = k.id)
update contact c set
  name = case when k.name <> '' and (c.name = '' or c.name = k.called) then k.name else c.name end,
  avatar_url = coalesce(k.avatar_url, c.avatar_url),
  attributes = jsonb_strip_nulls(c.attributes || k.attributes), updated_at = %(now)s
from known k where c.id = k.contact_id returning c.id, c.created_at"""


async def learn_profiles(
    tx: Transaction, kind: str, account: str, profiles: Sequence[Profile], *, now: datetime
) -> list[int]:
    """Keep what the vendor tells about people. Returns the contacts it concerns."""
    rows = await tx.rows(
        _LEARN,
        kind=kind,
        account=account,
        ids=[profile.external_id for profile in profiles],
        names=[clean(profile.name) for profile in profiles],
        avatars=[profile.avatar_url for profile in profiles],
        unionids=[profile.unionid for profile in profiles],
        profiles=[json_safe(profile.content) for profile in profiles],
        attributes=[json_safe(profile.attributes) for profile in profiles],
        now=now,
    )
    await index_contacts(tx, [id_ for id_, created_at in rows if created_at < now - NEW])  # newer ones are to come
    return [id_ for id_, _ in rows]


async def set_blocked(tx: Transaction, contact_id: int, *, blocked: bool, now: datetime) -> None:
    """Let what this contact writes call nobody, or somebody again. The first moment of blocking stays."""
    await tx.run(
        "update contact set blocked_at = case when %(blocked)s then coalesce(blocked_at, %(now)s) end, "
        "updated_at = %(now)s where id = %(id)s",
        blocked=blocked,
        now=now,
        id=contact_id,
    )


async def blocked_since(tx: Transaction, contact_id: int) -> datetime | None:
    """When a contact was blocked; None: they are not."""
    found: datetime | None = await tx.value("select blocked_at from contact where id = %(id)s", id=contact_id)
    return found


async def nameless_contacts(tx: Transaction, kind: str, account: str, *, limit: int) -> list[str]:
    """The ids at a vendor of those whose profile nobody has asked for yet, newest first."""
    return await tx.values(
        "select external_id from identity where kind = %(kind)s and account = %(account)s and profiled_at is null "
        "order by id desc limit %(limit)s",
        kind=kind,
        account=account,
        limit=limit,
    )


async def accounts_of(tx: Transaction, kind: str, account: str, contact_ids: Sequence[int]) -> dict[int, str]:
    """What a vendor calls these contacts, by contact; those whom it does not know are left out."""
    return dict(
        await tx.rows(
            "select contact_id, min(external_id) from identity where kind = %(kind)s and account = %(account)s "
            "and contact_id = any(%(ids)s::bigint[]) group by 1",
            kind=kind,
            account=account,
            ids=list(contact_ids),
        )
    )


async def contact_name(tx: Transaction, contact_id: int) -> str:
    """What a contact is called, empty when nobody knows."""
    return str(await tx.value("select name from contact where id = %(id)s", id=contact_id) or "")
