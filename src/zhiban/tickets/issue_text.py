"""What of an issue is compared with what people say: its words, and what an embedder reads of it."""

from __future__ import annotations

import re
from functools import cache
from hashlib import blake2b

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.tokens import is_han
from zhiban.knowledge.bm25 import sparse_weights
from zhiban.knowledge.tokenizer import counts, terms
from zhiban.knowledge.vectors import text_to_embed

SEARCHED_CHARACTERS = 4_000  # of a text; what comes later in it tells issues apart no better
PIVOT = 200.0  # terms of an issue of usual length: fixed, so that no issue is weighed anew because of others

# English words that say nothing of what a text is about. Of Chinese ones the language at large knows it
# (`knowledge.corpus_stats`), and a tokenizer cannot: a repository with few English issues takes them for rare.
_EMPTY_WORDS = """
    a about after again all also am an and any anybody are as at be because been before but by can cannot could did do
    does doesn done don even every for from get gets had has have he hello help her here hi his how i if in instead into
    is isn it its just know let like me more most my no not nothing now of off on one only or other our out over own
    please s same see she should so some somebody still t than thank thanks that the their them then there these they
    thing this those to too up us ve very want was way we were what when where which while who why will with without
    would yes you your"""

# What forms and machines put into an issue is the same in most of them, or means nothing to an embedder.
_NOT_PROSE = re.compile(
    r"<!--.*?-->"  # what a form explains
    r"|^(`{3,}|~{3,}).*?^\1[^\n]*$"  # logs and code
    r"|^\s*#{1,6}\s.*?$"  # headings of a form
    r"|^\s*[-*]\s\[[ xX]\].*?$"  # its boxes
    r"|^\s*\|.*?$"  # tables
    r"|!\[[^\]\n]*\]\([^)\n]*\)"
    r"|https?://\S+"
    r"|<[a-zA-Z/][^<>\n]*>",
    re.DOTALL | re.MULTILINE,
)


@frozen_dataclass
class IssueTerms:
    """The words of an issue: which there are, and how much each weighs there, as a packed `sparsevec`."""

    numbers: list[int]
    weights: bytes


def terms_of(title: str, body: str) -> IssueTerms:
    """A word of the title counts twice."""
    counted = counts(f"{title}\n{body[:SEARCHED_CHARACTERS]}")
    counted.update(counts(title))
    return IssueTerms(sorted(counted), sparse_weights(counted, counted.total(), PIVOT))


def key_of(repository_id: int, term: int) -> int:
    """The term in this repository."""
    return repository_id << 32 | term


@cache
def _empty_terms() -> frozenset[int]:
    return frozenset(terms(_EMPTY_WORDS))


def asked_terms(text: str) -> list[int]:
    """The words by which issues are looked for."""
    return sorted(set(terms(text[:SEARCHED_CHARACTERS])) - _empty_terms())


def prose(body: str) -> str:
    """What somebody wrote in an issue, without forms, logs and addresses."""
    return _NOT_PROSE.sub(" ", body[: 4 * SEARCHED_CHARACTERS])


def embedded_text(title: str, body: str) -> str:
    """What an embedder reads of an issue: the title and how the text begins."""
    return text_to_embed(f"{title}\n{prose(body)}")


def digest_of(title: str, body: str) -> bytes:
    """The same as long as an embedder would read the same."""
    return blake2b(embedded_text(title, body).encode(), digest_size=16).digest()


def mostly_han(text: str) -> bool:
    """Whether a text is Chinese, English words in it and all: a character says as much as some three letters."""
    han = sum(map(is_han, text))
    return 3 * han > sum(map(str.isalpha, text)) - han
