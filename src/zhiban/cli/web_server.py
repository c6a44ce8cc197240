"""The web server of `serve` and `demo`: what is checked before it starts, its limits, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import uvicorn

from zhiban.cli.app import _, err
from zhiban.cli.database import bring_up_to_date
from zhiban.cli.runtime import check_connections, check_production, workspace_of
from zhiban.container import App, load_the_rest
from zhiban.kit.background_tasks import raise_if_cancelled
from zhiban.kit.errors import Unavailable
from zhiban.kit.memory import free_what_loading_left
from zhiban.kit.settings import Settings
from zhiban.main import WebServer, application
from zhiban.people import first_owner
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.web.protocol import SOCKET_SETTINGS, ConnectionLimit, protocol
from zhiban.web.proxies import Networks

log = logging.getLogger(__name__)

OPEN_FILES = 8192
RESERVED_FILES = 200
SHUTDOWN_TIMEOUT = 4  # seconds for requests that run, before their connections are closed
Started = Callable[[], Awaitable[None]]


async def serve_installation(
    config: Settings, urls: DatabaseUrls, listener: socket.socket, *, url: str, workers: bool
) -> None:
    """Check, migrate and serve an installation until it is told to stop; with `workers` this process answers too.

    Raises Misconfigured or Unavailable.
    """
    check_production(config)
    before, after = await bring_up_to_date(urls)
    if before != after:
        log.info("The database was brought from %s to %s", before or "nothing", after)
    await check_connections(config, urls)
    app = App.build(config, urls, url=url)
    if workers:
        app.start_workers()

    async def started() -> None:
        log.info("Zhiban serves at %s", url)
        await _invite_owner(app, url)

    await run_web(application(app), listener, started, trusted=config.zhiban_trusted_proxies)


async def _invite_owner(app: App, url: str) -> None:
    """Without an owner nobody can sign in: print a link that makes one, once."""
    async with app.database.page_transaction(await workspace_of(app)) as session:
        if await first_owner.has_owner(session):
            return
        token = await first_owner.new_setup_link(session, now=app.clock.now())
    err.line(_("还没有负责人。打开这个一次性链接，设置您的账号：{url}", url=f"{url}/setup/{token}"))


def _connection_limit(trusted: str) -> ConnectionLimit:
    """As many connections as we may have files open, less those that PostgreSQL, logs and vendors need."""
    usual = ConnectionLimit(trusted=Networks(trusted))
    if sys.platform == "win32":
        return usual
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES) if hard > 0 else OPEN_FILES, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return replace(usual, most=max(64, min(usual.most, soft - RESERVED_FILES)))


class _GracefulServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would send itself the signal again at the end, before the database is stopped."""
        yield


async def run_web(web: WebServer, listener: socket.socket, started: Started, *, trusted: str = "") -> None:
    """Serve until SIGINT or SIGTERM; a second one does not wait for running requests. Raises Unavailable.

    Webhooks are answered first; what pages and later work need is loaded while they are.
    """
    raise_if_cancelled()  # told to stop while the database was opened
    server = _GracefulServer(
        uvicorn.Config(
            web,
            http=protocol(_connection_limit(trusted)),  # type: ignore[arg-type]  # uvicorn calls it, whatever its kind
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the application itself knows whom to believe
            **SOCKET_SETTINGS,
            lifespan="on",
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
        )
    )

    def told(number: int) -> None:
        web.leave()
        server.handle_exit(number, None)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told, number)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells it in no other way
        await asyncio.sleep(0.005)
    try:
        if server.started:
            await started()
            await asyncio.to_thread(free_what_loading_left)  # before the pages, which take its room
            await web.load()
            await asyncio.to_thread(load_the_rest)
    except BaseException:
        told(signal.SIGTERM)  # without its pages a server would only look alive
        raise
    finally:
        await serving
    if not server.started:
        raise Unavailable("The server did not start; the lines above say why.")
