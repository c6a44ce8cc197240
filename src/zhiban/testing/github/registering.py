"""Registering an app at the simulated GitHub from a manifest, and installing it, as people do it on its pages.

https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from zhiban.testing.github.simulator import Account, AppIdentity, GitHubSimulator

CODE_LIFE = timedelta(hours=1)
LONGEST_NAME = 34
KEYS = {
    *("name", "url", "hook_attributes", "redirect_url", "callback_urls", "setup_url", "description", "public"),
    *("default_events", "default_permissions", "request_oauth_on_install", "setup_on_update"),
}
# Which permission lets an app hear of an event; what every app hears cannot be asked for.
NEEDS = {
    "issues": "issues",
    "issue_comment": "issues",
    "label": "issues",
    "pull_request": "pull_requests",
    "pull_request_review": "pull_requests",
    "pull_request_review_comment": "pull_requests",
    "release": "contents",
    "push": "contents",
    "discussion": "discussions",
    "discussion_comment": "discussions",
    "repository": "metadata",
    "star": "metadata",
    "workflow_run": "actions",
}
PERMISSIONS = {*NEEDS.values(), "checks", "members", "administration"}


@dataclass
class Registration:
    """What somebody is about to confirm, or has confirmed and nobody has fetched yet."""

    manifest: dict[str, Any]
    owner: Account
    state: str
    at: datetime
    app: AppIdentity | None = None
    secrets: dict[str, str] | None = None


def faults(github: GitHubSimulator, manifest: Any) -> list[str]:
    """Why GitHub does not take this manifest."""
    if not isinstance(manifest, dict):
        return ["manifest is not an object"]
    found = [f"{name} is not a permitted key" for name in sorted(set(manifest) - KEYS)]
    hook = manifest.get("hook_attributes", {})
    if not _web(manifest.get("url")):
        found.append("url must be a valid URL")
    if "hook_attributes" in manifest and (not isinstance(hook, dict) or not _web(hook.get("url"))):
        found.append("hook_attributes.url must be a valid URL")
    addresses = ("redirect_url", "setup_url")
    found += [f"{name} must be a valid URL" for name in addresses if name in manifest and not _web(manifest[name])]
    found += name_faults(github, str(manifest.get("name", "")))
    given = manifest.get("default_permissions", {})
    for name, level in given.items():
        if name not in PERMISSIONS or level not in ("read", "write"):
            found.append(f"default_permissions: {name} {level} is none")
    events = manifest.get("default_events", [])
    unsupported = [one for one in events if NEEDS.get(one) not in {*given, "metadata"}]
    if unsupported:
        found.append(f"Default events unsupported: {', '.join(unsupported)}")
    return found


def name_faults(github: GitHubSimulator, name: str) -> list[str]:
    slug = slug_of(name)
    if not slug or len(name) > LONGEST_NAME or slug.startswith("github"):
        return [f"Name must have 1 to {LONGEST_NAME} characters and may not begin with GitHub"]
    if slug in github.accounts or any(app.slug == slug for app in github.apps.values()):
        return ["Name is already taken"]
    return []


def slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _web(address: Any) -> bool:
    parts = urlsplit(address) if isinstance(address, str) else None
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.netloc)


def convert(github: GitHubSimulator, code: str) -> dict[str, Any] | None:
    """The credentials for a code, once and for an hour."""
    found = github.registrations.pop(code, None)
    if found is None or found.app is None or github.now() - found.at > CODE_LIFE:
        return None
    app, hidden = found.app, found.secrets or {}
    return {**app.json(), "client_secret": secrets.token_hex(20), **hidden}


class GitHubAppPages:
    """The pages on which whoever is signed in at GitHub registers and installs apps."""

    def __init__(self, github: GitHubSimulator) -> None:
        self._github = github

    def routes(self) -> list[Route]:
        return [
            Route("/settings/apps/new", self.own, methods=["POST"]),
            Route("/organizations/{org}/settings/apps/new", self.of_organization, methods=["POST"]),
            Route("/settings/apps/manifest/{key}", self.confirmed, methods=["POST"]),
            Route("/apps/{slug}/installations/new", self.installing, methods=["GET"]),
            Route("/apps/{slug}/installations", self.installed, methods=["POST"]),
        ]

    async def own(self, request: Request) -> Response:
        return await self._asked(request, self._github.account(self._github.visitor))

    async def of_organization(self, request: Request) -> Response:
        github, org = self._github, request.path_params["org"]
        account = github.accounts.get(org.lower())
        if account is None or account.type != "Organization" or github.visitor not in github.owners.get(org, ()):
            return HTMLResponse("<h1>404</h1>", 404)
        return await self._asked(request, account)

    async def _asked(self, request: Request, owner: Account) -> Response:
        try:
            manifest = json.loads(str((await request.form()).get("manifest", "")))
        except ValueError:
            manifest = None
        wrong = faults(self._github, manifest)
        if wrong:
            shown = "".join(f"<li>{escape(one)}</li>" for one in wrong)
            return HTMLResponse(f"<h1>Invalid GitHub App configuration</h1><ul>{shown}</ul>", 422)
        key = secrets.token_hex(20)
        state = request.query_params.get("state", "")
        self._github.registrations[key] = Registration(manifest, owner, state, self._github.now())
        return HTMLResponse(
            f'<h1>Create GitHub App for {escape(owner.login)}</h1><form method="post" '
            f'action="/settings/apps/manifest/{key}"><label>GitHub App name <input name="name" '
            f'value="{escape(manifest["name"])}"></label><button>Create GitHub App</button></form>'
        )

    async def confirmed(self, request: Request) -> Response:
        github = self._github
        asked = github.registrations.pop(request.path_params["key"], None)
        name = str((await request.form()).get("name", ""))
        if asked is None or asked.app is not None or name_faults(github, name):
            return HTMLResponse("<h1>Invalid GitHub App configuration</h1>", 422)
        private, public = github.new_key()
        app = github.app(public, slug=slug_of(name))
        app.owner, app.public = asked.owner, bool(asked.manifest.get("public"))
        app.permissions = {"metadata": "read", **asked.manifest.get("default_permissions", {})}
        app.events = list(asked.manifest.get("default_events", []))
        app.setup_url = asked.manifest.get("setup_url", "")
        asked.app, asked.at, asked.secrets = app, github.now(), {"pem": private}
        if hook := asked.manifest.get("hook_attributes"):
            asked.secrets["webhook_secret"] = secrets.token_hex(20)
            github.hooks.add(hook["url"], asked.secrets["webhook_secret"], app_id=app.id)
            github.hooks.tell_app(app.id, "ping", {"zen": "Keep it logically awesome.", "hook": {"type": "App"}})
        code = secrets.token_hex(20)
        github.registrations[code] = asked
        given = {"code": code, **({"state": asked.state} if asked.state else {})}
        return RedirectResponse(f"{asked.manifest['redirect_url']}?{urlencode(given)}", 302)

    def _app(self, request: Request) -> AppIdentity | None:
        """The app, where whoever is signed in may install it."""
        github, slug = self._github, request.path_params["slug"]
        found = next((app for app in github.apps.values() if app.slug == slug), None)
        if found is None or found.public or found.owner is None:
            return found
        login = found.owner.login
        return found if github.visitor == login or github.visitor in github.owners.get(login, ()) else None

    async def installing(self, request: Request) -> Response:
        app = self._app(request)
        if app is None or app.owner is None:
            return HTMLResponse("<h1>404</h1>", 404)
        return HTMLResponse(
            f'<h1>Install {escape(app.slug)} on {escape(app.owner.login)}</h1><form method="post" '
            f'action="/apps/{app.slug}/installations"><button>Install</button></form>'
        )

    async def installed(self, request: Request) -> Response:
        """On all repositories of its owner."""
        github, app = self._github, self._app(request)
        if app is None or app.owner is None:
            return HTMLResponse("<h1>404</h1>", 404)
        repos = [one for one in github.repos.values() if one.owner.login == app.owner.login]
        made = github.install(app, *repos)
        made.permissions = dict(app.permissions)
        listed = [{"id": one.id, "full_name": one.full_name, "private": one.private} for one in repos]
        account = {"id": made.id, "account": made.account.json(), "permissions": made.permissions}
        said = {"action": "created", "installation": account, "repositories": listed}
        github.hooks.tell_app(app.id, "installation", {**said, "sender": github.account(github.visitor).json()})
        if not app.setup_url:
            return HTMLResponse("<h1>Installed</h1>")
        asked = urlencode({"installation_id": made.id, "setup_action": "install"})
        return RedirectResponse(f"{app.setup_url}?{asked}", 302)
