"""How much two questions that nothing answered are about the same thing: by their words, and by their meaning.

Both look mostly at what a question is about. How it asks (怎么, 能不能, 多少钱 …) is common to all questions and would
bring together what has nothing else in common.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations
from operator import mul

from zhiban.kit.tokens import normalise
from zhiban.knowledge.corpus_stats import term_priors
from zhiban.knowledge.tokenizer import terms
from zhiban.knowledge.vectors import text_to_embed
from zhiban.ports import Embedder, ModelUnavailable

BY_WORDS = 0.14  # shared weight over all weight, from which a question belongs to a group
# How far beyond what questions have in common anyway, in standard deviations, a question belongs to a group.
BY_MEANING = 4.3

_HOW = re.compile(
    r"多长时间|什么时候|啥时候|啥时|何时|几时|多久|几天|几点|多少钱|多少|怎么回事|怎么办|怎么样|怎么|怎样|怎麽|咋办|咋回事|咋|如何"
    r"|为什么|为啥|为何|什么|啥|哪里|哪儿|哪个|哪|谁|能不能|可不可以|是不是|有没有|要不要|会不会|行不行|可以|是否|能否|可否"
    r"|请问|麻烦|知道|告诉|一下|的话|需要|想要|我想|我要|帮我|给我|帮忙|你们家?|我们|贵公司|你家|咱们?|这款|这个|那个|这种|那种|这里|那里|支持"
    r"|[能可会要吗么嘛呢吧啊呀哦哈呗麼的了着过我你您他她它俺想问请就都也还再又很]"
    r"|\b(?:how|what|when|where|who|why|which|can|could|do|does|did|is|are|may|it|that|this|the|an?|i|you|my|your|to|for"
    r"|of|please|have|has)\b"
)
# Questions that have nothing to do with each other: what an embedder finds alike in them is what it finds in any two.
_UNRELATED = (
    "退款多久到账",
    "可以开发票吗",
    "你们几点下班",
    "怎么修改密码",
    "有没有红色的",
    "能不能上门安装",
    "快递到哪里了",
    "这个怎么用",
    "孩子几岁可以用",
    "会员有什么好处",
    "保修几年",
    "附近有地铁站吗",
    "怎么取消订单",
    "水温能调吗",
    "招不招兼职",
    "可以带宠物吗",
    "运费是多少钱",
    "为什么登录不上",
    "尺码偏大还是偏小",
    "什么时候开始报名",
    "机器声音太大了",
    "能用信用卡付款吗",
    "过敏的人能吃吗",
    "说明书在哪里下载",
)


def subject(text: str) -> str:
    """What a question is about: its words without those that only ask. All of them when nothing else is left."""
    plain = normalise(text)
    left = " ".join(_HOW.sub(" ", plain).split())
    return left.strip(" ?,.!，。？！~…") or plain.strip()


def subject_terms(text: str) -> list[int]:
    """The terms of what a question is about, each once, in order."""
    return sorted(set(terms(subject(text)))) or sorted(set(terms(text)))


def telling(of: Sequence[int], *, most: int) -> list[int]:
    """The rarest of these terms: what is like a question has at least one of them."""
    rarity = term_priors().rarity
    return sorted(of, key=lambda term: (-rarity(term), term))[:most]


async def meanings(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """One vector of length 1 a question: of all its words, and once more of what it is about.

    Raises ModelUnavailable.
    """
    if not texts:
        return []
    vectors = await embedder.embed(
        [text_to_embed(text) for text in texts] + [text_to_embed(subject(text)) for text in texts], purpose="passage"
    )
    if len(vectors) != 2 * len(texts) or len({len(vector) for vector in vectors}) != 1:
        raise ModelUnavailable("The embedder returned vectors that do not fit what it was asked.")
    return [_sum(one, other) for one, other in zip(vectors[: len(texts)], vectors[len(texts) :], strict=True)]


async def closeness(embedder: Embedder) -> float:
    """The cosine from which two questions are about the same, by this embedder. Raises ModelUnavailable.

    Every embedder has a scale of its own, so it is measured on questions that have nothing to do with each other.
    """
    vectors = await meanings(embedder, _UNRELATED)
    found: list[float] = [sum(map(mul, one, other)) for one, other in combinations(vectors, 2)]
    mean = sum(found) / len(found)
    spread = math.sqrt(sum((value - mean) ** 2 for value in found) / len(found))
    return mean + BY_MEANING * spread


def _sum(one: Sequence[float], other: Sequence[float]) -> list[float]:
    both = [first + second for first, second in zip(one, other, strict=True)]
    size = math.sqrt(sum(map(mul, both, both))) or 1.0
    return [value / size for value in both]
