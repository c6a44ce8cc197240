"""Knowledge for tests: the shop questions of the bench, files made on the spot, and an embedder of letters."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from zhiban.knowledge.tokenizer import terms

SHOP = Path(__file__).parents[2] / "bench" / "faq_shop"
SAMPLE = Path(__file__).parents[2] / "src" / "zhiban" / "testing" / "sample"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(folder: Path = SHOP) -> dict[str, str]:
    """The right entry of each question."""
    rows = (line.split("\t") for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines())
    return {row[0]: row[1] for row in rows}


def write_table(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    """An FAQ table whose category is the entry's id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("question", "similar_questions", "answer", "category"))
        for entry in entries:
            writer.writerow((entry["text"], "\n".join(entry.get("alts", ())), entry["answer"], entry["id"]))
    return path


class LetterEmbedder:
    """Texts with common characters lie near each other. Deterministic, and without a network."""

    name = "letters"
    dimensions = 32

    def __init__(self) -> None:
        self.embedded: list[str] = []

    async def embed(
        self, texts: Sequence[str], *, purpose: Literal["query", "passage"] = "passage"
    ) -> list[list[float]]:
        if purpose == "passage":
            self.embedded += texts
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for term in set(terms(text)):
            vector[term * 2654435761 % self.dimensions] += 1.0
        size = math.sqrt(sum(value * value for value in vector)) or 1.0
        return [value / size for value in vector]
