"""zhiban flows: what contacts are asked before people help them, listed, switched, and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban.automation import flow_queries, queries
from zhiban.automation import flows as service
from zhiban.automation.definition import BadDefinition
from zhiban.automation.flow_definition import load_flow
from zhiban.automation.flow_files import from_yaml, to_yaml
from zhiban.automation.flow_queries import FlowRow
from zhiban.automation.taking_over import try_flows
from zhiban.automation.wording import RuleWording
from zhiban.cli.app import AsJson, Exit, _, command, flows, say, settings, show_json, show_table
from zhiban.cli.entries import say_entries
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.events import SYSTEM
from zhiban.kit.errors import Misconfigured, NotFound

Flow = Annotated[str, typer.Argument(help=_("流程的名字或编号"))]


def _said(row: FlowRow, words: RuleWording) -> str:
    try:
        return load_flow(row.definition).label(words)
    except BadDefinition as error:
        return _("这一版读不懂：{why}", why=error.sentence)


@command(flows, "list", help=_("列出流程，用一句话说明"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await flow_queries.flows(tx)
        words = RuleWording(_, await queries.names(tx))
    rows: list[dict[str, Any]] = [
        {"id": one.id, "name": one.name, "enabled": one.enabled, "said": _said(one, words)} for one in found
    ]
    if as_json:
        show_json(rows)
        return
    show_table({"id": _("编号"), "name": _("名字"), "enabled": _("启用"), "said": _("做什么")}, rows)


async def _switch(name: str, *, on: bool) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = [row for row in await flow_queries.flows(tx) if name in (row.name, str(row.id))]
        if len(found) != 1:
            raise NotFound(f"Not exactly one flow is called {name}; zhiban flows list shows them all.")
        await service.change_flow(tx, found[0].id, enabled=on, by=SYSTEM, now=app.clock.now())
    say(_("已启用：{name}", name=found[0].name) if on else _("已停用：{name}", name=found[0].name))


@command(flows, "on", help=_("启用流程"))
async def on(name: Flow) -> None:
    await _switch(name, on=True)


@command(flows, "off", help=_("停用流程"))
async def off(name: Flow) -> None:
    await _switch(name, on=False)


@command(flows, "export", help=_("把流程写成YAML：名字代替编号，可以带到别的工作区"))
async def export(
    file: Annotated[Path | None, typer.Argument(help=_("写到哪个文件；不写则输出到屏幕"))] = None,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        text = to_yaml(await flow_queries.flows(tx), await queries.names(tx))
    if file is None:
        say(text.rstrip("\n"))
    else:
        file.write_text(text, "utf-8")


@command(flows, "import", help=_("读入YAML里的流程：同名的更新，没有的新建；有任何错误就什么也不改"))
async def import_(
    file: Annotated[Path, typer.Argument(help=_("YAML文件"), exists=True, dir_okay=False)],
    check: Annotated[bool, typer.Option("--check", help=_("只检查"))] = False,
) -> Exit | None:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not a UTF-8 text file.") from error
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        names, now = await queries.names(tx), app.clock.now()
        if check:
            entries = await try_flows(
                tx, text, RuleWording(_, names), told=lambda e: _.error(e.sentence), by=SYSTEM, now=now
            )
            return say_entries(entries)
        added, changed = await service.adopt_flows(tx, from_yaml(text, names), by=SYSTEM, now=now)
    say(_("新建{added}个，更新{changed}个", added=added, changed=changed))
    return None
