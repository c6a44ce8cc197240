"""zhiban inbox and zhiban wecom: connecting accounts, and how they behave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban.channels import inboxes
from zhiban.channels.connections import OpenConnection, ensure_inbox
from zhiban.channels.inboxes import ConnectionRow
from zhiban.channels.policy import Policy, PolicyMistake, load_policy
from zhiban.cli.app import AsJson, Exit, _, command, err, inbox, say, settings, show_json, show_table, wecom
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.conversations.jobs import CONTACT_WELCOME
from zhiban.events import SYSTEM
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.kit.settings import Settings, load
from zhiban.knowledge import queries
from zhiban.ports import ConnectionBroken, OffersContactWays, VendorAccount

KINDS = {"wecom_kf": _("微信客服"), "wecom_app": _("企业微信应用")}
CALLBACK = "/wecom/callback"


@command(inbox, "list", help=_("列出收件箱和它们的回调地址"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        links = {row.id: row for row in await inboxes.connections(tx)}
        rows = await inboxes.inboxes(tx)
    listed = [
        {
            **asdict(row),
            "kind": row.kind if as_json else KINDS.get(row.kind, row.kind),
            "callback": callback(app.settings, links[row.connection_id]),
            "state": _state(row.archived_at is not None, row.broken or links[row.connection_id].broken),
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


def _state(archived: bool, broken: str | None) -> str:
    if archived:
        return _("已停用")
    return _("有问题：{reason}", reason=broken) if broken else _("正常")


def callback(found: Settings, row: ConnectionRow) -> str:
    return f"{found.zhiban_url}{CALLBACK}/{row.public_id}"


@command(inbox, "add", help=_("接入一个企业微信应用和它名下的微信客服账号"))
async def add(
    corp_id: Annotated[str, typer.Option("--corp-id", prompt=_("企业ID"), help=_("我的企业 → 企业信息"))],
    agent_id: Annotated[str, typer.Option("--agent-id", prompt="AgentId", help=_("应用管理 → 自建"))],
    secret: Annotated[str, typer.Option("--secret", prompt="Secret", hide_input=True, help=_("同一应用的Secret"))],
    token: Annotated[str, typer.Option("--token", prompt="Token", hide_input=True, help=_("接收消息 → 设置API接收"))],
    aes_key: Annotated[
        str, typer.Option("--aes-key", prompt="EncodingAESKey", hide_input=True, help=_("同一页面，43个字符"))
    ],
    account: Annotated[list[str] | None, typer.Option("--account", help=_("只接入这些客服账号（open_kfid）"))] = None,
    base: Annotated[str | None, typer.Option("--base", help=_("用哪个知识库回答"))] = None,
    as_json: AsJson = False,
) -> Exit | None:
    settings()
    described = load(
        wecom_corp_id=corp_id,
        wecom_agent_id=agent_id,
        wecom_agent_secret=secret,
        wecom_token=token,
        WECOM_ENCODING_AES_KEY=aes_key,
    )
    async with open_app(described) as app:
        row = await _connection_of(app, described)
        link = await app.connections.connection(await workspace_of(app), row.id)
        broken, accounts = "", list[VendorAccount]()
        try:
            accounts = await _take_accounts(app, link, account, base)
        except (ConnectionBroken, Unavailable) as error:
            broken = error.sentence
    if as_json:
        show_json(
            {"callback": callback(described, row), "accounts": [asdict(one) for one in accounts], "broken": broken}
        )
    else:
        say(_("已保存。把这个地址填到企业微信的“接收消息 → 设置API接收 → URL”：{url}", url=callback(described, row)))
        for one in accounts:
            say(_("已接入：{name}（{id}）", name=one.name, id=one.external_id))
        if broken:
            say(_("还连不上企业微信：{reason}", reason=_.error(broken)))
        elif not accounts:
            say(_("没有可接入的客服账号：请在“微信客服 → 通过API管理微信客服账号”里把账号交给这个应用。"))
    return Exit.FAILED if broken else None


async def _connection_of(app: App, described: Settings) -> ConnectionRow:
    """Opening the installation has made or updated what its settings describe."""
    async with app.database.transaction(await workspace_of(app)) as tx:
        for row in await inboxes.connections(tx):
            if (row.config.get("corp_id"), str(row.config.get("agent_id") or "")) == (
                described.wecom_corp_id,
                described.wecom_agent_id,
            ):
                return row
    raise NotFound("There is no such connection.")


async def _take_accounts(
    app: App, link: OpenConnection, only: Sequence[str] | None, base: str | None
) -> list[VendorAccount]:
    """An inbox for every account that we may manage."""
    managed = list(await link.vendor.accounts())
    wanted = [one for one in managed if not only or one.external_id in only]
    missing = sorted(set(only or ()) - {one.external_id for one in managed})
    if missing:
        raise Misconfigured(f"This app may not manage {', '.join(missing)}.")
    async with app.database.transaction(link.workspace_id) as tx:
        base_row = await queries.base_by_slug(tx, base) if base else None
        if base and base_row is None:
            raise NotFound(f"There is no knowledge base named {base}.")
        for one in wanted:
            inbox_id = await ensure_inbox(tx, link.id, one.kind, one.external_id, one.name)
            await inboxes.set_name(tx, inbox_id, one.name)
            if base_row is not None:
                await inboxes.set_base(tx, inbox_id, base_row.id)
    return wanted


@command(inbox, "check", help=_("检查凭据、账号和策略；有问题时退出码为1"))
async def check(as_json: AsJson = False) -> Exit | None:
    async with open_app(settings()) as app:
        report = await check_connections(app)
    bad = [line for line in report if line["problem"]]
    if as_json:
        show_json(report)
    else:
        show_table({"name": _("名称"), "accounts": _("账号"), "problem": _("问题"), "callback": _("回调地址")}, report)
        if not report:
            say(_("还没有接入任何账号：zhiban inbox add"))
    return Exit.FAILED if bad else None


async def check_connections(app: App) -> list[dict[str, Any]]:
    """Ask every vendor for its accounts, which proves secret, trusted address and permission in one call."""
    workspace_id = await workspace_of(app)
    async with app.database.transaction(workspace_id) as tx:
        rows = await inboxes.connections(tx)
        policies = {row.name: row.policy for row in await inboxes.inboxes(tx) if row.archived_at is None}
    report: list[dict[str, Any]] = []
    for row in rows:
        problem, names = "", ""
        try:
            link = await app.connections.connection(workspace_id, row.id)
            names = ", ".join(one.name for one in await link.vendor.accounts())
        except (ConnectionBroken, Unavailable, Misconfigured) as error:
            problem = _.error(error.sentence)
        report.append(
            {
                "name": row.name,
                "accounts": names,
                "problem": problem,
                "callback": callback(app.settings, row),
                "note": _.error(row.contacts_off) if row.contacts_off else "",
            }
        )
    for name, policy in policies.items():
        try:
            Policy.model_validate(policy)
        except ValueError as error:
            report.append({"name": name, "accounts": "", "problem": str(error), "callback": "", "note": ""})
    return report


@command(inbox, "apply", help=_("应用一个策略文件（YAML）：欢迎语、转人工、工作时间、回答阈值"))
async def apply(
    file: Annotated[Path, typer.Argument(help=_("策略文件"))],
    name: Annotated[str | None, typer.Option("--inbox", help=_("收件箱的名称或编号；只有一个时可省略"))] = None,
    check_only: Annotated[bool, typer.Option("--check", help=_("只检查，不应用"))] = False,
    as_json: AsJson = False,
) -> Exit | None:
    try:
        policy = load_policy(file.read_text(encoding="utf-8-sig"))
    except PolicyMistake as error:
        err.print(_("{file}有错，没有应用：", file=file), markup=False)
        for problem in error.problems:
            err.print(f"  {problem.told(_)}", markup=False)
        return Exit.USAGE
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file} cannot be read as UTF-8 text.") from error
    if check_only:
        say(_("策略没有错误"))
        return None
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await inboxes.inbox_called(tx, name)
        changed = await inboxes.set_policy(
            tx, row.id, policy.model_dump(mode="json"), by=SYSTEM, now=app.clock.now(), cause="zhiban inbox apply"
        )
    if as_json:
        show_json({"inbox": row.name, "changed": changed})
    else:
        say(_("{name}：策略已更新", name=row.name) if changed else _("{name}：策略没有变化", name=row.name))
    return None


@command(wecom, "contact-way", help=_("生成“联系我”二维码：联系人扫码加成员为好友，默认自动通过"))
async def contact_way(
    member: Annotated[list[str], typer.Option("--member", help=_("成员的userid，可以写多个"))],
    state: Annotated[str, typer.Option("--state", help=_("来源标记，最多30个字，会记在联系人上"))] = "",
    remark: Annotated[str, typer.Option("--remark", help=_("给自己看的备注"))] = "",
    verify: Annotated[bool, typer.Option("--verify", help=_("需要成员确认，不自动通过"))] = False,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        async with app.database.transaction(workspace_id) as tx:
            row = await _wecom_connection(tx)
        vendor = (await app.connections.connection(workspace_id, row.id)).vendor
        if not isinstance(vendor, OffersContactWays):
            raise Misconfigured("This connection makes no contact links.")
        config_id, picture = await vendor.contact_way(member, state=state, remark=remark, skip_verify=not verify)
    if as_json:
        show_json({"config_id": config_id, "qr_code": picture, "state": state, "skip_verify": not verify})
        return
    say(_("二维码：{url}", url=picture))
    say(_("编号：{id}", id=config_id))


async def _wecom_connection(tx: Transaction) -> ConnectionRow:
    """The app that talks for us. Raises Misconfigured."""
    for row in await inboxes.connections(tx):
        if row.vendor == "wecom":
            return row
    raise Misconfigured("No WeCom app is connected. Run zhiban inbox add, or set WECOM_CORP_ID and the others.")


@command(wecom, "contacts", help=_("客户联系：成员加到新好友时的欢迎语和备注；不写选项则显示现在的设置"))
async def contacts(
    welcome: Annotated[str | None, typer.Option("--welcome", help=_("欢迎语；空文本表示不发"))] = None,
    remark: Annotated[
        str | None, typer.Option("--remark", help=_("备注模板，可用{name}和{source}；空文本表示不改备注"))
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help=_("只对这个来源（“联系我”二维码的 --state）"))] = None,
    forget: Annotated[bool, typer.Option("--forget", help=_("去掉这些设置，回到默认"))] = False,
    as_json: AsJson = False,
) -> None:
    if forget and (welcome is not None or remark is not None):
        raise Misconfigured("Give either new texts or --forget.")
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await _wecom_connection(tx)
        if forget or welcome is not None or remark is not None:
            await inboxes.set_contact_texts(
                tx, row.id, welcome=welcome, remark=remark, source=source, forget=forget, now=app.clock.now()
            )
        texts = inboxes.contact_texts(await _wecom_connection(tx))
    if as_json:
        show_json({**asdict(texts), "default_welcome": CONTACT_WELCOME})
        return
    rows = [(_("所有人"), CONTACT_WELCOME if texts.welcome is None else texts.welcome, texts.remark)]
    for name in sorted({**texts.welcome_by_source, **texts.remark_by_source}):
        rows.append((name, texts.welcome_by_source.get(name, rows[0][1]), texts.remark_by_source.get(name, rows[0][2])))
    show_table(
        {"source": _("来源"), "welcome": _("欢迎语"), "remark": _("备注")},
        [
            {"source": name, "welcome": said or _("（不发）"), "remark": called or _("（不改）")}
            for name, said, called in rows
        ],
    )
