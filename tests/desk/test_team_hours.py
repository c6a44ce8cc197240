"""Business hours of a team: typed like an inbox's, seen in words before they hold, and taken away again."""

from __future__ import annotations

from tests.desk.conftest import Client, Site
from tests.desk.test_policy import filled
from zhiban.channels.business_hours import Hours
from zhiban.channels.policy import Policy
from zhiban.people import teams

CLOSED_ON = {"own": "on", "weekly": "on", "hours.timezone": "Asia/Shanghai", "hours.calendar": "on"}


async def a_team(site: Site, name: str = "夜班") -> int:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return await teams.create(tx, name=name, now=site.seed.clock.now())


def sent(form: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in form.items() for value in values]


async def hours_of(site: Site, team_id: int) -> object:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        return await teams.team_hours(tx, team_id)


async def test_an_owner_gives_a_team_its_hours_and_takes_them_away(site: Site) -> None:
    owner, team = await site.signed_in(), await a_team(site)
    here = f"/settings/teams/{team}/hours"
    assert "没有自己的：每个会话按它的收件箱。" in (await owner.get(here)).text
    always = {"own": "on", "hours.timezone": "Asia/Shanghai"}
    assert "：同事在" in (await owner.post(f"{here}/preview", always)).text
    never = (await owner.post(f"{here}/preview", CLOSED_ON)).text
    assert ("没有人，往后一年也没有" in never, "<html" in never) == (True, False)
    holidays = {**CLOSED_ON, "hours.days": "2099-01-04 09:00-18:00", "hours.weekly.mon": "00:00-24:00"}
    assert (await owner.post(here, holidays)).status == 303
    stored = await hours_of(site, team)
    assert isinstance(stored, dict)
    assert (stored["calendar"], stored["weekly"], stored["days"]) == (
        "CN",
        {"mon": ["00:00-24:00"]},
        {"2099-01-04": ["09:00-18:00"]},
    )
    shown = (await owner.get(f"{here}?saved=1")).text
    assert "2099-01-04 09:00-18:00" in shown
    assert "自己的工作时间" in (await owner.get("/settings/teams")).text
    assert "工作时间" in (await owner.get("/settings/audit?about=team_changed")).text
    wrong = await owner.post(here, {**CLOSED_ON, "hours.weekly.tue": "9-18"})
    assert (wrong.status, 'value="9-18"' in wrong.text, "09:00-18:00" in wrong.text) == (422, True, True)
    assert await hours_of(site, team) == stored
    # Without the tick nothing that is typed, or was stored, goes unasked.
    unticked = {name: value for name, value in holidays.items() if name != "own"}
    asked = await owner.post(here, unticked)
    assert (asked.status, "没有保存" in asked.text, "2099-01-04 09:00-18:00" in asked.text) == (422, True, True)
    assert await hours_of(site, team) == stored
    assert (await owner.post(here, {**unticked, "drop": "1"})).status == 303
    assert await hours_of(site, team) is None
    assert (await owner.post(here, {"hours.timezone": "Asia/Shanghai"})).status == 303


async def test_a_policy_is_tried_with_the_hours_of_a_team_that_has_its_own(site: Site) -> None:
    owner, team, asleep = await site.signed_in(), await a_team(site), await a_team(site, "白班")
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        closed = Hours(timezone="America/New_York", weekly={}).model_dump(mode="json")
        await teams.set_hours(tx, team, closed, now=site.seed.clock.now())
    here = "/settings/inboxes/1/policy/preview"
    asked = {"situation": ["handoff"], "at": ["2026-11-20T10:00"]}
    policy = filled(Policy()) | asked
    of_inbox = (await owner.post(here, sent(policy))).text
    assert "2026-11-20 星期五 10:00：同事在" in of_inbox
    assert "夜班" in of_inbox
    assert "白班" not in of_inbox  # it keeps those of the inbox
    of_team = (await owner.post(here, sent(policy | {"of_team": [str(team)]}))).text
    assert "2026-11-20 星期五 10:00：没有人，往后一年也没有" in of_team
    assert f'value="{team}" selected' in of_team
    for other in (str(asleep), "999", "x"):
        assert "：同事在" in (await owner.post(here, sent(policy | {"of_team": [other]}))).text


async def test_a_team_that_is_not_there_has_no_hours(site: Site) -> None:
    owner: Client = await site.signed_in()
    for path in ("/settings/teams/999999/hours", "/settings/teams/99999999999999999999/hours"):
        assert (await owner.get(path)).status in (404, 422)
        assert (await owner.post(path, {"own": "on", "hours.timezone": "UTC"})).status in (404, 422)
