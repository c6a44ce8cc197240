"""zhiban reports: the sums that reports are read from."""

from __future__ import annotations

from zhiban.cli.app import AsJson, _, command, reports, say, settings, show_json
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.insights.queries import counter_state
from zhiban.insights.service import rebuild as count_anew


@command(reports, "status", help=_("报表算到了什么时候，还有多少记录没有算"))
async def status(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        state = await counter_state(tx)
    if as_json:
        show_json({"until": state.until, "behind": state.behind})
    elif state.until is None:
        say(_("还没有算过。"))
    else:
        say(_("算到{when}，还有{n}条记录没有算。", when=_.stamp(state.until), n=state.behind))


@command(reports, "rebuild", help=_("从事件记录重新计算报表：数字不变，算完之前不全"))
async def rebuild() -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        await count_anew(tx)
    say(_("已清空，由运行中的zhiban serve或zhiban work重新计算。"))
