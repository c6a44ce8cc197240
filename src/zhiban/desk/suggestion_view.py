"""Why an answer was suggested to an agent, or was not, and why it was not sent by itself: in words."""

from __future__ import annotations

from typing import assert_never

from zhiban.assistant.decide import Answer, AskAgain, AskForText, HandOff, NoReply, SmallTalk, Suggest
from zhiban.assistant.suggesting import LookedUp, SuggestionReasons
from zhiban.conversations.queries import ThreadHead
from zhiban.conversations.reasons import REASON_LABELS
from zhiban.desk.trial_view import SHOWN, PassageView, ScaleView, passage_view, scale_view
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.knowledge.retrieval import ALL, Passage, SearchResult

_QUOTED = 120  # characters of what the contact asked


@frozen_dataclass
class SuggestionView:
    """`suggested` says why these words were suggested, or why none were; `unsent` why they did not go out by
    themselves. `asked` is what the contact wrote, in short; empty when they asked nothing."""

    asked: str
    found: bool
    suggested: tuple[str, ...]
    unsent: tuple[str, ...]
    scale: ScaleView
    passages: tuple[PassageView, ...]


def suggestion_view(reasons: SuggestionReasons, head: ThreadHead, texts: Texts, *, model: bool) -> SuggestionView:
    """`model`: whether the assistant may ask one."""
    looked_up, judged = reasons.looked_up, reasons.judged
    if looked_up is None or judged is None:
        nothing = texts("对方没有新的问题：客套、抱怨、要找人，以及图片和文件，不查知识库。")
        return SuggestionView("", False, (nothing,), (), ScaleView(), ())
    search = looked_up.found.result
    asked = " ".join(looked_up.text.split())
    return SuggestionView(
        asked=asked if len(asked) <= _QUOTED else asked[: _QUOTED - 1] + "…",
        found=looked_up.suggestion() is not None,
        suggested=tuple(_suggested(looked_up, texts)),
        unsent=(_in_hand(head, texts), _threshold(reasons, judged.result, head, texts), _alone(reasons, texts, model)),
        scale=scale_view(judged.result),
        passages=tuple(passage_view(one, texts) for one in search.passages[:SHOWN]),
    )


def _suggested(looked_up: LookedUp, texts: Texts) -> list[str]:
    search = looked_up.found.result
    said = [texts.error(search.why)]
    if search.leaning_on:
        said.append(texts("这句话接着前面说，连同前文一起找。"))
    if looked_up.best is None:
        said.append(texts("没有一条够近，所以没有建议。"))
        return said
    said.append(_closest(looked_up.best, texts))
    if looked_up.suggestion() is None:
        said.append(texts("找到的是文档里很长的一段，不能整段当作回答，所以没有建议。"))
    return said


def _closest(best: Passage, texts: Texts) -> str:
    if not best.phrasing:
        return texts("最近的是文档里的一段，按内容找到的。")
    like = f"{best.likeness:.2f}"
    if best.learnt:
        return texts("最像的问法是“{text}”（像{like}），从接待中学来的。", text=best.phrasing, like=like)
    return texts("最像的问法是“{text}”（像{like}），写在文章里。", text=best.phrasing, like=like)


def _in_hand(head: ThreadHead, texts: Texts) -> str:
    why = REASON_LABELS.get(head.handoff_reason or "", "")
    if why:
        return texts("会话由同事处理（转人工：{why}），助手只建议，不自己发。", why=texts(why))
    return texts("会话由同事处理，助手只建议，不自己发。")


def _threshold(reasons: SuggestionReasons, judged: SearchResult, head: ThreadHead, texts: Texts) -> str:
    zones, learnt = reasons.policy.zones, judged.thresholds
    if zones is not None:
        return texts(
            "收件箱“{name}”自己定的线：把握到{answer}直接回答，到{suggest}列出相近的问题。",
            name=head.inbox_name,
            answer=f"{zones.answer:.2f}",
            suggest=f"{zones.suggest:.2f}",
        )
    if learnt.answer_at >= ALL:
        return texts("收件箱“{name}”没有自己的线，知识库也还没有直接回答的线。", name=head.inbox_name)
    return texts(
        "收件箱“{name}”没有自己的线，按知识库的：把握到{answer}直接回答。",
        name=head.inbox_name,
        answer=f"{learnt.answer_at:.2f}",
    )


def _alone(reasons: SuggestionReasons, texts: Texts, model: bool) -> str:
    match reasons.alone:
        case Answer():
            return texts("要是由助手接待，这一句会直接回答。")
        case Suggest() if model:
            return texts("要是由助手接待，这一句会请大模型试着答，答不了就列出相近的问题让对方选。")
        case Suggest():
            return texts("要是由助手接待，这一句只会列出相近的问题让对方选。")
        case HandOff(reason=reason):
            why = texts(REASON_LABELS.get(reason.value, ""))
            return texts("要是由助手接待，这一句会转人工：{why}。", why=why)
        case NoReply():
            return texts("这个收件箱的助手关着，不会自己回答。")
        case SmallTalk() | AskForText() | AskAgain() | None:
            return texts("要是由助手接待，这一句会请对方再说一次。")
        case never:
            assert_never(never)
