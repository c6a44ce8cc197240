"""zhiban snippets: what agents write again and again, listed, added, removed, and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban.automation.taking_over import try_snippets
from zhiban.cli.app import AsJson, Exit, _, command, say, settings, show_json, show_table, snippets
from zhiban.cli.entries import say_entries
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.conversations import snippets as kept
from zhiban.conversations.snippet_files import read, written
from zhiban.events import SYSTEM
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.people.agents import agent_by_email

Name = Annotated[str, typer.Argument(help=_("快捷回复的名字或编号"))]
Of = Annotated[str | None, typer.Option("--agent", help=_("某位同事自己的，写邮箱；不写则是大家的"))]


async def _owner(tx: Transaction, email: str | None) -> int | None:
    return None if email is None else (await agent_by_email(tx, email)).id


@command(snippets, "list", help=_("列出快捷回复"))
async def list_(agent: Of = None, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await kept.snippets_of(tx, await _owner(tx, agent))
    rows = [{"id": one.id, "name": one.name, "text": one.text} for one in found]
    if as_json:
        show_json(rows)
    else:
        show_table({"id": _("编号"), "name": _("名字"), "text": _("内容")}, rows)


@command(snippets, "add", help=_("添加一条快捷回复"))
async def add(
    name: Annotated[str, typer.Argument(help=_("名字"))],
    text: Annotated[str, typer.Argument(help=_("内容，可以写变量，例如{{contact.name}}"))],
    agent: Of = None,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        owner_id = await _owner(tx, agent)
        id_ = await kept.add_snippet(tx, name=name, text=text, owner_id=owner_id, by=SYSTEM, now=app.clock.now())
        one = await kept.access_snippet(tx, id_, agent_id=owner_id)
    if as_json:
        show_json({"id": one.id, "name": one.name, "text": one.text})
    else:
        say(_("已添加：{name}", name=one.name))


@command(snippets, "remove", help=_("移除一条快捷回复"))
async def remove(name: Name, agent: Of = None) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        there = await kept.snippets_of(tx, await _owner(tx, agent))
        one = next((one for one in there if name in (one.name, str(one.id))), None)
        if one is None:
            raise NotFound(f"No snippet is called {name}; zhiban snippets list shows them all.")
        await kept.remove_snippet(tx, one, by=SYSTEM, now=app.clock.now())
    say(_("已移除：{name}", name=one.name))


@command(snippets, "export", help=_("写成YAML，文件名以.csv结尾则写成CSV"))
async def export(
    file: Annotated[Path | None, typer.Argument(help=_("写到哪个文件；不写则输出到屏幕"))] = None,
    agent: Of = None,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        text = written(await kept.snippets_of(tx, await _owner(tx, agent)), as_csv=_is_csv(file))
    if file is None:
        say(text.rstrip("\n"))
    else:
        file.write_text(text, "utf-8")


@command(snippets, "import", help=_("读入YAML或CSV：同名的更新，没有的新建；有任何错误就什么也不改"))
async def import_(
    file: Annotated[Path, typer.Argument(help=_("YAML或CSV文件"), exists=True, dir_okay=False)],
    agent: Of = None,
    check: Annotated[bool, typer.Option("--check", help=_("只检查"))] = False,
) -> Exit | None:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not a UTF-8 text file.") from error
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        owner_id, now, as_csv = await _owner(tx, agent), app.clock.now(), _is_csv(file)
        if check:
            how: dict[str, Any] = {"as_csv": as_csv, "owner_id": owner_id, "by": SYSTEM, "now": now}
            return say_entries(await try_snippets(tx, text, told=lambda e: _.error(e.sentence), **how))
        wanted = read(text, as_csv=as_csv)
        added, changed = await kept.adopt_snippets(tx, wanted, owner_id=owner_id, by=SYSTEM, now=now)
    say(_("新建{added}条，更新{changed}条", added=added, changed=changed))
    return None


def _is_csv(file: Path | None) -> bool:
    return file is not None and file.suffix.lower() == ".csv"
