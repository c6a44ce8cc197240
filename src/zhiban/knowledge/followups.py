"""Understand a question that leans on the one before it, without a language model.

"那运费呢？" after "怎么退货" asks for the freight of a return. The question keeps its full weight; the words of the
conversation that it does not have itself join with less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.tokens import normalise
from zhiban.knowledge.tokenizer import NO_SYNONYMS, Synonyms, terms

NEAREST = 0.7  # weight of the words of the last question, halved with every step further back
SHARE = 1.0  # the most that one earlier text may weigh, in terms of the question's own
REMEMBERED = 3
SHORT = 12  # characters; a longer question names its subject
TINY = 6

_OPENING = re.compile(
    r"^(?:嗯|哦|噢|好的?|ok|谢谢|明白了?|知道了)*[,，。!！~、\s]*(?:那么?|然后|还有|另外|如果|要是|万一|但是?|可是|所以|这样的?话?|同样)"
)
_POINTING = re.compile(
    r"它|他们|她们|这个|那个|这种|那种|这些|那些|这样|那样|上面|刚才|刚刚|前面|两者|一样吗|也(?:可以|能|是|要|行|支持|有)"
)
_CLOSING = re.compile(r"呢[?？!！。~\s]*$")
_LETTERS = re.compile(r"\w")


@frozen_dataclass
class ExpandedQuery:
    """The terms of a question with their weight (1 for its own), and which earlier words helped."""

    weights: dict[int, float]
    leaning_on: tuple[str, ...] = ()


def is_follow_up(question: str) -> bool:
    """Whether the question says by its form that it continues what was said before."""
    plain = normalise(question).strip()
    size = len(_LETTERS.findall(plain))
    if size == 0 or size > SHORT:
        return False
    return bool(_OPENING.search(plain) or _POINTING.search(plain) or _CLOSING.search(plain))


def is_tiny(question: str) -> bool:
    """Whether the question is so short that it may lean on the conversation without saying so ("多久到账")."""
    return 0 < len(_LETTERS.findall(normalise(question))) <= TINY


def stripped(question: str) -> str:
    """The question without the words that only tie it to what was said before."""
    plain = normalise(question).strip()
    without = _CLOSING.sub("", _OPENING.sub("", plain)).strip()
    return without if _LETTERS.search(without) else plain


def standalone(question: str, synonyms: Synonyms = NO_SYNONYMS) -> ExpandedQuery:
    return ExpandedQuery(dict.fromkeys(terms(question, synonyms), 1.0))


def in_context(question: str, context: Sequence[str]) -> str:
    """The question behind what was asked before it, for an embedder to read."""
    before = next((text for text in reversed(context) if text.strip()), "")
    return f"{before} {stripped(question)}".strip()


def with_context(question: str, context: Sequence[str], synonyms: Synonyms = NO_SYNONYMS) -> ExpandedQuery:
    """The question with the words of `context` (oldest first) added."""
    weights = dict.fromkeys(terms(stripped(question), synonyms), 1.0)
    used = [text for text in context if text.strip()][-REMEMBERED:]
    weight, own = NEAREST, len(weights)
    for text in reversed(used):
        joining = [term for term in dict.fromkeys(terms(text, synonyms)) if term not in weights]
        # Together they must not outweigh what is asked now, or the last answer would be found again and again.
        share = min(weight, SHARE * own / len(joining)) if joining else 0.0
        weights.update(dict.fromkeys(joining, share))
        weight /= 2
    return ExpandedQuery(weights, tuple(used))


def texts_of(question: str, context: Sequence[str] = ()) -> list[str]:
    """Whose vectors a search for this question may want."""
    if not context or not (is_follow_up(question) or is_tiny(question)):
        return [question]
    return [question, in_context(question, context)]
