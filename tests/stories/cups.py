"""What the stories with real processes share: chance, a shop of cups, and a look into its database."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from zhiban.kit.db import Database
from zhiban.postgres.provisioning import provision_bundled
from zhiban.postgres.supervisor import BundledPostgres
from zhiban.testing.process_harness import ProcessHarness


def drawn_seed() -> int:
    """A new number each time, printed so that a run can be repeated: `ZHIBAN_TEST_SEED=… pytest …`."""
    seed = int(os.environ.get("ZHIBAN_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"ZHIBAN_TEST_SEED={seed}")
    return seed


def knowledge(folder: Path) -> Path:
    """Sixty questions that share no words, so that every answer tells which question it belongs to."""
    animals = "猫狗牛羊马猪鸡鸭鹅鱼虎狼熊鹿兔鼠蛇龟鹰燕"
    objects = ("颜色", "价格", "尺寸")
    path = folder / "topics.md"
    entries = [
        f"## {animal}形杯子的{thing}是什么？\n\n编号{number:02d}：这是{animal}形杯子的{thing}说明。\n"
        for number, (animal, thing) in enumerate((a, o) for o in objects for a in animals)
    ]
    path.write_text("# 杯子\n\n" + "\n".join(entries))
    return path


async def import_knowledge(found: ProcessHarness, installed: Path) -> None:
    """Have the knowledge imported by a process, or take the data folder that this left in `installed` before: making a
    cluster and loading the embedder costs as much as a short story. No account is in it: each story has its own."""
    data = found.folder / "data"
    with installed.with_suffix(".lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not installed.exists():
            without = {name: value for name, value in found.environment.items() if not name.startswith("WECOM_")}
            importing = await replace(found, environment=without).start(
                "import", sys.executable, "-m", "zhiban", "kb", "import", str(knowledge(found.folder))
            )
            assert await importing.child.wait() == 0, (found.folder / "import.log").read_text()
            # The way to its socket is of this place.
            (data / "postgres" / "socket-folder").unlink()
            await asyncio.to_thread(shutil.move, data, installed)
    await asyncio.to_thread(shutil.copytree, installed, data, symlinks=True)


def questions() -> list[str]:
    animals = "猫狗牛羊马猪鸡鸭鹅鱼虎狼熊鹿兔鼠蛇龟鹰燕"
    return [f"{a}形杯子的{o}是什么？" for o in ("颜色", "价格", "尺寸") for a in animals]


async def look_into(found: ProcessHarness) -> tuple[BundledPostgres, Database, int]:
    postgres = BundledPostgres(found.folder / "data" / "postgres")
    server = await postgres.start()
    urls = await provision_bundled(server.superuser)
    database = await Database(urls.app).open()
    return postgres, database, (await database.workspaces())[0]
