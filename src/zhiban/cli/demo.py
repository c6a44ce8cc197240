"""zhiban demo: everything from one command, with a simulated platform and a phone to play the contact on."""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from fastapi import FastAPI
from rich.panel import Panel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban import bootstrap, testing
from zhiban.channels.configuring import rename
from zhiban.channels.inboxes import inboxes_of
from zhiban.channels.service import connect
from zhiban.cli.app import Exit, _, app, command, err, out
from zhiban.cli.database import bring_up_to_date, database
from zhiban.cli.knowledge import import_with_progress
from zhiban.cli.listener import address_of, listening
from zhiban.cli.web_server import run_web
from zhiban.container import App, ensure_default
from zhiban.kit import logs
from zhiban.kit.db import Database
from zhiban.kit.settings import Settings, load
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.knowledge.service import base_for, follow_change
from zhiban.main import application
from zhiban.people import first_owner
from zhiban.people import service as people
from zhiban.people.agents import agent_by_email
from zhiban.people.models import Role
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.demo_folder import is_demo, open_demo
from zhiban.testing.demo_github import DemoGitHub
from zhiban.testing.demo_history import Colleagues, History, is_written
from zhiban.testing.demo_platform import DemoPlatform
from zhiban.testing.group_phone import GroupPhone
from zhiban.testing.phone import PhoneDemo
from zhiban.web.limits import MIB, RequestLimit
from zhiban.web.security import hosts_of

OWNER_ADDRESS = "demo@zhiban.example"  # of the colleague whom the visitor plays
SAMPLE = Path(testing.__file__).parent / "sample"
SIMULATED_UPLOAD = 32 * MIB  # what we send to the simulated platform comes to our own address


@command(app, "demo", help=_("一条命令体验全部：模拟的企业微信、一部手机、示例知识库"))
async def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help=_("监听的端口"))] = 8000,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=_("在标准错误上显示日志"))] = False,
) -> Exit | None:
    logs.configure("INFO" if verbose else "WARNING")
    if verbose:
        logging.getLogger("zhiban").setLevel(logging.INFO)
    began = time.monotonic()
    with listening("127.0.0.1", port) as listener:
        url = address_of(listener)
        hidden = f"/demo/{secrets.token_urlsafe(16)}"  # nobody but this process calls what lies below
        config, platform = _prepare(url, hidden)
        async with AsyncExitStack() as stack:
            err.print(_("启动数据库……"))
            urls = await stack.enter_async_context(database(config, watch=True))
            await bring_up_to_date(urls)
            workspace_id = await _furnish(config, urls, platform, f"{url}{hidden}/site")
            simulator = await stack.enter_async_context(platform.simulator)
            app = App.build(config, urls, url=url)
            app.start_workers()
            colleagues = Colleagues(app.database, workspace_id, app.clock)
            phone = PhoneDemo(simulator, app.database, app.pubsub, workspace_id=workspace_id)
            group = GroupPhone(platform.site, phone)
            github = DemoGitHub(platform.keys, config.data, url)
            await stack.enter_async_context(github.simulator)

            def install(pages: FastAPI) -> None:
                pages.router.routes.append(Route(f"{hidden}/notices", _notice, methods=["POST"]))
                pages.mount(f"{hidden}/cgi-bin", platform.app)
                pages.mount(f"{hidden}/site", platform.site.app)
                pages.mount(f"{hidden}/github", github.app)
                phone.install(pages)
                group.install(pages)
                github.install(pages)

            limit = RequestLimit(uploads={hidden: SIMULATED_UPLOAD})
            web = application(app, demo=True, hosts=hosts_of(url), limit=limit, install=install)

            async def started() -> None:
                await platform.connect(url)
                await platform.greet()
                await group.furnish(app.clock.now())
                await github.connect(
                    phone,
                    bootstrap.TRACKERS["github"],
                    api_base=f"{url}{hidden}/github",
                    connections=app.connections,
                    vault=app.vault,
                    clock=app.clock,
                )
                await colleagues.start()
                stack.push_async_callback(colleagues.close)
                _show_links(url, time.monotonic() - began, config)

            await run_web(web, listener, started)
    err.print(_("已停止，数据留在 {folder}", folder=config.data))
    return None


def _prepare(url: str, hidden: str) -> tuple[Settings, DemoPlatform]:
    """What the environment says of the model and the notices; everything else is the demonstration's own.

    The bundled database in a folder of its own: a demonstration must never touch an installation's data.
    """
    asked = load()
    folder = asked.data if is_demo(asked.data) else asked.data / "demo"
    platform = DemoPlatform(open_demo(folder))
    tell = asked.notification_channel or f"{url}{hidden}/notices".replace("http://", "json://", 1)
    described: dict[str, Any] = {
        "zhiban_data": folder,
        "DATABASE_URL": "",
        "zhiban_secret_key": "",
        "zhiban_url": url,
        "notification_enabled": True,
        "notification_channel": tell,
        **platform.settings(f"{url}{hidden}/cgi-bin"),
    }
    return load(**described), platform


async def _furnish(config: Settings, urls: DatabaseUrls, platform: DemoPlatform, site: str) -> int:
    """A colleague, the sample knowledge and two weeks of work. A later start finds them and changes nothing."""
    app = App.build(config, urls)
    async with app.database:
        workspace_id = await ensure_default(app)
        async with app.database.page_transaction(workspace_id) as session:
            if not await first_owner.has_owner(session):
                await people.add_agent(
                    session,
                    email=OWNER_ADDRESS,
                    name="林知夏",
                    role=Role.OWNER,
                    password_hash=None,
                    locale=config.zhiban_locale,
                )
            # The simulated platform forgets everything when it stops, and our cursor into it means nothing then.
            await session.run("update pull_state set cursor = null, token = null")
        await _import_sample(app.database, workspace_id)
        await _write_history(app, workspace_id, platform, site)
    return workspace_id


async def _write_history(app: App, workspace_id: int, platform: DemoPlatform, site: str) -> None:
    """Connect the shop's website, and let its last two weeks have happened there."""
    integration = bootstrap.CHANNELS["webhook"]
    async with app.database.transaction(workspace_id) as tx:
        connected = await connect(tx, app.vault, integration, platform.site_settings(site), now=app.clock.now())
        written = await is_written(tx)
    connection = await app.connections.connection(workspace_id, connected.id)
    platform.site.hooks = f"{app.url}/hooks/{connection.public_id}"
    if written:
        return
    async with app.database.transaction(workspace_id) as tx:
        owner = await agent_by_email(tx, OWNER_ADDRESS)
        (inbox_id,) = await inboxes_of(tx, connected.id)
        await rename(tx, inbox_id, _("官网咨询"), now=app.clock.now())
        base_id = await base_for(tx)
    inbox = await app.connections.inbox(workspace_id, inbox_id)
    history = History.of(inbox, owner=owner.name, owner_id=owner.id, now=app.clock.now())
    # Nobody is notified of what was long ago.
    quiet = replace(bootstrap.reactions(app.rules), jobs={})
    count = await history.write(app.database, quiet, base_id=base_id)
    err.print(_("两周的会话已备好：{n}位联系人", n=count))


async def _import_sample(database: Database, workspace_id: int) -> None:
    report = await import_with_progress(
        database, workspace_id, DEFAULT_BASE, [SAMPLE], source=SAMPLE.name, now=datetime.now(UTC)
    )
    if report.new:
        async with database.transaction(workspace_id) as tx:
            await follow_change(tx, await base_for(tx), now=datetime.now(UTC))
        err.print(_("示例知识库已导入：{n}篇文章", n=report.changes.articles_added))


async def _notice(request: Request) -> Response:
    """Where Apprise's json:// delivers the notices: the terminal in which the demo runs."""
    said = json.loads(await request.body())
    err.print(
        Panel(str(said.get("message", "")), title=str(said.get("title", "")), border_style="yellow"), markup=False
    )
    return JSONResponse({"ok": True})


def _show_links(url: str, seconds: float, config: Settings) -> None:
    model = config.llm_model_name if config.has_model else _("没有（用知识库原文回答；设置LLM_API_KEY即用大模型）")
    lines = [
        _("工作台    {url}", url=f"{url}/demo/desk"),
        _("手机      {url}", url=f"{url}/demo/phone"),
        _("群        {url}", url=f"{url}/demo/group"),
        _("GitHub    {url}", url=f"{url}/demo/github"),
        _("接口文档  {url}", url=f"{url}/docs"),
        "",
        _("大模型：{model}", model=model),
        _("数据：{folder}", folder=config.data),
        _("按Ctrl-C停止"),
    ]
    out.print(Panel("\n".join(lines), title=_("值班已启动（{seconds}秒）", seconds=f"{seconds:.1f}"), expand=False))
