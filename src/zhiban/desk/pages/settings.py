"""The settings as a whole: all their pages, and the way in."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse, Response

from zhiban.desk.pages import (
    audit,
    connections,
    external_contacts,
    inboxes,
    notifiers,
    policy,
    reminders,
    repositories,
    retention,
    sessions,
    team_hours,
    tokens,
    tracker_apps,
    trackers,
    yaml_files,
)
from zhiban.desk.settings_page import ChannelSetup, RecentChecks
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.people.auth import CurrentAgent
from zhiban.people.permissions import Permission
from zhiban.ports.mail import Mailer
from zhiban.web.routers import add_routes

router = APIRouter(include_in_schema=False)

PAGES = (
    *(connections, external_contacts, policy, inboxes, tracker_apps, trackers, repositories),
    *(tokens, notifiers, reminders, retention, sessions, audit, team_hours),
)


def install(app: FastAPI, setup: ChannelSetup, registry: NotifierRegistry, mailer: Mailer | None = None) -> None:
    """Serve the pages about inboxes, policies, tokens, notices, sessions and the audit log."""
    app.state.channel_setup = setup
    app.state.recent_checks = RecentChecks()
    app.state.notifiers = registry
    app.state.mailer = mailer
    add_routes(app, router)
    for each in PAGES:
        add_routes(app, each.router)
    add_routes(app, yaml_files.router)


@router.get("/settings")
async def settings(agent: CurrentAgent) -> Response:
    """The first page of the settings that is for this agent."""
    there = connections.HERE if agent.access.may(Permission.MANAGE_INBOXES) else "/settings/people"
    return RedirectResponse(there, status_code=303)
