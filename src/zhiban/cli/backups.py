"""zhiban migrate, backup, restore."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from zhiban.cli.app import AsJson, Exit, _, app, command, err, say, settings, show_json, size, version
from zhiban.cli.database import bring_up_to_date, database
from zhiban.kit.settings import Settings
from zhiban.kit.vault import KEY_FILE
from zhiban.postgres import backup as backups
from zhiban.postgres.archive import inspect
from zhiban.postgres.provisioning import DatabaseUrls, migrate, revision

KEPT_BEFORE_UPGRADES = 3


def _default_target(config: Settings) -> Path:
    return config.data / "backups" / f"zhiban-{datetime.now():%Y%m%d-%H%M%S}.tar.gz"  # noqa: DTZ005 - a name for people


async def _backup(urls: DatabaseUrls, config: Settings, target: Path, *, with_key: bool = True) -> backups.Summary:
    key = config.data / KEY_FILE
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err.whole, transient=True) as progress:
        task = progress.add_task(_("备份"))
        return await backups.backup(
            urls.owner,
            target,
            version=version(),
            files=config.files_folder,
            key=key if with_key else None,
            progress=lambda what, done: progress.update(task, description=f"{_('备份')} {what} {done}"),
        )


@command(app, "backup", help=_("把所有数据和文件写进一个备份文件（服务可以继续运行）"))
async def backup(
    target: Annotated[Path | None, typer.Argument(help=_("备份文件；默认在数据目录的backups下"))] = None,
    without_key: Annotated[bool, typer.Option("--without-key", help=_("不带加密密钥（请另行保管）"))] = False,
    as_json: AsJson = False,
) -> None:
    config = settings()
    async with database(config) as urls:
        done = await _backup(urls, config, (target or _default_target(config)).absolute(), with_key=not without_key)
    if as_json:
        show_json(asdict(done))
        return
    say(
        _("已备份：{path}（{tables}张表，{rows}行，{files}个文件，{size}）"),
        path=done.path,
        tables=done.tables,
        rows=done.rows,
        files=done.files,
        size=size(done.size),
    )
    if config.file_store.startswith("s3://"):
        say(_("消息里的文件在{store}，不在备份里：请用对象存储自己的备份。", store=config.file_store))
    if config.zhiban_secret_key is not None:
        say(_("密钥来自ZHIBAN_SECRET_KEY，不在备份里：请另行保管，没有它就读不出保存的凭据。"))


@command(app, "restore", help=_("把备份恢复到一个空的数据库"))
async def restore(
    source: Annotated[Path, typer.Argument(help=_("备份文件"))],
    check: Annotated[bool, typer.Option("--check", help=_("只检查备份是否完整"))] = False,
    as_json: AsJson = False,
) -> None:
    config = settings()
    if check:
        manifest = inspect(source)
        if as_json:
            show_json(asdict(manifest))
        else:
            say(
                _("备份完整：版本{version}，{created}，{tables}张表"),
                version=manifest.version,
                created=manifest.created_at,
                tables=len(manifest.tables),
            )
        return
    async with database(config) as urls:
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err.whole, transient=True) as progress:
            task = progress.add_task(_("恢复"))
            done = await backups.restore(
                urls.owner,
                source,
                files=config.files_folder,
                key=config.data / KEY_FILE,
                upgrade=lambda wanted: migrate(urls, to=wanted),
                progress=lambda what, count: progress.update(task, description=f"{_('恢复')} {what} {count}"),
            )
        await bring_up_to_date(urls)
    if as_json:
        show_json(asdict(done))
    else:
        say(_("已恢复：{rows}行，{files}个文件。现在可以启动：zhiban serve"), rows=done.rows, files=done.files)


@command(app, "migrate", help=_("把数据库升级到本版本（自带数据库会先自动备份）"))
async def migrate_command(
    check: Annotated[bool, typer.Option("--check", help=_("只看是否需要升级；需要时退出码为1"))] = False,
    no_backup: Annotated[bool, typer.Option("--no-backup", help=_("升级前不备份"))] = False,
    as_json: AsJson = False,
) -> Exit | None:
    config = settings()
    async with database(config) as urls:
        before, wanted = await revision(urls)
        pending = before != wanted
        if pending and not check:
            if before is not None and config.database_url is None and not no_backup:
                name = f"before-{wanted}-{datetime.now():%Y%m%d-%H%M%S}.tar.gz"  # noqa: DTZ005 - a name for people
                await _backup(urls, config, config.data / "backups" / name)
                _forget_old(config.data / "backups")
            await bring_up_to_date(urls)
    if as_json:
        show_json({"before": before, "after": before if check else wanted, "pending": pending and check})
    elif not pending:
        say(_("数据库已是最新（{revision}）"), revision=wanted)
    elif check:
        say(_("数据库需要升级：{before} → {after}。请运行 zhiban migrate"), before=before or _("空"), after=wanted)
    else:
        say(_("数据库已升级：{before} → {after}"), before=before or _("空"), after=wanted)
    return Exit.FAILED if pending and check else None


def _forget_old(folder: Path) -> None:
    """Backups that upgrades made; those that people made stay for ever."""
    made = sorted(folder.glob("before-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    for path in made[:-KEPT_BEFORE_UPGRADES]:
        path.unlink()
