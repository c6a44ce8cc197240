"""zhiban tracker: where issues live, which repositories are reached, and which groups hear of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from zhiban import bootstrap
from zhiban.channels import inboxes
from zhiban.channels.connecting import callback_path, checks_of, told
from zhiban.channels.service import connect
from zhiban.channels.withdrawing import disconnect
from zhiban.cli.app import AsJson, Exit, _, command, say, settings, show_json, show_table, tracker
from zhiban.cli.connecting import Name, declare
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.conversations.groups import group_called
from zhiban.events import SYSTEM
from zhiban.kit.errors import NotFound
from zhiban.ports import TrackerIntegration
from zhiban.tickets import mirroring, repositories
from zhiban.tickets.tracker_jobs import TrackerJobs

add = typer.Typer(name="add", help=_("接入一个工单系统"), rich_markup_mode=None, no_args_is_help=True)
tracker.add_typer(add)


async def _add(
    integration: TrackerIntegration, values: Mapping[str, Any], *, name: str | None = None, as_json: bool = False
) -> Exit | None:
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        operators = integration.operators(app.settings)
        async with app.database.transaction(workspace_id) as tx:
            done = await connect(tx, app.vault, integration, {**operators, **values}, name=name, now=app.clock.now())
            row = await inboxes.access_connection(tx, done.id, part="tracker")
        results = [one async for one in checks_of(app.connections, workspace_id, row)]
        broken = next((told(one, _) for one in results if one.level == "fail"), "")
        if not broken:
            await TrackerJobs(app.database, app.connections, app.clock).sync_tracker(workspace_id, done.id)
        async with app.database.transaction(workspace_id) as tx:
            reached = [one.name for one in await repositories.repositories(tx, done.id)]
        address = app.settings.zhiban_url + callback_path(integration, row.public_id)
    if as_json:
        shown = {"connection": row.id, "callback": address, "repositories": reached, "broken": broken}
        show_json({**shown, "secrets": done.made_up})
    else:
        for number, step in enumerate([one for one in integration.setup.steps if one.text], 1):
            say(f"{number}. " + _(step.text, callback=address))
        for field in integration.setup.fields:
            if field.name in done.made_up:
                say(f"{_(field.label)}：{done.made_up[field.name]}")
        for one in reached:
            say(_("能用的仓库：{name}", name=one))
        if broken:
            say(_("还连不上{vendor}：{reason}", vendor=_(integration.label), reason=broken))
    return Exit.FAILED if broken else None


@command(tracker, "list", help=_("列出接入的工单系统、回调地址和仓库"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        rows = [row for row in await inboxes.connections(tx, part="tracker") if row.removed_at is None]
        reached = {row.id: [one.name for one in await repositories.repositories(tx, row.id)] for row in rows}
        base = app.settings.zhiban_url
    listed = [
        {
            "id": row.id,
            "name": row.name,
            "account": str(row.config.get("account", "")),
            "state": _.error(row.broken) if row.broken else _("正常"),
            "callback": base + callback_path(bootstrap.TRACKERS.get(row.vendor), row.public_id),
            "repositories": reached[row.id] if as_json else " ".join(reached[row.id]),
        }
        for row in rows
    ]
    if as_json:
        show_json(listed)
        return
    columns = {"id": _("编号"), "name": _("名称"), "account": _("账号"), "state": _("状态")}
    show_table({**columns, "callback": _("回调地址"), "repositories": _("仓库")}, listed)


@command(tracker, "remove", help=_("移除：凭据一并删除，已经知道的issue保留"))
async def remove(
    connection: Annotated[int, typer.Argument(help=_("连接的编号，见zhiban tracker list"))],
    yes: Annotated[bool, typer.Option("--yes", help=_("不再询问"))] = False,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await inboxes.access_connection(tx, connection, part="tracker")
        if not yes and not typer.confirm(_("移除{name}？", name=row.name), err=True):
            raise typer.Abort
        await disconnect(tx, app.vault, row.id, now=app.clock.now())
    if as_json:
        show_json({"connection": row.id, "change": "removed"})
    else:
        say(_("{name}：已移除", name=row.name))


@command(tracker, "sync", help=_("现在就同步仓库和issue，并请对方重发没送到的通知"))
async def sync(as_json: AsJson = False) -> None:
    counts: dict[str, int] = {}
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        async with app.database.transaction(workspace_id) as tx:
            rows = [row for row in await inboxes.connections(tx, part="tracker") if row.removed_at is None]
        for row in rows:
            await TrackerJobs(app.database, app.connections, app.clock).sync_tracker(workspace_id, row.id)
            async with app.database.transaction(workspace_id) as tx:
                counts[row.name] = len(await repositories.repositories(tx, row.id))
    if as_json:
        show_json(counts)
    else:
        for name, count in counts.items():
            say(_("{name}：已同步，仓库{n}个", n=count, name=name))


@command(tracker, "link", help=_("让一个群绑定仓库：群里开的工单建到那里"))
async def link(
    group: Annotated[str, typer.Argument(help=_("群名或会话编号"))],
    repository: Annotated[str, typer.Argument(help=_("owner/name，*代表任意一段"))],
    remove_it: Annotated[bool, typer.Option("--remove", help=_("解除"))] = False,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        conversation_id = await group_called(tx, group)
        now = app.clock.now()
        if remove_it:
            if not await repositories.unlink(tx, conversation_id, repository, by=SYSTEM, now=now):
                raise NotFound("This group is not linked with that.")
        else:
            await repositories.link(tx, conversation_id, repository, by=SYSTEM, now=now)
        linked = [one.pattern for one in await repositories.links_of(tx, conversation_id)]
    if as_json:
        show_json({"conversation": conversation_id, "repositories": linked})
    else:
        say(_("这个群绑定的仓库：{names}", names=" ".join(linked) or "-"))


@command(tracker, "pauses", help=_("列出因为来回太多而暂停的issue"))
async def pauses(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await mirroring.pauses(tx)
    if as_json:
        show_json(
            [
                {"issue": one.place, "title": one.title, "missed": one.missed, "until": one.ends_at.isoformat()}
                for one in found
            ]
        )
        return
    columns = {"issue": "issue", "title": _("标题"), "missed": _("没有转述"), "until": _("恢复时间")}
    show_table(
        columns,
        [
            {"issue": one.place, "title": one.title, "missed": one.missed, "until": _.stamp(one.ends_at)}
            for one in found
        ],
    )


@command(tracker, "resume", help=_("马上恢复一个暂停的issue"))
async def resume(
    issue: Annotated[str, typer.Argument(help=_("owner/repo#编号，见zhiban tracker pauses"))], as_json: AsJson = False
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        meant = next((one for one in await mirroring.pauses(tx) if one.place.lower() == issue.strip().lower()), None)
        if meant is None or not await mirroring.resume(tx, meant.issue_id, by=SYSTEM, now=app.clock.now()):
            raise NotFound("This issue is not paused.")
    if as_json:
        show_json({"issue": meant.place, "change": "resumed", "missed": meant.missed})
    else:
        say(_("{issue}：已恢复，暂停时有{n}条没有转述", issue=meant.place, n=meant.missed))


for _integration in bootstrap.TRACKERS.values():
    declare(add, _integration, {"name": Name}, partial(_add, _integration))
