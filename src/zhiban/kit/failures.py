"""Keeps what goes wrong with one of many from stopping the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_logged(log: logging.Logger, what: str) -> Iterator[None]:
    """Whatever fails inside is logged with this sentence, and whoever comes next has their turn."""
    try:
        yield
    except Exception:
        log.exception("%s", what)
