"""How long what is kept, and where it lies: what the program does, which cannot be changed here."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from zhiban.channels.jobs import KEEP_DELIVERIES
from zhiban.desk.settings_page import ManagingInboxes
from zhiban.people.service import SESSION_LIFE
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/retention"


@router.get(HERE)
async def show(page: ManagingInboxes) -> Response:
    return await page.whole(
        "settings/retention.html",
        here="retention",
        deliveries=KEEP_DELIVERIES.days,
        sessions=SESSION_LIFE.days,
        file_store=page.setup.settings.file_store.partition(":")[0],
        own_database=bool(page.setup.settings.database_url),
    )
