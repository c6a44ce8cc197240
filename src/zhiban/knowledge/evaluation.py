"""How good a base is: what it finds first and among three, what it does with its thresholds, and where it is wrong.

Everything that measures counts by these formulas: `kb eval`, the JSON API and the benchmarks.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from zhiban.kit.db import Transaction, Transactions
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries
from zhiban.knowledge.calibration import PhrasingTrial, ask_phrasings
from zhiban.knowledge.confirmed import confirmed_questions
from zhiban.knowledge.precision import ANSWERABLE, NEAR
from zhiban.knowledge.queries import BaseRow
from zhiban.knowledge.retrieval import ConfidenceBand, SearchResult, find, thresholds_of
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders

MOST_WRONG = 20  # questions that are listed
MOST_QUESTIONS = 2_000  # of a file


# ------------------------------------------------------------------------------------------------- formulas


@frozen_dataclass
class Verdict:
    """What became of one question.

    `known`: it has an answer in the base. `right`: the first passage is it; `among_three`: one of the first three is.
    `expected` and `found` are titles, as far as they are known; what was expected may be taken out (not `known`).
    """

    question: str
    confidence: float
    known: bool
    right: bool
    among_three: bool
    zone: ConfidenceBand
    expected: str = ""
    found: str = ""

    @property
    def answered(self) -> bool:
        return self.zone is ConfidenceBand.ANSWER


def percent(share: float) -> float:
    return round(100 * share, 1)


def share_of(hits: Iterable[bool]) -> float:
    """How many of them are true, in percent; 0 of none."""
    counted = list(hits)
    return percent(sum(counted) / len(counted)) if counted else 0.0


def auroc(inside: Sequence[Verdict], outside: Sequence[Verdict]) -> float | None:
    """How well the confidence tells questions with an answer from those without."""
    if not inside or not outside:
        return None
    wins = sum(
        (one.confidence > other.confidence) + 0.5 * (one.confidence == other.confidence)
        for one in inside
        for other in outside
    )
    return round(wins / (len(inside) * len(outside)), 3)


@frozen_dataclass
class Traffic:
    """How much the questions with an answer and those without count, of all that is asked."""

    inside: float
    outside: float

    def weights(self, inside: int, outside: int) -> tuple[float, float]:
        """What one question of each kind counts, where there are so many."""
        if not outside:
            return 1 / max(inside, 1), 0.0
        return self.inside / max(inside, 1), self.outside / outside


AS_CALIBRATED = Traffic(ANSWERABLE, NEAR)  # what is about something else is left out: it is not answered


def best(inside: Sequence[Verdict], outside: Sequence[Verdict], traffic: Traffic) -> dict[str, Any]:
    """What a threshold could reach at best. Coverage is the share of the answerable questions that are answered."""
    one_in, one_out = traffic.weights(len(inside), len(outside))
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
                {"coverage": percent(covered), "precision": percent(precision), "threshold": round(confidence, 3)}
            )
    return {
        "precision_at_80_coverage": percent(at_80),
        "coverage_at_90_precision": percent(coverage_at_90),
        "threshold_at_90_precision": threshold_at_90,
        "curve": curve,
    }


def answers(inside: Sequence[Verdict], outside: Sequence[Verdict], traffic: Traffic) -> dict[str, Any]:
    """What is answered directly, and how much of that is right; a precision of None where nothing is answered."""
    one_in, one_out = traffic.weights(len(inside), len(outside))
    answered = [one for one in inside if one.answered]
    weight = len(answered) * one_in + sum(one.answered for one in outside) * one_out
    return {
        "coverage": percent(len(answered) / max(len(inside), 1)),
        "precision": percent(sum(one.right for one in answered) * one_in / weight) if weight else None,
        "out_of_scope_answered": share_of(one.answered for one in outside),
        "zones": {
            zone.value: {
                "questions": sum(one.zone is zone for one in inside),
                "right": sum(one.zone is zone and one.right for one in inside),
                "in_menu": sum(one.zone is zone and one.among_three for one in inside),
                "out_of_scope": sum(one.zone is zone for one in outside),
            }
            for zone in ConfidenceBand
        },
    }


def measured(verdicts: Sequence[Verdict], traffic: Traffic = AS_CALIBRATED) -> dict[str, Any]:
    """Every figure of some questions, in percent where it is a share, and the wrong answers."""
    inside = [one for one in verdicts if one.known]
    outside = [one for one in verdicts if not one.known]
    wrong = sorted(
        (one for one in verdicts if one.answered and not one.right), key=lambda one: (not one.known, -one.confidence)
    )
    return {
        "questions": len(inside),
        "out_of_scope": len(outside),
        "r_at_1": share_of(one.right for one in inside),
        "r_at_3": share_of(one.among_three for one in inside),
        **answers(inside, outside, traffic),
        "curve": best(inside, outside, traffic)["curve"],
        "wrong": len(wrong),
        "wrong_answers": [
            {
                "question": one.question,
                "answered": one.found,
                "right": one.expected,
                "taken_out": bool(one.expected) and not one.known,
                "confidence": round(one.confidence, 3),
            }
            for one in wrong[:MOST_WRONG]
        ],
    }


# ------------------------------------------------------------------------------------------- configurations


@frozen_dataclass
class Configuration:
    """A way to run a base: other than it is by a threshold of the operator's, by words alone, or with another base."""

    base: str
    words: bool = False
    threshold: float | None = None
    name: str = ""
    instead_of: str = ""  # the base that serves, where this is another one

    @property
    def serving(self) -> str:
        return self.instead_of or self.base

    @classmethod
    def parse(cls, text: str, usual: Configuration) -> Configuration:
        """`words`, `vectors`, `threshold=0.6` or `base=OTHER`, several with commas between. Raises Misconfigured."""
        found = replace(usual, name=text)
        for part in (part.strip() for part in text.split(",")):
            what, _, value = part.partition("=")
            match what:
                case "words" | "vectors" if not value:
                    found = replace(found, words=what == "words")
                case "threshold":
                    found = replace(found, threshold=_number(value))
                case "base" if value:
                    found = replace(found, base=value, instead_of=usual.serving)
                case _:
                    raise Misconfigured(
                        f"{part} is no configuration. Give words, vectors, threshold=0.6 or base=NAME, or several "
                        "with commas between."
                    )
        return found

    def embedders(self, installed: Embedders) -> Embedders:
        return NO_EMBEDDERS if self.words else installed


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 10:
        raise Misconfigured(f"{value} is no threshold. Give a confidence such as 0.6.")
    return number


# ------------------------------------------------------------------------------------------------ questions


@frozen_dataclass
class LabelledQuestion:
    """A question and the titles or ids of the entries that answer it; none: nothing in the base does."""

    question: str
    expected: tuple[str, ...] = ()


def read_questions(text: str, *, name: str = "") -> list[LabelledQuestion]:
    """Labelled questions of a file: JSON lines with `question` and `expected`, or CSV with these columns.

    The columns may be Chinese (问题, 答案条目). Raises Misconfigured.
    """
    lines = text.lstrip("\ufeff")
    rows = _json_lines(lines) if lines.lstrip().startswith("{") else list(csv.DictReader(io.StringIO(lines)))
    found = []
    for row in rows:
        question = str(row.get("question") or row.get("问题") or "").strip()
        expected = row.get("expected") or row.get("答案条目") or ()
        if question:
            titles = (expected,) if isinstance(expected, str | int) else tuple(expected)
            found.append(LabelledQuestion(question, tuple(str(one).strip() for one in titles if str(one).strip())))
    if not found:
        raise Misconfigured(f"{name or 'The file'} holds no questions. It needs the columns question and expected.")
    if len(found) > MOST_QUESTIONS:
        raise Misconfigured(f"At most {MOST_QUESTIONS} questions are measured at once.")
    return found


def _json_lines(text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise Misconfigured(f"Line {number} is no JSON.") from error
            if not isinstance(row, dict):
                raise Misconfigured(f"Line {number} is no JSON object.")
            rows.append(row)
    return rows


@dataclass
class Evaluator:
    """Measures one configuration of a base. Each question has transactions of its own, so that nobody waits for it."""

    transaction: Transactions
    configuration: Configuration
    installed: Embedders
    threshold: float | None = None  # the installation's own
    titles: dict[str, int] = field(default_factory=dict)

    @property
    def _threshold(self) -> float | None:
        return self.configuration.threshold or self.threshold

    async def base(self) -> BaseRow:
        """Raises NotFound."""
        async with self.transaction() as tx:
            found = await queries.base_by_slug(tx, self.configuration.base)
        if found is None:
            raise NotFound(f"There is no knowledge base named {self.configuration.base}.")
        return found

    async def described(self) -> dict[str, Any]:
        """The configuration, and what the base promises in it."""
        base = await self.base()
        with_vectors = self._with_vectors(base)
        limits = thresholds_of(base, self._threshold, with_vectors=with_vectors)
        learnt = base.calibration if with_vectors else base.calibration.get("words") or base.calibration
        return {
            "base": base.slug,
            "by": base.embedder if with_vectors else "words",
            "answer_at": limits.answer_at if limits.trusted else None,
            "promised_precision": learnt.get("precision") if self._threshold is None else None,
            "suggest_at": limits.suggest_at,
        }

    def _with_vectors(self, base: BaseRow) -> bool:
        return base.vector_set is not None and self.configuration.embedders(self.installed).wanted is not None

    async def ask(self, question: str) -> SearchResult:
        async def chosen(tx: Transaction) -> int:
            found = await queries.base_by_slug(tx, self.configuration.base)
            if found is None:
                raise NotFound(f"There is no knowledge base named {self.configuration.base}.")
            return found.id

        return await find(
            self.transaction,
            chosen,
            question,
            embedders=self.configuration.embedders(self.installed),
            threshold=self._threshold,
        )

    async def labelled(self, asked: Sequence[LabelledQuestion]) -> dict[str, Any]:
        """The figures of labelled questions, as many of each kind as there are. Raises Misconfigured for a title that
        the base has not."""
        base = await self.base()
        expected = [await self._articles(base, one) for one in asked]
        verdicts = []
        for one, right in zip(asked, expected, strict=True):
            found = await self.ask(one.question)
            verdicts.append(_verdict(one.question, found, right, " / ".join(one.expected)))
        inside = sum(verdict.known for verdict in verdicts)
        as_asked = Traffic(inside / len(verdicts), 1 - inside / len(verdicts))
        return measured(verdicts, as_asked)

    async def _articles(self, base: BaseRow, asked: LabelledQuestion) -> frozenset[int]:
        if not self.titles:
            async with self.transaction() as tx:
                self.titles.update(await queries.titles_of_base(tx, base.id))
        known = set(self.titles.values())
        found = set()
        for one in asked.expected:
            article = int(one) if one.isascii() and one.isdecimal() else None
            if one in self.titles:
                found.add(self.titles[one])
            elif article in known and article is not None:
                found.add(article)
            else:
                raise Misconfigured(f"The knowledge base {base.slug} has no entry {one}.")
        return frozenset(found)

    async def confirmed(self, *, most: int) -> dict[str, Any]:
        """The figures of contacts' own questions that people have spoken about."""
        base = await self.base()
        async with self.transaction() as tx:
            said = (await confirmed_questions(tx, base.id))[-most:]
            titles = await queries.titles(tx, [one.article_id for one in said])
        verdicts = []
        for one in said:
            found = await self.ask(one.question)
            first = found.passages[0].article_id if found.passages else None
            if one.right:
                verdicts.append(
                    _verdict(one.question, found, frozenset({one.article_id}), titles.get(one.article_id, ""))
                )
            elif first == one.article_id:  # said to be no answer, and answered still
                verdicts.append(replace(_verdict(one.question, found, frozenset(), ""), known=True))
        return measured(verdicts)

    async def phrasings(self, *, most: int) -> dict[str, Any]:
        """The figures of the base's own phrasings, each held out: with its article, and with that imagined away."""
        base = await self.base()
        trials = await ask_phrasings(self.transaction, base.id, most=most)
        with_vectors = self._with_vectors(base)
        limits = thresholds_of(base, self._threshold, with_vectors=with_vectors)
        async with self.transaction() as tx:
            articles = await queries.articles_of_chunks(tx, list(_chunks(trials, with_vectors=with_vectors)))
            titles = await queries.titles(tx, [*articles.values(), *(trial.by_words.article_id for trial in trials)])
        verdicts = []
        for trial in trials:
            halves = trial.joint if with_vectors else trial.by_words
            if halves is None:
                continue
            for sample in filter(None, (halves.inside, halves.outside)):
                known = sample is halves.inside
                own = titles.get(halves.article_id, "")
                found = own if sample.first else titles.get(articles.get(sample.chunk_id or 0, 0), "")
                zone = ConfidenceBand.ANSWER if sample.confidence >= limits.answer_at else ConfidenceBand.SUGGEST
                verdicts.append(
                    Verdict(
                        trial.question,
                        sample.confidence,
                        known,
                        sample.first,
                        known and sample.among_three,
                        zone,
                        own,
                        found,
                    )
                )
        return measured(verdicts)


def _chunks(trials: Iterable[PhrasingTrial], *, with_vectors: bool) -> Iterable[int]:
    for trial in trials:
        halves = trial.joint if with_vectors else trial.by_words
        if halves is not None:
            yield from (one.chunk_id for one in (halves.inside, halves.outside) if one and one.chunk_id is not None)


def _verdict(question: str, found: SearchResult, right: frozenset[int], expected: str) -> Verdict:
    ids = [passage.article_id for passage in found.passages]
    return Verdict(
        question,
        found.confidence,
        bool(right),
        bool(ids) and ids[0] in right,
        any(one in right for one in ids[:3]),
        found.zone,
        expected,
        found.passages[0].title if found.passages else "",
    )


@frozen_dataclass
class Evaluation:
    """What was measured of one configuration; None where it was not asked for."""

    configuration: dict[str, Any]
    phrasings: dict[str, Any] | None
    confirmed: dict[str, Any] | None
    questions: dict[str, Any] | None

    def told(self) -> dict[str, Any]:
        return asdict(self)


async def evaluate(evaluator: Evaluator, asked: Sequence[LabelledQuestion] = (), *, most: int = 300) -> Evaluation:
    """Measure a configuration by its own phrasings, by what people confirmed, and by labelled questions."""
    return Evaluation(
        await evaluator.described(),
        await evaluator.phrasings(most=most),
        await evaluator.confirmed(most=most),
        await evaluator.labelled(asked) if asked else None,
    )
