"""The audit log: who did what and when, looked through by kind, person, time and words, and taken along as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from zhiban.automation import queries
from zhiban.automation.wording import Names
from zhiban.desk.audit_log import PAGE, AuditFilter, AuditRow, audit_rows
from zhiban.desk.audit_words import AUDITED, KINDS, USUAL, about, who
from zhiban.desk.page import LARGEST_ID, DeskPage, sent
from zhiban.events import DataExported
from zhiban.kit import event_log
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.spreadsheets import csv_text
from zhiban.kit.text import clean
from zhiban.people.agents import agent_rows
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.web.file_response import csv_response
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/audit"
MOST_EXPORTED = 20_000
CHUNK = 1_000

LONGEST = 100  # characters of a field


class AuditPage(DeskPage):
    section = "audit"


async def _looking(request: Request, agent: CurrentAgent) -> AuditPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.SEE_AUDIT)
    return AuditPage(request, agent)


LookingAtAudit = Annotated[AuditPage, Depends(_looking)]


@frozen_dataclass
class _AuditForm:
    """What was chosen, as it stands in the form and in addresses."""

    about: str = ""  # a group, or a kind
    agent: str = ""
    since: str = ""
    until: str = ""
    text: str = ""

    @property
    def query(self) -> str:
        chosen = {one.name: getattr(self, one.name) for one in fields(self)}
        return urlencode({name: value for name, value in chosen.items() if value})


async def _asked(request: Request) -> _AuditForm:
    """The same fields, in the address of the page or in the form that exports it."""
    return _AuditForm(**await sent(request, [one.name for one in fields(_AuditForm)], longest=LONGEST))


Asked = Annotated[_AuditForm, Depends(_asked)]


@frozen_dataclass
class _AuditLine:
    """A fact in words."""

    at: datetime
    who: str
    what: str
    about: str
    conversation_id: int | None


def _kinds(chosen: str) -> list[str]:
    if chosen in AUDITED:
        return list(AUDITED[chosen][1])
    if chosen in KINDS:
        return [chosen]
    return [kind for group in USUAL for kind in AUDITED[group][1]]


def _filter(page: AuditPage, asked: _AuditForm, *, before: tuple[datetime, int] | None = None) -> AuditFilter:
    agent = int(asked.agent) if asked.agent.isdecimal() and len(asked.agent) < 19 else None
    last = _day(page, asked.until)
    return AuditFilter(
        kinds=_kinds(asked.about),
        agent_id=agent,
        since=_day(page, asked.since),
        until=last + timedelta(days=1) if last is not None else None,
        text=clean(asked.text).strip(),
        before=before,
    )


def _day(page: AuditPage, written: str) -> datetime | None:
    """The beginning of a day as its reader counts days; None for what is no day."""
    try:
        day = date.fromisoformat(written.strip())
    except ValueError:
        return None
    return datetime.combine(day, time(), page.texts.zone) if 2000 <= day.year <= 2100 else None


def _before(written: str) -> tuple[datetime, int] | None:
    """The last fact of the page before, as `_after` wrote it."""
    at, _, id_ = written.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    known = id_.isdecimal() and len(id_) < 19 and int(id_) < LARGEST_ID and moment.tzinfo is not None
    return (moment, int(id_)) if known else None


def _after(rows: list[AuditRow]) -> str:
    return f"{rows[-1].at.isoformat()}~{rows[-1].id}"


def _line(row: AuditRow, names: Names, page: AuditPage) -> _AuditLine:
    texts = page.texts
    # Whoever did it to themselves is named once.
    data = {name: value for name, value in row.data.items() if (name, value) != ("agent_id", row.actor_id)}
    return _AuditLine(
        row.at,
        who(row.actor_kind, row.actor_id, row.actor_ref, names, texts),
        texts(KINDS[row.kind]),
        about(data, {"inbox_id": row.inbox_id}, names, texts),
        row.conversation_id,
    )


@router.get(HERE)
async def show(page: LookingAtAudit, asked: Asked, before: Annotated[str, Query(max_length=LONGEST)] = "") -> Response:
    async with page.transaction() as tx:
        rows = await audit_rows(tx, _filter(page, asked, before=_before(before)), limit=PAGE + 1)
        names = await queries.names(tx)
        people = await agent_rows(tx)
    shown, more = rows[:PAGE], len(rows) > PAGE
    return await page.whole(
        "settings/audit.html",
        lines=[_line(row, names, page) for row in shown],
        groups=AUDITED,
        people=people,
        asked=asked,
        before=before,
        older=_after(shown) if more else None,
        most=MOST_EXPORTED,
    )


@router.post(HERE + "/export")
async def export(page: LookingAtAudit, asked: Asked) -> Response:
    """What is asked for as CSV, the newest first. That it was taken along is a fact of the same log."""
    before: tuple[datetime, int] | None = None
    found: list[AuditRow] = []
    async with page.transaction() as tx:
        names = await queries.names(tx)
        while len(found) < MOST_EXPORTED:
            rows = await audit_rows(tx, _filter(page, asked, before=before), limit=CHUNK)
            found += rows
            if len(rows) < CHUNK:
                break
            before = rows[-1].at, rows[-1].id
        await event_log.append(tx, DataExported(actor=page.actor, at=page.now, what="audit_log", rows=len(found)))
    name = f"audit-{page.now.astimezone(page.texts.zone):%Y-%m-%d}.csv"
    return csv_response(csv_text(_csv(page, found, names)), name)


def _csv(page: AuditPage, rows: list[AuditRow], names: Names) -> Iterator[Sequence[object]]:
    texts = page.texts
    yield (texts("时间"), texts("谁"), texts("做了什么"), texts("关于"), texts("会话"))
    for row in rows:
        line = _line(row, names, page)
        yield line.at.astimezone(texts.zone).isoformat(), line.who, line.what, line.about, row.conversation_id
