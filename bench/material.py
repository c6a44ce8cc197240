"""Texts and a database for the benchmarks of knowledge."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import random
import tempfile
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from zhiban.container import ensure_workspace
from zhiban.kit.db import Database
from zhiban.postgres.provisioning import migrate, provision_bundled
from zhiban.postgres.supervisor import BundledPostgres

SHOP = Path(__file__).parent / "faq_shop"


@dataclass(frozen=True)
class Stand:
    """A fresh installation's database, reached as the application reaches it: row-level security binds it."""

    database: Database
    workspace: int
    folder: Path
    owner: str

    def postgres_cpu(self) -> float:
        """Seconds of processor time that the server's living processes have used."""
        pid = int((self.folder / "pg" / "cluster" / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        return sum(sum(process.cpu_times()[:2]) for process in (postmaster, *postmaster.children(recursive=True)))


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="zhiban-bench-") as name:
        folder = Path(name)
        postgres = BundledPostgres(folder / "pg")
        server = await postgres.start()
        try:
            urls = await provision_bundled(server.superuser, "bench")
            await migrate(urls)
            async with Database(urls.app) as database:
                workspace = await ensure_workspace(database, "bench", "Bench", "zh")
                yield Stand(database, workspace, folder, urls.owner)
        finally:
            await postgres.stop()


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def right_entries(folder: Path) -> dict[str, str]:
    rows = (line.split("\t") for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines())
    return {row[0]: row[1] for row in rows}


def _word_list() -> Path:
    """The word frequencies of jieba, which the tools of development bring."""
    found = importlib.util.find_spec("jieba")
    if found is None or found.origin is None:
        raise SystemExit("The package jieba is missing. Run: make setup")
    return Path(found.origin).with_name("dict.txt")


class Writer:
    """Writes Chinese-looking text of one trade: frequent words of the language, coming back within a text.

    A text of 100 characters has about 120 different terms, as a paragraph of an encyclopaedia does (CMRC: 121).
    """

    def __init__(self, seed: int = 1) -> None:
        self.dice = random.Random(seed)
        rows = (line.split(" ")[:2] for line in _word_list().read_text(encoding="utf-8").splitlines())
        frequent = sorted(((int(times), word) for word, times in rows), reverse=True)[:5000]
        self.words = [word for _, word in frequent]
        self.sums = list(itertools.accumulate(times for times, _ in frequent))

    def text(self, size: int) -> str:
        said: list[str] = []
        length = 0
        while length < size:
            again = said and self.dice.random() < 0.45
            word = self.dice.choice(said) if again else self.dice.choices(self.words, cum_weights=self.sums)[0]
            said.append(word)
            length += len(word)
        return "".join(said)

    def faqs(self, count: int, *, answer: int = 80) -> Iterator[dict[str, Any]]:
        """Entries with one similar question; about 100 characters each."""
        for number in range(count):
            yield {
                "id": f"e{number}",
                "text": self.text(10),
                "alts": [self.text(10)],
                "answer": self.text(answer),
            }


class MeaninglessEmbedder:
    """An Embedder whose vectors have the local model's size and mean nothing: a million of them take a minute.

    For how long a search takes, not for what it finds; the model itself would add some 3 ms to each question.
    """

    name = "meaningless"
    dimensions = 512

    def __init__(self) -> None:
        self._dice = np.random.default_rng(1)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        purpose: Literal["query", "passage"] = "passage",  # noqa: ARG002 - the port's
    ) -> list[array[float]]:
        """One vector of length 1 a text."""
        rows = self._dice.standard_normal((len(texts), self.dimensions), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return [array("f", row.tobytes()) for row in rows]


def write_table(path: Path, entries: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("question", "similar_questions", "answer", "category"))
        for entry in entries:
            writer.writerow((entry["text"], "\n".join(entry.get("alts", ())), entry["answer"], entry["id"]))
    return path
