"""The REST API of the simulated GitHub: https://docs.github.com/rest, as far as we call it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.testing import forge_bodies
from zhiban.testing.forge import ForgeEntry, ForgeFault, ReactionEntry, Repo, stamp
from zhiban.testing.forge_asgi import ForgeApi
from zhiban.testing.github.refusals import GitHubRefusal, invalid, mishap, object_of, secondary, text_of, title_of
from zhiban.testing.github.registering import GitHubAppPages, convert
from zhiban.testing.github.simulator import (
    WRITES_A_MINUTE,
    WRITES_AN_HOUR,
    AppIdentity,
    GitHubGrant,
    GitHubSimulator,
)


def application(github: GitHubSimulator, *, prefix: str = "") -> Starlette:
    """The API as an ASGI application."""
    api = _Api(github, prefix)
    routes = [
        ("POST", "/app-manifests/{code}/conversions", api.conversion),
        ("GET", "/app", api.app),
        ("GET", "/app/installations/{id:int}", api.installation),
        ("POST", "/app/installations/{id:int}/access_tokens", api.access_token),
        ("GET", "/app/hook/deliveries", api.hook_deliveries),
        ("POST", "/app/hook/deliveries/{id:int}/attempts", api.hook_attempt),
        ("GET", "/{kind:str}/{login:str}/installation", api.installation_of),
        ("GET", "/user", api.user),
        ("GET", "/user/repos", api.user_repos),
        ("GET", "/installation/repositories", api.installation_repositories),
        ("GET", "/repos/{owner}/{repo}", api.repo),
        ("GET", "/repositories/{id:int}", api.repo_by_id),
        ("GET", "/repositories/{id:int}/issues/{number:int}", api.issue_by_id),
        ("GET", "/repos/{owner}/{repo}/issues", api.issues),
        ("POST", "/repos/{owner}/{repo}/issues", api.create_issue),
        ("GET", "/repos/{owner}/{repo}/issues/{number:int}", api.issue),
        ("PATCH", "/repos/{owner}/{repo}/issues/{number:int}", api.update_issue),
        ("GET", "/repos/{owner}/{repo}/issues/{number:int}/comments", api.comments),
        ("POST", "/repos/{owner}/{repo}/issues/{number:int}/comments", api.create_comment),
        ("GET", "/repos/{owner}/{repo}/issues/comments", api.all_comments),
        ("DELETE", "/repos/{owner}/{repo}/issues/comments/{id:int}", api.delete_comment),
        ("POST", "/repos/{owner}/{repo}/issues/{number:int}/reactions", api.react),
        ("DELETE", "/repos/{owner}/{repo}/issues/{number:int}/reactions/{reaction:int}", api.unreact),
        ("POST", "/repos/{owner}/{repo}/issues/comments/{id:int}/reactions", api.react),
        ("DELETE", "/repos/{owner}/{repo}/issues/comments/{id:int}/reactions/{reaction:int}", api.unreact),
        ("POST", "/repos/{owner}/{repo}/issues/{number:int}/labels", api.add_labels),
        ("DELETE", "/repos/{owner}/{repo}/issues/{number:int}/labels/{name}", api.remove_label),
        ("POST", "/repos/{owner}/{repo}/issues/{number:int}/assignees", api.add_assignees),
    ]
    site = [
        Route(f"{prefix}/login/device/code", github.device_flow.code, methods=["POST"]),
        Route(f"{prefix}/login/oauth/access_token", github.device_flow.token, methods=["POST"]),
        *([] if prefix else GitHubAppPages(github).routes()),
    ]
    calls = [Route(prefix + path, api.guarded(one), methods=[verb]) for verb, path, one in routes]
    return Starlette(routes=[*site, *calls])


class _Api(ForgeApi):
    def __init__(self, github: GitHubSimulator, prefix: str) -> None:
        super().__init__(github, prefix)
        self._github = github

    def _look(self, method: str, path: str, body: Any) -> None:
        wrong = forge_bodies.look_at(method, path, body) if method != "GET" else ""
        if wrong:
            raise GitHubRefusal(422, f"Invalid request.\n\n{wrong}")

    def _before(self, request: Request) -> None:
        _check_headers(request)
        if request.method != "GET" and "/issues" in request.url.path:
            self._count_write()

    async def _mishap(self, fault: ForgeFault) -> None:
        await mishap(fault)

    def _count_write(self) -> None:
        """More than 80 writes a minute or 500 an hour hit the secondary limit."""
        now = self._github.now()
        written = self._github.written
        written[:] = [one for one in written if now - one < timedelta(hours=1)]
        lately = [one for one in written if now - one < timedelta(minutes=1)]
        if len(lately) >= WRITES_A_MINUTE or len(written) >= WRITES_AN_HOUR:
            raise secondary(60)
        written.append(now)

    # --------------------------------------------------------------------------------------------------- who calls

    def _app(self, request: Request) -> AppIdentity:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import RSAKey

        token = _bearer(request)
        for app in self._github.apps.values():
            try:
                claims = jwt.decode(token, RSAKey.import_key(app.public_key), algorithms=["RS256"]).claims
            except (JoseError, ValueError):
                continue
            now = self._github.now().timestamp()
            issuer = str(claims.get("iss"))
            if issuer in (str(app.id), app.json()["client_id"]) and claims["iat"] <= now < claims["exp"] <= now + 600:
                return app
        raise GitHubRefusal(401, "A JSON web token could not be decoded")

    def _grant(self, request: Request) -> GitHubGrant:
        grant = self._github.grants.get(_bearer(request))
        if grant is None or (grant.expires_at is not None and grant.expires_at <= self._github.now()):
            raise GitHubRefusal(401, "Bad credentials")
        if grant.installation is not None and grant.installation.suspended:
            raise GitHubRefusal(403, "This installation has been suspended")
        return grant

    def _repo(self, request: Request, *, writes: bool = False) -> tuple[Repo, GitHubGrant]:
        grant = self._grant(request)
        name = f"{request.path_params['owner']}/{request.path_params['repo']}"
        repo = self._github.named(name)
        if repo is None and name.lower() in self._github.former:
            rest = request.url.path.removeprefix(f"{self._prefix}/repos/{name}")
            place = (
                f"{str(request.base_url).rstrip('/')}{self._prefix}/repositories/{self._github.former[name.lower()]}"
            )
            raise GitHubRefusal(
                301 if request.method == "GET" else 307, "Moved Permanently", headers={"Location": place + rest}
            )
        return self._allowed(repo, grant, writes=writes), grant

    def _allowed(self, repo: Repo | None, grant: GitHubGrant, *, writes: bool = False) -> Repo:
        reach = grant.installation.repositories if grant.installation else grant.repositories or set()
        if repo is None or (repo.id not in reach and repo.private):
            raise GitHubRefusal(404, "Not Found")
        level = grant.installation.permissions.get("issues") if grant.installation else grant.issues
        if writes and (repo.id not in reach or level != "write"):
            raise GitHubRefusal(403, "Resource not accessible by integration")
        if writes and repo.archived:
            raise GitHubRefusal(403, "Repository was archived so is read-only.")
        return repo

    def _pushes(self, repo: Repo, grant: GitHubGrant) -> bool:
        return grant.installation.pushes if grant.installation else grant.account.login in repo.pushers

    def _entry(self, repo: Repo, number: int) -> ForgeEntry:
        if not repo.has_issues:
            raise GitHubRefusal(410, "Issues are disabled for this repo")
        entry = repo.entries.get(number)
        if entry is None:
            raise GitHubRefusal(404, "Not Found")
        if entry.deleted:
            raise GitHubRefusal(410, "This issue was deleted")
        return entry

    # --------------------------------------------------------------------------------------------------- the app

    async def conversion(self, request: Request) -> Response:
        """Without credentials: the code is the credential."""
        found = convert(self._github, request.path_params["code"])
        if found is None:
            raise GitHubRefusal(404, "Not Found")
        return JSONResponse(found, 201)

    async def app(self, request: Request) -> Response:
        return JSONResponse(self._app(request).json())

    async def installation(self, request: Request) -> Response:
        found = self._app(request).installations.get(request.path_params["id"])
        if found is None:
            raise GitHubRefusal(404, "Not Found")
        return JSONResponse({"id": found.id, "account": found.account.json(), "permissions": found.permissions})

    async def installation_of(self, request: Request) -> Response:
        app, login = self._app(request), request.path_params["login"].lower()
        kind = {"orgs": "Organization", "users": "User"}.get(request.path_params["kind"])
        for one in app.installations.values():
            if one.account.login.lower() == login and one.account.type == kind:
                return JSONResponse({"id": one.id, "account": one.account.json()})
        raise GitHubRefusal(404, "Not Found")

    async def access_token(self, request: Request) -> Response:
        app = self._app(request)
        found = app.installations.get(request.path_params["id"])
        if found is None:
            raise GitHubRefusal(404, "Not Found")
        if found.suspended:
            raise GitHubRefusal(403, "This installation has been suspended")
        return JSONResponse(self._github.installation_token(app, found), 201)

    async def hook_deliveries(self, request: Request) -> Response:
        self._app(request)
        found = [
            {
                "id": one.id,
                "guid": one.guid,
                "delivered_at": one.at,
                "redelivery": one.redelivery,
                "status": "OK" if one.status == 202 else "Bad",
                "status_code": one.status,
                "event": one.event,
                "action": one.action,
            }
            for one in reversed(self._github.hooks.deliveries)
        ]
        return JSONResponse(found[:100])

    async def hook_attempt(self, request: Request) -> Response:
        self._app(request)
        deliveries = self._github.hooks.deliveries
        found = next((one for one in deliveries if one.id == request.path_params["id"]), None)
        if found is None:
            raise GitHubRefusal(404, "Not Found")
        self._github.hooks.redeliver(found)
        return JSONResponse({}, 202)

    # ------------------------------------------------------------------------------------------------- reading

    async def user(self, request: Request) -> Response:
        grant = self._grant(request)
        if grant.installation is not None:
            raise GitHubRefusal(403, "Resource not accessible by integration")
        return JSONResponse(grant.account.json())

    async def user_repos(self, request: Request) -> Response:
        reach = self._grant(request).repositories or set()
        return JSONResponse([self._github.repo_json(self._github.repos[id_]) for id_ in sorted(reach)])

    async def installation_repositories(self, request: Request) -> Response:
        grant = self._grant(request)
        if grant.installation is None:
            raise GitHubRefusal(403, "You must authenticate with an installation access token")
        found = [self._github.repo_json(self._github.repos[id_]) for id_ in sorted(grant.installation.repositories)]
        return JSONResponse({"total_count": len(found), "repositories": found})

    async def repo(self, request: Request) -> Response:
        return JSONResponse(self._github.repo_json(self._repo(request)[0]))

    async def repo_by_id(self, request: Request) -> Response:
        found = self._github.repos.get(request.path_params["id"])
        return JSONResponse(self._github.repo_json(self._allowed(found, self._grant(request))))

    async def issue_by_id(self, request: Request) -> Response:
        repo = self._allowed(self._github.repos.get(request.path_params["id"]), self._grant(request))
        return JSONResponse(self._github.issue(repo, self._entry(repo, request.path_params["number"])))

    async def issue(self, request: Request) -> Response:
        repo, _ = self._repo(request)
        return JSONResponse(self._github.issue(repo, self._entry(repo, request.path_params["number"])))

    async def issues(self, request: Request) -> Response:
        repo, _ = self._repo(request)
        if not repo.has_issues:
            raise GitHubRefusal(410, "Issues are disabled for this repo")
        asked = request.query_params
        state, creator, since = asked.get("state", "open"), asked.get("creator"), asked.get("since", "")
        found = [
            one
            for one in repo.entries.values()
            if not one.deleted
            and state in ("all", one.state)
            and creator in (None, one.author.login)
            and stamp(one.updated_at) >= since
        ]
        newest = asked.get("direction", "desc") == "desc"
        by_created = asked.get("sort", "created") == "created"
        found.sort(key=lambda one: one.created_at if by_created else one.updated_at, reverse=newest)
        return self._page(request, [self._github.issue(repo, one) for one in found])

    async def comments(self, request: Request) -> Response:
        repo, _ = self._repo(request)
        entry = self._entry(repo, request.path_params["number"])
        since = request.query_params.get("since", "")
        found = [one for one in entry.comments if stamp(one.updated_at) >= since]
        return self._page(request, [self._github.comment(repo, entry, one) for one in found])

    async def all_comments(self, request: Request) -> Response:
        repo, _ = self._repo(request)
        asked = request.query_params
        found = [
            (one.updated_at if asked.get("sort") == "updated" else one.created_at, entry, one)
            for entry in repo.entries.values()
            for one in entry.comments
            if not entry.deleted and stamp(one.updated_at) >= asked.get("since", "")
        ]
        found.sort(key=lambda each: each[0], reverse=asked.get("direction", "asc") == "desc")
        return self._page(request, [self._github.comment(repo, entry, one) for _, entry, one in found])

    # ------------------------------------------------------------------------------------------------- writing

    async def create_issue(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        if not repo.has_issues:
            raise GitHubRefusal(410, "Issues are disabled for this repo")
        wish = object_of(await request.json(), {"title", "body", "labels", "assignees", "milestone", "type"})
        title = title_of(wish.get("title"))
        body = text_of(wish.get("body", ""), "Issue")
        if self._pushes(repo, grant) and not repo.pushers.issuperset(wish.get("assignees", [])):
            raise invalid("Issue", "assignees", "invalid")
        entry = self._github.opens(repo, grant.account.login, title, body, app=grant.installation is not None)
        if self._pushes(repo, grant):  # others' labels and assignees are dropped without a word
            self._label(repo, entry, wish.get("labels", []))
            entry.assignees = list(wish.get("assignees", []))
        return JSONResponse(self._github.issue(repo, entry), 201)

    async def update_issue(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        entry = self._entry(repo, request.path_params["number"])
        wish = object_of(await request.json(), {"title", "body", "state", "state_reason", "labels", "assignees"})
        if grant.member and not (self._pushes(repo, grant) or entry.author.login == grant.account.login):
            raise GitHubRefusal(403, "Resource not accessible by integration")
        if wish.get("state", "open") not in ("open", "closed"):
            raise invalid("Issue", "state", "invalid")
        if wish.get("state_reason") not in (None, "completed", "not_planned", "duplicate", "reopened"):
            raise invalid("Issue", "state_reason", "invalid")
        if "body" in wish:
            text_of(wish["body"], "Issue")
        if "title" in wish:
            title_of(wish["title"])
        allowed = {key: value for key, value in wish.items() if key in ("title", "body", "state", "state_reason")}
        self._github.changes(repo, entry, grant.account.login, **allowed)
        return JSONResponse(self._github.issue(repo, entry))

    async def create_comment(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        entry = self._entry(repo, request.path_params["number"])
        if entry.locked and not self._pushes(repo, grant):
            raise GitHubRefusal(403, "Unable to create comment because issue is locked.")
        wish = object_of(await request.json(), {"body"})
        body = text_of(wish.get("body"), "IssueComment")
        if not body.strip():
            raise invalid("IssueComment", "body", "missing_field")
        login = grant.account.login
        comment = self._github.comments(repo, entry, login, body, app=grant.installation is not None or grant.member)
        return JSONResponse(self._github.comment(repo, entry, comment), 201)

    async def delete_comment(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        id_ = request.path_params["id"]
        entry = next((one for one in repo.entries.values() if any(each.id == id_ for each in one.comments)), None)
        if entry is None:
            raise GitHubRefusal(404, "Not Found")
        (comment,) = (one for one in entry.comments if one.id == id_)
        if comment.author.login != grant.account.login and not self._pushes(repo, grant):
            raise GitHubRefusal(403, "Must have admin rights to Repository.")
        entry.comments = [one for one in entry.comments if one.id != id_]
        return Response(status_code=204)

    async def react(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        reactions = self._reactions(request, repo)
        content = object_of(await request.json(), {"content"}).get("content")
        if content not in ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"):
            raise invalid("Reaction", "content", "invalid")
        found, new = self._github.reacts(reactions, grant.account.login, content)
        answer = {"id": found.id, "content": content, "user": grant.account.json()}
        return JSONResponse(answer, 201 if new else 200)

    async def unreact(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        reactions = self._reactions(request, repo)
        found = next((one for one in reactions if one.id == request.path_params["reaction"]), None)
        if found is None or found.login != grant.account.login:
            raise GitHubRefusal(404, "Not Found")
        reactions.remove(found)
        return Response(status_code=204)

    def _reactions(self, request: Request, repo: Repo) -> list[ReactionEntry]:
        if "number" in request.path_params:
            entry = self._entry(repo, request.path_params["number"])
            if entry.locked:
                raise GitHubRefusal(403, "Unable to create reaction because issue is locked.")
            return entry.reactions
        for entry in repo.entries.values():
            for comment in entry.comments:
                if comment.id == request.path_params["id"]:
                    return comment.reactions
        raise GitHubRefusal(404, "Not Found")

    async def add_labels(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        entry = self._entry(repo, request.path_params["number"])
        wish = object_of(await request.json(), {"labels"})
        if self._pushes(repo, grant):
            self._label(repo, entry, wish["labels"])
            entry.updated_at = self._github.now()
            self._github.tell(repo, entry, "labeled", grant.account, label={"name": wish["labels"][0]})
        return JSONResponse(self._github.issue(repo, entry)["labels"])

    async def remove_label(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        entry = self._entry(repo, request.path_params["number"])
        name = request.path_params["name"]
        if name not in entry.labels:
            raise GitHubRefusal(404, "Label does not exist")
        entry.labels.remove(name)
        entry.updated_at = self._github.now()
        self._github.tell(repo, entry, "unlabeled", grant.account, label={"name": name})
        return JSONResponse(self._github.issue(repo, entry)["labels"])

    async def add_assignees(self, request: Request) -> Response:
        repo, grant = self._repo(request, writes=True)
        entry = self._entry(repo, request.path_params["number"])
        wish = object_of(await request.json(), {"assignees"})
        if self._pushes(repo, grant):
            new = [one for one in wish["assignees"] if one in repo.pushers and one not in entry.assignees]
            entry.assignees += new
            entry.updated_at = self._github.now()
            for one in new:
                self._github.tell(repo, entry, "assigned", grant.account, assignee={"login": one})
        return JSONResponse(self._github.issue(repo, entry), 201)

    def _label(self, repo: Repo, entry: ForgeEntry, names: Any) -> None:
        if not isinstance(names, list) or not all(isinstance(one, str) and 0 < len(one) <= 50 for one in names):
            raise invalid("Label", "name", "invalid")
        entry.labels += [one for one in dict.fromkeys(names) if one not in entry.labels]
        repo.labels.update(names)  # whoever may push makes labels by using them


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "token") or not token:
        raise GitHubRefusal(401, "Requires authentication")
    return token


def _check_headers(request: Request) -> None:
    if not request.headers.get("user-agent"):
        raise GitHubRefusal(
            403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent"
        )
    if request.headers.get("x-github-api-version", "2022-11-28") != "2022-11-28":
        raise GitHubRefusal(400, "API version is not supported")
