"""What all commands share: settings, language, output, and how an error leaves the program.

Standard output carries results only, as words or, with --json, as one JSON value; everything else goes to standard
error. Exit codes: 0 done, 1 a check failed or part of the work could not be done, 2 wrong usage or configuration,
3 something needed does not answer (trying again later may help), 4 no such thing or it changed meanwhile, 130 stopped.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib.metadata
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from enum import IntEnum
from importlib import import_module
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from dotenv import dotenv_values

from zhiban.cli.console import LateConsole
from zhiban.kit import logs
from zhiban.kit.errors import Conflict, Misconfigured, NotFound, Unavailable, ZhibanError
from zhiban.kit.i18n import Texts, to_locale
from zhiban.kit.settings import Settings, load

P = ParamSpec("P")


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    MISSING = 4
    INTERRUPTED = 130


def _language() -> Texts:
    """Known before the settings are read, because --help has to work whatever they say."""
    return Texts(to_locale(os.environ.get("ZHIBAN_LOCALE") or dotenv_values(".env").get("ZHIBAN_LOCALE")))


_ = _language()
out = LateConsole(width=500)
err = LateConsole(stderr=True, width=120)

AsJson = Annotated[bool, typer.Option("--json", help=_("以JSON输出，供脚本使用"))]


def group(name: str, help_text: str) -> typer.Typer:
    """A word under which commands stand together."""
    made = typer.Typer(name=name, help=help_text, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(made)
    return made


app = typer.Typer(
    name="zhiban",
    help=_("值班：聊天社群与客户服务的工作台"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
kb = group("kb", _("知识库：导入、搜索、重建、统计、导出、删除"))
inbox = group("inbox", _("收件箱：接入、列出、检查、应用策略、暂停、恢复、移除"))
agent = group("agent", _("同事：添加、列出、修改、停用、启用、给链接"))
team = group("team", _("小组：添加、列出、修改、移除"))
rules = group("rules", _("规则：列出、启用、停用、演练、导出、导入"))
flows = group("flows", _("流程：列出、启用、停用、导出、导入"))
reports = group("reports", _("报表：算到哪里，重新计算"))
retention = group("retention", _("数据与保留：查看、设置、清理"))
snippets = group("snippets", _("快捷回复：列出、添加、移除、导出、导入"))
tracker = group("tracker", _("工单系统：接入、列出、同步、移除、绑定群"))
token = group("token", _("接口令牌：生成、列出、吊销"))

# Which modules hold which command: only what is asked for is imported, which is quicker and smaller.
MODULES = {
    "agent": "agents",
    "backup": "backups",
    "demo": "demo",
    "doctor": "doctor",
    "flows": "flows",
    "inbox": "inboxes",
    "kb": "knowledge gaps learning kb_eval",
    "migrate": "backups",
    "reports": "reports",
    "restore": "backups",
    "retention": "retention",
    "rotate-key": "keys",
    "rules": "rules",
    "serve": "serve",
    "snippets": "snippets",
    "team": "teams",
    "token": "tokens",
    "tracker": "trackers",
    "work": "work",
}


def every_module() -> list[str]:
    return sorted(set(" ".join(MODULES.values()).split()))


def version() -> str:
    return importlib.metadata.version("zhiban")


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"zhiban {version()}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=_("在标准错误上显示日志"))] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help=_("显示版本"))
    ] = False,
) -> None:
    logs.configure("INFO" if verbose else "WARNING")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit code."""
    # What we write is for us. As root, folders may be passed through though not listed: the bundled PostgreSQL does not
    # run as root, and its folder lies inside ours.
    os.umask(0o066 if hasattr(os, "geteuid") and os.geteuid() == 0 else 0o077)
    given = sys.argv[1:] if arguments is None else arguments
    asked = MODULES.get(next((word for word in given if not word.startswith("-")), ""), "").split()
    # Vendors' own groups are known only when the vendors are: what is not in the table may be one of them.
    for module in asked or [*every_module(), "vendor_tools"]:
        load_module(f"zhiban.cli.{module}")
    try:
        code = app(args=arguments, prog_name="zhiban", standalone_mode=True)
    except ZhibanError as error:
        err.print(_.error(error.sentence), style="red", markup=False)
        code = code_of(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print(_("已停止"))
        code = Exit.INTERRUPTED
    sys.exit(code)


def load_module(name: str) -> None:
    """Import what stays for good, without the garbage collector looking through it again and again."""
    gc.disable()
    try:
        import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def code_of(error: ZhibanError) -> Exit:
    match error:
        case Misconfigured():
            return Exit.USAGE
        case Unavailable():
            return Exit.UNAVAILABLE
        case NotFound() | Conflict():
            return Exit.MISSING
        case _:
            return Exit.FAILED


def command(
    parent: typer.Typer,
    name: str,
    *,
    help: str,  # noqa: A002 - Typer's own word
) -> Callable[[Callable[P, Coroutine[Any, Any, Exit | None]]], Callable[P, None]]:
    """Make an async function a command. What it returns becomes the exit code; None is success."""

    def declare(function: Callable[P, Coroutine[Any, Any, Exit | None]]) -> Callable[P, None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                code = runner.run(_until_terminated(function(*args, **kwargs)))
            if code:
                raise typer.Exit(code)

        parent.command(name, help=help)(run)
        return run

    return declare


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where there is one: it halves what the hot path costs."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


async def _until_terminated(work: Coroutine[Any, Any, Exit | None]) -> Exit | None:
    """SIGTERM ends a command as Ctrl-C does: through its `finally` blocks."""
    task = asyncio.current_task()
    if task is not None and hasattr(signal, "SIGTERM"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def settings() -> Settings:
    """The settings of this run. Raises Misconfigured."""
    found = load()
    if logging.getLogger().level > logging.INFO:
        logs.configure("WARNING", found.zhiban_log_format)
    return found


# ------------------------------------------------------------------------------------------------------------ output


def say(text: str = "", **values: object) -> None:
    """A line for people."""
    out.print(text.format(**values) if values else text, markup=False)


def confirmed(question: str, *, yes: bool, asking: bool = True) -> bool:
    """Whether it is meant: `--yes` said so, or the person at the terminal does.

    Raises Misconfigured where nobody can be asked: in a pipe, or when not `asking` because of --json.
    """
    if yes:
        return True
    if not asking or not sys.stdin.isatty():
        err.print(question, markup=False)
        raise Misconfigured("Nothing was changed. Add --yes if this is meant.")
    return typer.confirm(question, err=True)


def show_json(value: object) -> None:
    """The result for a script: one JSON value, nothing else on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def show_table(columns: Mapping[str, str], rows: Iterable[Mapping[str, object]]) -> None:
    """A table for people: `columns` maps a key of each row to its heading."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(row.get(key))) for key in columns))
    out.print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("是") if value else _("否")
    return str(value)


def size(count: float) -> str:
    """1536 → 1.5 KB"""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
