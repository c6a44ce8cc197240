"""zhiban token: what programs call the API with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from zhiban.channels.inboxes import inbox_called, inbox_names
from zhiban.cli.app import AsJson, _, command, err, say, settings, show_json, show_table, token
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.kit.errors import Misconfigured
from zhiban.people import tokens
from zhiban.people.tokens import SCOPE_LABELS, STATE_LABELS, ApiToken, Scope

_DAYS = re.compile(r"(\d{1,4})d")


def _scope_help() -> str:
    named = ", ".join(f"{scope} = {_(meaning)}" for scope, meaning in SCOPE_LABELS.items())
    return _("权限，可以写多个；不写则只能查知识库。{scopes}", scopes=named)


@command(token, "create", help=_("生成一个调用接口用的令牌；只显示这一次"))
async def create(
    name: Annotated[str, typer.Argument(help=_("名字：谁用、用来做什么"))],
    scopes: Annotated[list[Scope] | None, typer.Option("--scope", help=_scope_help())] = None,
    expires: Annotated[str | None, typer.Option("--expires", help=_("到期：90d 或 2027-01-31；不写则一直有效"))] = None,
    inbox: Annotated[
        list[str] | None, typer.Option("--inbox", help=_("只看这个收件箱，可以写多个；不写则全部，包括以后新加的"))
    ] = None,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app:
        now = app.clock.now()
        until = None if expires is None else _until(expires, now)
        async with app.database.transaction(await workspace_of(app)) as tx:
            seen = [(await inbox_called(tx, one)).id for one in inbox] if inbox else None
            made, text = await tokens.create(
                tx, name, scopes=scopes or tokens.LEAST, inbox_ids=seen, expires_at=until, now=now
            )
    if as_json:
        show_json({"token": text, **_shown(made, now)})
        return
    say(text)  # alone on standard output: TOKEN=$(zhiban token create …)
    err.print(
        _(
            "请马上保存，以后不再显示。权限：{scopes}；{until}",
            scopes=_("、").join(sorted(made.scopes)),
            until=_("{at}到期", at=_.stamp(until)) if until else _("不过期"),
        ),
        markup=False,
    )


def _until(text: str, now: datetime) -> datetime:
    """`90d` from now, or the end of a day. Raises Misconfigured."""
    if found := _DAYS.fullmatch(text.strip()):
        return now + timedelta(days=int(found[1]))
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d")  # noqa: DTZ007 - the zone follows
    except ValueError as error:
        raise Misconfigured("--expires wants a number of days such as 90d, or a date such as 2027-01-31.") from error
    return day.replace(tzinfo=_.zone) + timedelta(days=1)


@command(token, "list", help=_("列出令牌；令牌本身不保存，不显示"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app:
        now = app.clock.now()
        async with app.database.transaction(await workspace_of(app)) as tx:
            found = await tokens.tokens(tx)
            names = {one.id: one.name for one in await inbox_names(tx)}
    if as_json:
        show_json([_shown(one, now) for one in found])
        return
    if not found:
        say(_("还没有令牌：zhiban token create 名字"))
        return
    columns = {
        "name": _("名字"),
        "scopes": _("权限"),
        "inboxes": _("收件箱"),
        "state": _("状态"),
        "created": _("建立"),
        "used": _("最近使用"),
        "expires": _("到期"),
    }
    show_table(
        columns,
        [
            {
                "name": one.name,
                "scopes": " ".join(sorted(one.scopes)),
                "inboxes": _sees(one, names),
                "state": _(STATE_LABELS[one.state(now)]),
                "created": " ".join(filter(None, (_.stamp(one.created_at), one.created_by))),
                "used": _.stamp(one.last_used_at) if one.last_used_at else _("没用过"),
                "expires": _.stamp(one.expires_at) if one.expires_at else "",
            }
            for one in found
        ],
    )


def _sees(one: ApiToken, names: Mapping[int, str]) -> str:
    return _("全部") if one.inbox_ids is None else " ".join(names.get(id_, "-") for id_ in one.inbox_ids)


@command(token, "revoke", help=_("吊销令牌：立即失效，不能恢复"))
async def revoke(
    name: Annotated[str, typer.Argument(help=_("令牌的名字"))],
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app:
        now = app.clock.now()
        async with app.database.transaction(await workspace_of(app)) as tx:
            revoked = await tokens.revoke(tx, name, now=now)
    if as_json:
        show_json(_shown(revoked, now))
    else:
        say(_("已吊销：{name}", name=revoked.name))


def _shown(one: ApiToken, now: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "scopes": sorted(one.scopes),
        "inbox_ids": one.inbox_ids,
        "state": one.state(now),
        "created_by": one.created_by,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "last_used_at": one.last_used_at,
        "revoked_at": one.revoked_at,
    }
