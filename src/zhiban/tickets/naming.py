"""What people call an issue: by its number, except where a tracker writes it otherwise."""

from __future__ import annotations

import re

# How they write it, without the sign before it.
NUMBER = r"(?:[0-9]{1,9}|I[0-9A-Z]{4,8})"

# The last part of an address under one of these names what lies there.
_NAMED = re.compile(r"/(issues|work_items|pulls?|merge_requests)/([A-Za-z0-9]{1,20})/?\Z")


def reference(number: int, url: str) -> str:
    """`#12`, `!12` for a merge request that is counted by itself, `#I2YRAH` where an issue has no number."""
    found = _NAMED.search(url)
    if found is None:
        return f"#{number}"
    return f"{'!' if found[1] == 'merge_requests' else '#'}{found[2]}"
