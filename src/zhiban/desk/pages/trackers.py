"""Where issues live: trackers connected step by step, how they stand, and what is done with one of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import Response

from zhiban.channels import inboxes, service, withdrawing
from zhiban.channels.connecting import checks_of, told
from zhiban.channels.inboxes import ConnectionRow
from zhiban.channels.pausing import pause_connection, resume_connection
from zhiban.channels.setup_progress import SetupFacts, StepProgress, remaining, setup_progress
from zhiban.desk.page import known
from zhiban.desk.settings_page import TRACKER_PLACE, ManagingTrackers, TrackersPage
from zhiban.desk.setup_form import LONGEST_NAME, missing, mistakes, plain, shown_again, typed_values, written
from zhiban.kit.breaker_store import PausedCall, paused_calls
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Misconfigured
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import enqueue
from zhiban.ports import TrackerIntegration, UnusableValues
from zhiban.tickets import repositories
from zhiban.tickets.repositories import RepositoryRow
from zhiban.tickets.tracker_jobs import SYNC_TRACKER
from zhiban.tickets.tracker_standing import TrackerStanding, standings
from zhiban.web.render import wants_part
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

HERE = TRACKER_PLACE.home
MOST_REPOSITORIES = 200  # on the page of a tracker

Name = Annotated[str, Form(max_length=LONGEST_NAME)]


@frozen_dataclass
class TrackerView:
    """A tracker as the pages show it. `integration` None: this version does not know it."""

    row: ConnectionRow
    integration: TrackerIntegration | None
    standing: TrackerStanding
    called_at: datetime | None
    paused: tuple[PausedCall, ...] = ()  # calls that wait because the tracker asked for it

    @property
    def state(self) -> str:
        """One word for the chip."""
        if self.row.broken:
            return "broken"
        if self.row.paused_at is not None:
            return "paused"
        return "waiting" if self.paused else "working" if self.called_at is not None else "uncalled"


@frozen_dataclass
class OpenedTracker:
    """A connection as the templates of its steps show it."""

    row: ConnectionRow
    integration: TrackerIntegration
    steps: list[StepProgress]
    inboxes: tuple[()] = ()
    gateway: None = None

    @property
    def left(self) -> int:
        return remaining(self.steps)

    @property
    def tries_again(self) -> bool:
        """Whether asking the tracker again may help without anybody changing a value: the first step is about these."""
        stuck = next((one for one in self.steps if one.step.proof == "vendor" and one.status != "done"), None)
        return stuck is not None and stuck.check is not None and stuck.number > 1


# ----------------------------------------------------------------------------------------------------------- the list


async def _views(page: TrackersPage, tx: Transaction) -> list[TrackerView]:
    rows = [row for row in await inboxes.connections(tx, part="tracker") if row.removed_at is None]
    await inboxes.note_called(tx, rows)
    calls, pauses = await inboxes.last_calls(tx), await paused_calls(tx)
    found = await standings(tx, now=page.now)
    return [
        TrackerView(
            row,
            page.setup.trackers.get(row.vendor),
            found.get(row.id, TrackerStanding(row.id)),
            calls.get(row.id, row.verified_at),
            tuple(one for one in pauses if one.key.startswith(f"{row.vendor}/{row.id}/")),
        )
        for row in await inboxes.connections(tx, part="tracker")
        if row.removed_at is None
    ]


@router.get(HERE)
async def overview(page: ManagingTrackers) -> Response:
    async with page.transaction() as tx:
        found = await _views(page, tx)
    return await page.whole("settings/trackers.html", place=page.place, rows=found)


# ---------------------------------------------------------------------------------------------------------------- new


@router.get(HERE + "/new")
async def new(page: ManagingTrackers, vendor: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Which tracker, and then what it needs."""
    if not vendor:
        choices: list[tuple[TrackerIntegration, str, list[str]]] = [
            (one, "plug", []) for one in page.setup.trackers.values()
        ]
        return await page.whole("settings/channels.html", place=page.place, choices=choices)
    return await show_form(page, page.tracker(vendor))


async def show_form(
    page: TrackersPage,
    integration: TrackerIntegration,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    trouble: str = "",
    name: str = "",
    app_typed: Mapping[str, str] | None = None,
    app_errors: Mapping[str, str] | None = None,
) -> Response:
    """What the tracker needs, and where an app can be registered for it."""
    creator = integration.app_creator(page.setup.http, page.setup.settings) if integration.app_creator else None
    return await page.whole(
        "settings/tracker_new.html",
        status=422 if errors or trouble or app_errors else 200,
        place=page.place,
        integration=integration,
        creator=creator,
        app_typed=app_typed or {},
        app_errors=app_errors or {},
        public=bool(page.auth.url),
        typed=shown_again(integration.setup.agents_fields, typed or {}),
        errors=errors or {},
        trouble=trouble,
        name=name,
        accounts=None,
    )


@router.post(HERE + "/new")
async def connect(page: ManagingTrackers, vendor: Annotated[str, Form(max_length=40)], name: Name = "") -> Response:
    """Store the values, and show the steps. What was made up for it is shown this once."""
    integration = page.tracker(vendor)
    fields = integration.setup.agents_fields
    typed = await typed_values(page, fields)
    if errors := missing(page, fields, typed):
        return await show_form(page, integration, errors=errors, typed=typed, name=name)
    try:
        async with page.transaction() as tx:
            done = await service.connect(
                tx,
                page.setup.vault,
                integration,
                typed,
                name=name.strip() or None,
                operators=integration.operators(page.setup.settings),
                by=page.actor,
                now=page.now,
            )
    except UnusableValues as error:
        return await show_form(page, integration, errors=mistakes(page, error), typed=typed, name=name)
    except Misconfigured as error:
        return await show_form(page, integration, trouble=page.words(error), typed=typed, name=name)
    page.checks.forget(page.agent.workspace_id, done.id)
    if not done.made_up:
        return page.back(f"{HERE}/{done.id}")
    return await show_one(page, done.id, made_up=done.made_up)


# --------------------------------------------------------------------------------------------------------- one of them


async def _opened(page: TrackersPage, tx: Transaction, tracker_id: int) -> OpenedTracker:
    """Raises NotFound."""
    row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
    integration = page.tracker(row.vendor)
    if row.verified_at is None:
        await inboxes.note_called(tx, [row])
        row = await inboxes.access_connection(tx, row.id, part="tracker")
    asked = page.checks.get(page.agent.workspace_id, row.id)
    facts = SetupFacts(
        verified_at=row.verified_at,
        checks=asked[1] if asked else None,
        checked_at=asked[0] if asked else None,
    )
    return OpenedTracker(row, integration, setup_progress(integration.setup, facts))


def _steps(page: TrackersPage, found: OpenedTracker) -> dict[str, Any]:
    return {
        "place": page.place,
        "one": found,
        "callback": page.address_of(found.integration, found.row.public_id),
        "said": lambda check: told(check, page.texts),
        "asked": page.checks.get(page.agent.workspace_id, found.row.id) is not None,
        "public": bool(page.auth.url),
        "login_code": None,
    }


async def show_one(
    page: TrackersPage,
    tracker_id: int,
    *,
    made_up: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    trouble: str = "",
) -> Response:
    async with page.transaction() as tx:
        found = await _opened(page, tx, tracker_id)
        view = next(one for one in await _views(page, tx) if one.row.id == found.row.id)
        reached = await repositories.repositories(tx, found.row.id)
        links = await repositories.all_links(tx)
    setup = found.integration.setup
    operators = found.integration.operators(page.setup.settings)
    config = {key: written(value) for key, value in found.row.config.items() if value not in (None, "")}
    return await page.whole(
        "settings/tracker.html",
        status=422 if errors or trouble else 200,
        made_up=[(field, made_up[field.name]) for field in setup.fields if made_up and field.name in made_up],
        shown={**config, **(typed or {})},
        fixed={field.name for field in setup.fields if field.identifies and field.name in config},
        may_change=True,
        is_operators=service.is_operators_alone(found.integration, found.row.config, operators),
        accounts=None,
        errors=errors or {},
        trouble=trouble,
        in_environment=False,
        view=view,
        rotating=[field for field in setup.fields if field.rotates],
        repositories=reached[:MOST_REPOSITORIES],
        further=max(0, len(reached) - MOST_REPOSITORIES),
        groups=lambda row: _groups(row, links),
        **_steps(page, found),
    )


def _groups(row: RepositoryRow, links: list[repositories.RepositoryLink]) -> int:
    """How many groups hear of it."""
    return len({link.conversation_id for link in links if link.names(row.name)})


@router.get(HERE + "/{tracker_id}")
async def show(page: ManagingTrackers, tracker_id: int) -> Response:
    return await show_one(page, tracker_id)


@router.get(HERE + "/{tracker_id}/steps")
async def steps(page: ManagingTrackers, tracker_id: int) -> Response:
    """The steps as they are now; nobody is asked anything for it."""
    async with page.transaction() as tx:
        found = await _opened(page, tx, tracker_id)
    if not wants_part(page.request):
        return page.back(f"{HERE}/{found.row.id}")
    return page.part("settings/steps.html", **_steps(page, found))


@router.post(HERE + "/{tracker_id}/check")
async def check(page: ManagingTrackers, tracker_id: int) -> Response:
    """Ask the tracker; what it lets us see is looked at by and by."""
    workspace_id = page.agent.workspace_id
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
    results = [one async for one in checks_of(page.setup.connections, workspace_id, row)]
    page.checks.put(workspace_id, row.id, results, at=page.now)
    async with page.transaction() as tx:
        if not any(one.level == "fail" for one in results):
            await enqueue(tx, SYNC_TRACKER.of(key=str(row.id), connection_id=row.id))
        found = await _opened(page, tx, row.id)
    if not wants_part(page.request):
        return page.back(f"{HERE}/{row.id}")
    return page.part("settings/steps.html", **_steps(page, found))


@router.post(HERE + "/{tracker_id}")
async def change(page: ManagingTrackers, tracker_id: int) -> Response:
    """Take new values over; what was left empty stays. What tells the connection from others cannot be changed."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
    integration = page.tracker(row.vendor)
    typed = await typed_values(page, integration.setup.agents_fields)
    return await _changed(page, row, integration, typed=typed)


@router.post(HERE + "/{tracker_id}/rotate")
async def rotate(page: ManagingTrackers, tracker_id: int) -> Response:
    """Make up the secret of webhooks anew, and show it this once; the former one is accepted for a day."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
    integration = page.tracker(row.vendor)
    renewed = tuple(field.name for field in integration.setup.fields if field.rotates and field.secret)
    return await _changed(page, row, integration, renewed=renewed)


async def _changed(
    page: TrackersPage,
    row: ConnectionRow,
    integration: TrackerIntegration,
    *,
    typed: Mapping[str, str] | None = None,
    renewed: tuple[str, ...] = (),
) -> Response:
    fields = integration.setup.fields
    identity = {field.name: row.config.get(field.name) for field in fields if field.identifies}
    values = {**(typed or {}), **{name: value for name, value in identity.items() if value not in (None, "")}}
    again = plain(fields, typed or {})
    try:
        async with page.transaction() as tx:
            done = await service.connect(
                tx,
                page.setup.vault,
                integration,
                values,
                operators=integration.operators(page.setup.settings),
                renewed=renewed,
                by=page.actor,
                now=page.now,
            )
    except UnusableValues as error:
        return await show_one(page, row.id, errors=mistakes(page, error), typed=again)
    except Misconfigured as error:
        return await show_one(page, row.id, trouble=page.words(error), typed=again)
    page.checks.forget(page.agent.workspace_id, done.id)
    if done.made_up:
        return await show_one(page, done.id, made_up=done.made_up)
    return page.back(f"{HERE}/{done.id}")


@router.post(HERE + "/{tracker_id}/pause")
async def pause(page: ManagingTrackers, tracker_id: int) -> Response:
    """Go on taking in what arrives; write nothing there, and tell no group of it."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
        await pause_connection(tx, row.id, by=page.actor, now=page.now)
    return page.back(f"{HERE}/{row.id}")


@router.post(HERE + "/{tracker_id}/resume")
async def resume(page: ManagingTrackers, tracker_id: int) -> Response:
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
        await resume_connection(tx, row.id, by=page.actor, now=page.now)
    return page.back(f"{HERE}/{row.id}")


@router.post(HERE + "/{tracker_id}/remove")
async def remove(page: ManagingTrackers, tracker_id: int) -> Response:
    """Forget its credentials, and file nothing there any more."""
    async with page.transaction() as tx:
        row = await inboxes.access_connection(tx, known(tracker_id), part="tracker")
        await withdrawing.disconnect(tx, page.setup.vault, row.id, by=page.actor, now=page.now)
    page.checks.forget(page.agent.workspace_id, row.id)
    return page.back(HERE)
