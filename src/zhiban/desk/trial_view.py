"""A tried question in words: what the contact would be told, how sure the search is, and why."""

from __future__ import annotations

from typing import assert_never

from zhiban.assistant.answering import readable
from zhiban.assistant.decide import Answer, AskAgain, AskForText, HandOff, HandOffReason, NoReply, SmallTalk, Suggest
from zhiban.assistant.trying import TriedQuestion
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.knowledge.retrieval import ALL, ConfidenceBand, Passage, SearchResult

SHOWN = 3  # passages


@frozen_dataclass
class PassageView:
    """A passage as it is listed. `from_words` and `from_meaning` are its scores by words and by vectors."""

    article_id: int
    title: str
    text: str
    source: str
    score: str
    from_words: str
    from_meaning: str
    asked_as: str


# Why a model's own words are not what is said, by `answering.Why`.
MODEL_LABELS = {
    "declined": mark("大模型说这几段答不了。"),
    "unavailable": mark("大模型没有回答，用的是原文。"),
    "too_slow": mark("大模型答得太慢，用的是原文。"),
    "nonsense": mark("大模型的回答读不懂，用的是原文。"),
    "ungrounded": mark("大模型说了资料里没有的话，没有采用。"),
}
ICONS = {"answer": "check", "pick": "messages", "human": "user"}


@frozen_dataclass
class ScaleView:
    """How sure a search is beside what is enough. `at` places the mark on the scale and `line` what is enough, both in
    percent of its length; without `answer_at` there is no scale, and without `confidence` nothing was searched."""

    confidence: str = ""
    answer_at: str = ""
    at: int = 0
    line: int = 100


def scale_view(search: SearchResult | None) -> ScaleView:
    if search is None:
        return ScaleView()
    confidence, answer_at = search.confidence, search.thresholds.answer_at
    if answer_at >= ALL:
        return ScaleView(f"{confidence:.2f}")
    most = 1.25 * max(answer_at, confidence) or 1.0
    return ScaleView(
        f"{confidence:.2f}", f"{answer_at:.2f}", round(100 * confidence / most), round(100 * answer_at / most)
    )


@frozen_dataclass
class TrialView:
    """`tone` is answer, pick or human, as the design calls them."""

    question: str
    tone: str
    icon: str
    heading: str
    said: str
    choices: tuple[str, ...]
    why: tuple[str, ...]
    scale: ScaleView
    passages: tuple[PassageView, ...]


def trial_view(trial: TriedQuestion, texts: Texts) -> TrialView:
    tone, heading, words = _decided(trial, texts)
    why = [*words, *(_searched(trial, trial.search, texts) if trial.search is not None else [])]
    why.append(
        texts("按收件箱“{name}”的设置", name=trial.inbox)
        if trial.inbox
        else texts("还没有收件箱用这个知识库，按通常的设置")
    )
    search = trial.search
    return TrialView(
        question=trial.question,
        tone=tone,
        icon=ICONS[tone],
        heading=heading,
        said=trial.said,
        choices=trial.choices,
        why=tuple(why),
        scale=scale_view(search),
        passages=tuple(passage_view(one, texts) for one in search.passages[:SHOWN]) if search is not None else (),
    )


def _decided(trial: TriedQuestion, texts: Texts) -> tuple[str, str, list[str]]:
    match trial.decision:
        case Answer():
            return "answer", texts("直接回答"), []
        case SmallTalk():
            return "answer", texts("客套话"), [texts("这是客套话，不查知识库。")]
        case AskForText() | AskAgain():
            return "pick", texts("请对方再说一次"), []
        case Suggest():
            return "pick", texts("列出相近的问题"), []
        case HandOff(reason=HandOffReason.ASKED | HandOffReason.WORD | HandOffReason.UPSET):
            return "human", texts("转人工"), [texts("对方要找人，或者很不满，不查知识库。")]
        case HandOff():
            return "human", texts("转人工"), []
        case NoReply():
            return "human", texts("不说话"), [texts("助手在这个收件箱关着，或者这句话不用回。")]
        case never:
            assert_never(never)


def _searched(trial: TriedQuestion, found: SearchResult, texts: Texts) -> list[str]:
    said = [texts.error(found.why)]
    if trial.detail in MODEL_LABELS:
        said.append(texts(MODEL_LABELS[trial.detail]))
    if trial.zone is not None and trial.zone is not found.zone:
        if trial.zone is ConfidenceBand.ANSWER:
            said.append(texts("分数差一点，但最像的一条和问的意思一致，所以直接回答。"))
        elif found.zone is ConfidenceBand.ANSWER:
            said.append(texts("分数够，但最像的一条说的可能是另一回事，所以先让对方选。"))
    return said


def passage_view(one: Passage, texts: Texts) -> PassageView:
    """How a passage is listed, in the reader's language."""
    words = readable(one.answer or one.text)
    return PassageView(
        article_id=one.article_id,
        title=one.title,
        text=words[:160] + ("…" if len(words) > 160 else ""),
        source=one.source_name or texts("手写"),
        score=f"{one.score:.2f}",
        from_words=f"{one.likeness:.2f}",
        from_meaning="" if one.cosine is None else f"{one.cosine:.2f}",
        asked_as=one.asked_as or "",
    )
