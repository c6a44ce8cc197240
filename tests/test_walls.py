"""The walls between workspaces, proved over every table that PostgreSQL knows, and that models and tables agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

import zhiban.people.models  # noqa: F401 - every model of the product, for the comparison
from tests.conftest import Cluster
from zhiban.container import ensure_workspace
from zhiban.kit.db import NO_WORKSPACE, Database
from zhiban.kit.errors import Misconfigured
from zhiban.postgres.provisioning import APP, OWNER, DatabaseUrls

# Ids and digests: read before a workspace is known, or for all of them.
OPEN = {"directory", "heard_account", "login_attempt", "alembic_version"}
APPEND_ONLY = {"event"}
LOOKED_UP = {"agent_address"}  # of other workspaces, rows that one names by their digest may be read
# What runs with its owner's rights.
COUNTING = {"forget_events", "forget_words"}
DEFINERS = {"analyze_grown_tables", "forget_vector_index", "index_vectors", "tidy_knowledge", *COUNTING}


@dataclass
class Table:
    name: str
    columns: list[tuple[str, str, bool]] = field(default_factory=list)  # name, type, whether it must be given
    parents: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # table, our column -> theirs
    words: dict[str, str] = field(default_factory=dict)  # a word that the column's check allows


_TABLES = """
select c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner) as owner,
  (select count(*) from pg_policy p where p.polrelid = c.oid) as policies,
  (select bool_and(p.polcmd = '*' and p.polpermissive and p.polroles = '{0}' and p.polwithcheck is not null
     and pg_get_expr(p.polqual, c.oid) like '%app_workspace()%'
     and pg_get_expr(p.polwithcheck, c.oid) like '%app_workspace()%') from pg_policy p
     where p.polrelid = c.oid) as whole
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p') order by 1"""

_COLUMNS = """
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
  a.attnotnull and not a.atthasdef and a.attidentity = ''
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped order by 1, a.attnum"""

_PARENTS = """
select o.conrelid::regclass::text, o.confrelid::regclass::text,
  (select array_agg(a.attname::text order by k.n) from unnest(o.conkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = o.conrelid and a.attnum = k.num),
  (select array_agg(a.attname::text order by k.n) from unnest(o.confkey) with ordinality k(num, n)
     join pg_attribute a on a.attrelid = o.confrelid and a.attnum = k.num)
from pg_constraint o join pg_namespace n on n.oid = o.connamespace where o.contype = 'f' and n.nspname = 'public'"""

_CHECKS = """
select o.conrelid::regclass::text, pg_get_constraintdef(o.oid) from pg_constraint o
join pg_namespace n on n.oid = o.connamespace where o.contype = 'c' and n.nspname = 'public'"""

PLAIN = {
    "text": "word",
    "boolean": "false",
    "bytea": "\\x01",
    "jsonb": "{}",
    "timestamp with time zone": "2026-11-20 10:00+08",
    "date": "2026-11-20",
    "text[]": "{word}",
    "integer[]": "{1}",
    "bigint[]": "{1}",
    "sparsevec": "{1:1}/5",
    "sparsevec[]": '{"{1:1}/5"}',
    "halfvec": "[1]",
}


async def _learn(connection: psycopg.AsyncConnection[Any]) -> dict[str, Table]:
    """Every walled table, parents before children."""
    tables: dict[str, Table] = {}
    for table, column, kind, needed in await (await connection.execute(_COLUMNS)).fetchall():
        if table not in OPEN:
            tables.setdefault(table, Table(table)).columns.append((column, kind, needed))
    for child, parent, ours, theirs in await (await connection.execute(_PARENTS)).fetchall():
        tables[child].parents.append((parent, dict(zip(ours, theirs, strict=True))))
    for name, definition in await (await connection.execute(_CHECKS)).fetchall():
        if found := re.search(r"\((\w+) = ANY \(ARRAY\['(\w+)'", definition):
            tables[name].words[found[1]] = found[2]
    ordered: dict[str, Table] = {}
    while len(ordered) < len(tables):
        ready = [
            t for t in tables.values() if t.name not in ordered and {p for p, _ in t.parents} <= {*ordered, t.name}
        ]
        assert ready, "foreign keys run in a circle"
        ordered.update({table.name: table for table in ready})
    return ordered


def _row(table: Table, workspace: int, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What a row of this workspace needs, as text: parents' keys, allowed words, something plain for the rest."""
    values = {"workspace_id": str(workspace)}
    for name, kind, needed in table.columns:
        if needed and name not in values:
            values[name] = table.words.get(name) or PLAIN.get(kind, "1")
    for parent, columns in table.parents:
        if parent in rows:  # the first row of a table leans on none of its own
            values |= {ours: str(rows[parent][theirs]) for ours, theirs in columns.items()}
    if "slug" in values:
        values["slug"] = f"w{workspace}"
    return values


def _insert(table: Table, values: Mapping[str, str]) -> sql.Composed:
    kinds = {name: kind for name, kind, _ in table.columns}
    return sql.SQL("insert into {} ({}) values ({}) returning *").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(kinds[name])) for name, value in values.items()
        ),
    )


@dataclass
class Halves:
    """Two workspaces with equally many rows in every table: one, beside those that every new workspace has."""

    ours: int
    theirs: int
    tables: dict[str, Table]
    rows: dict[int, dict[str, dict[str, Any]]]
    counts: dict[str, int]


@pytest.fixture
async def halves(db: Database) -> Halves:
    ours = await ensure_workspace(db, "qinghe", "青禾商店", "zh")
    theirs = await ensure_workspace(db, "banshan", "半山茶社", "zh")
    async with db.transaction(NO_WORKSPACE) as tx:
        tables = await _learn(tx.raw)
    rows: dict[int, dict[str, dict[str, Any]]] = {}
    counts: dict[str, int] = {}
    for workspace in (ours, theirs):
        rows[workspace] = {}
        async with db.transaction(workspace) as tx, tx.raw.cursor(row_factory=dict_row) as cursor:
            for table in tables.values():
                if table.name == "workspace":
                    await cursor.execute("select * from workspace")
                else:
                    await cursor.execute(_insert(table, _row(table, workspace, rows[workspace])))
                rows[workspace][table.name] = (await cursor.fetchall())[0]
            counts = {name: await tx.value(f"select count(*) from {name}") for name in tables}
    return Halves(ours, theirs, tables, rows, counts)


async def test_every_table_has_its_wall(urls: DatabaseUrls) -> None:
    async with await psycopg.AsyncConnection.connect(urls.owner, row_factory=dict_row) as connection:
        tables = await (await connection.execute(_TABLES)).fetchall()
    walled = {table["relname"]: table for table in tables if table["relname"] not in OPEN}
    assert len(walled) > 25
    for name, table in walled.items():
        assert table["relrowsecurity"], name
        assert table["relforcerowsecurity"], name
        assert table["policies"] == (2 if name in LOOKED_UP else 1), name
        assert table["whole"] or name in LOOKED_UP, name
        assert table["owner"] == OWNER, name


async def test_the_directory_holds_nothing_but_ids(urls: DatabaseUrls) -> None:
    async with await psycopg.AsyncConnection.connect(urls.owner) as connection:
        columns = [row for row in await (await connection.execute(_COLUMNS)).fetchall() if row[0] in OPEN]
    assert {(table, column) for table, column, *_ in columns} == {
        ("alembic_version", "version_num"),
        ("directory", "kind"),
        ("directory", "key"),
        ("directory", "workspace_id"),
        ("directory", "ref"),
        ("heard_account", "vendor"),
        ("heard_account", "account"),
        ("heard_account", "workspace_id"),
        ("heard_account", "connection_id"),
        ("heard_account", "held_by"),
        ("heard_account", "held_until"),
        ("login_attempt", "key"),
        ("login_attempt", "started_at"),
        ("login_attempt", "attempts"),
    }


async def test_only_who_knows_an_address_finds_where_it_may_sign_in(db: Database, halves: Halves) -> None:
    """And even then learns the ids only, in a transaction that changes nothing."""
    digest = bytes(halves.rows[halves.theirs]["agent_address"]["digest"])
    for workspace in (NO_WORKSPACE, halves.ours):
        async with db.transaction(workspace) as tx:
            own = [] if workspace == NO_WORKSPACE else [(workspace,)]
            assert await tx.rows("select workspace_id from agent_address") == own
            await tx.run("select set_config('app.address', %(digest)s, true)", digest=b"another".hex())
            assert await tx.rows("select workspace_id from agent_address") == own
            await tx.run("select set_config('app.address', %(digest)s, true)", digest=digest.hex())
            assert (halves.theirs,) in await tx.rows("select workspace_id from agent_address")
            assert await tx.run("delete from agent_address where workspace_id = %(w)s", w=halves.theirs) == 0
            assert await tx.rows("select 1 from agent where workspace_id = %(w)s", w=halves.theirs) == []
    async with db.transaction(NO_WORKSPACE) as tx:
        assert await tx.rows("select 1 from agent_address") == []


async def test_the_working_role_cannot_climb_over(db: Database, cluster: Cluster) -> None:
    async with db.transaction(NO_WORKSPACE) as tx:
        role = await tx.row(
            "select current_user, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles "
            "where rolname = current_user"
        )
        owned = await tx.rows(
            "select relname from pg_class where relowner = (select oid from pg_roles where rolname = current_user) "
            "union all select proname from pg_proc where proowner = "
            "(select oid from pg_roles where rolname = current_user)"
        )
        groups = await tx.rows(
            "select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid "
            "where m.member = (select oid from pg_roles where rolname = current_user)"
        )
        assert role == (APP, False, False, False, False)
        assert (owned, groups) == ([], [])
    for climb in (
        "alter table contact disable row level security",
        "drop policy workspace on contact",
        f"set role {OWNER}",
        "create table public.mine (id int)",
        "truncate contact",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with db.transaction(NO_WORKSPACE) as tx:
                await tx.run(climb)


async def test_a_query_without_a_filter_sees_its_own_only(db: Database, halves: Halves) -> None:
    for workspace in (halves.ours, halves.theirs):
        for read in (db.transaction, db.webhook_transaction, db.page_transaction):
            async with read(workspace) as tx:
                for name in halves.tables:
                    seen = await tx.rows(f"select distinct workspace_id from {name}")
                    assert seen == [(workspace,)], name


async def test_without_a_workspace_there_is_nothing(urls: DatabaseUrls, db: Database, halves: Halves) -> None:
    async with await psycopg.AsyncConnection.connect(urls.app) as connection:
        for setting in (None, ""):
            if setting is not None:
                await connection.execute("select set_config('app.workspace', %s, false)", (setting,))
            for name, table in halves.tables.items():
                found = await connection.execute(sql.SQL("select 1 from {}").format(sql.Identifier(name)))
                assert await found.fetchall() == [], name
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    async with connection.transaction():
                        await connection.execute(_insert(table, _row(table, halves.ours, halves.rows[halves.ours])))
    async with db.transaction(NO_WORKSPACE) as tx:
        for name in halves.tables:
            assert await tx.rows(f"select 1 from {name}") == [], name


async def test_what_happened_can_neither_be_changed_nor_deleted(db: Database, halves: Halves) -> None:
    async with db.transaction(halves.ours) as tx:
        for name in APPEND_ONLY:
            for attempt in (
                f"update {name} set workspace_id = workspace_id",
                f"delete from {name}",
                f"truncate {name}",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                    async with tx.raw.transaction():
                        await tx.run(attempt)


async def test_rows_of_others_cannot_be_changed_or_deleted(db: Database, halves: Halves) -> None:
    async with db.transaction(halves.ours) as tx:
        for name in halves.tables.keys() - APPEND_ONLY:
            theirs = {"theirs": halves.theirs}
            assert await tx.run(f"update {name} set workspace_id = workspace_id") == halves.counts[name], name
            changed = f"update {name} set workspace_id = workspace_id where workspace_id = %(theirs)s"
            assert await tx.run(changed, **theirs) == 0, name
            assert await tx.run(f"delete from {name} where workspace_id = %(theirs)s", **theirs) == 0, name
    async with db.transaction(halves.theirs) as tx:
        for name in halves.tables:
            assert await tx.value(f"select count(*) from {name}") == halves.counts[name], name


async def test_rows_cannot_be_made_for_others_nor_given_away(db: Database, halves: Halves) -> None:
    async with db.transaction(halves.ours) as tx:
        for name, table in halves.tables.items():
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                async with tx.raw.transaction():
                    await tx.raw.execute(_insert(table, _row(table, halves.theirs, halves.rows[halves.theirs])))
            why = "permission denied" if name in APPEND_ONLY else "row-level security"
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=why):
                async with tx.raw.transaction():
                    await tx.run(f"update {name} set workspace_id = %(theirs)s", theirs=halves.theirs)


async def test_a_row_cannot_lean_on_a_row_of_others(db: Database, halves: Halves) -> None:
    """Foreign keys carry the workspace, so that even a guessed id leads nowhere."""
    for table in halves.tables.values():
        for parent, columns in table.parents:
            assert columns.get("workspace_id") == "workspace_id", f"{table.name} -> {parent}"
    contact = halves.rows[halves.theirs]["contact"]["id"]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        async with db.transaction(halves.ours) as tx:
            await tx.run("update conversation set contact_id = %(id)s", id=contact)


async def test_searches_find_nothing_of_others(db: Database, halves: Halves) -> None:
    def base(workspace: int) -> int:
        return int(halves.rows[workspace]["knowledge_base"]["id"])

    scan = "select chunk_id from scan_chunks(%(b)s, '{1:1}/5'::sparsevec, '{1:1}/5'::sparsevec, 0, 10)"
    search = "select chunk_id from search_chunks(%(b)s, '{1}', '{1:1}/5'::sparsevec, '{1:1}/5'::sparsevec, 0, 10)"
    for index, owner in ((halves.ours, halves.ours), (halves.theirs, halves.theirs)):
        async with db.transaction(index) as tx:
            # What the rows lean on was filled in without meaning: let the index say what the rows say.
            await tx.run("update chunk_index set base_id = %(b)s", b=base(owner))
    own = halves.rows[halves.ours]["chunk"]["id"]
    for text in (scan, search):
        async with db.transaction(halves.ours) as tx:
            assert await tx.rows(text, b=base(halves.ours)) == [(own,)], text
            assert await tx.rows(text, b=base(halves.theirs)) == [], text
        async with db.transaction(NO_WORKSPACE) as tx:
            assert await tx.rows(text, b=base(halves.ours)) == [], text


async def test_only_known_functions_run_with_their_owners_rights(db: Database) -> None:
    async with db.transaction(NO_WORKSPACE) as tx:
        found = await tx.rows(
            "select p.proname, p.proconfig, p.prorettype::regtype::text from pg_proc p "
            "join pg_namespace n on n.oid = p.pronamespace where p.prosecdef and n.nspname in ('public', 'jobs')"
        )
        assert {name for name, *_ in found} == DEFINERS
        # What comes of them are no rows of anybody: how many and how far, or nothing.
        assert {name: gives for name, _, gives in found if gives != "void"} == dict.fromkeys(COUNTING, "integer") | {
            "forget_events": "record"
        }
        # Temporary objects, which anybody may make, are looked at last.
        assert all("search_path=public, pg_temp" in config for _, config, _ in found)
        with pytest.raises(psycopg.errors.RaiseException):
            await tx.run("select index_vectors(0)")


async def test_nobody_makes_or_drops_the_index_of_others(db: Database, halves: Halves) -> None:
    theirs = int(halves.rows[halves.theirs]["vector_set"]["id"])
    for verb in ("index_vectors", "forget_vector_index"):
        async with db.transaction(halves.ours) as tx:
            with pytest.raises(psycopg.errors.RaiseException):
                await tx.run(f"select {verb}(%(set)s)", set=theirs)


async def test_statistics_show_nothing(db: Database) -> None:
    async with db.transaction(NO_WORKSPACE) as tx:
        # The planner knows the most common values of every column; who works here may not look.
        # Neither of these two belongs to a workspace.
        seen = set(await tx.values("select tablename from pg_stats where schemaname = 'public'"))
        assert seen <= {"directory", "alembic_version"}


@pytest.mark.parametrize("right", ["superuser", "bypassrls"])
async def test_a_role_above_the_walls_does_not_get_to_work(cluster: Cluster, urls: DatabaseUrls, right: str) -> None:
    """The walls are all that keeps workspaces apart: where they do not bind us, we do not start."""
    role = f"above_{right}"
    async with await psycopg.AsyncConnection.connect(cluster.superuser, autocommit=True) as connection:
        await connection.execute(f"create role {role} login {right}".encode())
        await connection.execute(f"grant {APP} to {role}".encode())
        try:
            with pytest.raises(Misconfigured, match="bypasses row-level security"):
                await Database(make_conninfo(urls.app, user=role)).open()
        finally:
            await connection.execute(f"drop role {role}".encode())


async def test_a_wall_that_was_taken_down_is_noticed(urls: DatabaseUrls) -> None:
    for down in ("disable row level security", "no force row level security"):
        async with await psycopg.AsyncConnection.connect(urls.owner, autocommit=True) as connection:
            await connection.execute(f"alter table message {down}".encode())
            with pytest.raises(Misconfigured, match="switched off for message"):
                await Database(urls.app).open()
            await connection.execute("alter table message enable row level security")
            await connection.execute("alter table message force row level security")
    async with Database(urls.app):
        pass
