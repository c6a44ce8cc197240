"""Repositories as we know them, and which groups hear of which."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from zhiban.events import SYSTEM, Actor, RepositoryAliased, RepositoryLinked, RepositoryRenamed, RepositoryUnlinked
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import Repository

_PATTERN = re.compile(r"[\w.*-]{1,100}(?:/[\w.*-]{1,100}){1,4}")

# What a command in a group can say behind 到, and no name of a repository.
_ALIAS = re.compile(r"(?!.*仓库\Z)[^\s/#@，,。；;：:]{1,40}")

_COLUMNS = (
    "id, connection_id, external_id, name, alias, private, issues_enabled, archived, settings, synced_at, removed_at"
)

_KEEP = """
insert into repository as r (workspace_id, connection_id, external_id, name, private, issues_enabled, archived,
  created_at)
values (%(workspace)s, %(connection)s, %(external)s, %(name)s, %(private)s, %(issues)s, %(archived)s, %(now)s)
on conflict (workspace_id, connection_id, external_id) do update set name = excluded.name,
  private = excluded.private, issues_enabled = excluded.issues_enabled, archived = excluded.archived,
  removed_at = null
returning id"""

_LINK = """
insert into repository_link (workspace_id, conversation_id, pattern, settings, created_at)
values (%(workspace)s, %(conversation)s, %(pattern)s, %(settings)s::jsonb, %(now)s)
on conflict (workspace_id, conversation_id, lower(pattern)) do update set settings = excluded.settings
where %(given)s and repository_link.settings is distinct from excluded.settings
returning id"""

# Where another tracker has one of the former name, that one is still meant.
_ELSEWHERE = """
select exists (select from repository r join repository o on o.connection_id <> r.connection_id
  where r.id = %(id)s and o.removed_at is null and lower(o.name) = lower(%(previous)s))"""
_COPY_LINK = """
insert into repository_link (workspace_id, conversation_id, pattern, settings, created_at)
select workspace_id, conversation_id, %(name)s, settings, %(now)s from repository_link where id = %(id)s
on conflict (workspace_id, conversation_id, lower(pattern)) do nothing
returning id, conversation_id, pattern, settings"""
# A group that is linked with both names already keeps the link of the new one.
_MOVE_LINK = """
update repository_link l set pattern = %(name)s where l.id = %(id)s and not exists (
  select from repository_link o where o.conversation_id = l.conversation_id and o.id <> l.id
    and lower(o.pattern) = lower(%(name)s))
returning l.id, l.conversation_id, l.pattern, l.settings"""

_LINKS = "select id, conversation_id, pattern, settings from repository_link"


@frozen_dataclass
class RepositoryRow:
    """A repository that a connection reaches. `settings` are what an operator said of it."""

    id: int
    connection_id: int
    external_id: str
    name: str
    alias: str | None
    private: bool
    issues_enabled: bool
    archived: bool
    settings: dict[str, Any]
    synced_at: datetime | None
    removed_at: datetime | None


@frozen_dataclass
class RepositoryLink:
    """A group hears of the repositories that the pattern names: owner/name, `*` for any part."""

    id: int
    conversation_id: int
    pattern: str
    settings: dict[str, Any]

    def names(self, repository: str) -> bool:
        """Whether this repository is meant; capital letters do not count."""
        return fnmatch.fnmatchcase(repository.lower(), self.pattern.lower())


async def repositories(tx: Transaction, connection_id: int | None = None) -> list[RepositoryRow]:
    """Those in use, by name; of one connection, or of all."""
    where = " and connection_id = %(connection)s" if connection_id is not None else ""
    return await tx.objects(
        RepositoryRow,
        f"select {_COLUMNS} from repository where removed_at is null{where} order by lower(name), id",
        connection=connection_id,
    )


async def access_repository(tx: Transaction, repository_id: int) -> RepositoryRow:
    """A repository in use. Raises NotFound."""
    row = await tx.object(
        RepositoryRow,
        f"select {_COLUMNS} from repository where id = %(id)s and removed_at is null",
        id=repository_id,
    )
    if row is None:
        raise NotFound("There is no such repository.")
    return row


async def find_repository(tx: Transaction, repository_id: int) -> RepositoryRow:
    """A repository, also one that is not reached any more. Raises NotFound."""
    row = await tx.object(RepositoryRow, f"select {_COLUMNS} from repository where id = %(id)s", id=repository_id)
    if row is None:
        raise NotFound("There is no such repository.")
    return row


async def repository_called(tx: Transaction, name: str) -> RepositoryRow | None:
    """The repository of this name or alias; capital letters do not count."""
    return await tx.object(
        RepositoryRow,
        f"select {_COLUMNS} from repository where removed_at is null "
        "and (lower(name) = lower(%(name)s) or lower(alias) = lower(%(name)s)) order by id limit 1",
        name=name.strip(),
    )


async def call(tx: Transaction, name: str, alias: str, *, by: Actor, now: datetime) -> bool:
    """Let groups call the repository of this name by the alias, too; by its name alone where that is empty. False when
    they do already. Raises Misconfigured, NotFound."""
    wanted, alias = name.strip(), alias.strip()
    row = await repository_called(tx, wanted)
    if row is None:
        raise NotFound(f"There is no repository {wanted[:100]} that we reach.")
    if alias == (row.alias or ""):
        return False
    if alias and not _ALIAS.fullmatch(alias):
        raise Misconfigured("An alias is a word of up to 40 characters without / # @ or stops, not ending in 仓库.")
    other = await repository_called(tx, alias) if alias else None
    if other is not None and other.id != row.id:
        raise Misconfigured(f"{other.name} is called {alias} already.")
    await tx.run("update repository set alias = %(alias)s where id = %(id)s", alias=alias or None, id=row.id)
    aliased = RepositoryAliased(
        actor=by, at=now, repository_id=row.id, name=row.name, alias=alias, previous=row.alias or ""
    )
    await event_log.append(tx, aliased)
    return True


async def repositories_of(tx: Transaction, conversation_id: int) -> list[RepositoryRow]:
    """The repositories that a group is linked with, in the order of its links: the first is where it files."""
    known = await repositories(tx)
    found: dict[int, RepositoryRow] = {}
    for link in await links_of(tx, conversation_id):
        found.update({row.id: row for row in known if link.names(row.name) and row.id not in found})
    return list(found.values())


async def keep(
    tx: Transaction, connection_id: int, repository: Repository, *, by: Actor = SYSTEM, now: datetime
) -> int:
    """Know this repository, under its name of today. Returns its row."""
    (id_,) = await keep_all(tx, connection_id, [repository], by=by, now=now)
    return id_


async def keep_all(
    tx: Transaction, connection_id: int, found: Sequence[Repository], *, by: Actor = SYSTEM, now: datetime
) -> list[int]:
    """Know these repositories, under their names of today, which some may have taken from each other. Returns their
    rows."""
    ids, renamed = [], []
    for repository in found:
        before = await tx.value(
            "select name from repository where connection_id = %(connection)s and external_id = %(external)s "
            "for no key update",
            connection=connection_id,
            external=repository.external_id,
        )
        repository_id = int(
            await tx.value(
                _KEEP,
                workspace=tx.workspace_id,
                connection=connection_id,
                external=repository.external_id,
                name=repository.name,
                private=repository.private,
                issues=repository.issues_enabled,
                archived=repository.archived,
                now=now,
            )
        )
        ids.append(repository_id)
        if before is not None and before != repository.name:
            renamed.append(
                RepositoryRenamed(actor=by, at=now, repository_id=repository_id, name=repository.name, previous=before)
            )
    await _note_renamed(tx, renamed)
    return ids


async def rename(tx: Transaction, repository_id: int, name: str, *, now: datetime) -> None:
    """The tracker says that the repository is called like this now."""
    before = await tx.value("select name from repository where id = %(id)s for no key update", id=repository_id)
    if before is None or before == name:
        return
    await tx.run("update repository set name = %(name)s where id = %(id)s", name=name, id=repository_id)
    renamed = RepositoryRenamed(actor=Actor("tracker"), at=now, repository_id=repository_id, name=name, previous=before)
    await _note_renamed(tx, [renamed])


async def _note_renamed(tx: Transaction, renamed: Sequence[RepositoryRenamed]) -> None:
    """Groups that were linked with repositories by their former names go on hearing of them and filing there."""
    moved: list[tuple[RepositoryLink, RepositoryRenamed]] = []
    copied: list[tuple[RepositoryLink, RepositoryRenamed]] = []
    for fact in renamed:
        await event_log.append(tx, fact)
        named = _LINKS + " where lower(pattern) = lower(%(previous)s) order by id"
        rows = await tx.objects(RepositoryLink, named, previous=fact.previous)
        elsewhere = await tx.value(_ELSEWHERE, id=fact.repository_id, previous=fact.previous)
        (copied if elsewhere else moved).extend((row, fact) for row in rows)
    # None keeps its name while another one takes it: two may have changed places.
    ids = [row.id for row, _ in moved]
    if ids:
        await tx.run("update repository_link set pattern = '/' || id where id = any(%(ids)s::bigint[])", ids=ids)
    for row, fact in moved:
        called = await tx.object(RepositoryLink, _MOVE_LINK, id=row.id, name=fact.name)
        if called is not None:
            await _note_linked(tx, called, by=fact.actor, now=fact.at)
        else:
            await tx.run("delete from repository_link where id = %(id)s", id=row.id)
            await _note_unlinked(tx, row, by=fact.actor, now=fact.at)
    for row, fact in copied:
        copy = await tx.object(RepositoryLink, _COPY_LINK, id=row.id, name=fact.name, now=fact.at)
        if copy is not None:
            await _note_linked(tx, copy, by=fact.actor, now=fact.at)


async def _note_linked(tx: Transaction, row: RepositoryLink, *, by: Actor, now: datetime) -> None:
    linked = RepositoryLinked(
        actor=by,
        at=now,
        conversation_id=row.conversation_id,
        link_id=row.id,
        pattern=row.pattern,
        settings=row.settings,
    )
    await event_log.append(tx, linked)


async def _note_unlinked(tx: Transaction, row: RepositoryLink, *, by: Actor, now: datetime) -> None:
    unlinked = RepositoryUnlinked(
        actor=by, at=now, conversation_id=row.conversation_id, link_id=row.id, pattern=row.pattern
    )
    await event_log.append(tx, unlinked)


async def remove(tx: Transaction, connection_id: int, external_id: str, *, now: datetime) -> None:
    """The connection does not reach this repository any more. Its issues stay."""
    await tx.run(
        "update repository set removed_at = %(now)s where connection_id = %(connection)s "
        "and external_id = %(external)s and removed_at is null",
        now=now,
        connection=connection_id,
        external=external_id,
    )


async def keep_only(tx: Transaction, connection_id: int, external_ids: Sequence[str], *, now: datetime) -> None:
    """The connection reaches none but these any more. Issues stay; who returns is known again."""
    await tx.run(
        "update repository set removed_at = %(now)s where connection_id = %(connection)s and removed_at is null "
        "and external_id <> all(%(ids)s::text[])",
        now=now,
        connection=connection_id,
        ids=list(external_ids),
    )


async def note_synced(tx: Transaction, repository_id: int, *, at: datetime) -> None:
    """What changed there until then is known."""
    await tx.run("update repository set synced_at = %(at)s where id = %(id)s", at=at, id=repository_id)


async def links_of(tx: Transaction, conversation_id: int) -> list[RepositoryLink]:
    """The links of a group, the oldest first."""
    return await tx.objects(
        RepositoryLink,
        _LINKS + " where conversation_id = %(conversation)s order by id",
        conversation=conversation_id,
    )


async def all_links(tx: Transaction) -> list[RepositoryLink]:
    """The links of every group, the oldest first."""
    return await tx.objects(RepositoryLink, _LINKS + " order by id")


async def access_link(tx: Transaction, link_id: int) -> RepositoryLink:
    """A link. Raises NotFound."""
    row = await tx.object(RepositoryLink, _LINKS + " where id = %(id)s", id=link_id)
    if row is None:
        raise NotFound("There is no such link.")
    return row


async def links_to(tx: Transaction, name: str) -> list[RepositoryLink]:
    """The links that name this repository: one for each group, the oldest where several do."""
    rows = await tx.objects(RepositoryLink, _LINKS + " order by id desc")
    return sorted({row.conversation_id: row for row in rows if row.names(name)}.values(), key=lambda row: row.id)


async def link(
    tx: Transaction,
    conversation_id: int,
    pattern: str,
    *,
    settings: Mapping[str, object] | None = None,
    by: Actor,
    now: datetime,
) -> int:
    """Let a group hear of what the pattern names, in this way. Returns the link. Raises Misconfigured, NotFound.

    Without `settings` a group that is linked already goes on as it was. A pattern without `*` must name a repository
    that we reach, by its name or alias.
    """
    wanted = pattern.strip().removeprefix("https://").removesuffix("/")
    if "*" not in wanted:
        found = await repository_called(tx, wanted)
        if found is None:
            raise NotFound(f"There is no repository {wanted[:100]} that we reach.")
        wanted = found.name
    if not _PATTERN.fullmatch(wanted):
        raise Misconfigured("Write a repository as owner/name; * stands for any part.")
    kept = dict(settings or {})
    link_id = await tx.value(
        _LINK,
        workspace=tx.workspace_id,
        conversation=conversation_id,
        pattern=wanted,
        settings=json.dumps(kept, ensure_ascii=False),
        given=settings is not None,
        now=now,
    )
    if link_id is None:  # it was linked in just this way
        return int(
            await tx.value(
                "select id from repository_link where conversation_id = %(id)s and lower(pattern) = lower(%(pattern)s)",
                id=conversation_id,
                pattern=wanted,
            )
        )
    await _note_linked(tx, RepositoryLink(int(link_id), conversation_id, wanted, kept), by=by, now=now)
    return int(link_id)


async def change_link(
    tx: Transaction, link_id: int, settings: Mapping[str, object], *, by: Actor, now: datetime
) -> bool:
    """Let the group hear in this way from now on. False when it does already. Raises NotFound."""
    row = await access_link(tx, link_id)
    changed = await tx.run(
        "update repository_link set settings = %(settings)s::jsonb "
        "where id = %(id)s and settings is distinct from %(settings)s::jsonb",
        id=link_id,
        settings=json.dumps(dict(settings), ensure_ascii=False),
    )
    if changed:
        await _note_linked(tx, replace(row, settings=dict(settings)), by=by, now=now)
    return bool(changed)


async def unlink(tx: Transaction, conversation_id: int, pattern: str, *, by: Actor, now: datetime) -> bool:
    """Let a group hear no more of what the pattern names. False when it did not."""
    row = await tx.object(
        RepositoryLink,
        "delete from repository_link where conversation_id = %(id)s and lower(pattern) = lower(%(pattern)s) "
        "returning id, conversation_id, pattern, settings",
        id=conversation_id,
        pattern=pattern.strip(),
    )
    if row is None:
        return False
    await _note_unlinked(tx, row, by=by, now=now)
    return True
