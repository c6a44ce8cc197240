"""How good the search of a knowledge base is, for any folder of questions: ranking, certainty, and what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from material import Stand, read_lines, right_entries, write_table
from zhiban.knowledge import queries, service
from zhiban.knowledge.evaluation import Traffic, Verdict, answers, auroc, best, share_of
from zhiban.knowledge.retrieval import SearchResult, find
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

OUT_OF_SCOPE = 0.3  # of all traffic; what a base is asked in practice
TRAFFIC = Traffic(1 - OUT_OF_SCOPE, OUT_OF_SCOPE)


@dataclass(frozen=True, slots=True)
class Case:
    """A folder: `corpus.jsonl` {id, text, alts?, answer?}, `queries.jsonl` {id, text}, `qrels.tsv`, `oos.jsonl`."""

    folder: Path
    entries: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    right: dict[str, str]
    strange: list[dict[str, Any]]

    @classmethod
    def of(cls, folder: Path, *, phrasings: int | None = None, asked: Path | None = None) -> Case:
        """With at most so many similar questions an entry, and perhaps other questions than the folder's."""
        entries = read_lines(folder / "corpus.jsonl")
        for entry in entries:
            entry["alts"] = list(entry.get("alts") or ())[:phrasings]
        strange = folder / "oos.jsonl"
        return cls(
            folder,
            entries,
            read_lines(asked or folder / "queries.jsonl"),
            right_entries(folder),
            read_lines(strange) if strange.exists() else [],
        )

    def write(self, into: Path) -> list[Path]:
        """The entries as files: those with an answer as one table, the others as a document each."""
        faqs = [entry for entry in self.entries if entry.get("answer")]
        paths = [write_table(into / "faq.csv", faqs)] if faqs else []
        texts = into / "documents"
        for entry in self.entries:
            if not entry.get("answer"):
                texts.mkdir(parents=True, exist_ok=True)
                (texts / f"{entry['id']}.txt").write_text(entry["text"], encoding="utf-8")
        return [*paths, *([texts] if texts.exists() else [])]


def entry_of(found: SearchResult, at: int) -> str:
    """The entry's id: an FAQ's category, a document's file name."""
    passage = found.passages[at]
    return passage.category or Path(passage.source_name or "").stem


async def fill(found: Stand, slug: str, paths: Sequence[Path], embedders: Embedders = NO_EMBEDDERS) -> int:
    await service.import_paths(
        found.database, found.workspace, slug, paths, embedder=embedders.wanted, now=datetime.now(UTC)
    )
    async with found.database.transaction(found.workspace) as tx:
        return await service.ensure_base(tx, slug, slug)


async def measure(found: Stand, base_id: int, case: Case, embedders: Embedders) -> dict[str, Any]:
    """Every figure of a case, in percent where it is a share."""

    async def ask(question: dict[str, Any]) -> Verdict:
        answer = await find(
            lambda: found.database.transaction(found.workspace), base, question["text"], embedders=embedders
        )
        names = [entry_of(answer, at) for at in range(len(answer.passages))]
        right = case.right.get(question["id"])
        known, text = right is not None, question["text"]
        return Verdict(text, answer.confidence, known, names[:1] == [right], right in names, answer.zone)

    async def base(_: object) -> int:
        return base_id

    inside = [await ask(question) for question in case.questions]
    outside = [await ask(question) for question in case.strange]
    async with found.database.transaction(found.workspace) as tx:
        row = await queries.base(tx, base_id)
    with_vectors = embedders.wanted is not None and row.embedder is not None
    return {
        "questions": len(inside),
        "out_of_scope": len(outside),
        "chunks": row.bodies,
        "phrasings": row.phrasings,
        "embedder": row.embedder if embedders.wanted else None,
        "r_at_1": share_of(one.right for one in inside),
        "r_at_3": share_of(one.among_three for one in inside),
        "auroc": auroc(inside, outside),
        "best": best(inside, outside, TRAFFIC),
        "own": {
            "answer_at": row.answer_at_with_vectors if with_vectors else row.answer_at,
            "promised_precision": (row.calibration if with_vectors else row.calibration["words"]).get("precision"),
            **answers(inside, outside, TRAFFIC),
        },
    }


def show(title: str, figures: dict[str, Any]) -> None:
    best, own = figures["best"], figures["own"]
    print(
        f"\n{title}: {figures['questions']} questions, {figures['out_of_scope']} without an answer, by "
        f"{figures['embedder'] or 'words only'}"
    )
    print(f"  R@1 {figures['r_at_1']} %   R@3 {figures['r_at_3']} %   AUROC {figures['auroc']}")
    print(
        f"  with {OUT_OF_SCOPE:.0%} out of scope: precision at 80 % coverage {best['precision_at_80_coverage']} %, "
        f"coverage at 90 % precision {best['coverage_at_90_precision']} %"
    )
    print(
        f"  own threshold {own['answer_at']}: coverage {own['coverage']} %, precision {own['precision']} %, "
        f"{own['out_of_scope_answered']} % of what is out of scope answered"
    )
    for zone, counted in own["zones"].items():
        print(
            f"    {zone:8} {counted['questions']:5} questions, {counted['right']} right, {counted['in_menu']} in the "
            f"menu; {counted['out_of_scope']} without an answer"
        )
