"""One reply to several questions: what is known of each, and which of them is left."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.assistant import answering, intents
from zhiban.assistant.finding import Found
from zhiban.assistant.wording import entry_of
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.retrieval import ConfidenceBand, Passage
from zhiban.ports import Choice

_NAMED = 40  # characters of a question that is named
_OFFERED = 2  # entries that are offered for one that is left


@frozen_dataclass
class Told:
    """The words for all of them. `choices` are entries that may be chosen by their number."""

    text: str
    passages: tuple[Passage, ...]
    choices: tuple[Choice, ...]


@frozen_dataclass
class _SeveralWords:
    suggested: str
    unknown: str
    unread: str


_CHINESE = _SeveralWords(
    "“{question}”您是不是想问以下内容？请回复数字：\n{entries}",
    "“{question}”我没有找到答案，请换个说法单独再问一次，或回复“转人工”。",
    "您还问了“{question}”，请再单独发给我一次。",
)
_ENGLISH = _SeveralWords(
    "About “{question}”, did you mean one of these? Please reply with its number:\n{entries}",
    "I found nothing about “{question}”. Please ask it again in other words, or reply “human”.",
    "You also asked “{question}”; please send it to me once more.",
)


def told(each: Sequence[Found], unread: Sequence[str], *, said: str = "", cited: Sequence[Passage] = ()) -> Told | None:
    """What was said of them (by a model, citing these passages), then the other entries' own answers one below the
    other, then what is left. None when nothing of it can be answered.
    """
    answered = {passage.chunk_id: passage for passage in cited}
    covered = set(answered)  # by what was said
    texts = {said: None} if said else {}
    left: list[Found] = []
    for found in each:
        if any(passage.chunk_id in covered for passage in found.result.passages[:1]):
            continue
        best = found.result.passages[0] if found.zone is ConfidenceBand.ANSWER and found.result.passages else None
        text = answering.verbatim(best) if best is not None else None
        if best is None or text is None:
            left.append(found)
        else:
            answered[best.chunk_id] = best
            texts.setdefault(text)
    if not texts:
        return None
    tail, choices = _left(left, unread, known=set(answered))
    return Told("\n\n".join((*texts, *tail)), tuple(answered.values()), choices)


def _left(left: Sequence[Found], unread: Sequence[str], *, known: set[int]) -> tuple[list[str], tuple[Choice, ...]]:
    tail: list[str] = []
    choices: list[Choice] = []
    for found in left:
        words = _words(found.question)
        passages = [passage for passage in found.result.passages if passage.chunk_id not in known][:_OFFERED]
        if found.zone is ConfidenceBand.HANDOFF or not passages:
            tail.append(words.unknown.format(question=_named(found.question)))
            continue
        first = len(choices) + 1
        choices += [entry_of(passage) for passage in passages]
        entries = "\n".join(f"{n}. {choice.label}" for n, choice in enumerate(choices[first - 1 :], start=first))
        tail.append(words.suggested.format(question=_named(found.question), entries=entries))
    tail += [_words(question).unread.format(question=_named(question)) for question in unread]
    return tail, tuple(choices)


def _words(question: str) -> _SeveralWords:
    return _ENGLISH if intents.is_english(question) else _CHINESE


def _named(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= _NAMED else line[: _NAMED - 1] + "…"
