"""Makes a PostgreSQL ours: database, roles, extension, migrations. Safe to run at every start, by several at once."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass

log = logging.getLogger(__name__)

OWNER = "zhiban_owner"  # owns the tables and migrates them; row-level security binds it too
APP = "zhiban_app"  # what the product works as: reads and writes rows, owns nothing
DATABASE = "zhiban"
SEARCH_PATH = "public,jobs"

# Their operators are the ones our search uses. Without the mark, row-level security keeps the planner from the index,
# because a leaking operator could show rows of another workspace in an error message; these show none.
LEAKPROOF = ("ts_match_vq(tsvector, tsquery)", "arrayoverlap(anyarray, anyarray)", "arraycontains(anyarray, anyarray)")

MINIMUM_SERVER = 150000
MINIMUM_VECTOR = (0, 8, 0)
LOCK = 0x5A68_6962  # "Zhib": one process migrates, the others wait
MADE_BY_NEWER = 3  # exit code of `migrating`
SAFE_VECTOR = (0, 8, 3)  # 0.8.0 to 0.8.2 can corrupt an HNSW index


@frozen_dataclass
class DatabaseUrls:
    """Where to connect: `owner` to migrate, `app` to work."""

    app: str
    owner: str


def _options(dsn: str, *, role: str | None = None, statement_timeout: str | None = None) -> str:
    wanted = [f"-c search_path={SEARCH_PATH}"]
    if role:
        wanted.append(f"-c role={role}")
    if statement_timeout:
        wanted.append(f"-c statement_timeout={statement_timeout}")
        wanted.append("-c idle_in_transaction_session_timeout=60s")
    given = conninfo_to_dict(dsn).get("options")
    return make_conninfo(dsn, options=" ".join(([str(given)] if given else []) + wanted))


def clean_url(url: str) -> str:
    """A URL that libpq understands, from one that may have been written for SQLAlchemy."""
    parts = urlsplit(url)
    scheme = parts.scheme.split("+", 1)[0]
    if scheme not in ("postgresql", "postgres"):
        raise Misconfigured("DATABASE_URL must start with postgresql://; other databases are not supported.")
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "async_fallback"]
    return urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), ""))


async def provision_bundled(superuser_dsn: str, database: str = DATABASE) -> DatabaseUrls:
    """Create our database and roles on the bundled server. Returns how to reach them."""
    async with await _connect(superuser_dsn) as connection:
        await connection.set_autocommit(True)
        await connection.execute("select pg_advisory_lock(%s)", (LOCK,))
        for role in (OWNER, APP):
            await _create_role(connection, role, login=True)
        await connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(APP), sql.Identifier(OWNER)))
        found = await (await connection.execute("select 1 from pg_database where datname = %s", (database,))).fetchone()
        if not found:
            await connection.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(OWNER))
            )
    inside = make_conninfo(superuser_dsn, dbname=database)
    async with await _connect(inside) as connection:
        # Once more: such a lock is one of its database, and two processes that start together do the same here.
        await connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        await connection.execute("create extension if not exists vector")
        for function in LEAKPROOF:
            await connection.execute(sql.SQL("alter function {} leakproof").format(sql.SQL(function)))
        await _schemas(connection, OWNER, APP)
    app = _options(make_conninfo(inside, user=APP), statement_timeout="30s")
    return DatabaseUrls(app=app, owner=_options(make_conninfo(inside, user=OWNER)))


async def provision_external(url: str) -> DatabaseUrls:
    """Prepare a server of the operator's. Raises Misconfigured with what its administrator must do."""
    dsn = clean_url(url)
    async with await _connect(dsn) as connection:
        await connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        await _check_server(connection)
        row = await (
            await connection.execute(
                "select rolsuper or rolbypassrls, rolsuper or rolcreaterole from pg_roles where rolname = current_user"
            )
        ).fetchone()
        bypasses, may_create = row or (False, False)
        app_role = await _app_role(connection, may_create=bool(may_create))
        if bypasses and app_role is None:
            raise Misconfigured(
                "The role in DATABASE_URL bypasses row-level security and may not create another one. "
                "Use an ordinary role that owns the database."
            )
        owner = connection.info.user
        await _schemas(connection, owner, app_role or owner)
    return DatabaseUrls(app=_options(dsn, role=app_role, statement_timeout="30s"), owner=_options(dsn))


async def _app_role(connection: psycopg.AsyncConnection[tuple[object, ...]], *, may_create: bool) -> str | None:
    """The role to work as, when we may have and become one. Without it the owner works, whom forced walls bind too."""
    role = await (await connection.execute("select 1 from pg_roles where rolname = %s", (APP,))).fetchone()
    if not role and not may_create:
        return None
    if not role:
        await _create_role(connection, APP, login=False)
    if may_create:
        # Who creates a role in PostgreSQL 16 or newer administers it, and yet may not become it until it is granted.
        with suppress(psycopg.errors.InsufficientPrivilege):
            async with connection.transaction():
                await connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(APP)))
    right = "set" if connection.info.server_version >= 160000 else "member"
    found = await (
        await connection.execute("select pg_has_role(current_user, %s::name, %s::text)", (APP, right))
    ).fetchone()
    return APP if found and found[0] and await _serves(connection, APP) else None


async def _serves(connection: psycopg.AsyncConnection[tuple[object, ...]], role: str) -> bool:
    """Whether the role may work with the tables that are there: those made before it existed are the owner's alone."""
    asked = (
        "select to_regclass('public.workspace') is null "
        "or has_table_privilege(%s::name, to_regclass('public.workspace'), 'select')"
    )
    found = await (await connection.execute(asked, (role,))).fetchone()
    return bool(found and found[0])


async def _connect(dsn: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    try:
        return await psycopg.AsyncConnection.connect(dsn, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL does not answer: {str(error).strip().splitlines()[0]}") from error


async def _create_role(connection: psycopg.AsyncConnection[tuple[object, ...]], role: str, *, login: bool) -> None:
    await connection.execute(
        sql.SQL(
            "do $do$ begin create role {} {} nosuperuser nobypassrls nocreaterole nocreatedb; "
            "exception when duplicate_object then null; end $do$"
        ).format(sql.Identifier(role), sql.SQL("login" if login else "nologin"))
    )


async def _schemas(connection: psycopg.AsyncConnection[tuple[object, ...]], owner: str, app: str) -> None:
    await connection.execute(sql.SQL("create schema if not exists jobs authorization {}").format(sql.Identifier(owner)))
    await connection.execute(sql.SQL("grant usage, create on schema public to {}").format(sql.Identifier(owner)))
    if app == owner:
        return
    for schema in ("public", "jobs"):
        names = {"app": sql.Identifier(app), "owner": sql.Identifier(owner), "schema": sql.Identifier(schema)}
        for statement in (
            "grant usage on schema {schema} to {app}",
            "alter default privileges for role {owner} in schema {schema} "
            "grant select, insert, update, delete on tables to {app}",
            "alter default privileges for role {owner} in schema {schema} grant usage, select on sequences to {app}",
        ):
            await connection.execute(sql.SQL(statement).format(**names))


def check_version(server: int) -> None:
    """Raises Misconfigured. `server` as libpq counts: 160014 is 16.14."""
    if server < MINIMUM_SERVER:
        raise Misconfigured("PostgreSQL 15 or newer is needed.")


async def _check_server(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    check_version(connection.info.server_version)
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise Misconfigured("The database must use the UTF8 encoding.")
    try:
        await connection.execute("create extension if not exists vector")
    except psycopg.Error as error:
        raise Misconfigured(
            "The extension vector (pgvector 0.8.3 or newer) is missing. Install it, or let a superuser run: "
            "create extension vector"
        ) from error
    row = await (await connection.execute("select extversion from pg_extension where extname = 'vector'")).fetchone()
    version = tuple(int(part) for part in str(row[0] if row else "0").split("."))
    if version < MINIMUM_VECTOR:
        raise Misconfigured("pgvector 0.8.0 or newer is needed (0.8.3 is advised): alter extension vector update")
    if version < SAFE_VECTOR:
        log.warning(
            "This pgvector can damage vector indexes. Install 0.8.3 or newer, then: alter extension vector update"
        )


VERSIONS = Path(__file__).parent.parent / "migrations" / "versions"
_REVISION = re.compile(r'^(revision|down_revision) = (?:"(\w+)"|None)$', re.MULTILINE)


def newest_revision() -> str:
    """The revision this version needs: the one that no other follows. Told from the files themselves."""
    found = [dict(_REVISION.findall(path.read_text("utf-8"))) for path in VERSIONS.glob("*.py")]
    heads = {one["revision"] for one in found} - {one["down_revision"] for one in found}
    if len(heads) != 1:
        raise RuntimeError(f"The migrations must end in one revision; these end in {sorted(heads)}.")
    return str(heads.pop())


async def migrate(urls: DatabaseUrls, *, to: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to this version, or up to an older revision to restore a backup of its time.

    Returns the revision before and after. Raises Misconfigured when a newer version made the database.
    Where there is nothing to do, which is nearly every start, two revision numbers are compared and nothing is run.
    """
    if to == "head":
        there, wanted = await revision(urls)
        if there == wanted:
            return there, wanted
    command = [sys.executable, "-P", "-m", "zhiban.postgres.migrating", to]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, input=urls.owner, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - our own program

    done = await asyncio.to_thread(run)
    if done.returncode == MADE_BY_NEWER:
        raise Misconfigured(done.stderr)
    if done.returncode:
        why = _last_line(done.stderr)
        raise Unavailable(f"The migration failed: {why}")
    before, after = json.loads(done.stdout)
    return before, after


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


async def revision(urls: DatabaseUrls) -> tuple[str | None, str]:
    """The revision that the database has, and the one that this version needs."""
    wanted = newest_revision()
    async with await _connect(urls.owner) as connection:
        there = await (await connection.execute("select to_regclass('public.alembic_version')")).fetchone()
        if not there or there[0] is None:
            return None, wanted
        row = await (await connection.execute("select version_num from alembic_version")).fetchone()
    return (str(row[0]) if row else None), wanted
