"""zhiban work."""

from __future__ import annotations

import asyncio
import logging
import signal

from zhiban.cli.app import _, app, command, settings
from zhiban.cli.database import bring_up_to_date, database
from zhiban.cli.runtime import check_connections, check_production
from zhiban.container import App, load_the_rest
from zhiban.kit import logs
from zhiban.kit.background_tasks import raise_if_cancelled

log = logging.getLogger(__name__)


@command(app, "work", help=_("只做后台工作；可以在任意多台机器上启动任意多个"))
async def work() -> None:
    config = settings()
    logs.configure(config.zhiban_log_level, config.zhiban_log_format)
    check_production(config)
    async with database(config, watch=True) as urls:
        await bring_up_to_date(urls)
        await check_connections(config, urls)
        app = App.build(config, urls)
        app.start_workers()
        async with app:
            log.info("Zhiban works")
            asyncio.get_running_loop().run_in_executor(None, load_the_rest)
            await until_told_to_stop()


async def until_told_to_stop() -> None:
    raise_if_cancelled()  # told while everything was opened
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()
