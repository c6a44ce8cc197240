"""The REST API of the simulated GitLab: https://docs.gitlab.com/api/rest/, as far as we call it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.testing.forge import ForgeEntry, ForgeFault, ReactionEntry, Repo
from zhiban.testing.forge_asgi import ApiRefusal, ForgeApi, bearer
from zhiban.testing.gitlab.simulator import APART, GUEST, REPORTER, GitLabGrant, GitLabSimulator, exact

TITLE = 255
DESCRIPTION = 1_048_576
NOTE = 1_000_000
# A few of those that GitLab knows.
EMOJI = {"thumbsup", "thumbsdown", "laughing", "tada", "confused", "heart", "rocket", "eyes", "smile"}

_PROJECT = "/projects/{project:path}"
_ISSUE = _PROJECT + "/{kind}/{number:int}"


def application(gitlab: GitLabSimulator, *, prefix: str = "/api/v4") -> Starlette:
    """The API as an ASGI application. A project is named by its number or its escaped path."""
    api = _GitLabApi(gitlab, prefix)
    routes = [
        ("GET", "/user", api.user),
        ("GET", "/users", api.users),
        ("GET", "/projects", api.projects),
        ("GET", _ISSUE + "/notes", api.notes),
        ("POST", _ISSUE + "/notes", api.create_note),
        ("DELETE", _ISSUE + "/notes/{id:int}", api.delete_note),
        ("GET", _ISSUE + "/notes/{id:int}/award_emoji", api.awards),
        ("POST", _ISSUE + "/notes/{id:int}/award_emoji", api.award),
        ("DELETE", _ISSUE + "/notes/{id:int}/award_emoji/{award:int}", api.take_award),
        ("GET", _ISSUE + "/award_emoji", api.awards),
        ("POST", _ISSUE + "/award_emoji", api.award),
        ("DELETE", _ISSUE + "/award_emoji/{award:int}", api.take_award),
        ("GET", _ISSUE, api.issue),
        ("PUT", _ISSUE, api.update_issue),
        ("GET", _PROJECT + "/issues", api.issues),
        ("GET", _PROJECT + "/merge_requests", api.merge_requests),
        ("POST", _PROJECT + "/issues", api.create_issue),
        ("GET", _PROJECT, api.project),
    ]
    return Starlette(routes=[Route(prefix + path, api.guarded(one), methods=[verb]) for verb, path, one in routes])


def _refused(status: int, said: Any, **headers: str) -> ApiRefusal:
    return ApiRefusal(status, {"message": said}, {name.replace("_", "-"): value for name, value in headers.items()})


class _GitLabApi(ForgeApi):
    default_size = 20

    def __init__(self, gitlab: GitLabSimulator, prefix: str) -> None:
        super().__init__(gitlab, prefix)
        self._gitlab = gitlab

    async def _mishap(self, fault: ForgeFault) -> None:
        match fault.kind:
            case "secondary":  # GitLab names no time on some of its limits
                after = {"Retry_After": str(fault.retry_after)} if fault.retry_after else {}
                raise _refused(429, {"error": "This endpoint has been requested too many times."}, **after)
            case "limit":
                reset = str(int(datetime.now(UTC).timestamp()) + (fault.retry_after or 1))
                raise _refused(429, "Retry later", RateLimit_Remaining="0", RateLimit_Reset=reset)
            case _:
                await super()._mishap(fault)

    # --------------------------------------------------------------------------------------------------- who calls

    def _grant(self, request: Request, *, writes: bool = False) -> GitLabGrant:
        grant = self._gitlab.grants.get(bearer(request))
        if grant is None:
            said = {"error": "invalid_token", "error_description": "Token was revoked. You have to re-authorize."}
            raise ApiRefusal(401, said)
        if not grant.scopes & ({"api"} if writes else {"api", "read_api"}):
            said = {"error": "insufficient_scope", "error_description": "The request requires higher privileges"}
            raise ApiRefusal(403, {**said, "scope": "api"})
        return grant

    def _project(self, request: Request, *, writes: bool = False) -> tuple[Repo, int]:
        """The project, and our role in it."""
        grant = self._grant(request, writes=writes)
        named = str(request.path_params["project"])
        moved = None if named.isdecimal() else self._gitlab.former.get(named.lower())
        repo = self._gitlab.repos.get(int(named)) if named.isdecimal() else self._gitlab.named(named)
        repo = repo or self._gitlab.repos.get(moved or 0)
        role = grant.roles.get(repo.id, 0) if repo else 0
        if repo is None or (repo.private and not role):
            raise _refused(404, "404 Project Not Found")
        if moved == repo.id and self._gitlab.named(named) is None:
            if request.method != "GET":
                raise _refused(405, "Non GET methods are not allowed for moved projects")
            place = f"{str(request.base_url).rstrip('/')}{self._prefix}/projects/{repo.id}"
            said = {"message": "This resource has been moved temporarily"}
            raise ApiRefusal(302, said, {"Location": place})
        if writes and repo.archived:
            raise _refused(403, "403 Forbidden")
        return repo, role

    def _entry(self, request: Request, *, writes: bool = False) -> tuple[Repo, int, ForgeEntry]:
        repo, role = self._project(request, writes=writes)
        kind, number = request.path_params["kind"], request.path_params["number"]
        entry = repo.entries.get(number + (APART if kind == "merge_requests" else 0))
        off = kind == "issues" and not repo.has_issues
        if kind not in ("issues", "merge_requests") or entry is None or entry.deleted or off:
            raise _refused(404, "404 Not found")
        if entry.confidential and role < REPORTER and entry.author is not self._grant(request).account:
            raise _refused(404, "404 Not found")
        return repo, role, entry

    # ------------------------------------------------------------------------------------------------- reading

    async def user(self, request: Request) -> Response:
        return JSONResponse(self._gitlab.user_json(self._grant(request).account))

    async def users(self, request: Request) -> Response:
        self._grant(request)
        found = self._gitlab.accounts.get(request.query_params.get("username", "").lower())
        return JSONResponse([self._gitlab.user_json(found)] if found and found.type == "User" else [])

    async def projects(self, request: Request) -> Response:
        grant = self._grant(request)
        member = request.query_params.get("membership") == "true"
        found = [
            one for one in self._gitlab.repos.values() if one.id in grant.roles or (not member and not one.private)
        ]
        return self._page(request, [self._gitlab.project_json(one) for one in found])

    async def project(self, request: Request) -> Response:
        return JSONResponse(self._gitlab.project_json(self._project(request)[0]))

    async def issue(self, request: Request) -> Response:
        repo, _, entry = self._entry(request)
        return JSONResponse(self._gitlab.issue_json(repo, entry))

    async def issues(self, request: Request) -> Response:
        return self._listed(request, merge_requests=False)

    async def merge_requests(self, request: Request) -> Response:
        repo, role = self._project(request)
        if repo.private and role < REPORTER:
            raise _refused(403, "403 Forbidden")
        return self._listed(request, merge_requests=True)

    def _listed(self, request: Request, *, merge_requests: bool) -> Response:
        repo, role = self._project(request)
        asked, account = request.query_params, self._grant(request).account
        mine = asked.get("scope", "created_by_me") == "created_by_me"
        found = [
            one
            for one in repo.entries.values()
            if (repo.has_issues or merge_requests)
            and not one.deleted
            and one.pull_request == merge_requests
            and (not mine or one.author is account)
            and (not one.confidential or role >= REPORTER or one.author is account)
            and exact(one.updated_at) >= asked.get("updated_after", "")
            and exact(one.created_at) >= asked.get("created_after", "")
        ]
        by_created = asked.get("order_by", "created_at") == "created_at"
        newest = asked.get("sort", "desc") == "desc"
        found.sort(key=lambda one: one.created_at if by_created else one.updated_at, reverse=newest)
        return self._page(request, [self._gitlab.issue_json(repo, one) for one in found])

    async def notes(self, request: Request) -> Response:
        _, role, entry = self._entry(request)
        asked = request.query_params
        order, way = asked.get("order_by", "created_at"), asked.get("sort", "desc")
        if order not in ("created_at", "updated_at") or way not in ("asc", "desc"):
            raise ApiRefusal(400, {"error": "order_by does not have a valid value"})
        found = sorted(
            (one for one in entry.comments if role >= REPORTER or not one.internal),
            key=lambda one: (one.created_at if order == "created_at" else one.updated_at, one.id),
            reverse=way == "desc",
        )
        return self._page(request, [self._gitlab.note_json(entry, one) for one in found])

    # ----------------------------------------------------------------------------------------------- reactions

    def _awardable(self, request: Request, *, writes: bool) -> tuple[ForgeEntry, int, list[ReactionEntry]]:
        _, role, entry = self._entry(request, writes=writes)
        id_ = request.path_params.get("id")
        if id_ is None:
            return entry, role, entry.reactions
        comment = next((one for one in entry.comments if one.id == id_), None)
        if comment is None or (comment.internal and role < REPORTER):
            raise _refused(404, "404 Not found")
        return entry, role, comment.reactions

    async def awards(self, request: Request) -> Response:
        _, _, reactions = self._awardable(request, writes=False)
        return self._page(request, [self._award_json(one) for one in reactions])

    async def award(self, request: Request) -> Response:
        """One of a kind for an account: a second one is not found, whatever that may mean."""
        entry, role, reactions = self._awardable(request, writes=True)
        if entry.locked and role < GUEST:
            raise _refused(404, "404 Award Emoji Not Found")
        wish = _object(await request.json(), {"name"})
        name = wish.get("name")
        if not isinstance(name, str) or not name:
            raise ApiRefusal(400, {"error": "name is missing"})
        if name not in EMOJI:
            raise _refused(404, "404 Award Emoji Name is not a valid emoji name Not Found")
        found, new = self._gitlab.reacts(reactions, self._grant(request).account.login, name)
        if not new:
            raise _refused(404, "404 Award Emoji Name has already been taken Not Found")
        return JSONResponse(self._award_json(found), 201)

    async def take_award(self, request: Request) -> Response:
        _, _, reactions = self._awardable(request, writes=True)
        found = next((one for one in reactions if one.id == request.path_params["award"]), None)
        if found is None:
            raise _refused(404, "404 Not found")
        if found.login != self._grant(request).account.login:
            raise _refused(401, "401 Unauthorized")
        reactions.remove(found)
        return Response(status_code=204)

    def _award_json(self, one: ReactionEntry) -> dict[str, Any]:
        user = self._gitlab.user_json(self._gitlab.account(one.login))
        return {"id": one.id, "name": one.content, "user": user, "awardable_type": "Issue"}

    # ------------------------------------------------------------------------------------------------- writing

    async def create_issue(self, request: Request) -> Response:
        repo, role = self._project(request, writes=True)
        if not repo.has_issues or role < GUEST:
            raise _refused(403, "403 Forbidden")
        wish = _object(await request.json(), {"title", "description", "labels", "assignee_ids", "confidential"})
        title, body = wish.get("title"), wish.get("description", "")
        if not isinstance(title, str):
            raise ApiRefusal(400, {"error": "title is missing"})
        _check(title, body)
        account = self._grant(request).account
        entry = self._gitlab.opens(repo, account.login, title, body)
        if role >= REPORTER:  # what others wish beside the text is dropped without a word
            self._label(repo, entry, wish.get("labels", ""))
            entry.assignees = self._logins(repo, wish.get("assignee_ids", []))
        return JSONResponse(self._gitlab.issue_json(repo, entry), 201)

    async def update_issue(self, request: Request) -> Response:
        repo, role, entry = self._entry(request, writes=True)
        account = self._grant(request).account
        known = {"title", "description", "state_event", "add_labels", "remove_labels", "assignee_ids"}
        wish = _object(await request.json(), known)
        if not wish:
            raise ApiRefusal(400, {"error": "title, description, … are missing, at least one must be provided"})
        if role < REPORTER and entry.author is not account:
            raise _refused(403, "403 Forbidden")
        _check(wish.get("title", entry.title), wish.get("description", entry.body))
        event = wish.get("state_event")
        if event not in (None, "close", "reopen"):
            raise ApiRefusal(400, {"error": "state_event does not have a valid value"})
        values: dict[str, Any] = {}
        values |= {"title": wish["title"]} if "title" in wish else {}
        values |= {"body": wish["description"]} if "description" in wish else {}
        values |= {"state": "closed" if event == "close" else "open"} if event else {}
        if role >= REPORTER:
            before = list(entry.labels)
            self._label(repo, entry, wish.get("add_labels", ""))
            gone = wish.get("remove_labels", "").split(",")
            entry.labels = [one for one in entry.labels if one not in gone]
            if "assignee_ids" in wish:
                entry.assignees = self._logins(repo, wish["assignee_ids"])
            if entry.labels != before:
                said = {"previous": [{"title": one} for one in before]}
                changes = {"labels": {**said, "current": [{"title": one} for one in entry.labels]}}
                entry.updated_at = self._gitlab.now()
                self._gitlab.tell(repo, entry, "labels", account, changes=changes)
        self._gitlab.changes(repo, entry, account.login, **values)
        return JSONResponse(self._gitlab.issue_json(repo, entry))

    async def create_note(self, request: Request) -> Response:
        repo, role, entry = self._entry(request, writes=True)
        if role < GUEST or (entry.locked and role < REPORTER):
            raise _refused(403, "403 Forbidden")
        wish = _object(await request.json(), {"body", "internal"})
        body = wish.get("body")
        if not isinstance(body, str) or not body.strip():
            raise _refused(400, '400 (Bad request) "Note {:note=>[\\"can\'t be blank\\"]}" not given')
        if len(body) > NOTE:
            raise _refused(400, {"note": [f"is too long (maximum is {NOTE} characters)"]})
        comment = self._gitlab.comments(repo, entry, self._grant(request).account.login, body)
        return JSONResponse(self._gitlab.note_json(entry, comment), 201)

    async def delete_note(self, request: Request) -> Response:
        _, _, entry = self._entry(request, writes=True)
        id_ = request.path_params["id"]
        if not any(one.id == id_ for one in entry.comments):
            raise _refused(404, "404 Note Not Found")
        entry.comments = [one for one in entry.comments if one.id != id_]
        return Response(status_code=204)

    def _label(self, repo: Repo, entry: ForgeEntry, named: str) -> None:
        """Who is a reporter makes labels by using them."""
        new = [one.strip() for one in named.split(",") if one.strip()]
        entry.labels += [one for one in dict.fromkeys(new) if one not in entry.labels]
        repo.labels.update(new)

    def _logins(self, repo: Repo, ids: list[int]) -> list[str]:
        """One only, as without a subscription; who is no member is left out."""
        members = [one.login for one in self._gitlab.accounts.values() if one.id in ids and one.login in repo.pushers]
        return members[:1]


def _object(found: Any, known: set[str]) -> dict[str, Any]:
    """GitLab overlooks what it does not know; nobody here may rely on that."""
    assert isinstance(found, dict), found
    assert not set(found) - known, sorted(set(found) - known)
    return found


def _check(title: str, body: str) -> None:
    if not title.strip():
        raise _refused(400, {"title": ["can't be blank"]})
    if len(title) > TITLE:
        raise _refused(400, {"title": [f"is too long (maximum is {TITLE} characters)"]})
    if len(body) > DESCRIPTION:
        raise _refused(400, {"description": [f"is too long (maximum is {DESCRIPTION} characters)"]})
