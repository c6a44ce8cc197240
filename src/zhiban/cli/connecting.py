"""zhiban inbox add: one sub-command for each vendor, made from the fields that the vendor asks for."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban import bootstrap
from zhiban.channels import configuring, inboxes
from zhiban.channels.accounts import take_accounts
from zhiban.channels.connecting import callback_address
from zhiban.channels.inboxes import ConnectionRow
from zhiban.channels.service import connect, restrict
from zhiban.cli.app import AsJson, Exit, _, command, inbox, say, settings, show_json
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.kit.errors import Misconfigured, NotFound, Unavailable
from zhiban.kit.settings import Settings
from zhiban.knowledge import queries
from zhiban.ports import ConnectionBroken, Integration, SetupField, TrackerIntegration, VendorAccount

add = typer.Typer(name="add", help=_("接入一个渠道；不写渠道和选项时逐项询问"), rich_markup_mode=None)
inbox.add_typer(add)

Name = Annotated[str | None, typer.Option("--name", help=_("这个连接叫什么"))]
Accounts = Annotated[list[str] | None, typer.Option("--account", help=_("只接入这些账号，可以写多个"))]
Base = Annotated[str | None, typer.Option("--base", help=_("用哪个知识库回答"))]
FromFile = Annotated[Path | None, typer.Option("--values", help=_("从JSON文件读取各项的值；- 表示标准输入"))]


def callback(found: Settings, row: ConnectionRow) -> str:
    """The address that the vendor has to call."""
    return callback_address(bootstrap.CHANNELS.get(row.vendor), row.public_id, at=found.zhiban_url)


@add.callback(invoke_without_command=True)
def _choose(context: typer.Context) -> None:
    """Ask which vendor, when none was named."""
    if context.invoked_subcommand is not None:
        return
    names = list(bootstrap.CHANNELS)
    if not sys.stdin.isatty():
        raise Misconfigured(f"Say what to connect: zhiban inbox add {' | '.join(names)}.")
    for each in bootstrap.CHANNELS.values():
        say(f"{each.name}  {_(each.label)}")
    wish = typer.prompt(_("渠道"), default=names[0])
    chosen = typer.main.get_command(add).commands.get(wish)  # type: ignore[attr-defined]  # it is a group
    if chosen is None:
        raise Misconfigured(f"Say what to connect: {', '.join(names)}.")
    context.invoke(chosen)


def _option(field: SetupField) -> str:
    return "--" + field.name.replace("_", "-")


def declare(
    parent: typer.Typer,
    integration: Integration | TrackerIntegration,
    shared: Mapping[str, Any],
    carry_out: Callable[..., Awaitable[Exit | None]],
) -> None:
    """The sub-command of a vendor: an option for each of its fields, besides those that all vendors `share`.

    `carry_out` gets the values of the fields, and the others by their names.
    """
    names = {field.name for field in integration.setup.fields}

    async def run(*, values: Path | None = None, as_json: bool = False, **given: Any) -> Exit | None:
        named = {key: value for key, value in given.items() if key in names and value is not None}
        complete = _asked_for(integration, {**_from_file(values), **named}, ask=sys.stdin.isatty() and not as_json)
        others = {key: value for key, value in given.items() if key not in names}
        return await carry_out(complete, as_json=as_json, **others)

    shared = {**shared, "values": FromFile, "as_json": AsJson}
    own = {
        field.name: Annotated[str | None, typer.Option(_option(field), help=f"{_(field.label)}  {_help_of(field)}")]
        for field in integration.setup.fields
    }
    run.__annotations__ = {**own, **shared}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # Typer reads it
        [
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if key == "as_json" else None,
                annotation=annotation,
            )
            for key, annotation in {**own, **shared}.items()
        ]
    )
    command(parent, integration.name, help=_(integration.label))(run)


def _from_file(path: Path | None) -> dict[str, Any]:
    """The values as a script writes them. Raises Misconfigured."""
    if path is None:
        return {}
    try:
        found = json.loads(sys.stdin.read() if str(path) == "-" else path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{path} cannot be read as JSON.") from error
    if not isinstance(found, dict):
        raise Misconfigured(f"{path} must hold one JSON object.")
    return found


def _asked_for(integration: Integration | TrackerIntegration, typed: Mapping[str, Any], *, ask: bool) -> dict[str, Any]:
    """What was given, and what a person at the terminal adds. Raises Misconfigured when something is missing."""
    values = dict(typed)
    known = {field.name for field in integration.setup.fields}
    if strange := sorted(set(values) - known):
        raise Misconfigured(f"{integration.name} has no {', '.join(strange)}; it has {', '.join(sorted(known))}.")
    missing = [field for field in integration.setup.fields if field.required and not values.get(field.name)]
    if missing and not ask:
        raise Misconfigured(f"{', '.join(_option(field) for field in missing)} must be given.")
    if missing:
        for field in integration.setup.fields:
            if field.name not in values:
                values[field.name] = _prompt(field)
    return {key: value for key, value in values.items() if value not in ("", None)}


def _help_of(field: SetupField) -> str:
    said = _(field.help) if field.help else ""
    return _("；").join(filter(None, (_("true或false") if field.yes_no else "", said)))


def _prompt(field: SetupField) -> str:
    said = _help_of(field)
    label = f"{_(field.label)}（{said}）" if said else _(field.label)
    default = field.default if field.default or not field.required else None
    return str(typer.prompt(label, default=default, hide_input=field.secret, show_default=bool(default)))


async def _add(
    integration: Integration,
    values: Mapping[str, Any],
    *,
    name: str | None = None,
    account: list[str] | None = None,
    base: str | None = None,
    as_json: bool = False,
) -> Exit | None:
    only = account or []
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        async with app.database.transaction(workspace_id) as tx:
            base_row = await queries.base_by_slug(tx, base) if base else None
            if base and base_row is None:
                raise NotFound(f"There is no knowledge base named {base}.")
            connected = await connect(tx, app.vault, integration, values, name=name, now=app.clock.now())
            if only:
                await restrict(tx, connected.id, only, now=app.clock.now())
            (row,) = [row for row in await inboxes.connections(tx) if row.id == connected.id]
        link = await app.connections.connection(workspace_id, connected.id)
        broken, accounts = "", list[VendorAccount]()
        try:
            accounts = await take_accounts(app.database, link, only, now=app.clock.now())
        except (ConnectionBroken, Unavailable) as error:
            broken = error.sentence
        if base_row is not None:
            async with app.database.transaction(workspace_id) as tx:
                for inbox_id in await inboxes.inboxes_of(tx, connected.id):
                    await configuring.set_base(tx, inbox_id, base_row.id, now=app.clock.now())
        address = callback(app.settings, row)
    if as_json:
        shown = {"connection": row.id, "callback": address, "accounts": [asdict(one) for one in accounts]}
        show_json({**shown, "broken": broken, "secrets": connected.made_up})
    else:
        _tell(integration, address, accounts, broken)
        for field in integration.setup.fields:
            if field.name in connected.made_up:
                say(f"{_(field.label)}：{connected.made_up[field.name]}")
    return Exit.FAILED if broken else None


def _tell(integration: Integration, address: str, accounts: list[VendorAccount], broken: str) -> None:
    say(_("已保存。接下来："))
    for number, text in enumerate(filter(None, (step.text for step in integration.setup.steps)), 1):
        say(f"{number}. " + _(text, callback=address))
    for one in accounts:
        say(_("已接入：{name}（{id}）", name=one.name, id=one.external_id))
    if broken:
        say(_("还连不上{vendor}：{reason}", vendor=_(integration.label), reason=_.error(broken)))


for _integration in bootstrap.CHANNELS.values():
    declare(add, _integration, {"name": Name, "account": Accounts, "base": Base}, partial(_add, _integration))
