"""A threshold and its promise: few near misses get through, and contacts are delivered what was promised."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.knowledge.material import SAMPLE, write_table
from zhiban.integrations.sentence_encoder import SentenceEncoder
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.knowledge import queries, service
from zhiban.knowledge.precision import (
    BY_WORDS,
    MOST_NEAR_ANSWERED,
    WITH_VECTORS,
    Halves,
    Sample,
    fit,
    fit_documents,
)
from zhiban.knowledge.retrieval import ConfidenceBand, find
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

MESSAGES = Path(__file__).parents[2] / "bench" / "messages_shop.jsonl"


def asked(dice: random.Random, articles: int, *, found: float, sure: float, near: float) -> list[Halves]:
    """Questions of a base, each asked with and without its article. Right answers are surer than wrong ones."""
    halves = []
    for article in range(articles):
        right = dice.random() < found
        inside = Sample(dice.gauss(sure if right else near, 0.15), right)
        halves.append(Halves(article, inside, Sample(dice.gauss(near, 0.15), first=False)))
    return halves


@pytest.mark.parametrize("reference", [BY_WORDS, WITH_VECTORS])
@pytest.mark.parametrize("near", [0.4, 0.7, 1.0])
def test_few_near_misses_get_through_wherever_they_lie(reference: object, near: float) -> None:
    dice = random.Random(3)
    learnt = fit(asked(dice, 400, found=0.9, sure=near + 0.6, near=near), WITH_VECTORS, similar_per_article=3)
    assert learnt.answer_at is not None
    fresh = asked(dice, 4000, found=0.9, sure=near + 0.6, near=near)
    through = sum(half.outside.confidence >= learnt.answer_at for half in fresh) / len(fresh)
    assert through <= MOST_NEAR_ANSWERED + 0.02


def test_a_small_base_leans_on_what_others_have_shown_and_a_large_one_on_itself() -> None:
    small = fit([Halves(at, None, Sample(0.8, first=False)) for at in range(20)], WITH_VECTORS)
    large = fit([Halves(at, None, Sample(1.0, first=False)) for at in range(2000)], WITH_VECTORS)
    assert small.answer_at is not None
    assert small.answer_at == pytest.approx((20 * 0.8 + 30 * 1.15) / 50)
    assert large.answer_at == pytest.approx(1.0, abs=0.01)
    assert small.precision == pytest.approx(WITH_VECTORS.precision(small.answer_at))
    tiny = fit([Halves(at, None, Sample(0.8, first=False)) for at in range(19)], WITH_VECTORS)
    assert (tiny.answer_at, tiny.trusted, tiny.reason) == (None, False, "few")


def test_a_base_whose_near_misses_are_far_is_not_believed_to_deliver_less_than_is_wanted() -> None:
    learnt = fit([Halves(at, None, Sample(0.1, first=False)) for at in range(2000)], WITH_VECTORS)
    assert learnt.precision is not None
    assert learnt.precision >= 0.94
    assert learnt.answer_at == pytest.approx(0.9, abs=0.01)


def test_entries_that_mean_the_same_are_told_and_nothing_is_promised() -> None:
    dice = random.Random(1)
    learnt = fit(asked(dice, 300, found=0.5, sure=1.3, near=1.3), WITH_VECTORS, similar_per_article=3)
    assert (learnt.answer_at, learnt.precision, learnt.trusted, learnt.reason) == (None, None, False, "alike")


def test_the_questions_that_people_confirmed_replace_what_authors_wrote() -> None:
    """Contacts' words are further from everything than authors' are; so what is sure enough lies lower, too."""
    dice = random.Random(2)
    authors = asked(dice, 80, found=0.9, sure=1.4, near=0.9)
    contacts = asked(dice, 120, found=0.85, sure=0.9, near=0.4)
    before = fit(authors, WITH_VECTORS, similar_per_article=2)
    after = fit(authors, WITH_VECTORS, confirmed=contacts, similar_per_article=2)
    assert before.answer_at is not None
    assert after.answer_at is not None
    assert after.precision is not None
    assert after.answer_at < before.answer_at - 0.15
    assert (before.confirmed, after.confirmed) == (0, 120)
    assert (before.by_authors, after.by_authors) == (None, before.answer_at)
    fresh = asked(dice, 4000, found=0.85, sure=0.9, near=0.4)
    answered = [half.inside for half in fresh if half.inside and half.inside.confidence >= after.answer_at]
    near = sum(half.outside.confidence >= after.answer_at for half in fresh)
    delivered = 0.7 * sum(one.first for one in answered) / (0.7 * len(answered) + 0.15 * near)
    assert abs(delivered - after.precision) <= 0.03
    assert near / len(fresh) <= 0.10


def test_answers_that_people_call_wrong_raise_the_threshold_or_end_answering() -> None:
    dice = random.Random(4)
    authors = asked(dice, 80, found=0.9, sure=1.4, near=0.9)
    wrong = [Halves(at, Sample(1.2, first=False), Sample(0.4, first=False)) for at in range(60)]
    learnt = fit(authors, WITH_VECTORS, confirmed=wrong, similar_per_article=2)
    assert (learnt.answer_at, learnt.reason) == (None, "wrong")
    right = [Halves(at, Sample(1.6, first=True), Sample(0.4, first=False)) for at in range(200)]
    learnt = fit(authors, WITH_VECTORS, confirmed=[*wrong, *right], similar_per_article=2)
    assert learnt.answer_at is not None
    assert learnt.answer_at > 1.2


def test_documents_answer_when_enough_people_have_confirmed_enough_answers() -> None:
    right = [Sample(0.9, first=True) for _ in range(12)]
    assert fit_documents(right, people=5).answer_at == 0.70
    assert fit_documents(right, people=4).answer_at is None
    assert fit_documents(right[:9], people=9).answer_at is None
    assert fit_documents([], people=0).answer_at is None
    assert fit_documents([Sample(0.5, first=True) for _ in range(99)], people=99).answer_at is None
    doubtful = [*right, *(Sample(0.8, first=False) for _ in range(12))]
    assert fit_documents(doubtful, people=9).answer_at == 0.9
    assert fit_documents([*right, *(Sample(0.95, first=False) for _ in range(12))], people=9).answer_at is None


# ------------------------------------------------------------------------------------------- contacts' words


@dataclass
class Delivered:
    answered: int
    right: int
    near: int
    near_answered: int


async def delivered(db: Database, workspace: int, base_id: int, known: set[str], embedders: Embedders) -> Delivered:
    """What a base of these entries makes of the customers' messages of the benchmark."""

    async def base(_: object) -> int:
        return base_id

    counted = Delivered(0, 0, 0, 0)
    for line in MESSAGES.read_text(encoding="utf-8").splitlines():
        message = json.loads(line)
        want = message["want"]
        if len(message["says"]) > 1 or not isinstance(want, list) or len(want) > 1 or not isinstance(want[0], str):
            continue
        found = await find(lambda: db.transaction(workspace), base, message["says"][0], embedders=embedders)
        answered = found.zone is ConfidenceBand.ANSWER
        if want[0] in known:
            counted.answered += answered
            counted.right += answered and found.passages[0].title == want[0]
        else:
            counted.near += 1
            counted.near_answered += answered
    return counted


@pytest.mark.parametrize("with_vectors", [False, True])
async def test_a_base_delivers_to_contacts_what_it_promises(
    db: Database, workspace: int, clock: SetClock, tmp_path: Path, *, with_vectors: bool
) -> None:
    """Halves of the sample base, with two similar questions an entry; the other half's questions have no answer."""
    embedders = Embedders(SentenceEncoder()) if with_vectors else NO_EMBEDDERS
    await service.import_paths(db, workspace, "whole", [SAMPLE], now=clock.now())
    async with db.transaction(workspace) as tx:
        whole = await service.ensure_base(tx, "whole", "whole")
        rows = list(csv.DictReader(io.StringIO(await service.export(tx, whole, now=clock.now()))))
    entries = [
        {
            "id": row["category"],
            "text": row["question"],
            "alts": row["similar_questions"].split("\n")[:2],
            "answer": row["answer"],
        }
        for row in rows
    ]
    promised, sums = [], Delivered(0, 0, 0, 0)
    for seed in (1, 2):
        half = random.Random(seed).sample(entries, len(entries) // 2)
        table = write_table(tmp_path / str(seed) / "faq.csv", half)
        await service.import_paths(db, workspace, f"half{seed}", [table], embedder=embedders.wanted, now=clock.now())
        async with db.transaction(workspace) as tx:
            base = await queries.base_by_slug(tx, f"half{seed}")
        assert base is not None
        assert base.calibration["trusted"]
        promised.append(base.calibration["precision"])
        found = await delivered(db, workspace, base.id, {str(entry["text"]) for entry in half}, embedders)
        sums = Delivered(
            sums.answered + found.answered,
            sums.right + found.right,
            sums.near + found.near,
            sums.near_answered + found.near_answered,
        )
    assert sums.answered >= 20
    assert sums.near_answered / sums.near <= 0.10
    inside = 0.7 * sums.answered / sums.near  # as many questions in each half, within one
    wrong = 0.15 * sums.near_answered / sums.near
    precision = 0.7 * sums.right / sums.near / (inside + wrong)
    assert precision == pytest.approx(sum(promised) / 2, abs=0.05)  # a hundred answers cannot tell more
