"""An installation's workers as a process of their own, over a test's database: something that can be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from zhiban.container import App
from zhiban.kit.settings import load
from zhiban.postgres.provisioning import DatabaseUrls

KEY = "a key for tests only"


async def work(app: str, owner: str, folder: Path) -> None:
    settings = load(env_file=None, zhiban_data=folder, zhiban_secret_key=KEY, notification_enabled=False)
    found = App.build(settings, DatabaseUrls(app=app, owner=owner))
    found.start_workers()
    async with found:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
