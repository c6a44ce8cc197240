"""Who is told of handoffs and by which way, and whether a notice arrives there."""

from __future__ import annotations

import secrets
from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from fastapi.responses import Response

from zhiban.channels import configuring, inboxes
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.errors import Conflict, NotFound, Unavailable
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.notifications.trying import note_test
from zhiban.ports import ConnectionBroken, Notice
from zhiban.ports.mail import Mail, Mailer, MailRefused, mail_address
from zhiban.ports.notifiers import public_name
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/notifiers"


@frozen_dataclass
class _Destination:
    """An address, known to the page by its public name. `inbox_id` None: of the installation, for every inbox."""

    name: str
    address: str
    inbox_id: int | None
    inbox: str


@frozen_dataclass
class _Tried:
    """What came of a test."""

    name: str
    inbox_id: int | None
    trouble: str


def _registry(page: InboxesPage) -> NotifierRegistry:
    found: NotifierRegistry = page.request.app.state.notifiers
    return found


async def _destinations(page: InboxesPage) -> list[_Destination]:
    found = [_Destination(public_name(one), one, None, "") for one in _registry(page).addresses]
    async with page.transaction() as tx:
        for row in await inboxes.inbox_configs(tx):
            own = await configuring.notified(tx, page.setup.vault, row.id)
            found += [_Destination(public_name(one), one, row.id, row.name) for one in own]
    return found


async def _show(page: InboxesPage, tried: _Tried | None = None, mailed: _Tried | None = None) -> Response:
    found = await _destinations(page)
    async with page.transaction() as tx:
        rows = await inboxes.inbox_configs(tx)
    return await page.whole(
        "settings/notifiers.html",
        here="notifiers",
        status=422 if any(one and one.trouble for one in (tried, mailed)) else 200,
        destinations=found,
        rows=rows,
        enabled=page.setup.settings.notification_enabled,
        tried=tried,
        mailed=mailed,
        smtp=page.setup.settings,
        own_address=page.agent.email,
    )


@router.get(HERE)
async def show(page: ManagingInboxes) -> Response:
    return await _show(page)


@router.post(HERE + "/test")
async def send_test(
    page: ManagingInboxes,
    name: Annotated[str, Form(max_length=100)],
    inbox: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Send a notice there that says that it is a test, and tell what came of it."""
    inbox_id = int(inbox) if inbox.isdecimal() and len(inbox) < 19 else None
    meant = next((one for one in await _destinations(page) if (one.name, one.inbox_id) == (name, inbox_id)), None)
    if meant is None:
        raise NotFound("Nobody is told at this address.")
    texts = page.texts
    key, said = f"test-{secrets.token_hex(8)}", texts("看到这条就说明通知正常。")
    notice = Notice(key, texts("测试通知"), said, page.auth.url or None)
    trouble = ""
    try:
        async with page.transaction() as tx:
            await note_test(tx, meant.name, by=page.actor, now=page.now)
        await _registry(page).notifier(meant.address).notify(meant.address, notice)
    except (Conflict, Unavailable, ConnectionBroken) as error:
        trouble = page.words(error)
    return await _show(page, _Tried(meant.name, meant.inbox_id, trouble))


@router.post(HERE + "/mail")
async def send_test_mail(page: ManagingInboxes, to: Annotated[str, Form(max_length=300)]) -> Response:
    """Send a mail there that says that it is a test, and tell what came of it."""
    mailer: Mailer | None = page.request.app.state.mailer
    if mailer is None:
        raise NotFound("No mail server is set up (SMTP_HOST).")
    texts, trouble = page.texts, ""
    said = texts("看到这封就说明邮件正常。")
    try:
        key, address = f"test-{secrets.token_hex(8)}", mail_address(to)
        async with page.transaction() as tx:
            await note_test(tx, address, by=page.actor, now=page.now)
        await mailer.send(Mail(key, address, texts("测试邮件"), said + "\n", f"<p>{escape(said)}</p>"))
    except (Conflict, Unavailable, ConnectionBroken, MailRefused) as error:
        trouble = page.words(error)
    return await _show(page, mailed=_Tried(to, None, trouble))
