"""Which confidence is sure enough, and how many of the answers given from there on will be right. Pure.

What a base says about itself is biased. Its phrasings were written to differ from each other, so that one held out is
found worse than contacts' words are; and they are short, so that it comes nearer to an entry that is not there. What
bases have in common carries further: how precise an answer of this confidence is to a contact (`Reference`, measured
on seven bases, see decision 0036). So the base says how near its entries are to each other, the reference says what
a threshold delivers, and both give way to what people have confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from zhiban.kit.frozen_dataclass import frozen_dataclass

# Of all traffic: questions that have an answer, and those that only come near to one. The rest is about something else
# and so far away that it is not answered (one in 500, at any threshold learnt here).
ANSWERABLE, NEAR = 0.70, 0.15
MOST_NEAR_ANSWERED = 0.08  # of those that only come near; leaves room below one in ten
WANTED_PRECISION = 0.94  # a base that cannot do better does not answer by itself; at 0.88 learning added wrong answers
FEWEST_SAMPLES = 20
REFERENCE_ENTRIES = 30  # the reference weighs as much as so many entries of the base
REFERENCE_ANSWERS = 30  # and as so many confirmed answers
ENOUGH_CONFIRMED = 30  # contacts' own questions, from which on nothing is concluded from authors' words
CONFIRMED_WEIGHT = 2.0  # of a contact's question, in entries
# Entries that mean the same make every second answer wrong, whatever the reference says.
TOO_ALIKE = 0.75  # no base found a smaller share of its own phrasings, allowing for chance
DEVIATIONS = 1.64  # standard errors that chance is allowed, one in twenty beyond


@frozen_dataclass
class Sample:
    """What happened to one question: confidence, and whether the first passage was right."""

    confidence: float
    first: bool
    chunk_id: int | None = None  # what came first, where that is not the right one
    among_three: bool = False  # whether one of the first three passages was right


@frozen_dataclass
class Halves:
    """A question asked of the base without this phrasing (where the article has others), and without the article."""

    article_id: int
    inside: Sample | None
    outside: Sample


@frozen_dataclass
class Reference:
    """What thresholds delivered on bases whose contacts' questions and right answers were known.

    `usual` is the confidence that all but `MOST_NEAR_ANSWERED` of the near misses stay below; `wrong` the share of
    wrong answers from 0.6 on, which shrinks by `falls` with each unit of confidence.
    """

    usual: float
    wrong: float
    falls: float

    def precision(self, answer_at: float) -> float:
        """The share of right answers from this confidence on."""
        return 1 - min(self.wrong * math.exp(-self.falls * (answer_at - 0.6)), 1.0)

    def reaches(self, precision: float) -> float:
        """The lowest confidence from which on this share of the answers is right."""
        return 0.6 + math.log(self.wrong / (1 - precision)) / self.falls


BY_WORDS = Reference(usual=1.0, wrong=0.10, falls=1.7)
WITH_VECTORS = Reference(usual=1.15, wrong=0.12, falls=2.3)


@frozen_dataclass
class Calibration:
    """What a base has learnt. `answer_at` is None where it does not answer by itself, `reason` says why not."""

    answer_at: float | None
    precision: float | None  # promised, at `answer_at`
    coverage: float | None  # share of answerable questions that are answered rightly; None: nothing to tell it by
    samples: int  # phrasings that were held out beside others
    similar_per_article: float
    trusted: bool
    confirmed: int = 0  # contacts' own questions, with what people confirmed
    near_answered: float | None = None  # share of the questions that only come near to an entry
    by_authors: float | None = None  # the threshold before contacts moved it; None where they have not
    reason: str = ""  # few, alike, wrong


def fit(
    held_out: Sequence[Halves],
    reference: Reference,
    *,
    confirmed: Sequence[Halves] = (),
    similar_per_article: float = 0.0,
) -> Calibration:
    """The lowest threshold that lets few near misses through and delivers enough, and what it delivers.

    `held_out` are the base's phrasings, `confirmed` contacts' own questions with what people confirmed of them.
    """
    tried = [half.inside for half in held_out if half.inside is not None]
    asked = [half.inside for half in confirmed if half.inside is not None]
    if len(held_out) + len(confirmed) < FEWEST_SAMPLES:
        return _nothing(len(tried), len(asked), similar_per_article, "few")
    answer_at = _threshold(held_out, confirmed, reference)
    if _too_alike([sample for sample in tried if sample.confidence >= answer_at]):
        return _nothing(len(tried), len(asked), similar_per_article, "alike")
    for at in (answer_at, *sorted({sample.confidence for sample in asked if sample.confidence > answer_at})):
        precision = _precision(at, confirmed, reference)
        if precision >= WANTED_PRECISION:
            enough = asked if len(asked) >= ENOUGH_CONFIRMED else tried
            near = confirmed if len(asked) >= ENOUGH_CONFIRMED else held_out
            return Calibration(
                at,
                precision,
                _share(sample.first and sample.confidence >= at for sample in enough),
                len(tried),
                similar_per_article,
                trusted=True,
                confirmed=len(asked),
                near_answered=_share(half.outside.confidence >= at for half in near),
                by_authors=_threshold(held_out, (), reference) if len(confirmed) >= ENOUGH_CONFIRMED else None,
            )
    return _nothing(len(tried), len(asked), similar_per_article, "wrong")


def _nothing(samples: int, confirmed: int, similar_per_article: float, reason: str) -> Calibration:
    return Calibration(
        None, None, None, samples, similar_per_article, trusted=False, confirmed=confirmed, reason=reason
    )


def _share(hits: Iterable[bool]) -> float | None:
    counted = list(hits)
    return sum(counted) / len(counted) if counted else None


def _threshold(held_out: Sequence[Halves], confirmed: Sequence[Halves], reference: Reference) -> float:
    return max(_keeps_out(held_out, confirmed, reference), reference.reaches(WANTED_PRECISION))


def _keeps_out(held_out: Sequence[Halves], confirmed: Sequence[Halves], reference: Reference) -> float:
    """The confidence that few near misses reach: the base's own, drawn to the usual one the less it has to show."""
    if len(confirmed) >= ENOUGH_CONFIRMED:
        own, weight = _near(confirmed), len(confirmed) * CONFIRMED_WEIGHT
    else:
        own, weight = _near(held_out), float(len({half.article_id for half in held_out}))
    return (weight * own + REFERENCE_ENTRIES * reference.usual) / (weight + REFERENCE_ENTRIES)


def _near(halves: Sequence[Halves]) -> float:
    if not halves:
        return 0.0
    ordered = sorted(half.outside.confidence for half in halves)
    return ordered[min(int(len(ordered) * (1 - MOST_NEAR_ANSWERED)), len(ordered) - 1)]


def _too_alike(found: Sequence[Sample]) -> bool:
    """Whether so many phrasings find another entry first that chance cannot have done it."""
    if len(found) < FEWEST_SAMPLES:
        return False
    right = sum(sample.first for sample in found) / len(found)
    return right + DEVIATIONS * math.sqrt(max(right * (1 - right), 0.01) / len(found)) < TOO_ALIKE


def _precision(answer_at: float, confirmed: Sequence[Halves], reference: Reference) -> float:
    """What the threshold delivers: as on other bases, the less so the more people have confirmed about this one."""
    expected = reference.precision(answer_at)
    asked = [half.inside for half in confirmed if half.inside is not None]
    answered = [sample for sample in asked if sample.confidence >= answer_at]
    if not answered:
        return expected
    inside = ANSWERABLE * len(answered) / len(asked)
    near = NEAR * sum(half.outside.confidence >= answer_at for half in confirmed) / len(confirmed)
    delivered = ANSWERABLE * sum(sample.first for sample in answered) / len(asked) / (inside + near)
    return (REFERENCE_ANSWERS * expected + len(answered) * delivered) / (REFERENCE_ANSWERS + len(answered))


# ------------------------------------------------------------------------------------------------- documents

DOCUMENT_ANSWER_AT = 0.70  # measured on CMRC: 96 % of what it answers was there to find, and 98 % of that is right
WANTED_OF_DOCUMENTS = 0.88
FEWEST_DOCUMENT_ANSWERS = 10  # that people confirmed, at this confidence
FEWEST_PEOPLE = 5  # who confirmed them, and who move a threshold: nobody does so alone


@frozen_dataclass
class DocumentEvidence:
    """Whether the documents of a base may answer by themselves, and what people have confirmed of them."""

    answer_at: float | None
    precision: float | None
    confirmed: int
    people: int


def fit_documents(confirmed: Sequence[Sample], *, people: int) -> DocumentEvidence:
    """From which confidence on sections of documents answer; they never do without enough confirmed answers."""
    for at in (
        DOCUMENT_ANSWER_AT,
        *sorted({one.confidence for one in confirmed if one.confidence > DOCUMENT_ANSWER_AT}),
    ):
        answers = [sample for sample in confirmed if sample.confidence >= at]
        right = sum(sample.first for sample in answers)
        if right < FEWEST_DOCUMENT_ANSWERS or people < FEWEST_PEOPLE:
            break
        # As if one more had been right and one more wrong.
        precision = (right + 1) / (len(answers) + 2)
        if precision >= WANTED_OF_DOCUMENTS:
            return DocumentEvidence(at, precision, len(confirmed), people)
    return DocumentEvidence(None, None, len(confirmed), people)
