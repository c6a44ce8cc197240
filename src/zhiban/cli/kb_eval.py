"""zhiban kb eval: how good a knowledge base is, and what would be different."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban.assistant.replaying import Replay, replay
from zhiban.cli.app import AsJson, _, command, kb, say, settings, show_json, show_table
from zhiban.cli.knowledge import ZONES, Base
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.kit.errors import Misconfigured
from zhiban.knowledge.evaluation import (
    Configuration,
    Evaluation,
    Evaluator,
    LabelledQuestion,
    evaluate,
    read_questions,
)
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.knowledge.retrieval import ConfidenceBand

_SINCE = re.compile(r"(\d{1,3})([dhw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=92)
_ZONES = {zone.value: text for zone, text in ZONES.items()}


@command(kb, "eval", help=_("看知识库答得怎么样：用它自己的问法、确认过的问题和您的题目来量，也能比较两种设置"))
async def eval_(
    questions: Annotated[
        Path | None, typer.Option("--questions", help=_("题目文件（CSV或JSONL）：question和expected，没有答案的留空"))
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", help=_("与另一种设置比较：words、vectors、threshold=0.6或base=名字"))
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help=_("把最近的问题重问一遍，看哪些会不一样：7d、24h、2w"))
    ] = None,
    base: Base = DEFAULT_BASE,
    as_json: AsJson = False,
) -> None:
    usual = Configuration(base)
    wanted = [usual, *([Configuration.parse(compare, usual)] if compare else [])]
    asked = _read(questions) if questions else []
    back = _span(since) if since else None
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        found = [await evaluate(_evaluator(app, workspace_id, one), asked) for one in wanted]
        replays = [await _replay(app, workspace_id, one, back) for one in wanted] if back else []
    if as_json:
        told = [{"name": one.name, **measured.told()} for one, measured in zip(wanted, found, strict=True)]
        show_json({"evaluations": told, "replays": [asdict(each) for each in replays]})
        return
    for title, name in (
        (_("它自己的问法，每句先拿掉再问"), "phrasings"),
        (_("联系人问过、有人确认过的问题"), "confirmed"),
        (_("您的题目"), "questions"),
    ):
        _show(title, [wanted[at].name for at in range(len(wanted))], found, name)
    for one, each in zip(wanted, replays, strict=False):
        _show_replay(one, each)


def _read(path: Path) -> list[LabelledQuestion]:
    try:
        return read_questions(path.read_text(encoding="utf-8-sig"), name=path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} cannot be read as UTF-8 text.") from error


def _span(text: str) -> timedelta:
    found = _SINCE.fullmatch(text.strip())
    span = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < span <= _LONGEST:
        raise Misconfigured("--since wants a span such as 7d, 24h or 2w, of 92 days at most.")
    return span


def _evaluator(app: App, workspace_id: int, configuration: Configuration) -> Evaluator:
    return Evaluator(
        lambda: app.database.transaction(workspace_id),
        configuration,
        app.embedders,
        app.settings.kb_similarity_threshold,
    )


async def _replay(app: App, workspace_id: int, configuration: Configuration, back: timedelta) -> Replay:
    return await replay(
        lambda: app.database.transaction(workspace_id),
        configuration,
        app.embedders,
        since=app.clock.now() - back,
        threshold=app.settings.kb_similarity_threshold,
    )


def _show(title: str, names: Sequence[str], found: Sequence[Evaluation], name: str) -> None:
    each: list[dict[str, Any]] = [one for one in (getattr(evaluation, name) for evaluation in found) if one]
    if not each or not any(one["questions"] + one["out_of_scope"] for one in each):
        return
    say()
    say(title)
    columns = {
        "name": _("配置"),
        "questions": _("问题"),
        "out_of_scope": _("没有答案的"),
        "r_at_1": _("第一条就对"),
        "r_at_3": _("前三条里有"),
        "coverage": _("直接回答"),
        "precision": _("答对"),
        "out_of_scope_answered": _("不该答却答了"),
        "promised": _("承诺答对"),
    }
    rows = []
    for label, evaluation, one in zip(names, found, each, strict=True):
        promised = evaluation.configuration["promised_precision"]
        shares = {key: _share(one[key]) for key in columns if key in one and key not in ("questions", "out_of_scope")}
        rows.append(
            {
                **one,
                **shares,
                "name": label or _("现在"),
                "promised": _share(None if promised is None else 100 * promised),
            }
        )
    show_table(columns, rows)
    _show_zones(each[0])
    _show_wrong(each[0])


def _share(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.1f}%"


def _show_zones(one: dict[str, Any]) -> None:
    for zone, counted in one["zones"].items():
        if counted["questions"] or counted["out_of_scope"]:
            say(
                _(
                    "{zone}：{n}个问题，第一条对的{right}个，前三条里有的{menu}个；另有{strange}个没有答案的",
                    zone=_ZONES[zone],
                    n=counted["questions"],
                    right=counted["right"],
                    menu=counted["in_menu"],
                    strange=counted["out_of_scope"],
                )
            )
    if one["curve"]:
        points = _("，").join(
            _("{coverage}时{precision}", coverage=_share(point["coverage"]), precision=_share(point["precision"]))
            for point in one["curve"]
        )
        say(_("直接回答多少、其中多少对：{points}", points=points))


def _show_wrong(one: dict[str, Any]) -> None:
    if not one["wrong"]:
        return
    say(_("会答错的{n}个：", n=one["wrong"]))
    columns = {"question": _("问题"), "answered": _("会这样答"), "right": _("应该是"), "confidence": _("把握")}
    show_table(columns, [{**each, "right": _right(each)} for each in one["wrong_answers"]])


def _right(wrong: dict[str, Any]) -> str:
    if wrong["taken_out"]:
        return _("没有答案（拿掉了：{title}）", title=wrong["right"])
    return wrong["right"] or _("没有答案")


def _show_replay(configuration: Configuration, found: Replay) -> None:
    say()
    say(
        _(
            "{name}：重问了{n}个最近的问题，{changed}个会不一样（另有{skipped}个是接着前文问的，没有重问）",
            name=configuration.name or _("现在"),
            n=found.asked,
            changed=found.changed,
            skipped=found.skipped,
        )
    )
    columns = {"question": _("问题"), "before": _("当时"), "now": _("会变成")}
    rows = [
        {
            "question": each.question,
            "before": _decided(each.zone_before, each.before),
            "now": _decided(each.zone_now, each.now),
        }
        for each in found.changes
    ]
    if rows:
        show_table(columns, rows)


def _decided(zone: str, title: str) -> str:
    told = _ZONES[ConfidenceBand(zone).value]
    return f"{told}{_('：')}{title}" if title else told
