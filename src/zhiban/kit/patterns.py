"""Regular expressions that are compiled when they are first used.

The long alternations that read what contacts write take a tenth of a start to compile, before anybody has written.
"""

from __future__ import annotations

import re
from typing import Any, cast

_uncompiled: list[_LazyPattern] = []


class _LazyPattern:
    """Stands in for a `re.Pattern`. Each of its attributes is looked up once and then found directly."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._arguments = pattern, flags
        self._compiled: re.Pattern[str] | None = None

    def compiled(self) -> re.Pattern[str]:
        if self._compiled is None:
            self._compiled = re.compile(*self._arguments)
        return self._compiled

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copying and pickling look for
            raise AttributeError(name)
        found = getattr(self.compiled(), name)
        setattr(self, name, found)
        return found


def lazy_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """`re.compile` at the first use; a pattern that is none raises re.error only then."""
    made = _LazyPattern(pattern, flags)
    _uncompiled.append(made)
    return cast("re.Pattern[str]", made)


def compile_patterns() -> None:
    """Compile all that were made so far, so that nobody has to wait for it. Raises re.error."""
    while _uncompiled:
        _uncompiled.pop().compiled()
