"""Why a base does or does not answer by itself, in words, and what would change it."""

from __future__ import annotations

from typing import assert_never

from zhiban.kit.i18n import Texts
from zhiban.knowledge.precision import FEWEST_DOCUMENT_ANSWERS, FEWEST_PEOPLE, FEWEST_SAMPLES
from zhiban.knowledge.standing import FEW_SIMILAR, Advice, Standing, Stats


def explain(base: Stats, advice: Advice, _: Texts) -> list[str]:
    """What it does and why, then what would change it, a sentence each."""
    unmeasured = base.standing in (Standing.EMPTY, Standing.UNCALIBRATED)
    return [_standing(base, _), *([] if unmeasured else _advice(advice, _))]


def _standing(base: Stats, _: Texts) -> str:
    learnt = base.learnt
    match base.standing:
        case Standing.ANSWERS:
            return _answers(base, _)
        case Standing.EMPTY:
            return _("还没有内容")
        case Standing.UNCALIBRATED:
            return _("还没有校准，稍等一分钟，或运行zhiban kb rebuild")
        case Standing.DOCUMENTS:
            return _("只有文档：不直接回答，先列出最像的段落让人点")
        case Standing.FEW:
            return _(
                "不直接回答，只列出相近问题：一共{n}句问法，少于{needed}句，不够校准",
                n=base.phrasings,
                needed=FEWEST_SAMPLES,
            )
        case Standing.ALIKE:
            return _("不直接回答，只列出相近问题：有些条目太像，{n}句问法里太多会先找到别的条目", n=learnt["samples"])
        case Standing.WRONG:
            return _(
                "不直接回答，只列出相近问题：{n}个确认过的问题里，答错的太多，没有一个阈值能保证答对",
                n=learnt["confirmed"],
            )
        case never:
            assert_never(never)


def _answers(base: Stats, _: Texts) -> str:
    learnt = base.learnt
    right = round(100 * (learnt.get("precision") or 0))
    at = f"{base.answers_at:.2f}"
    if not base.phrasings:
        found = base.calibration["documents"]
        return _(
            "文档在把握到{at}时直接回答，承诺答对{right}%：有{n}个问题、{people}个人确认过",
            at=at,
            right=right,
            n=found["confirmed"],
            people=found["people"],
        )
    text = _("把握到{at}时直接回答，承诺答对{right}%", at=at, right=right)
    if learnt.get("coverage") is not None:
        share = round(100 * learnt["coverage"])
        text += (
            _("；联系人确认过的{n}个问题里，能直接答对{share}%", n=learnt["confirmed"], share=share)
            if learnt.get("confirmed", 0) > learnt.get("samples", 0)
            else _("；它自己的相似问法里，能直接答对{share}%", share=share)
        )
    return text


def _advice(advice: Advice, _: Texts) -> list[str]:
    told = []
    if advice.similar_per_entry is not None:
        told.append(
            _(
                "每条平均只有{n}句相似问法：加到{needed}句以上，能多答；用联系人的原话最好",
                n=f"{advice.similar_per_entry:g}",
                needed=f"{FEW_SIMILAR:g}",
            )
        )
    if advice.without_vectors:
        told.append(
            _("没有向量，只按文字找：换个说法就找不到。设EMBEDDING_PROVIDER=local并重启；缺什么由zhiban doctor说明")
        )
    told += [
        _(
            "这两条常被认错（{n}次），合并它们，或把问法写得更不一样：{one} / {other}",
            n=pair.times,
            one=pair.one,
            other=pair.other,
        )
        for pair in advice.confused
    ]
    if advice.documents_confirmed is not None:
        told.append(
            _(
                "文档只列出段落：确认过的问题{n}个（要{needed}个），确认的人{people}个（要{others}个）。点选、“有用”、同事采用都算确认",
                n=advice.documents_confirmed,
                needed=FEWEST_DOCUMENT_ANSWERS,
                people=advice.documents_people,
                others=FEWEST_PEOPLE,
            )
        )
    return told
