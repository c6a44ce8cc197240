"""A file that says how something behaves, read from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zhiban.channels.policy import PolicyMistake
from zhiban.cli.app import _, err
from zhiban.kit.errors import Misconfigured

T = TypeVar("T")


def read_policy_file(file: Path, load: Callable[[str], T]) -> T | None:
    """What `load` makes of the file; None where it has mistakes, which are told on standard error then.

    Raises Misconfigured for a file that cannot be read as UTF-8 text.
    """
    try:
        return load(file.read_text(encoding="utf-8-sig"))
    except PolicyMistake as error:
        err.print(_("{file}有错，没有应用：", file=file), markup=False)
        for problem in error.problems:
            err.print(f"  {problem.told(_)}", markup=False)
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file} cannot be read as UTF-8 text.") from error
