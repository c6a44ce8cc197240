"""Run the migrations: python -m zhiban.postgres.migrating REVISION, with the database's address on standard input.

A program of its own, run by `provisioning.migrate` where there is something to do: Alembic and SQLAlchemy take 25 MB,
which a server that migrates at its start would carry for life. Prints the revisions before and after as JSON; a
sentence on standard error and exit code 3 when the database is of a newer version, and what PostgreSQL says and exit
code 1 when it refuses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from zhiban.kit.errors import Misconfigured
from zhiban.postgres.provisioning import LOCK, MADE_BY_NEWER


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    return config


def upgrade(dsn: str, to: str) -> tuple[str | None, str | None]:
    """Upgrade to a revision or to `head`; returns the revision before and after. Raises Misconfigured."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"select pg_advisory_lock({LOCK})")
        before = MigrationContext.configure(connection).get_current_revision()
        connection.commit()
        wanted = ScriptDirectory.from_config(_config()).get_current_head() if to == "head" else to
        if before != wanted:
            # A function may name a setting of pgvector only in a session that has its library loaded.
            connection.exec_driver_sql("select '[1]'::vector")
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, to)
            except CommandError as error:
                raise Misconfigured(
                    "The database was made by a newer version of Zhiban, or by one from before the first release. "
                    "Install that version, or restore a backup of this one."
                ) from error
            connection.commit()
        connection.exec_driver_sql(f"select pg_advisory_unlock({LOCK})")
        connection.commit()
    engine.dispose()
    return before, wanted


def main() -> int:
    try:
        revisions = upgrade(sys.stdin.read(), sys.argv[1])
    except Misconfigured as error:
        sys.stderr.write(str(error))
        return MADE_BY_NEWER
    except DBAPIError as error:
        sys.stderr.write(str(error.orig).strip().partition("\n")[0])
        return 1
    sys.stdout.write(json.dumps(revisions))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
