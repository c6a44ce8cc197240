"""What commands run on: the database, provisioned and supervised, and the container above it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from zhiban import bootstrap
from zhiban.channels import credentials
from zhiban.container import App
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import Settings
from zhiban.kit.vault import Vault
from zhiban.postgres.provisioning import DatabaseUrls, migrate, provision_bundled, provision_external, revision
from zhiban.postgres.supervisor import BundledPostgres
from zhiban.testing.demo_folder import is_demo, is_published


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
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        await postgres.stop()


async def bring_up_to_date(urls: DatabaseUrls) -> tuple[str | None, str | None]:
    """Migrate. Returns the revision before and after. Raises Misconfigured when a newer release made the database."""
    return await migrate(urls)


def check_production(settings: Settings) -> None:
    """Raises Misconfigured for a demonstration's folder, and for credentials that everybody can read."""
    if is_demo(settings.data):
        raise Misconfigured(
            f"{settings.data} belongs to zhiban demo. Choose another folder for an installation, with ZHIBAN_DATA."
        )
    for integration in bootstrap.CHANNELS.values():
        _, hidden = integration.setup.split(integration.environment(settings) or {})
        if is_published(str(value) for value in hidden.values()):
            raise Misconfigured(
                f"A credential that the environment gives for {integration.name} is the simulator's, which everybody "
                "knows: anybody could write messages in your customers' names. Take those of your own app."
            )


async def check_connections(settings: Settings, urls: DatabaseUrls) -> None:
    """Raises Misconfigured when a stored connection has credentials that everybody can read."""
    vault = Vault.from_settings(settings)
    async with Database(urls.app, work_size=1, page_size=1) as stored:
        for workspace_id in await stored.workspaces():
            async with stored.transaction(workspace_id) as tx:
                found = await credentials.opened(tx, vault)
            for name, secrets in found:
                if is_published(str(value) for value in secrets.values()):
                    raise Misconfigured(
                        f"The connection {name} has credentials of the simulator, which everybody knows. "
                        "Enter those of your own app: zhiban inbox add."
                    )


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """The opened installation for one command. An empty database is made ready; an old one has to be migrated first."""
    async with database(settings) as urls:
        before, wanted = await revision(urls)
        if before is not None and before != wanted:
            raise Misconfigured("The database is not of this version. Run zhiban migrate first.")
        if before is None:
            await bring_up_to_date(urls)
        async with App.build(settings, urls) as app:
            yield app


async def workspace_of(app: App) -> int:
    """The workspace that commands work in: the first one."""
    return (await app.database.workspaces())[0]
