"""One message must not hold the process."""

from __future__ import annotations

import asyncio
import sys

from tests.tickets import hostile_words


async def test_nothing_that_anybody_writes_is_slow_to_read() -> None:
    """In a process of its own, so that what never ends fails this test and none besides."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, hostile_words.__file__, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()[-500:] or "it took more than a minute of the processor"
