"""Whether a base keeps what it promises: the precision of what it answers by itself, on entries and words it never saw.

    python bench/promise.py FOLDER… [--phrasings 0,2] [--seeds 3] [--words] [--confirmed] [--json]

A folder is one of `bench/retrieval.py --data`. A base is made of one half of its entries, with so many similar
questions each, and asked everything: the questions of its own half (70 % of the traffic), those of the other half,
which come near to what it knows and have no answer (15 %), and the folder's questions about something else (15 %). A
base of documents is halved alike. Several seeds, added up; `error` is the standard error of the delivered precision.
The figures are of the search, whose threshold makes the promise. `told` is what contacts are told directly once the
assistant has read the question as well: by clauses, on agreement, and never the opposite (`assistant/finding.py`);
`told_difference` is how far the precision of that lies from the promise.
With --confirmed every second question of its own half is confirmed by people before, and the others are asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from material import Stand, stand
from quality import Case, entry_of, fill
from zhiban.assistant import finding
from zhiban.assistant.reading import questions_in
from zhiban.assistant.searching import Searcher
from zhiban.channels.policy import Policy
from zhiban.events import Actor
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.knowledge import queries
from zhiban.knowledge.calibration import calibrate
from zhiban.knowledge.evidence import MOST_A_DAY, record_evidence
from zhiban.knowledge.models import EvidenceKind
from zhiban.knowledge.retrieval import ConfidenceBand, find
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

LOCAL = Embedders(SentenceEncoder())
INSIDE, NEAR, FAR = 0.70, 0.15, 0.15  # of all traffic


@dataclass(frozen=True, slots=True)
class Reply:
    """What a base made of one question. `kind` is inside, near or far."""

    kind: str
    question: str
    confidence: float
    likeness: float
    right: bool
    answered: bool
    found: str | None
    told: str | None = None  # the entry that the assistant answers with
    told_right: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One half of the entries, and everything asked of it."""

    seed: int
    promised: float | None
    answer_at: float | None
    replies: tuple[Reply, ...]


async def tried(
    found: Stand, case: Case, seed: int, embedders: Embedders, slug: str, *, confirmed: bool = False
) -> Trial:
    """Fill a base with a half of the case and ask it everything that was not confirmed."""
    entries = [str(entry["id"]) for entry in case.entries]
    known = set(random.Random(seed).sample(entries, len(entries) // 2))
    half = replace(case, entries=[entry for entry in case.entries if entry["id"] in known])
    base_id = await fill(found, slug, half.write(found.folder / slug), embedders)

    searcher = Searcher(embedders, top_k=3, threshold=None)

    async def base(_: object) -> int:
        return base_id

    async def ask(question: dict[str, Any], kind: str) -> Reply:
        text = question["text"]
        answer = await find(lambda: found.database.transaction(found.workspace), base, text, embedders=embedders)
        name = entry_of(answer, 0) if answer.passages else None
        right = kind == "inside" and name == case.right[question["id"]]
        likeness = answer.passages[0].likeness if answer.passages else 0.0
        answered = answer.zone is ConfidenceBand.ANSWER
        said = await told(text)
        told_right = kind == "inside" and said is not None and said == case.right[question["id"]]
        return Reply(kind, text, answer.confidence, likeness, right, answered, name, said, told_right)

    async def told(text: str) -> str | None:
        plans = finding.plan(questions_in(text)[:1], None)
        transaction = lambda: found.database.transaction(found.workspace)  # noqa: E731 - as above
        (one,) = await searcher.search(transaction, base_id, plans, Policy())
        return entry_of(one.result, 0) if one.zone is ConfidenceBand.ANSWER else None

    questions = case.questions
    if confirmed:
        said = [one for one in questions if case.right[one["id"]] in known][::2]
        await _confirm(found, base_id, case, said, embedders)
        questions = [one for one in questions if one not in said]
    replies = [await ask(one, "inside" if case.right[one["id"]] in known else "near") for one in questions]
    replies += [await ask(one, "far") for one in case.strange]
    async with found.database.transaction(found.workspace) as tx:
        row = await queries.base(tx, base_id)
    with_vectors = embedders.wanted is not None and row.vector_set is not None
    answer_at = row.answer_at_with_vectors if with_vectors else row.answer_at
    learnt = row.calibration if with_vectors else row.calibration["words"]
    return Trial(seed, learnt.get("precision"), answer_at, tuple(replies))


async def _confirm(
    found: Stand, base_id: int, case: Case, questions: Sequence[dict[str, Any]], embedders: Embedders
) -> None:
    """People say which entry answers these questions, five each, and the base learns from it."""
    now = datetime.now(UTC)
    async with found.database.transaction(found.workspace) as tx:
        articles = await queries.articles(tx, base_id, limit=10_000)
        ids = {article.category or Path(article.source_name or "").stem: article.id for article in articles}
        for number, question in enumerate(questions):
            if number % MOST_A_DAY == 0:
                contact = await tx.value(
                    "insert into contact (workspace_id) values (%(workspace)s) returning id", workspace=found.workspace
                )
            await record_evidence(
                tx,
                ids[case.right[question["id"]]],
                question["text"],
                kind=EvidenceKind.TAP,
                by=Actor("contact", contact),
                now=now,
            )
    await calibrate(found.database, found.workspace, base_id, embedders=embedders, now=now)


def figures(trials: Sequence[Trial]) -> dict[str, Any]:
    """What was promised and what was delivered, in percent; None where nothing was answered."""
    counted = {kind: [one for trial in trials for one in trial.replies if one.kind == kind] for kind in _WEIGHTS}
    answered = {kind: [one for one in replies if one.answered] for kind, replies in counted.items()}
    share = {
        kind: _WEIGHTS[kind] * len(answered[kind]) / len(replies) if replies else 0.0
        for kind, replies in counted.items()
    }
    weight = sum(share.values())
    right = sum(one.right for one in answered["inside"])
    delivered = _WEIGHTS["inside"] * right / len(counted["inside"]) / weight if weight else None
    # A promise counts as much as what was answered under it.
    promises = [(trial.promised, sum(one.answered for one in trial.replies)) for trial in trials]
    kept = [(promised, count) for promised, count in promises if promised is not None]
    answers = sum(count for _, count in kept)
    promised = sum(promised * count for promised, count in kept) / answers if answers else None
    given = sum(map(len, answered.values()))
    told = {kind: [one for one in replies if one.told is not None] for kind, replies in counted.items()}
    telling = {kind: _WEIGHTS[kind] * len(told[kind]) / max(len(replies), 1) for kind, replies in counted.items()}
    correct = _WEIGHTS["inside"] * sum(one.told_right for one in told["inside"]) / max(len(counted["inside"]), 1)
    true = correct / sum(telling.values()) if sum(telling.values()) else None
    said = sum(map(len, told.values()))
    return {
        "seeds": len(trials),
        "promised": _percent(promised),
        "delivered": _percent(delivered),
        "difference": _percent(delivered - promised) if delivered is not None and promised is not None else None,
        "error": _percent(math.sqrt(delivered * (1 - delivered) / given)) if delivered is not None and given else None,
        "answers": given,
        "coverage": _percent(len(answered["inside"]) / max(len(counted["inside"]), 1)),
        "near_answered": _percent(len(answered["near"]) / max(len(counted["near"]), 1)),
        "far_answered": _percent(len(answered["far"]) / max(len(counted["far"]), 1)),
        "told": {kind: _percent(len(those) / max(len(counted[kind]), 1)) for kind, those in told.items()},
        "told_delivered": _percent(true),
        "told_difference": _percent(true - promised) if true is not None and promised is not None else None,
        "told_error": _percent(math.sqrt(true * (1 - true) / said)) if true is not None and said else None,
        "answer_at": [None if trial.answer_at is None else round(trial.answer_at, 3) for trial in trials],
    }


_WEIGHTS = {"inside": INSIDE, "near": NEAR, "far": FAR}


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--phrasings", default="0,2", help="similar questions an entry, several with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--words", action="store_true", help="by words only")
    parser.add_argument("--confirmed", action="store_true", help="after people confirmed every second question")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--replies", type=Path, help="write every reply to this file, as JSON lines")
    chosen = parser.parse_args()
    embedders = NO_EMBEDDERS if chosen.words else LOCAL
    results = []
    async with stand() as found:
        for folder in chosen.folder:
            for phrasings in map(int, chosen.phrasings.split(",")):
                case = Case.of(folder, phrasings=phrasings)
                trials = [
                    await tried(
                        found,
                        case,
                        seed,
                        embedders,
                        f"{folder.name}-{phrasings}-{seed}".lower(),
                        confirmed=chosen.confirmed,
                    )
                    for seed in range(1, chosen.seeds + 1)
                ]
                result = {"data": folder.name, "phrasings": phrasings, **figures(trials)}
                results.append(result)
                if not chosen.json:
                    print("  ".join(f"{name} {value}" for name, value in result.items()), flush=True)
                if chosen.replies:
                    with chosen.replies.open("a", encoding="utf-8") as file:
                        for trial in trials:
                            line = {"data": folder.name, "phrasings": phrasings, **asdict(trial)}
                            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    if chosen.json:
        print(json.dumps(results, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
