"""The database a command stands on: the operator's own, or the bundled one, started when nobody else runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from zhiban.kit.embedded import BundledPostgres
from zhiban.kit.provision import Access, provision_bundled, provision_external
from zhiban.kit.settings import Settings


def postgres_folder(settings: Settings) -> Path:
    return settings.data / "postgres"


def files_folder(settings: Settings) -> Path:
    return settings.data / "files"


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Access]:
    """Reach the database, with its roles and extension made. Raises Misconfigured or Unavailable."""
    if settings.database_url is not None:
        yield await provision_external(settings.database_url.get_secret_value())
        return
    postgres = BundledPostgres(postgres_folder(settings))
    server = await postgres.start()
    try:
        yield await provision_bundled(server.superuser)
    finally:
        await postgres.stop()
