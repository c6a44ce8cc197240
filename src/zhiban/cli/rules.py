"""zhiban rules: what happens by itself, listed, switched, rehearsed, and as a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from zhiban import bootstrap
from zhiban.automation import queries, service
from zhiban.automation.attached_files import file_remarks
from zhiban.automation.definition import BadDefinition, load_definition
from zhiban.automation.models import RuleRow
from zhiban.automation.rehearsal import CONVERSATIONS, rehearse, remarks
from zhiban.automation.rule_files import files_named, from_yaml, to_yaml
from zhiban.automation.taking_over import FileEntry, try_rules
from zhiban.automation.wording import RuleWording
from zhiban.cli.app import AsJson, Exit, _, command, err, rules, say, settings, show_json, show_table
from zhiban.cli.entries import say_entries
from zhiban.cli.runtime import open_app, workspace_of
from zhiban.container import App
from zhiban.conversations.action_files import add_action_file
from zhiban.conversations.draft_files import LARGEST, StoredContent
from zhiban.events import SYSTEM
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.kit.file_store import FileTooLarge, pieces_of, spooled
from zhiban.kit.file_types import HEAD

DIGEST = re.compile(r"[0-9a-f]{64}")
Rule = Annotated[str, typer.Argument(help=_("规则的名字或编号"))]


async def _rule(tx: Transaction, name: str) -> RuleRow:
    """The rule of this name or id. Raises NotFound."""
    found = [row for row in await queries.rules(tx) if name in (row.name, str(row.id), row.shipped)]
    if len(found) != 1:
        raise NotFound(f"Not exactly one rule is called {name}; zhiban rules list shows them all.")
    return found[0]


def _said(row: RuleRow, words: RuleWording) -> str:
    try:
        return load_definition(row.definition).label(words)
    except BadDefinition as error:
        return _("这一版读不懂：{why}", why=error.sentence)


@command(rules, "list", help=_("按执行顺序列出规则，用一句话说明"))
async def list_(as_json: AsJson = False) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        found = await queries.rules(tx)
        words = RuleWording(_, await queries.names(tx))
    rows: list[dict[str, Any]] = [
        {"id": one.id, "name": one.name, "enabled": one.enabled, "shipped": one.shipped, "said": _said(one, words)}
        for one in found
    ]
    if as_json:
        show_json(rows)
        return
    show_table({"id": _("编号"), "name": _("名字"), "enabled": _("启用"), "said": _("做什么")}, rows)


async def _switch(name: str, *, on: bool) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await _rule(tx, name)
        await service.switch(tx, row.id, on=on, by=SYSTEM, now=app.clock.now())
    say(_("已启用：{name}", name=row.name) if on else _("已停用：{name}", name=row.name))


@command(rules, "on", help=_("启用规则"))
async def on(name: Rule) -> None:
    await _switch(name, on=True)


@command(rules, "off", help=_("停用规则"))
async def off(name: Rule) -> None:
    await _switch(name, on=False)


@command(rules, "rehearse", help=_("演练：规则在最近的会话里会做什么，不真正执行"))
async def rehearse_(
    name: Rule,
    last: Annotated[
        int, typer.Option("--last", min=1, max=1000, help=_("看最近多少个会话；等人上线或离线的规则，看最近多少次"))
    ] = CONVERSATIONS,
    as_json: AsJson = False,
) -> None:
    async with open_app(settings()) as app, app.database.transaction(await workspace_of(app)) as tx:
        row = await _rule(tx, name)
        definition, known = load_definition(row.definition), await queries.names(tx)
        found = await rehearse(tx, definition, now=app.clock.now(), rule_id=row.id, limit=last)
    files = file_remarks(definition, found, known, bootstrap.limits_of, _)
    if as_json:
        show_json(
            {
                "conversations": len(found.conversations),
                "fired": found.fired,
                "unsure": found.unsure,
                "agent_facts": found.agent_facts,
                "untold": found.untold,
                "files": files,
                "runs": [
                    {"conversation_id": run.conversation_id, "at": run.at, "trigger": run.trigger,
                     "conditions": run.checked.stored()}
                    for run in found.runs
                ],
            }
        )  # fmt: skip
        return
    say(_("看了最近{n}个会话，会触发{fired}次", n=len(found.conversations), fired=found.fired))
    for remark in (*remarks(found, _), *files):
        say(remark)
    if found.unsure:
        say(_("有{n}次无法判断：{why}", n=found.unsure, why=_.error(next(_why(found.runs), ""))))
    show_table(
        {"at": _("时间"), "conversation": _("会话"), "name": _("联系人")},
        [
            {"at": _.stamp(run.at), "conversation": run.conversation_id, "name": run.name}
            for run in found.runs
            if run.checked.held
        ],
    )


def _why(runs: Any) -> Any:
    return (why for run in runs for why in run.checked.failed())


@command(rules, "export", help=_("把规则写成YAML：名字代替编号，可以带到别的工作区"))
async def export(
    file: Annotated[Path | None, typer.Argument(help=_("写到哪个文件；不写则输出到屏幕"))] = None,
) -> None:
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        async with app.database.transaction(workspace_id) as tx:
            text = to_yaml(await queries.rules(tx), await queries.names(tx))
        named = files_named(text)
        if file is None:
            say(text.rstrip("\n"))
            if named:
                err.print(_("规则发的{n}个文件没有写出来：写到文件里才会带上", n=len(named)), markup=False)
            return
        for _name, sha256 in named:
            beside(file).mkdir(exist_ok=True)
            content = b"".join([piece async for piece in app.files.read(workspace_id, sha256)])
            (beside(file) / sha256).write_bytes(content)
    file.write_text(text, "utf-8")
    if named:
        say(_("规则发的{n}个文件在{folder}里，要一起带走", n=len(named), folder=beside(file)))


def beside(file: Path) -> Path:
    """The folder beside a file of rules where the files lie that they send, each called by its digest."""
    return file.with_name(file.name + ".files")


async def _brought(app: App, workspace_id: int, path: Path, name: str, sha256: str, *, keep: bool) -> StoredContent:
    """A file that came with rules, put into the store if it is to be kept. Raises Misconfigured where it is another."""
    with path.open("rb") as source:
        try:
            async with spooled(pieces_of(source), limit=LARGEST, head=HEAD) as spool:
                if spool.sha256 != sha256:
                    raise Misconfigured(f"{path} is not the file that was exported.")
                if keep:
                    await app.files.keep(workspace_id, spool)
                return StoredContent(spool.sha256, spool.size, spool.head, name)
        except FileTooLarge as error:
            raise Misconfigured(f"{path} is too large to be sent.") from error


@command(rules, "import", help=_("读入YAML里的规则：同名的更新，没有的新建；有任何错误就什么也不改"))
async def import_(
    file: Annotated[Path, typer.Argument(help=_("YAML文件"), exists=True, dir_okay=False)],
    check: Annotated[bool, typer.Option("--check", help=_("只检查"))] = False,
) -> Exit | None:
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not a UTF-8 text file.") from error
    async with open_app(settings()) as app:
        workspace_id = await workspace_of(app)
        async with app.database.transaction(workspace_id) as tx:
            known = await queries.names(tx)
        here = {one.sha256 for one in known.files.values()}
        brought = [
            await _brought(app, workspace_id, beside(file) / sha256, name, sha256, keep=not check)
            for name, sha256 in dict.fromkeys(files_named(text))
            if sha256 not in here and DIGEST.fullmatch(sha256) and (beside(file) / sha256).is_file()
        ]
        now, entries = app.clock.now(), []
        async with app.database.transaction(workspace_id) as tx:
            if check:
                entries = await _tried(tx, text, brought, now=now)
            else:
                for one in brought:
                    await add_action_file(tx, one, by=None, now=now)
                wanted = from_yaml(text, await queries.names(tx))
                added, changed = await service.adopt(tx, wanted, by=SYSTEM, now=now)
    if check:
        return say_entries(entries)
    say(_("新建{added}条，更新{changed}条", added=added, changed=changed))
    return None


async def _tried(tx: Transaction, text: str, brought: Sequence[StoredContent], *, now: datetime) -> list[FileEntry]:
    """What the file would change; the files beside it are here for as long as it is tried."""
    with suppress(_TriedOnly):
        async with tx.savepoint():
            for one in brought:
                await add_action_file(tx, one, by=None, now=now)
            words = RuleWording(_, await queries.names(tx))
            entries = await try_rules(tx, text, words, told=lambda e: _.error(e.sentence), by=SYSTEM, now=now)
            raise _TriedOnly
    return entries


class _TriedOnly(Exception):
    """What was tried is undone."""
