"""The page about teams, and about how each inbox gives its conversations to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from zhiban.channels.configuring import set_assignment
from zhiban.channels.inboxes import inboxes
from zhiban.channels.policy import AssignmentPolicy, Policy, PolicyMistake, assignment_policy
from zhiban.conversations import assignment, labels
from zhiban.desk.checks import chrome_of
from zhiban.desk.labels import ASSIGNMENT_FIELDS, ASSIGNMENT_ORDERS, ASSIGNMENT_WAYS
from zhiban.events import Actor
from zhiban.kit.errors import Conflict, NotFound, ZhibanError
from zhiban.people import agents as colleagues
from zhiban.people import teams
from zhiban.people.auth import CurrentAgent, auth_of
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/teams"
NUMBERS = ("team", "most", "most_here", "fair_limit", "fair_minutes", "weight", "offline_minutes")  # empty: none
LABELS_SHOWN = "labels_shown"  # the form offers labels; those not ticked are not meant
NOT_EMPTY = ("fair_minutes", "weight")  # empty: as usual

Name = Annotated[str, Form(max_length=200)]
Members = Annotated[list[int], Form()]


async def _page(
    request: Request, agent: SignedInAgent, *, status: int = 200, trouble: str = "", typed: str = ""
) -> Response:
    auth = auth_of(request)
    async with auth.database.page_transaction(agent.workspace_id) as tx:
        rows = await teams.team_rows(tx)
        people = [row for row in await colleagues.agent_rows(tx) if row.disabled_at is None]
        offered = await labels.labels(tx)
        places = [row for row in await inboxes(tx) if row.archived_at is None]
    return auth.renderer.answer(
        "teams.html",
        auth.viewer(request, agent),
        status=status,
        chrome=await chrome_of(request, agent, "people"),
        rows=rows,
        people=people,
        names={row.id: row.name for row in people},
        inboxes=[(row, Policy.model_validate(row.policy).assignment) for row in places],
        labels=offered,
        ways=ASSIGNMENT_WAYS,
        orders=ASSIGNMENT_ORDERS,
        manages=agent.access.may(Permission.MANAGE_PEOPLE),
        trouble=trouble,
        typed=typed,
    )


async def _refused(request: Request, agent: SignedInAgent, error: ZhibanError, *, typed: str = "") -> Response:
    """The page again, with what stood in the way."""
    texts = auth_of(request).viewer(request, agent).texts
    if isinstance(error, PolicyMistake):
        said = [
            texts(
                "{where}：{mistake}",
                where=texts(ASSIGNMENT_FIELDS.get(one.field, one.field)),
                mistake=texts.error(one.message),
            )
            for one in error.problems
        ]
        return await _page(request, agent, status=422, trouble="; ".join(said))
    return await _page(request, agent, status=422, trouble=texts.error(error.sentence), typed=typed)


@router.get(HERE)
async def page(request: Request, agent: CurrentAgent) -> Response:
    return await _page(request, agent)


@router.post(HERE)
async def create(request: Request, agent: CurrentAgent, name: Name, members: Members = []) -> Response:  # noqa: B006
    auth = auth_of(request)
    try:
        agent.access.check(Permission.MANAGE_PEOPLE)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            by = Actor("agent", agent.id)
            await teams.create(tx, name=name, members=members, by=by, now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error, typed=name)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{team_id}")
async def change(
    request: Request,
    agent: CurrentAgent,
    team_id: int,
    name: Name,
    members: Members = [],  # noqa: B006
) -> Response:
    auth = auth_of(request)
    try:
        agent.access.check(Permission.MANAGE_PEOPLE)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            by = Actor("agent", agent.id)
            await teams.change(tx, team_id, name=name, members=members, by=by, now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error)
    return RedirectResponse(HERE, status_code=303)


@router.post(HERE + "/{team_id}/remove")
async def remove(request: Request, agent: CurrentAgent, team_id: int) -> Response:
    auth = auth_of(request)
    try:
        agent.access.check(Permission.MANAGE_PEOPLE)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            await assignment.remove_team(tx, team_id, by=Actor("agent", agent.id), now=auth.clock.now())
    except Conflict as error:
        return await _refused(request, agent, error)
    return RedirectResponse(HERE, status_code=303)


@router.post("/settings/inboxes/{inbox_id}/assignment")
async def configure(request: Request, agent: CurrentAgent, inbox_id: int) -> Response:
    """How one inbox gives its conversations away; what the form does not show stays."""
    auth = auth_of(request)
    fields = await request.form()
    form = {key: str(value)[:40] for key, value in fields.items()}
    if LABELS_SHOWN in form:
        form[LABELS_SHOWN] = ",".join(str(value)[:18] for value in fields.getlist("except_labels"))
    try:
        agent.access.check(Permission.MANAGE_INBOXES)
        async with auth.database.page_transaction(agent.workspace_id) as tx:
            row = next((one for one in await inboxes(tx) if one.id == inbox_id and one.archived_at is None), None)
            if row is None:
                raise NotFound("There is no such inbox.")
            wanted = _typed(form, Policy.model_validate(row.policy).assignment)
            if LABELS_SHOWN in form:
                await labels.check_labels(tx, wanted.except_labels)
            if wanted.team is not None:
                await teams.access_team(tx, wanted.team)
            await set_assignment(tx, inbox_id, wanted, by=Actor("agent", agent.id), now=auth.clock.now())
    except (Conflict, PolicyMistake) as error:
        return await _refused(request, agent, error)
    return RedirectResponse(HERE, status_code=303)


def _typed(form: Mapping[str, str], before: AssignmentPolicy) -> AssignmentPolicy:
    """What the form says. Raises PolicyMistake."""
    values: dict[str, Any] = before.model_dump(mode="json")
    values |= {name: form[name] for name in ("by", "first") if name in form}
    if LABELS_SHOWN in form:
        values["except_labels"] = [one for one in form[LABELS_SHOWN].split(",") if one]
    for name in NUMBERS:
        if name not in form:
            continue
        text = form[name].strip()
        if text or name not in NOT_EMPTY:
            values[name] = text or None
        else:
            values.pop(name)
    return assignment_policy(values)
