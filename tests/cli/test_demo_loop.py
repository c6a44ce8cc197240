"""What one command starts holds together: words in the simulated group become an issue, whose end is heard there."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from pathlib import Path

import aiohttp

from tests.cli.program import running


async def test_a_newcomer_sees_the_whole_loop(demonstrated: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await asyncio.to_thread(shutil.copytree, demonstrated, data, symlinks=True)
    async with running("demo", "--port", "0", data=data) as demo:
        said = await demo.says("/docs")
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address is not None
        app = address.group()
        assert (f"{app}/demo/group" in said, f"{app}/demo/github" in said) == (True, True)
        async with aiohttp.ClientSession(app, headers={"sec-fetch-site": "same-origin", "origin": app}) as visitor:

            async def read(path: str) -> str:
                async with visitor.get(path) as answer:
                    assert answer.status == 200, await answer.text()
                    return await answer.text()

            async def says(text: str, expected: str) -> str:
                """A member says something; what the group has read once these words are among it."""
                form = {"who": "demo-member-liang", "text": text}
                async with visitor.post("/demo/group/say", data=form) as answer:
                    assert answer.status == 200
                return await reads(expected)

            async def reads(expected: str) -> str:
                deadline = time.monotonic() + 60
                while not (found := re.search(expected, page := await read("/demo/group"))):
                    assert time.monotonic() < deadline, page[-3000:]
                    await asyncio.sleep(0.05)
                return found.group()

            await says("以上三条开工单", "工单草稿")
            place = await says("确认", r"/demo/github/qinghe/shop/issues/\d+")
            issue = await read(place)
            assert "新款什么时候补货呀" in issue
            assert place in await read("/demo/github")
            async with visitor.post(place, data={"then": "completed"}) as answer:
                assert answer.status == 200
            await reads("已完成")
        assert await demo.stop() == 0
