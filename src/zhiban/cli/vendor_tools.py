"""zhiban <vendor>: what can be done at a vendor besides talking, for those vendors that offer it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from zhiban import bootstrap
from zhiban.channels import configuring, contact_ways, inboxes
from zhiban.channels.contact_ways import ContactWayRow
from zhiban.channels.inboxes import ConnectionRow
from zhiban.cli.app import AsJson, _, command, group, say, settings, show_json, show_table
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.conversations.jobs import CONTACT_WELCOME
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.ports import Integration, ManagesExternalContacts, OffersContactLinks, OffersContactWays


async def _connection(tx: Transaction, integration: Integration) -> ConnectionRow:
    """The vendor's first connection. Raises Misconfigured."""
    for row in await inboxes.connections(tx):
        if row.vendor == integration.name and row.removed_at is None:
            return row
    raise Misconfigured(f"Nothing is connected yet. Run zhiban inbox add {integration.name}.")


async def _offering(app: App, integration: Integration) -> tuple[ConnectionRow, OffersContactWays]:
    workspace_id = await workspace_of(app)
    async with app.database.transaction(workspace_id) as tx:
        row = await _connection(tx, integration)
    vendor = (await app.connections.connection(workspace_id, row.id)).vendor
    if not isinstance(vendor, OffersContactWays):
        raise Misconfigured("This connection makes no contact links.")
    return row, vendor


def _declare_contact_ways(integration: Integration, tools: typer.Typer) -> None:
    @command(tools, "contact-way", help=_("生成“联系我”二维码：联系人扫码加成员为好友，默认自动通过"))
    async def contact_way(
        member: Annotated[list[str], typer.Option("--member", help=_("成员的userid，可以写多个"))],
        state: Annotated[str, typer.Option("--state", help=_("来源标记，最多30个字，会记在联系人上"))] = "",
        remark: Annotated[str, typer.Option("--remark", help=_("给自己看的备注"))] = "",
        verify: Annotated[bool, typer.Option("--verify", help=_("需要成员确认，不自动通过"))] = False,
        as_json: AsJson = False,
    ) -> None:
        async with open_app(settings()) as app:
            row, vendor = await _offering(app, integration)
            way_id, picture = await vendor.contact_way(member, state=state, remark=remark, skip_verify=not verify)
            way = ContactWayRow(way_id, picture, list(member), state, remark, not verify, app.clock.now())
            async with app.database.transaction(await workspace_of(app)) as tx:
                await contact_ways.keep(tx, row.id, way)
        if as_json:
            show_json({"config_id": way_id, "qr_code": picture, "state": state, "skip_verify": not verify})
            return
        say(_("二维码：{url}", url=picture))
        say(_("编号：{id}", id=way_id))

    @command(tools, "contact-ways", help=_("列出生成过的“联系我”二维码；可以让其中一个失效"))
    async def contact_ways_(
        remove: Annotated[str | None, typer.Option("--remove", help=_("让这个编号的二维码失效"))] = None,
        as_json: AsJson = False,
    ) -> None:
        async with open_app(settings()) as app:
            row, vendor = await _offering(app, integration)
            workspace_id = await workspace_of(app)
            if remove is not None:
                await vendor.remove_contact_way(remove)
                async with app.database.transaction(workspace_id) as tx:
                    await contact_ways.forget(tx, row.id, remove, now=app.clock.now())
            async with app.database.transaction(workspace_id) as tx:
                rows = [asdict(way) for way in await contact_ways.kept(tx, row.id)]
        if as_json:
            show_json(rows)
            return
        columns = {
            "id": _("编号"),
            "state": _("来源"),
            "remark": _("备注"),
            "members": _("成员"),
            "picture_url": _("二维码"),
        }
        show_table(columns, [{**way, "members": ", ".join(way["members"])} for way in rows])


def _declare_links(tools: typer.Typer, kinds: list[str]) -> None:
    @command(tools, "link", help=_("生成打开会话的链接，可以带来源"))
    async def link(
        name: Annotated[str | None, typer.Option("--inbox", help=_("收件箱的名称或编号；只有一个时可省略"))] = None,
        scene: Annotated[str, typer.Option("--scene", help=_("来源，最多32个字母、数字、_或-"))] = "",
        scene_param: Annotated[str, typer.Option("--scene-param", help=_("来源的附加内容，最多128字节"))] = "",
        as_json: AsJson = False,
    ) -> None:
        async with open_app(settings()) as app:
            workspace_id = await workspace_of(app)
            async with app.database.transaction(workspace_id) as tx:
                inbox_id = await _inbox_with_links(tx, name, kinds)
            channel = (await app.connections.inbox(workspace_id, inbox_id)).channel
            if not isinstance(channel, OffersContactLinks):
                raise Misconfigured("This inbox has no links of its own.")
            url = await channel.contact_link(scene=scene, scene_param=scene_param)
        if as_json:
            show_json({"url": url})
        else:
            say(url)


async def _inbox_with_links(tx: Transaction, name: str | None, kinds: list[str]) -> int:
    if name is not None:
        return (await inboxes.inbox_called(tx, name)).id
    rows = [row for row in await inboxes.inboxes(tx) if row.archived_at is None and row.kind in kinds]
    if len(rows) != 1:
        raise NotFound(f"There are {len(rows)} inboxes; say which one with --inbox.")
    return rows[0].id


def _declare_contacts(integration: Integration, tools: typer.Typer) -> None:
    @command(tools, "contacts", help=_("客户联系：成员加到新好友时的欢迎语和备注；不写选项则显示现在的设置"))
    async def contacts(
        welcome: Annotated[str | None, typer.Option("--welcome", help=_("欢迎语；空文本表示不发"))] = None,
        remark: Annotated[
            str | None, typer.Option("--remark", help=_("备注模板，可用{name}和{source}；空文本表示不改备注"))
        ] = None,
        source: Annotated[
            str | None, typer.Option("--source", help=_("只对这个来源（“联系我”二维码的 --state）"))
        ] = None,
        forget: Annotated[bool, typer.Option("--forget", help=_("去掉这些设置，回到默认"))] = False,
        as_json: AsJson = False,
    ) -> None:
        if forget and (welcome is not None or remark is not None):
            raise Misconfigured("Give either new texts or --forget.")
        async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
            row = await _connection(tx, integration)
            vendor = (await app.connections.connection(tx.workspace_id, row.id)).vendor
            if not isinstance(vendor, ManagesExternalContacts):
                raise Misconfigured("This connection has no friends to welcome.")
            if forget or welcome is not None or remark is not None:
                await configuring.set_contact_texts(
                    tx,
                    row.id,
                    welcome=welcome,
                    remark=remark,
                    source=source,
                    forget=forget,
                    limit=vendor.contact_welcome_bytes,
                    now=app.clock.now(),
                )
            texts = configuring.contact_texts(await _connection(tx, integration))
        if as_json:
            show_json({**asdict(texts), "default_welcome": CONTACT_WELCOME})
            return
        rows = [(_("所有人"), CONTACT_WELCOME if texts.welcome is None else texts.welcome, texts.remark)]
        for name in sorted({**texts.welcome_by_source, **texts.remark_by_source}):
            rows.append(
                (name, texts.welcome_by_source.get(name, rows[0][1]), texts.remark_by_source.get(name, rows[0][2]))
            )
        show_table(
            {"source": _("来源"), "welcome": _("欢迎语"), "remark": _("备注")},
            [
                {"source": name, "welcome": said or _("（不发）"), "remark": called or _("（不改）")}
                for name, said, called in rows
            ],
        )


for _integration in bootstrap.CHANNELS.values():
    _linking = [one.kind for one in _integration.kinds if OffersContactLinks in one.talents]
    _ways = OffersContactWays in _integration.talents
    if _ways or _linking:
        _tools = group(_integration.name, _("{vendor}工具", vendor=_(_integration.label)))
        if _ways:
            _declare_contact_ways(_integration, _tools)
            _declare_contacts(_integration, _tools)
        if _linking:
            _declare_links(_tools, _linking)
