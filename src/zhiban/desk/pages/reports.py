"""The reports: what happened in a period, taken apart by whoever did it or whatever it was about, and what is now."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from zhiban.automation.queries import names
from zhiban.channels.inboxes import InboxConfig, inboxes_ever
from zhiban.conversations.labels import label_names, labels
from zhiban.conversations.standing import DeskStanding, standing
from zhiban.desk import report_view
from zhiban.desk.checks import chrome_of
from zhiban.desk.page import sent
from zhiban.desk.report_csv import export_report
from zhiban.desk.report_form import CUSTOM, PRESETS, ReportForm
from zhiban.desk.report_view import ReportNames
from zhiban.events import Actor
from zhiban.insights.queries import counted_by_hours
from zhiban.insights.report import any_hours, report
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.permissions import Access, Permission
from zhiban.people.presence import AVAILABILITY_LABELS, Availability, availabilities
from zhiban.people.teams import team_rows
from zhiban.web.file_response import csv_response
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/reports"

LONGEST = 40  # characters of a field


async def asked_form(request: Request) -> ReportForm:
    """The same fields, in the address of a report or in the form that exports it."""
    return ReportForm(**await sent(request, [one.name for one in fields(ReportForm)], longest=LONGEST))


Asked = Annotated[ReportForm, Depends(asked_form)]


@router.get(HERE)
async def show(request: Request, agent: CurrentAgent, form: Asked) -> Response:
    auth, now = auth_of(request), auth_of(request).clock.now()
    agent.access.check(Permission.SEE_REPORTS)
    viewer = auth.viewer(request, agent)
    trouble = ""
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await seen_inboxes(tx, agent.access)
        try:
            asked = form.asked(agent.access, rows, now=now)
        except Conflict as error:
            trouble = viewer.texts.error(error.sentence)
            asked = ReportForm(by=form.by).asked(agent.access, rows, now=now)
        found = await report(tx, asked, by=form.dimension, now=now)
        called, teams = await report_names(tx, request, rows), await team_rows(tx)
        choices = {
            "inboxes": [(row.id, row.name) for row in rows if row.archived_at is None],
            "teams": [(row.id, row.name) for row in teams],
            "labels": [(row.id, row.name) for row in await labels(tx)],
            "agents": sorted(called.agents.items(), key=lambda one: one[1]),
        }
        hours = any_hours(rows, teams) or await counted_by_hours(tx, asked)
        board = await _board(tx, agent.access, form)
    return auth.renderer.answer(
        "reports/reports.html",
        viewer,
        chrome=await chrome_of(request, agent, "reports"),
        form=form,
        trouble=trouble,
        found=found,
        choices=choices,
        presets=PRESETS,
        custom=CUSTOM,
        hours=hours,
        highlights=report_view.highlights(found, viewer.texts),
        rows=report_view.rows(found, called, viewer.texts),
        heat=report_view.heat(found.week),
        charts=report_view.charts(found, viewer.texts),
        called=called,
        view=report_view,
        **board,
    )


@router.get(HERE + "/now")
async def now_board(request: Request, agent: CurrentAgent, form: Asked) -> Response:
    """What is now, alone: the page asks for it again and again."""
    auth = auth_of(request)
    agent.access.check(Permission.SEE_REPORTS)
    form.only.check(agent.access)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        called = await report_names(tx, request, await seen_inboxes(tx, agent.access))
        board = await _board(tx, agent.access, form)
    viewer = auth.viewer(request, agent)
    return auth.renderer.answer("reports/now.html", viewer, form=form, called=called, **board)


@router.post(HERE + "/export")
async def export(
    request: Request, agent: CurrentAgent, form: Asked, what: Annotated[str, Form(max_length=LONGEST)] = "steps"
) -> Response:
    """The curves, or the table below them, as CSV."""
    auth, now = auth_of(request), auth_of(request).clock.now()
    agent.access.check(Permission.SEE_REPORTS)
    texts = auth.viewer(request, agent).texts
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await seen_inboxes(tx, agent.access)
        found = await report(tx, form.asked(agent.access, rows, now=now), by=form.dimension, now=now)
        called = await report_names(tx, request, rows)
        text = await export_report(tx, found, called, texts, what=what, by=Actor("agent", agent.id), now=now)
    days = found.asked.period
    name = f"report-{days.first}-{days.last}-{'steps' if what == 'steps' else form.dimension.value}.csv"
    return csv_response(text, name)


async def seen_inboxes(tx: Transaction, access: Access) -> list[InboxConfig]:
    """Every inbox that an agent sees, those out of use too: what happened in them stays."""
    return [row for row in await inboxes_ever(tx) if access.sees(row.id)]


async def report_names(tx: Transaction, request: Request, rows: list[InboxConfig]) -> ReportNames:
    """What people call whom reports name, those who are gone included."""
    found = await names(tx)
    channels: dict[str, str] = request.app.state.channel_labels
    inbox_names = {row.id: row.name for row in rows}
    return ReportNames(found.agents, found.teams, inbox_names, await label_names(tx), channels)


async def _board(tx: Transaction, access: Access, form: ReportForm) -> dict[str, Any]:
    only = form.only
    stands: DeskStanding = await standing(
        tx,
        access,
        inbox_id=only.inbox_id,
        team_id=only.team_id,
        agent_id=only.agent_id,
        label_id=only.label_id,
    )
    there = await _availabilities(tx, access, only.inbox_id)
    holding = {id_ for id_ in stands.by_assignee if id_ is not None}
    present = {id_ for id_, status in there.items() if status is not Availability.OFFLINE}
    shown = sorted(
        (id_ for id_ in holding | present if only.agent_id in (None, id_)),
        key=lambda id_: (there.get(id_, Availability.OFFLINE) is Availability.OFFLINE, -stands.of(id_).open, id_),
    )
    return {
        "stands": stands,
        "there": there,
        "online": sum(status is Availability.ONLINE for status in there.values()),
        "holders": shown,
        "availability_words": AVAILABILITY_LABELS,
    }


async def _availabilities(tx: Transaction, access: Access, inbox_id: int | None) -> dict[int, Availability]:
    """Of whoever may answer where the agent looks."""
    if inbox_id is not None or access.inbox_ids is None:
        return await availabilities(tx, inbox_id=inbox_id)
    found: dict[int, Availability] = {}
    for seen in access.inbox_ids:
        found |= await availabilities(tx, inbox_id=seen)
    return found
