"""The database that a command works on, provisioned and supervised.

Light on purpose: it starts before the rest of the program is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from zhiban.kit.background_tasks import cancelled
from zhiban.kit.settings import Settings
from zhiban.postgres.provisioning import DatabaseUrls, migrate, provision_bundled, provision_external
from zhiban.postgres.supervisor import BundledPostgres


def postgres_folder(settings: Settings) -> Path:
    return settings.data / "postgres"


@asynccontextmanager
async def database(settings: Settings, *, watch: bool = False) -> AsyncIterator[DatabaseUrls]:
    """Reach the operator's database, or the bundled one, started when nobody else runs it.

    With `watch` a bundled server that is killed is started again. Raises Misconfigured or Unavailable.
    """
    if settings.database_url is not None:
        yield await provision_external(settings.database_url.get_secret_value())
        return
    postgres = BundledPostgres(postgres_folder(settings))
    server = await postgres.start()
    watching = asyncio.create_task(postgres.keep_running()) if watch else None
    try:
        yield await provision_bundled(server.superuser)
    finally:
        if watching is not None:
            await cancelled([watching])
        await postgres.stop()


async def bring_up_to_date(urls: DatabaseUrls) -> tuple[str | None, str | None]:
    """Migrate. Returns the revision before and after. Raises Misconfigured when a newer release made the database."""
    return await migrate(urls)
