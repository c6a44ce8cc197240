"""zhiban team: agents who share work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban.channels.business_hours import Hours
from zhiban.channels.policy_file import hours_yaml, load_hours
from zhiban.cli.app import AsJson, Exit, _, command, say, settings, show_json, show_table, team
from zhiban.cli.policy_file import read_policy_file
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.conversations import assignment
from zhiban.events import SYSTEM
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured
from zhiban.people import agents as colleagues
from zhiban.people import teams
from zhiban.people.teams import TeamRow

Name = Annotated[str, typer.Argument(help=_("小组的名字或编号"))]
MembersHelp = typer.Option("--member", help=_("成员的邮箱，可以写多次；写了就以写的为准，“-”表示一个也没有"))


async def _members(tx: Transaction, given: list[str] | None) -> list[int] | None:
    """The ids of these addresses; None where nothing was given. Raises NotFound."""
    if not given:
        return None
    return [(await colleagues.agent_by_email(tx, email)).id for email in given if email != "-"]


async def _shown(tx: Transaction, rows: list[TeamRow]) -> list[dict[str, Any]]:
    emails = {row.id: row.email for row in await colleagues.agent_rows(tx)}
    return [
        {"id": row.id, "name": row.name, "members": [emails[id_] for id_ in row.members if id_ in emails]}
        for row in rows
    ]


@command(team, "list", help=_("列出小组，编号写进收件箱策略的assignment.team"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await _shown(tx, await teams.team_rows(tx))
    if as_json:
        show_json(found)
        return
    columns = {"id": _("编号"), "name": _("名字"), "members": _("成员")}
    show_table(columns, [{**one, "members": " ".join(one["members"])} for one in found])


@command(team, "add", help=_("添加一个小组"))
async def add(
    name: Annotated[str, typer.Argument(help=_("名字"))],
    member: Annotated[list[str] | None, MembersHelp] = None,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        id_ = await teams.create(tx, name=name, members=await _members(tx, member) or (), now=app.clock.now())
        found = await _shown(tx, [await teams.team_row(tx, id_)])
    _show_one(found[0], as_json=as_json)


@command(team, "set", help=_("修改小组的名字、成员；没写的不变"))
async def set_(
    name: Name,
    new_name: Annotated[str | None, typer.Option("--name", help=_("新的名字"))] = None,
    member: Annotated[list[str] | None, MembersHelp] = None,
    as_json: AsJson = False,
) -> None:
    if new_name is None and not member:
        raise Misconfigured("Say what to change: --name or --member.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await teams.team_called(tx, name)
        await teams.change(tx, row.id, name=new_name, members=await _members(tx, member), now=app.clock.now())
        found = await _shown(tx, [await teams.team_row(tx, row.id)])
    _show_one(found[0], as_json=as_json)


@command(team, "remove", help=_("移除小组；属于它的会话不再属于任何小组"))
async def remove(name: Name, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await teams.team_called(tx, name)
        found = await _shown(tx, [row])
        await assignment.remove_team(tx, row.id, by=SYSTEM, now=app.clock.now())
    if as_json:
        show_json(found[0])
    else:
        say(_("已移除小组：{name}", name=row.name))


@command(team, "hours", help=_("显示小组自己的工作时间，或按文件（YAML，策略文件的hours一节）设定、取消"))
async def hours(
    name: Name,
    file: Annotated[Path | None, typer.Argument(help=_("写着hours的文件"))] = None,
    none: Annotated[bool, typer.Option("--none", help=_("不要自己的，用收件箱的工作时间"))] = False,
    as_json: AsJson = False,
) -> Exit | None:
    if file is not None and none:
        raise Misconfigured("Name a file or --none, not both.")
    wished = None
    if file is not None:
        wished = read_policy_file(file, load_hours)
        if wished is None:
            return Exit.USAGE
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await teams.team_called(tx, name)
        if file is not None or none:
            stored = None if wished is None else wished.model_dump(mode="json")
            await teams.set_hours(tx, row.id, stored, now=app.clock.now())
            row = await teams.team_row(tx, row.id)
    if as_json:
        show_json({"id": row.id, "name": row.name, "hours": row.hours})
    elif row.hours is None:
        say(_("小组{name}没有自己的工作时间，用各收件箱的", name=row.name))
    else:
        say(hours_yaml(Hours.model_validate(row.hours)).rstrip())
    return None


def _show_one(one: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(one)
        return
    who = " ".join(one["members"]) or _("还没有成员")
    say(_("小组{id}，{name}：{members}", id=one["id"], name=one["name"], members=who))
