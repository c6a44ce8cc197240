"""zhiban agent: colleagues, without ever seeing a password of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from zhiban import bootstrap
from zhiban.channels.inboxes import inbox_called, inbox_names
from zhiban.cli.app import AsJson, _, agent, command, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured
from zhiban.people import agents as colleagues
from zhiban.people import invitations, second_factor
from zhiban.people.agents import AgentRow
from zhiban.people.models import ROLE_LABELS, Role

Email = Annotated[str, typer.Argument(help=_("邮箱"))]


ALL = "all"


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


RoleHelp = typer.Option(
    "--role", help=_("负责人（owner）、管理员（admin）、主管（supervisor）、客服（agent）或只读（read_only）")
)
InboxHelp = typer.Option("--inbox", help=_("能看的收件箱，可以写多次；“all”表示全部，“-”表示一个也没有"))
AccountHelp = typer.Option("--account", help=_("在聊天平台上的账号，写作 平台:账号；“平台:” 表示去掉"))


def _accounts(given: list[str] | None) -> dict[str, str]:
    """`platform:account` as a mapping. Raises Misconfigured."""
    labels, accounts = bootstrap.member_labels(), dict[str, str]()
    for one in given or ():
        vendor, colon, account = one.partition(":")
        if not colon or vendor not in labels:
            raise Misconfigured(f"Write --account as one of {', '.join(labels)}, a colon and the account.")
        accounts[vendor] = account
    return accounts


async def _inbox_ids(tx: Transaction, given: list[str]) -> list[int] | None:
    """The inboxes of these names; None: every one. Raises NotFound, Misconfigured."""
    if ALL in given:
        return None
    return [(await inbox_called(tx, name)).id for name in given if name != "-"]


@command(agent, "list", help=_("列出同事"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        rows = await colleagues.agent_rows(tx)
        names = {one.id: one.name for one in await inbox_names(tx)}
    if as_json:
        show_json([asdict(row) for row in rows])
        return
    columns = {
        "email": _("邮箱"),
        "name": _("名字"),
        "role": _("角色"),
        "inboxes": _("能看的收件箱"),
        "accounts": _("平台账号"),
        "seen": _("最近来过"),
        "state": _("状态"),
    }
    show_table(
        columns,
        [
            {
                **asdict(row),
                "role": _(ROLE_LABELS[Role(row.role)]),
                "inboxes": _inboxes_shown(row, names),
                "accounts": _shown(row),
                "seen": _.stamp(row.seen_at) if row.seen_at else "",
                "state": _state(row),
            }
            for row in rows
        ],
    )


def _inboxes_shown(row: AgentRow, names: Mapping[int, str]) -> str:
    if row.inbox_ids is None:
        return _("全部")
    return " ".join(names[id_] for id_ in row.inbox_ids if id_ in names) or "-"


def _state(row: AgentRow) -> str:
    if row.disabled_at is not None:
        return _("已停用")
    return _("正常") if row.joined else _("还没设置密码")


@command(agent, "add", help=_("添加一位同事，得到一个24小时有效的一次性链接，由同事自己设置密码"))
async def add(
    email: Email,
    name: Annotated[str, typer.Option("--name", help=_("名字"))],
    role: Annotated[Role, RoleHelp] = Role.AGENT,
    inbox: Annotated[list[str] | None, InboxHelp] = None,
    account: Annotated[list[str] | None, AccountHelp] = None,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        _id, token = await invitations.invite(
            tx,
            email=email,
            name=name,
            role=role,
            inbox_ids=await _inbox_ids(tx, inbox or [ALL]),
            accounts=_accounts(account),
            locale=_.locale,
            now=app.clock.now(),
        )
        row = await colleagues.agent_by_email(tx, email)
    _show_link(app, row, token, as_json=as_json)


@command(agent, "link", help=_("给同事一个新的一次性链接，用来（重新）设置密码；以前的链接作废"))
async def link(email: Email, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await colleagues.agent_by_email(tx, email)
        token = await invitations.new_join_link(tx, row.id, now=app.clock.now())
    _show_link(app, row, token, as_json=as_json)


def _show_link(app: App, row: AgentRow, token: str, *, as_json: bool) -> None:
    url = f"{app.settings.zhiban_url}/join/{token}"
    if as_json:
        show_json({"email": row.email, "link": url, "hours": int(invitations.JOIN_LIFE.total_seconds() // 3600)})
        return
    say(_("把这个链接发给{name}，24小时内有效，只能用一次：{url}", name=row.name, url=url))
    if not app.settings.zhiban_url:
        say(_("没有设置ZHIBAN_URL：请在前面加上同事打开值班的地址，例如 http://127.0.0.1:8000"))


@command(agent, "set", help=_("修改同事的名字、角色、收件箱、平台账号；没写的不变，立即生效"))
async def set_(
    email: Email,
    name: Annotated[str | None, typer.Option("--name", help=_("名字"))] = None,
    role: Annotated[Role | None, RoleHelp] = None,
    inbox: Annotated[list[str] | None, InboxHelp] = None,
    account: Annotated[list[str] | None, AccountHelp] = None,
    as_json: AsJson = False,
) -> None:
    if name is None and role is None and not account and not inbox:
        raise Misconfigured("Say what to change: --name, --role, --inbox or --account.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await colleagues.agent_by_email(tx, email)
        now = app.clock.now()
        await colleagues.change(tx, row.id, name=name, accounts=_accounts(account), now=now)
        if role is not None or inbox:
            sees = await _inbox_ids(tx, inbox) if inbox else row.inbox_ids
            await colleagues.set_access(tx, row.id, role=role or Role(row.role), inbox_ids=sees, now=now)
        row = await colleagues.agent_row(tx, row.id)
    _show_changed(row, as_json=as_json)


@command(agent, "disable", help=_("停用同事：立即退出登录，不能再接会话，手上的会话回到“未分配”"))
async def disable(email: Email, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await colleagues.agent_by_email(tx, email)
        await colleagues.disable(tx, row.id, now=app.clock.now())
        row = await colleagues.agent_row(tx, row.id)
    _show_changed(row, as_json=as_json)


@command(agent, "enable", help=_("重新启用同事，密码不变"))
async def enable(email: Email, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await colleagues.agent_by_email(tx, email)
        await colleagues.enable(tx, row.id, now=app.clock.now())
        row = await colleagues.agent_row(tx, row.id)
    _show_changed(row, as_json=as_json)


@command(agent, "reset-second-factor", help=_("同事丢了手机：去掉两步验证，之后登录只要密码"))
async def reset_second_factor(email: Email, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await colleagues.agent_by_email(tx, email)
        await second_factor.remove(tx, row.id, now=app.clock.now())
        row = await colleagues.agent_row(tx, row.id)
    _show_changed(row, as_json=as_json)


@command(agent, "require-second-factor", help=_("要求每个人启用两步验证，或者不再要求"))
async def require_second_factor(
    required: Annotated[Switch, typer.Argument(help=_("on要求，off不再要求"))], as_json: AsJson = False
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        await second_factor.require(tx, required is Switch.ON, now=app.clock.now())
    if as_json:
        show_json({"required": required is Switch.ON})
        return
    say(_("每个人都必须启用两步验证。") if required is Switch.ON else _("由各人自己决定要不要启用两步验证。"))


def _show_changed(row: AgentRow, *, as_json: bool) -> None:
    if as_json:
        show_json(asdict(row))
        return
    words = _("{name}：{role}，{state}", name=row.name, role=_(ROLE_LABELS[Role(row.role)]), state=_state(row))
    say(words + (_("，平台账号：{accounts}", accounts=_shown(row)) if row.accounts else ""))


def _shown(row: AgentRow) -> str:
    return " ".join(f"{vendor}:{account}" for vendor, account in row.accounts.items())
