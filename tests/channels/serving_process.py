"""A whole installation as a process of its own, over a test's database: something that can be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.workers.working_process import KEY
from zhiban.container import App
from zhiban.kit.settings import load
from zhiban.main import application
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.serving import served


async def serve(app: str, owner: str, folder: Path) -> None:
    settings = load(env_file=None, zhiban_data=folder, zhiban_secret_key=KEY, notification_enabled=False)
    found = App.build(settings, DatabaseUrls(app=app, owner=owner))
    found.start_workers()
    async with served(application(found)) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
