"""What stands between WeCom and us: proxies that rewrite addresses, and machines with IPv6 only."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.channels.conftest import Callback, WebhookClient
from tests.stories.conftest import settings_for
from zhiban.cli.listener import address_of, listening
from zhiban.container import App
from zhiban.main import application
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served

NOWHERE = "http://127.0.0.1:9"


async def test_hostile_84_a_proxy_that_drops_the_query_is_named_in_the_log(
    webhook_client: WebhookClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="zhiban")
    call = webhook_client.call()
    answer = await webhook_client.ask("POST", webhook_client.path, data=call.body)
    assert (answer.status, answer.body) == (400, b"")
    assert "does a proxy drop the query?" in caplog.text
    assert await webhook_client.deliveries() == []


async def test_hostile_84_a_proxy_that_decodes_the_query_does_no_harm(webhook_client: WebhookClient) -> None:
    """`%2B` becomes `+`, which is read as a blank; base64 knows no blanks, so they can only have been plus signs."""
    tried = 0
    while tried < 5:
        query = webhook_client.envelope.check("7215034476110938421", timestamp=int(time.time()), nonce="1372623149")
        if "%2B" not in query:
            continue
        tried += 1
        answer = await webhook_client.ask("GET", f"{webhook_client.path}?{unquote(query)}")
        assert (answer.status, answer.body) == (200, b"7215034476110938421")
    call = webhook_client.call()
    assert (await webhook_client.post(Callback(unquote(call.query), call.body))).status == 200


async def test_hostile_84_a_machine_with_ipv6_only_is_served(urls: DatabaseUrls, tmp_path: Path) -> None:
    with listening("::1", 0) as listener:
        assert address_of(listener).startswith("http://[::1]:")
    app = App.build(settings_for(tmp_path, NOWHERE), urls)
    async with served(application(app), host="::1") as url:
        client = WebhookClient(app, url, (await app.database.workspaces())[0])
        assert (await client.post(client.call())).status == 200
        assert len(await client.deliveries()) == 1
