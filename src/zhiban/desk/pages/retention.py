"""How long what is kept, what would go now, what the last run deleted, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from zhiban.desk.labels import RETENTION_HINTS, RETENTION_LABELS
from zhiban.desk.settings_page import InboxesPage, ManagingInboxes
from zhiban.kit.errors import Conflict
from zhiban.kit.i18n import mark
from zhiban.people.permissions import Permission
from zhiban.people.retention import (
    EVERY,
    LONGEST,
    NAMES,
    RetentionTimes,
    last_run,
    retention_times,
    set_retention,
    shortest,
)
from zhiban.people.service import SESSION_LIFE
from zhiban.web.security import same_origin
from zhiban.workers.retention import MOST, preview

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/retention"


def _times(typed: Mapping[str, str]) -> RetentionTimes:
    """What stands in the form; an empty field is for ever, but for handled deliveries. Raises Conflict."""
    days: dict[str, Any] = {}
    for name in NAMES:
        text = typed.get(name, "").strip()
        if not text.isdecimal() and text:
            raise Conflict(mark("A number of days stands there, or nothing."))
        if text or name != "deliveries":
            days[name] = int(text[:9]) if text else None
    return RetentionTimes(**days)


async def _preview(page: InboxesPage, times: RetentionTimes) -> dict[str, Any]:
    async with page.transaction() as tx:
        return {"would": await preview(tx, times, now=page.now), "most": MOST, "trouble": ""}


async def _show(
    page: InboxesPage, *, typed: Mapping[str, str] | None = None, trouble: str = "", saved: bool = False
) -> Response:
    async with page.transaction() as tx:
        times, run = await retention_times(tx), await last_run(tx)
    stored = {name: "" if getattr(times, name) is None else str(getattr(times, name)) for name in NAMES}
    shown = await _preview(page, times)
    return await page.whole(
        "settings/retention.html",
        here="retention",
        status=422 if trouble else 200,
        days={name: (typed or stored).get(name, "") for name in NAMES},
        labels=RETENTION_LABELS,
        hints=RETENTION_HINTS,
        shortest={name: shortest(name) for name in NAMES},
        longest=LONGEST,
        **{**shown, "trouble": trouble},
        saved=saved,
        decides=page.access.may(Permission.DECIDE_RETENTION),
        run=run,
        next_run=run.started_at + EVERY if run else None,
        sessions=SESSION_LIFE.days,
        file_store=page.setup.settings.file_store.partition(":")[0],
        own_database=bool(page.setup.settings.database_url),
    )


@router.get(HERE)
async def show(page: ManagingInboxes, saved: bool = False) -> Response:
    return await _show(page, saved=saved)


@router.post(HERE + "/preview")
async def show_preview(page: ManagingInboxes) -> Response:
    """What would go now if what is typed were stored."""
    try:
        shown = await _preview(page, _times(dict(await page.form())))
    except Conflict as error:
        shown = {"would": None, "trouble": page.words(error)}
    return page.part("settings/retention_preview.html", labels=RETENTION_LABELS, **shown)


async def _deciding(page: ManagingInboxes) -> InboxesPage:
    """Raises NotAllowed."""
    page.access.check(Permission.DECIDE_RETENTION)
    return page


@router.post(HERE)
async def save(page: Annotated[InboxesPage, Depends(_deciding)]) -> Response:
    typed = dict(await page.form())
    try:
        async with page.transaction() as tx:
            await set_retention(tx, _times(typed), by=page.actor, now=page.now)
    except Conflict as error:
        return await _show(page, typed=typed, trouble=page.words(error))
    return page.back(HERE, saved="1")
