"""zhiban serve. PostgreSQL starts while the rest of the program is loaded, so this module imports little."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from zhiban.cli.app import _, app, command, err, load_module, settings
from zhiban.cli.database import database
from zhiban.cli.listener import address_of, listening
from zhiban.kit import logs

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@command(app, "serve", help=_("启动服务：网页、回调和后台工作"))
async def serve(
    host: Annotated[str, typer.Option(help=_("监听的地址；0.0.0.0表示所有网卡"))] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help=_("监听的端口"))] = 8000,
    no_work: Annotated[bool, typer.Option("--no-work", help=_("只处理网页和回调，后台工作交给zhiban work"))] = False,
) -> None:
    config = settings()
    logs.configure(config.zhiban_log_level, config.zhiban_log_format)
    with listening(host, port) as listener:
        url = config.zhiban_url or address_of(listener)
        _warn_unencrypted(host, url)
        loading = asyncio.create_task(asyncio.to_thread(load_module, "zhiban.cli.web_server"))
        try:
            if not config.data.exists():
                # What is refused leaves nothing behind.
                await loading
                from zhiban.cli.runtime import check_production

                check_production(config)
            async with database(config, watch=True) as urls:
                await loading
                from zhiban.cli.web_server import serve_installation

                await serve_installation(config, urls, listener, url=url, workers=not no_work)
        finally:
            await asyncio.wait([loading])


def _warn_unencrypted(host: str, url: str) -> None:
    """Say so when passwords and messages would cross a network in the clear."""
    if host in LOOPBACK or url.startswith("https://"):
        return
    err.print(_("注意：{host}上的网页没有加密，同一网络里的人能看到密码和消息。", host=host))
    err.print(_("请在前面放一个HTTPS反向代理，并设置ZHIBAN_URL。"))
