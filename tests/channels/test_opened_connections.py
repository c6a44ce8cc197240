"""What a process keeps of connections and inboxes is never older than the last change it was told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.channels.conftest import NOWHERE, WebhookClient
from tests.stories.conftest import settings_for, until
from zhiban import bootstrap
from zhiban.channels import configuring
from zhiban.channels.connections import Connections, OpenConnection, ensure_inbox
from zhiban.channels.policy import Policy
from zhiban.container import App
from zhiban.events import SYSTEM
from zhiban.ports import Vendor
from zhiban.ports.setup import READ_ONLY
from zhiban.postgres.provisioning import DatabaseUrls


async def served(client: WebhookClient) -> tuple[int, str, int]:
    """The connection, its public id, and an inbox of it that is called 售后."""
    app = client.app
    async with app.database.transaction(client.workspace_id) as tx:
        ((id_, public_id),) = await tx.rows("select id, public_id from connection")
        inbox = await ensure_inbox(tx, id_, "wecom_kf", "wkTEST0001", "售后", now=app.clock.now())
    assert inbox is not None
    return id_, public_id, inbox


@pytest.mark.parametrize("asked", ["connection", "callback", "inbox"])
async def test_what_changes_while_it_is_read_is_read_again(
    webhook_client: WebhookClient, urls: DatabaseUrls, asked: str
) -> None:
    app, workspace = webhook_client.app, webhook_client.workspace_id
    id_, public_id, inbox = await served(webhook_client)
    build, built = bootstrap.vendor(app.http, app.clock), 0

    def changes_meanwhile(*parts: Any) -> Vendor:
        """The rows are read and not kept yet: now an operator changes them, and the notice of it arrives."""
        nonlocal built
        built += 1
        if built == 1:
            with psycopg.connect(urls.owner) as operator:
                operator.execute("select set_config('app.workspace', %s, true)", (str(workspace),))
                operator.execute("update connection set config = config || %s", (f'{{"{READ_ONLY}": true}}',))
                operator.execute("update inbox set name = '售前'")
            connections.forget(workspace, id_)
        return build(*parts)

    connections = Connections(app.database, app.vault, app.clock, app.breakers, build=changes_meanwhile)

    async def look() -> tuple[str, bool]:
        if asked == "inbox":
            opened = await connections.inbox(workspace, inbox)
            return opened.name, not opened.settings.assistant
        found = await (connections.for_callback(public_id) if asked == "callback" else connections.any(workspace, id_))
        assert isinstance(found, OpenConnection)
        return "", bool(found.config.get(READ_ONLY))

    assert (await look())[1] is False  # who asked first gets what there was
    assert await look() == ("售前" if asked == "inbox" else "", True)
    assert await look() == ("售前" if asked == "inbox" else "", True)
    assert built == 2  # and from then on nothing is built anew


async def test_what_a_command_changes_as_its_last_word_is_known_to_who_serves(
    webhook_client: WebhookClient, urls: DatabaseUrls, tmp_path: Path
) -> None:
    app, workspace = webhook_client.app, webhook_client.workspace_id
    *_, inbox = await served(webhook_client)
    assert (await app.connections.inbox(workspace, inbox)).settings.assistant
    async with (
        App.build(settings_for(tmp_path, NOWHERE), urls) as command,
        command.database.transaction(workspace) as tx,
    ):
        silent = Policy(assistant=False).model_dump(mode="json")
        await configuring.set_policy(tx, command.vault, inbox, silent, by=SYSTEM, now=command.clock.now())
    known = app.connections.known
    await until(lambda: known(workspace, inbox) is None)
    assert not (await app.connections.inbox(workspace, inbox)).settings.assistant


async def test_after_notices_may_have_been_missed_everything_is_read_again(
    webhook_client: WebhookClient, urls: DatabaseUrls
) -> None:
    app, workspace = webhook_client.app, webhook_client.workspace_id
    *_, inbox = await served(webhook_client)
    assert (await app.connections.inbox(workspace, inbox)).name == "售后"
    with psycopg.connect(urls.owner) as elsewhere:
        elsewhere.execute("select set_config('app.workspace', %s, true)", (str(workspace),))
        elsewhere.execute("update inbox set name = '售前'")  # and its notice comes while nobody listens
        elsewhere.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'zhiban pubsub' and datname = current_database()"
        )
    await until(lambda: app.connections.known(workspace, inbox) is None)
    assert (await app.connections.inbox(workspace, inbox)).name == "售前"
