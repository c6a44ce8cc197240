"""zhiban retention: how long what is kept, and deleting what is older."""

from __future__ import annotations

from typing import Annotated

import typer

from zhiban.cli.app import AsJson, _, command, retention, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.desk.labels import RETENTION_LABELS
from zhiban.events import SYSTEM
from zhiban.kit.errors import Misconfigured
from zhiban.people.retention import NAMES, RetentionTimes, retention_times, set_retention
from zhiban.workers.retention import MOST, Retention, preview

FOR_EVER = "forever"


@command(retention, "show", help=_("什么留多久，现在清理会删除多少"))
async def show(as_json: AsJson = False) -> None:
    await _show(as_json=as_json)


async def _show(*, as_json: bool) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        times = await retention_times(tx)
        would = await preview(tx, times, now=app.clock.now())
    if as_json:
        kept = {name: getattr(times, name) for name in NAMES}
        show_json({"days": kept, "would_delete": {**would.counts, "conversations": would.conversations}})
        return
    rows = [
        {
            "what": _(label),
            "days": _("一直") if getattr(times, name) is None else _.n("{n}天", getattr(times, name)),
            "would": _("{n}以上", n=MOST) if would.counts.get(name, 0) >= MOST else would.counts.get(name, 0),
        }
        for name, label in RETENTION_LABELS.items()
    ]
    show_table({"what": _("数据"), "days": _("保留"), "would": _("现在会删除")}, rows)


@command(retention, "set", help=_("设置留多久；没写的不变"))
async def set_(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=DAYS",
            help=_("例如messages=365 events=forever；名字：{names}", names=" ".join(NAMES)),
        ),
    ],
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        kept = {name: getattr(await retention_times(tx), name) for name in NAMES}
        await set_retention(tx, RetentionTimes(**{**kept, **_read(given)}), by=SYSTEM, now=app.clock.now())
    say(_("存好了，从下一次清理起按它做"))


def _read(given: list[str]) -> dict[str, int | None]:
    """Raises Misconfigured."""
    found: dict[str, int | None] = {}
    for one in given:
        name, _equals, days = one.partition("=")
        for_ever = days == FOR_EVER and name != "deliveries"
        if name not in NAMES or not (for_ever or (days.isdecimal() and len(days) < 9)):
            raise Misconfigured("Say what to keep for how many days: messages=365, or messages=forever.")
        found[name] = None if for_ever else int(days)
    return found


@command(retention, "run", help=_("现在就清理到期的数据；不加--yes只说会删除多少"))
async def run(
    yes: Annotated[bool, typer.Option("--yes", help=_("真的删除，找不回来"))] = False, as_json: AsJson = False
) -> None:
    if not yes:
        await _show(as_json=as_json)
        return
    async with open_app(settings()) as app:
        deleter = Retention(app.database, app.files, app.clock)
        done = await deleter.run_once(await workspace_of(app), due_only=False, by=SYSTEM)
    if as_json:
        show_json(done.counts if done else None)
    elif done is None:
        say(_("另一个进程正在清理。"))
    else:
        said = [f"{_(RETENTION_LABELS.get(name, name))} {n}" for name, n in done.counts.items() if n and name in NAMES]
        say(_("清理好了：{what}", what=_("、").join(said) or _("没有要删除的。")))
