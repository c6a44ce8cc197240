"""What a file would change, entry by entry, as `--check` tells it."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.automation.taking_over import FileEntry, count_of, refused
from zhiban.automation.wording import OUTCOME_WORDS
from zhiban.cli.app import Exit, _, err, say


def say_entries(entries: Sequence[FileEntry]) -> Exit | None:
    """One line for each, and MISSING where anything is refused: then nothing of the file would be taken."""
    for one in entries:
        told = one.trouble if one.outcome == "refused" else one.said
        line = f"{_(OUTCOME_WORDS[one.outcome])}  " + (
            _("{name}：{said}", name=one.name, said=told) if one.name else told
        )
        if one.outcome == "refused":
            err.print(line, markup=False)
        else:
            say(line)
    if refused(entries):
        return Exit.MISSING
    say(_("没有错误：新建{added}，更新{changed}，不变{same}", **count_of(entries)))
    return None
