"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import copy
import re
import subprocess
import sys

import pytest

from zhiban.kit.patterns import compile_patterns, lazy_pattern


def test_a_lazy_pattern_finds_what_a_compiled_one_finds() -> None:
    lazy, compiled = (
        lazy_pattern(r"(?P<number>\d+)\s?元", re.IGNORECASE),
        re.compile(r"(?P<number>\d+)\s?元", re.IGNORECASE),
    )
    text = "运费 12 元，包装 3元"
    assert [found["number"] for found in lazy.finditer(text)] == ["12", "3"]
    assert lazy.sub("…", text) == compiled.sub("…", text)
    assert (lazy.pattern, lazy.flags, lazy.groups) == (compiled.pattern, compiled.flags, compiled.groups)
    assert lazy.search(text)
    assert not lazy.match(text)
    assert copy.copy(lazy).split(text) == compiled.split(text)


def test_what_is_no_pattern_is_told_by_the_first_use_and_by_compiling_all() -> None:
    wrong = lazy_pattern("(")
    with pytest.raises(re.error):
        wrong.search("")
    with pytest.raises(re.error):
        compile_patterns()
    compile_patterns()


def test_loading_the_assistant_compiles_none_of_its_patterns_and_all_of_them_compile() -> None:
    program = (
        "import zhiban.assistant.turn, zhiban.kit.patterns as p; made = list(p._uncompiled); "
        "assert len(made) > 60 and all(one._compiled is None for one in made); p.compile_patterns(); "
        "assert all(one._compiled for one in made)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
