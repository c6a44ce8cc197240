"""A folder whose PostgreSQL runs on between commands, as beside a running service: starting it takes its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from zhiban.postgres.supervisor import BundledPostgres


@pytest.fixture
async def kept(data: Path) -> AsyncIterator[Path]:
    """The test's own `data`, with its PostgreSQL kept running until the end of the test."""
    postgres = BundledPostgres(data / "postgres")
    await postgres.start()
    yield data
    await postgres.stop()
