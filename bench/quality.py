"""How good the search of a knowledge base is, for any folder of questions: ranking, certainty, and what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from material import Stand, read_lines, right_entries, write_table
from zhiban.knowledge import queries, service
from zhiban.knowledge.retrieval import ConfidenceBand, SearchResult, find
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

OUT_OF_SCOPE = 0.3  # of all traffic; what a base is asked in practice


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of one question. `right` is whether the first passage answers it."""

    confidence: float
    right: bool
    third: bool
    zone: ConfidenceBand


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

    async def ask(question: dict[str, Any]) -> Asked:
        answer = await find(
            lambda: found.database.transaction(found.workspace), base, question["text"], embedders=embedders
        )
        names = [entry_of(answer, at) for at in range(len(answer.passages))]
        right = case.right.get(question["id"])
        return Asked(answer.confidence, names[:1] == [right], right in names, answer.zone)

    async def base(_: object) -> int:
        return base_id

    inside = [await ask(question) for question in case.questions]
    outside = [await ask(question) for question in case.strange]
    async with found.database.transaction(found.workspace) as tx:
        row = await queries.base(tx, base_id)
    return {
        "questions": len(inside),
        "out_of_scope": len(outside),
        "chunks": row.bodies,
        "phrasings": row.phrasings,
        "embedder": row.embedder if embedders.wanted else None,
        "r_at_1": _percent([one.right for one in inside]),
        "r_at_3": _percent([one.third for one in inside]),
        "auroc": _auroc(inside, outside),
        "best": _best(inside, outside),
        "own": _own(inside, outside, row, with_vectors=embedders.wanted is not None and row.embedder is not None),
    }


def _percent(hits: Sequence[bool]) -> float:
    return round(100 * sum(hits) / len(hits), 1) if hits else 0.0


def _weights(inside: Sequence[Asked], outside: Sequence[Asked]) -> tuple[float, float]:
    """How much one question counts, so that OUT_OF_SCOPE of the traffic has no answer."""
    if not outside:
        return 1 / max(len(inside), 1), 0.0
    return (1 - OUT_OF_SCOPE) / max(len(inside), 1), OUT_OF_SCOPE / len(outside)


def _best(inside: Sequence[Asked], outside: Sequence[Asked]) -> dict[str, Any]:
    """What a threshold could reach at best. Coverage is the share of the answerable questions that are answered."""
    one_in, one_out = _weights(inside, outside)
    ranked = [(one.confidence, one.right, one_in, 1) for one in inside]
    ranked += [(one.confidence, False, one_out, 0) for one in outside]
    ranked.sort(key=lambda one: -one[0])
    curve: list[dict[str, float]] = []
    at_80, coverage_at_90, threshold_at_90 = 0.0, 0.0, None
    asked = right = answerable = 0.0
    for confidence, hit, weight, known in ranked:
        asked += weight
        right += weight * hit
        answerable += known
        covered = answerable / max(len(inside), 1)
        precision = right / asked
        if covered >= 0.8 and not at_80:
            at_80 = precision
        if precision >= 0.9 and covered > coverage_at_90:
            coverage_at_90, threshold_at_90 = covered, confidence
        if covered >= (len(curve) + 1) / 10:
            curve.append(
                {
                    "coverage": round(100 * covered, 1),
                    "precision": round(100 * precision, 1),
                    "threshold": round(confidence, 3),
                }
            )
    return {
        "precision_at_80_coverage": round(100 * at_80, 1),
        "coverage_at_90_precision": round(100 * coverage_at_90, 1),
        "threshold_at_90_precision": threshold_at_90,
        "curve": curve,
    }


def _own(
    inside: Sequence[Asked], outside: Sequence[Asked], row: queries.BaseRow, *, with_vectors: bool
) -> dict[str, Any]:
    """What the product does with its own thresholds."""
    one_in, one_out = _weights(inside, outside)
    answered = [one for one in inside if one.zone is ConfidenceBand.ANSWER]
    wrongly = sum(1 for one in outside if one.zone is ConfidenceBand.ANSWER)
    traffic = len(answered) * one_in + wrongly * one_out
    return {
        "answer_at": row.answer_at_with_vectors if with_vectors else row.answer_at,
        "promised_precision": row.calibration.get("precision"),
        "coverage": round(100 * len(answered) / max(len(inside), 1), 1),
        "precision": round(100 * sum(one.right for one in answered) * one_in / traffic, 1) if traffic else None,
        "out_of_scope_answered": _percent([one.zone is ConfidenceBand.ANSWER for one in outside]),
        "zones": {
            zone.value: {
                "questions": sum(one.zone is zone for one in inside),
                "right": sum(one.zone is zone and one.right for one in inside),
                "in_menu": sum(one.zone is zone and one.third for one in inside),
                "out_of_scope": sum(one.zone is zone for one in outside),
            }
            for zone in ConfidenceBand
        },
    }


def _auroc(inside: Sequence[Asked], outside: Sequence[Asked]) -> float | None:
    """How well the confidence tells questions with an answer from those without."""
    if not inside or not outside:
        return None
    wins = sum(
        (one.confidence > other.confidence) + 0.5 * (one.confidence == other.confidence)
        for one in inside
        for other in outside
    )
    return round(wins / (len(inside) * len(outside)), 3)


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
