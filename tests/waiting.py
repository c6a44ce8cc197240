"""Whether somebody waits for a lock of a test's own database: the tests of other workers wait at the same server."""

from __future__ import annotations

# Of a wait for a transaction's end no database is told, so the waiting process is known by what else it holds. Not by
# `pg_stat_activity`, which stays as it is for as long as a transaction looks at it.
LOCK_AWAITED = """select exists (select from pg_locks where not granted and pid in (
  select pid from pg_locks where database = (select oid from pg_database where datname = current_database())))"""
