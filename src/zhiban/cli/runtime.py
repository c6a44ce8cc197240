"""What commands run on: the container above the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zhiban import bootstrap
from zhiban.channels import credentials
from zhiban.cli.database import bring_up_to_date, database
from zhiban.container import App
from zhiban.kit.db import Database
from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import Settings
from zhiban.kit.vault import Vault
from zhiban.postgres.provisioning import DatabaseUrls, revision
from zhiban.testing.demo_folder import is_demo, is_published


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
