"""What a contact asks, read out of what they wrote: clause by clause, without greetings, each question by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from zhiban.assistant import intents, polarity
from zhiban.assistant.clauses import clauses
from zhiban.assistant.person_requests import asks_for_person, without_request
from zhiban.assistant.rewrite import has_subject
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.patterns import lazy_pattern

MOST = 4  # questions that are answered at once; what comes after them is named
_CLEAR = 24  # letters up to which a question is looked up as it stands
_LOOKUPS = 4  # ways to look one question up
_PARTS = 6  # clauses of a long message that may tell what it is about
_SHORTEST, _LONGEST = 4, 40  # letters of such a clause

_SENTENCE = lazy_pattern(r"[^。！？!?；;…~\n\r]+[。！？!?；;…~\n\r]*")
_CLAUSE = lazy_pattern(r"[^,，、:：]+")
_BETWEEN_HAN = lazy_pattern(r"(?<=[^\x00-\x7f])[ \u3000]+(?=[^\x00-\x7f])")
_ASKS = lazy_pattern(
    r"[吗么]$|吗[啊呀呢]?$|呢$|怎么|怎样|咋|如何|为什么|为啥|什么|啥|哪|谁|(?<!好)几(?!乎|何)|多少|多久|多长|多大|多远|多贵"
    r"|(能|可以|可|要|会|是|行|需要|需|用|想|有|让|给|好|对|算|包|疼|痛|贵)(?:不|没)(?:\1|以)|有没有|能否|可否|是否|行不行"
    r"|(?:可以|能|会|要|有|行|包|支持|需要)[^不]{0,12}(?:不|没|吧)$"
    r"|\b(?:how|what|when|where|why|who|which|can i|can you|could|do you|does|is there|are there|may i)\b"
)
_LEAD = lazy_pattern(
    r"^(?:(?:对了|另外|还有|顺便|以及|然后|再|同时|第[一二三四五]|其次|最后)(?:再)?)?(?:我)?(?:想|麻烦|请)?(?:请问|问|咨询|了解|知道|打听)?"
    r"(?:一下|下|个)?(?:就是)?"
)

_PREFACE = lazy_pattern(r"^(?:我|就|只|是|想|要|在|请|来)*(?:问|咨询)(?:一下|一个|下|的|你们?|您|是|[:：\s])*")
_NAGS = lazy_pattern(r"说了?(?:多少|几|好几|无数)[遍次回]|问了?(?:多少|几|好几|无数)[遍次回]")


@frozen_dataclass
class AskedQuestion:
    """One thing that is asked. `lookups` are ways to look it up, the fullest first.

    `parts` are clauses around it: they may tell what it is about, and prove nothing.
    """

    text: str
    lookups: tuple[str, ...]
    parts: tuple[str, ...] = ()


@frozen_dataclass
class _Clause:
    text: str
    asks: bool


def questions_in(text: str) -> tuple[AskedQuestion, ...]:
    """Everything that is asked, in order; a message that asks nothing in so many words is one question."""
    read = _clauses_of(text)
    if not read:
        return (AskedQuestion(text.strip(), (text.strip(),)),) if text.strip() else ()
    units = _units(read)
    if len(units) == 1:
        return (_only(text, units[0]),)
    return tuple(_one_of_several(unit) for unit in units)


def bare_questions(text: str) -> tuple[str, ...]:
    """The questions alone, in order: without the wish for a person, complaints about us, and anger.

    Of a long story it is the clause that asks. Nothing is left of what asks nothing.
    """
    read = [bare for clause in _clauses_of(text) if (bare := _bare(clause)) is not None]
    return tuple(dict.fromkeys(_named(unit) for unit in _units(read) if unit))[:MOST]


def _bare(clause: _Clause) -> _Clause | None:
    if intents.says_unhelpful(clause.text) or intents.is_upset(clause.text) or _NAGS.search(clause.text):
        return None
    said = clause.text
    if asks_for_person(said):
        said = "，".join(filter(None, map(without_request, clauses(said))))
        if not has_subject(said) or asks_for_person(said):
            return None
    asked = _PREFACE.sub("", said, count=1)
    return _Clause(asked if has_subject(asked) else said, clause.asks)


def only_withdraws(text: str) -> bool:
    """Whether a wish is taken back, and nothing is asked or wished besides: there is nothing to answer."""
    said = _clauses_of(text)
    bare = [clause for one in said for clause in clauses(one.text)]
    if any(one.asks for one in said) or any(map(polarity.wishes, bare)):
        return False
    return any(map(polarity.withdraws, bare))


def _named(unit: Sequence[_Clause]) -> str:
    together = "，".join(clause.text for clause in unit)
    if _letters(together) <= _CLEAR:
        return together
    return (_asking(unit) or [*_ways(unit), together])[0]


def _clauses_of(text: str) -> list[_Clause]:
    """The clauses that may ask or tell something, without greetings and complaints about us."""
    found: list[_Clause] = []
    for sentence in _SENTENCE.findall(text):
        pieces = [piece.strip() for piece in _CLAUSE.findall(_BETWEEN_HAN.sub("，", sentence)) if piece.strip()]
        for number, piece in enumerate(pieces, start=1):
            bare = piece.strip("。！？!?；;…~ \n\r\t")
            folded = clauses(bare)
            if not folded or all(_says_nothing(clause) for clause in folded):
                continue
            marked = number == len(pieces) and bool(re.search(r"[?？]", piece))
            found.append(_Clause(bare, marked or any(_ASKS.search(clause) for clause in folded)))
    return found


def _says_nothing(clause: str) -> bool:
    if intents.talk_of(clause) is not None or intents.only_complains(clause):
        return True
    rest = _LEAD.sub("", clause, count=1)
    return not rest or (intents.is_urgent(clause) and not has_subject(rest.replace("急", "")))


def _units(read: Sequence[_Clause]) -> list[list[_Clause]]:
    """The clauses by question: what is told before it belongs to it; what is told after the last to that."""
    units: list[list[_Clause]] = [[]]
    for clause in read:
        if units[-1] and units[-1][-1].asks:
            units.append([])
        units[-1].append(clause)
    if len(units) > 1 and not units[-1][-1].asks:
        told = units.pop()
        units[-1] += told
    return units


def _letters(text: str) -> int:
    return sum(char.isalnum() for char in text)


def _only(text: str, unit: Sequence[_Clause]) -> AskedQuestion:
    together = "，".join(clause.text for clause in unit)
    if _letters(together) <= _CLEAR or len(unit) == 1:
        return AskedQuestion(text.strip(), tuple(dict.fromkeys((together, *_asking(unit)))))
    return AskedQuestion(text.strip(), _ways(unit), _parts(unit))


def _one_of_several(unit: Sequence[_Clause]) -> AskedQuestion:
    together = "，".join(clause.text for clause in unit)
    if _letters(together) <= _CLEAR:
        return AskedQuestion(together, tuple(dict.fromkeys((*_asking(unit), together))))
    return AskedQuestion(together, _ways(unit), _parts(unit))


def _asking(unit: Sequence[_Clause]) -> list[str]:
    """The asking clause by itself, when it names a subject."""
    return [clause.text for clause in unit if clause.asks and has_subject(clause.text)][-1:]


def _ways(unit: Sequence[_Clause]) -> tuple[str, ...]:
    """Of a long message: the asking clause, with and without the one before it."""
    ways = _asking(unit)
    for number, clause in enumerate(unit):
        if clause.asks and number and _letters(clause.text) <= _LONGEST:
            ways.append(f"{unit[number - 1].text}，{clause.text}")
    return tuple(dict.fromkeys(ways))[:_LOOKUPS]


def _parts(unit: Sequence[_Clause]) -> tuple[str, ...]:
    """The clauses and neighbouring pairs that tell most, those nearest to the question first."""
    told = [clause.text for clause in unit if not clause.asks and _SHORTEST <= _letters(clause.text) <= _LONGEST]
    pairs = [f"{one}，{two}" for one, two in pairwise(told) if _letters(one + two) <= _LONGEST]
    near = list(reversed(told)) + list(reversed(pairs))
    return tuple(near[:_PARTS]) or ("，".join(clause.text for clause in unit)[:200],)
