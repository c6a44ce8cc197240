"""Derive src/zhiban/knowledge/term_priors.bin from the word frequencies that jieba ships.

    python tools/term_priors.py          # write the table
    python tools/term_priors.py check    # exit 1 when it is not what jieba's list and our terms give

Run it after a change of what a term is (knowledge/tokenizer.py). jieba is a tool of development and is not installed
with the product: its list is 5 MB and fills 42 MB of disk with what is never imported.
"""

from __future__ import annotations

import importlib.util
import sys
from array import array
from collections import defaultdict
from pathlib import Path

from zhiban.knowledge.corpus_stats import FILE, TermPriors
from zhiban.knowledge.tokenizer import character_term, pair_term


def word_list() -> Path:
    """jieba's dictionary, found without importing jieba (which takes half a second)."""
    found = importlib.util.find_spec("jieba")
    if found is None or found.origin is None:
        raise SystemExit("The package jieba is missing. Run: make setup")
    return Path(found.origin).parent / "dict.txt"


def derived(path: Path) -> TermPriors:
    """Count characters and pairs over a list of `word frequency tag` lines."""
    seen: defaultdict[int, int] = defaultdict(int)
    total = 0
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, frequency = line.split(" ", 2)[:2]
            times = int(frequency)
            total += times
            if not all("\u3400" <= character <= "\u9fff" for character in word):
                continue
            for character in set(word):
                seen[character_term(character)] += times
            for pair in {word[at : at + 2] for at in range(len(word) - 1)}:
                seen[pair_term(pair)] += times
    ordered = sorted(seen)
    return TermPriors(array("I", ordered), array("I", (seen[term] for term in ordered)), total)


def main() -> int:
    made = derived(word_list())
    if sys.argv[1:] == ["check"]:
        fresh = FILE.read_bytes() == made.dumped()
        print(f"{FILE.name} is {'up to date' if fresh else 'stale: run python tools/term_priors.py'}.")
        return 0 if fresh else 1
    FILE.write_bytes(made.dumped())
    print(f"{FILE.name}: {len(made)} terms, {FILE.stat().st_size} bytes.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
