"""zhiban serve."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Annotated

import typer
import uvicorn

from zhiban.cli.app import _, app, command, err, settings
from zhiban.cli.runtime import bring_up_to_date, check_connections, check_production, database, workspace_of
from zhiban.container import App
from zhiban.kit import logs
from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.main import CallbackRouter, application
from zhiban.people import service as people
from zhiban.web.protocol import ConnectionLimit, protocol
from zhiban.web.proxies import Networks

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
OPEN_FILES = 8192
RESERVED_FILES = 200
PATIENCE_AT_EXIT = 4  # seconds for requests that run, before their connections are closed
Started = Callable[[], Awaitable[None]]


@command(app, "serve", help=_("启动服务：网页、回调和后台工作"))
async def serve(
    host: Annotated[str, typer.Option(help=_("监听的地址；0.0.0.0表示所有网卡"))] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help=_("监听的端口"))] = 8000,
    no_work: Annotated[bool, typer.Option("--no-work", help=_("只处理网页和回调，后台工作交给zhiban work"))] = False,
) -> None:
    config = settings()
    logs.configure(config.zhiban_log_level, config.zhiban_log_format)
    check_production(config)
    with listening(host, port) as listener:
        url = config.zhiban_url or address_of(listener)
        _warn_unencrypted(host, url)
        async with database(config, watch=True) as urls:
            before, after = await bring_up_to_date(urls)
            if before != after:
                log.info("The database was brought from %s to %s", before or "nothing", after)
            await check_connections(config, urls)
            app = App.build(config, urls, url=url)
            if not no_work:
                app.start_workers()

            async def started() -> None:
                log.info("Zhiban serves at %s", url)
                await _invite_owner(app, url)

            await run_web(application(app), listener, started, trusted=config.zhiban_trusted_proxies)


def _warn_unencrypted(host: str, url: str) -> None:
    """Say so when passwords and messages would cross a network in the clear."""
    if host in LOOPBACK or url.startswith("https://"):
        return
    err.print(_("注意：{host}上的网页没有加密，同一网络里的人能看到密码和消息。", host=host))
    err.print(_("请在前面放一个HTTPS反向代理，并设置ZHIBAN_URL。"))


async def _invite_owner(app: App, url: str) -> None:
    """Without an owner nobody can sign in: print a link that makes one, once."""
    async with app.database.page_transaction(await workspace_of(app)) as session:
        if await people.has_owner(session):
            return
        token = await people.new_setup_link(session, now=app.clock.now())
    err.print(_("还没有负责人。打开这个一次性链接，设置您的账号：{url}", url=f"{url}/setup/{token}"))


# ------------------------------------------------------------------------------------------------------ the web server


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """The socket, taken before anything else is started. Raises Unavailable when the port is taken."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"Port {port} is taken by another program. Stop it, or choose another one, such as --port {port + 1}."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Misconfigured(f"Port {port} may not be used by this user. Choose one above 1023.") from error
        raise Misconfigured(f"This machine has no address {host} to listen on.") from error
    with listener:
        yield listener


def address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds us."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


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


async def run_web(web: CallbackRouter, listener: socket.socket, started: Started, *, trusted: str = "") -> None:
    """Serve until SIGINT or SIGTERM; a second one does not wait for running requests. Raises Unavailable."""
    server = _GracefulServer(
        uvicorn.Config(
            web,
            http=protocol(_connection_limit(trusted)),  # type: ignore[arg-type]  # uvicorn calls it, whatever its kind
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the application itself knows whom to believe
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=PATIENCE_AT_EXIT,
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
    if server.started:
        await started()
    await serving
    if not server.started:
        raise Unavailable("The server did not start; the lines above say why.")
