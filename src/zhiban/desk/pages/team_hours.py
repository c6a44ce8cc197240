"""The business hours of one team: the same form as an inbox's, with a preview in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from zhiban.channels.business_hours import Hours, has_hours
from zhiban.channels.policy import PolicyMistake, parse_policy
from zhiban.desk import policy_form
from zhiban.desk.page import DeskPage, known
from zhiban.desk.policy_form import DAY_LABELS, Typed, known_timezones
from zhiban.desk.policy_preview import hours_preview
from zhiban.people import teams
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.people.teams import TeamRow
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = "/settings/teams/{team_id}/hours"
OWN = "own"  # the field that says that the team has hours of its own
DROP = "drop"  # that hours which are typed without it may go


class TeamHoursPage(DeskPage):
    section = "people"

    async def team(self, team_id: int) -> TeamRow:
        """Raises NotFound."""
        async with self.transaction() as tx:
            return await teams.team_row(tx, known(team_id))

    async def typed(self) -> Typed:
        found: dict[str, list[str]] = defaultdict(list)
        for name, value in await self.form():
            found[name].append(value)
        return found

    async def show(
        self,
        row: TeamRow,
        hours: Hours | None,
        *,
        shown: Mapping[str, Any] | None = None,
        errors: Mapping[str, str] | None = None,
        saved: bool = False,
        dropping: bool = False,
    ) -> Response:
        fields = {OWN: hours is not None, **policy_form.of_hours(hours or Hours())}
        return await self.whole(
            "settings/team_hours.html",
            status=422 if errors or dropping else 200,
            row=row,
            shown=shown or fields,
            days=DAY_LABELS,
            zones=known_timezones(),
            saved=saved,
            dropping=dropping,
            **self.preview(hours, errors or {}),
        )

    def preview(self, hours: Hours | None, errors: Mapping[str, str]) -> dict[str, Any]:
        shown = hours_preview(hours, at=self.now, texts=self.texts) if hours is not None and not errors else None
        return {"preview": shown, "errors": errors}


async def _managing(request: Request, agent: CurrentAgent) -> TeamHoursPage:
    """Raises NotAllowed."""
    agent.access.check(Permission.MANAGE_PEOPLE)
    return TeamHoursPage(request, agent)


ManagingTeam = Annotated[TeamHoursPage, Depends(_managing)]


def _read(typed: Typed) -> Hours | None:
    """The hours that were typed, None where the team is to have none of its own. Raises PolicyMistake."""
    return parse_policy({"hours": policy_form.hours_values(typed)}).hours if OWN in typed else None


def _would_be_lost(typed: Typed) -> bool:
    """Whether hours stand in the form that the team is not to have, and nobody said that they may go."""
    if OWN in typed or DROP in typed:
        return False
    try:
        return has_hours(parse_policy({"hours": policy_form.hours_values(typed)}).hours)
    except PolicyMistake:
        return any(value.strip() for name, values in typed.items() if name != "hours.timezone" for value in values)


def _as_typed(typed: Typed) -> dict[str, Any]:
    shown: dict[str, Any] = {OWN: OWN in typed}
    for name, usual in policy_form.of_hours(Hours()).items():
        shown[name] = name in typed if isinstance(usual, bool) else (typed.get(name) or ("",))[0]
    return shown


@router.get(HERE)
async def show(page: ManagingTeam, team_id: int, saved: bool = False) -> Response:
    row = await page.team(team_id)
    return await page.show(row, None if row.hours is None else Hours.model_validate(row.hours), saved=saved)


@router.post(HERE + "/preview")
async def preview(page: ManagingTeam, team_id: int) -> Response:
    """Whether people would be there now, and on the days ahead, if what is typed were stored."""
    await page.team(team_id)
    try:
        shown = page.preview(_read(await page.typed()), {})
    except PolicyMistake as mistake:
        shown = page.preview(None, policy_form.beside(mistake.problems, page.texts))
    return page.part("settings/hours_preview.html", **shown)


@router.post(HERE)
async def save(page: ManagingTeam, team_id: int) -> Response:
    typed = await page.typed()
    if _would_be_lost(typed):
        return await page.show(await page.team(team_id), None, shown=_as_typed(typed), dropping=True)
    try:
        hours = _read(typed)
    except PolicyMistake as mistake:
        errors = policy_form.beside(mistake.problems, page.texts)
        return await page.show(await page.team(team_id), None, shown=_as_typed(typed), errors=errors)
    async with page.transaction() as tx:
        stored = None if hours is None else hours.model_dump(mode="json")
        await teams.set_hours(tx, known(team_id), stored, by=page.actor, now=page.now)
    return page.back(HERE.format(team_id=team_id), saved="1")
