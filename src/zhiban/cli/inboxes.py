"""zhiban inbox: which accounts are connected, whether they work, and how they behave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zhiban import bootstrap
from zhiban.channels import configuring, inboxes, withdrawing
from zhiban.channels.connecting import checks_of, inbox_state, is_in_environment, told
from zhiban.channels.inboxes import ConnectionRow, InboxRow
from zhiban.channels.policy import Policy
from zhiban.channels.policy_file import load_policy
from zhiban.cli.app import AsJson, Exit, _, command, inbox, say, settings, show_json, show_table
from zhiban.cli.connecting import callback
from zhiban.cli.policy_file import read_policy_file
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.conversations.labels import still_there
from zhiban.events import SYSTEM, Cause
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.ports import CheckResult

Which = Annotated[str | None, typer.Argument(help=_("收件箱的名称或编号；只有一个时可省略"))]


@command(inbox, "list", help=_("列出收件箱和它们的回调地址"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        links = {row.id: row for row in await inboxes.connections(tx)}
        rows = await inboxes.inboxes(tx)
    listed = [
        {
            **asdict(row),
            "kind": row.kind if as_json else _(bootstrap.names()["channel_label"](row.kind)),
            "callback": "" if row.removed_at else callback(app.settings, links[row.connection_id]),
            "state": inbox_state(row, links[row.connection_id]).told(_),
        }
        for row in rows
    ]
    if as_json:
        show_json(listed)
        return
    columns = {
        "id": _("编号"),
        "name": _("名称"),
        "kind": _("渠道"),
        "external_id": _("账号"),
        "base": _("知识库"),
        "conversations": _("会话"),
        "waiting": _("等人"),
        "state": _("状态"),
        "callback": _("回调地址"),
    }
    show_table(columns, listed)


# ------------------------------------------------------------------------------------------------------- in and out


@command(inbox, "pause", help=_("暂停：照常接收，助手不作声，也不发欢迎语和结束语，同事仍可回复"))
async def pause(name: Which = None, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await inboxes.inbox_called(tx, name)
        await withdrawing.pause(tx, row.id, now=app.clock.now())
    _show_changed(row, "paused", _("{name}：已暂停"), as_json=as_json)


@command(inbox, "resume", help=_("恢复：助手重新接待"))
async def resume(name: Which = None, as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await inboxes.inbox_called(tx, name)
        await withdrawing.resume(tx, row.id, now=app.clock.now())
    _show_changed(row, "resumed", _("{name}：已恢复"), as_json=as_json)


@command(inbox, "remove", help=_("移除：不再收发，会话记录保留；连接的最后一个收件箱移除后，凭据一并删除"))
async def remove(
    name: Annotated[str, typer.Argument(help=_("收件箱的名称或编号"))],
    yes: Annotated[bool, typer.Option("--yes", help=_("不再询问"))] = False,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await inboxes.inbox_called(tx, name)
        if not yes and not typer.confirm(_("移除{name}？以后不再收发消息，会话记录保留", name=row.name), err=True):
            raise typer.Abort
        forgotten = await withdrawing.remove(tx, app.vault, row.id, now=app.clock.now())
        (connection,) = [each for each in await inboxes.connections(tx) if each.id == row.connection_id]
        described = is_in_environment(bootstrap.CHANNELS.get(connection.vendor), app.settings, connection)
    _show_changed(row, "removed", _("{name}：已移除"), as_json=as_json)
    if not as_json:
        if forgotten:
            say(_("凭据已删除"))
        if forgotten and described:
            say(_("环境变量或.env里还写着这个连接：请一并删去，否则下次启动会重新接入"))


def _show_changed(row: InboxRow, change: str, words: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"inbox": row.name, "id": row.id, "change": change})
    else:
        say(words, name=row.name)


# --------------------------------------------------------------------------------------------------------- checking


@command(inbox, "check", help=_("检查凭据、账号和策略；有问题时退出码为1"))
async def check(as_json: AsJson = False) -> Exit | None:
    report: list[dict[str, str]] = []
    async with open_app(settings()) as app:
        async for row, result in check_connections(app):
            report.append(
                {
                    "name": row.name,
                    "check": _(result.name),
                    "level": result.level,
                    "said": told(result, _),
                    "cure": _(result.cure),
                    "callback": callback(app.settings, row),
                }
            )
        report += await _policy_problems(app)
    if as_json:
        show_json(report)
    else:
        columns = {"name": _("名称"), "check": _("检查"), "said": _("结果"), "cure": _("怎样修好")}
        show_table({**columns, "callback": _("回调地址")}, report)
        if not report:
            say(_("还没有接入任何账号：zhiban inbox add"))
    return Exit.FAILED if any(line["level"] == "fail" for line in report) else None


async def check_connections(app: App) -> AsyncIterator[tuple[ConnectionRow, CheckResult]]:
    """Let every vendor and tracker look at its own credentials, addresses and permissions."""
    workspace_id = await workspace_of(app)
    async with app.database.transaction(workspace_id) as tx:
        rows = [*await inboxes.connections(tx), *await inboxes.connections(tx, part="tracker")]
    for row in [one for one in rows if one.removed_at is None]:
        async for result in checks_of(app.connections, workspace_id, row):
            yield row, result


async def _policy_problems(app: App) -> list[dict[str, str]]:
    async with app.database.transaction(await workspace_of(app)) as tx:
        rows = [row for row in await inboxes.inboxes(tx) if row.archived_at is None]
    problems: list[dict[str, str]] = []
    for row in rows:
        try:
            policy = Policy.model_validate(row.policy)
            async with app.database.transaction(await workspace_of(app)) as tx:
                await _check_labels(tx, policy)
        except ValueError as error:
            line = {"name": row.name, "check": _("策略"), "level": "fail", "said": str(error)}
            problems.append({**line, "cure": "zhiban inbox apply", "callback": ""})
        except NotFound as error:
            line = {"name": row.name, "check": _("策略"), "level": "warn", "said": _.error(error.sentence)}
            problems.append({**line, "cure": "zhiban inbox apply", "callback": ""})
    return problems


async def _check_labels(tx: Transaction, policy: Policy) -> None:
    """Raises NotFound where what is idle is to be given a label that is not there."""
    label = policy.auto_resolve.label
    if label is not None and not await still_there(tx, [label]):
        raise NotFound(f"There is no label {label}.")


@command(inbox, "apply", help=_("应用一个策略文件（YAML）：欢迎语、转人工、工作时间、回答阈值"))
async def apply(
    file: Annotated[Path, typer.Argument(help=_("策略文件"))],
    name: Annotated[str | None, typer.Option("--inbox", help=_("收件箱的名称或编号；只有一个时可省略"))] = None,
    check_only: Annotated[bool, typer.Option("--check", help=_("只检查，不应用"))] = False,
    as_json: AsJson = False,
) -> Exit | None:
    policy = read_policy_file(file, load_policy)
    if policy is None:
        return Exit.USAGE
    if check_only:
        say(_("策略没有错误"))
        return None
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await inboxes.inbox_called(tx, name)
        await _check_labels(tx, policy)
        changed = await configuring.set_policy(
            tx,
            app.vault,
            row.id,
            policy.model_dump(mode="json"),
            by=SYSTEM,
            now=app.clock.now(),
            cause=Cause("command"),
        )
    if as_json:
        show_json({"inbox": row.name, "changed": changed})
    else:
        say(_("{name}：策略已更新", name=row.name) if changed else _("{name}：策略没有变化", name=row.name))
    return None
