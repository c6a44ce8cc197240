"""Where commands print."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class LateConsole:
    """A console that loads Rich with the first thing to print: the server starts without.

    Where nobody looks, in a pipe or a log, lines are not cut to a screen's width but to `width`.
    """

    def __init__(self, *, stderr: bool = False, width: int) -> None:
        self._stderr = stderr
        self._width = width

    @cached_property
    def whole(self) -> Console:
        from rich.console import Console

        watched = (sys.stderr if self._stderr else sys.stdout).isatty()
        return Console(stderr=self._stderr, highlight=False, soft_wrap=True, width=None if watched else self._width)

    def print(self, *things: Any, **options: Any) -> None:
        self.whole.print(*things, **options)

    def line(self, text: str) -> None:
        """Print a line as it is, without Rich: for what a server says that goes on."""
        stream = sys.stderr if self._stderr else sys.stdout
        stream.write(f"{text}\n")
        stream.flush()
