"""The REST API of the simulated Gitea: https://docs.gitea.com/api/, as far as we call it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.testing.forge import ForgeEntry, ForgeFault, ReactionEntry, Repo, stamp
from zhiban.testing.forge_asgi import ApiRefusal, ForgeApi, bearer
from zhiban.testing.gitea.simulator import GiteaGrant, GiteaSimulator, label_id

_REPO = "/repos/{owner}/{repo}"
_ISSUE = _REPO + "/issues/{number:int}"
REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def application(gitea: GiteaSimulator, *, prefix: str = "/api/v1") -> Starlette:
    """The API as an ASGI application."""
    api = _GiteaApi(gitea, prefix)
    routes = [
        ("GET", "/user", api.user),
        ("GET", "/users/{login}/repos", api.repos),
        ("GET", "/orgs/{login}/repos", api.repos),
        ("GET", "/orgs/{login}/labels", api.org_labels),
        ("GET", _REPO, api.repo),
        ("GET", _REPO + "/labels", api.labels),
        ("GET", _REPO + "/assignees", api.assignees),
        ("GET", _REPO + "/issues", api.issues),
        ("POST", _REPO + "/issues", api.create_issue),
        ("GET", _REPO + "/issues/comments", api.all_comments),
        ("DELETE", _REPO + "/issues/comments/{id:int}", api.delete_comment),
        ("POST", _REPO + "/issues/comments/{id:int}/reactions", api.react),
        ("DELETE", _REPO + "/issues/comments/{id:int}/reactions", api.unreact),
        ("GET", _ISSUE, api.issue),
        ("PATCH", _ISSUE, api.update_issue),
        ("GET", _ISSUE + "/comments", api.comments),
        ("POST", _ISSUE + "/comments", api.create_comment),
        ("POST", _ISSUE + "/labels", api.add_labels),
        ("DELETE", _ISSUE + "/labels/{label:int}", api.remove_label),
        ("POST", _ISSUE + "/reactions", api.react),
        ("DELETE", _ISSUE + "/reactions", api.unreact),
    ]
    return Starlette(routes=[Route(prefix + path, api.guarded(one), methods=[verb]) for verb, path, one in routes])


def _refused(status: int, said: str, **headers: str) -> ApiRefusal:
    body = {"message": said, "url": "https://gitea.test/api/swagger"}
    return ApiRefusal(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class _GiteaApi(ForgeApi):
    size = "limit"
    most = 50

    def __init__(self, gitea: GiteaSimulator, prefix: str) -> None:
        super().__init__(gitea, prefix)
        self._gitea = gitea

    async def _mishap(self, fault: ForgeFault) -> None:
        match fault.kind:
            case "secondary":  # what stands before it refuses bursts
                after = {"Retry_After": str(fault.retry_after)} if fault.retry_after else {}
                raise _refused(429, "Too Many Requests", **after)
            case "limit":
                reset = str(int(datetime.now(UTC).timestamp()) + (fault.retry_after or 1))
                raise _refused(429, "Too Many Requests", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)
            case _:
                await super()._mishap(fault)

    def _page(self, request: Request, found: list[Any]) -> Response:
        """Its links lead to where it believes to be."""
        size = min(int(request.query_params.get("limit", "30")), self.most)
        page = int(request.query_params.get("page", "1"))
        headers = {"X-Total-Count": str(len(found))}
        if page * size < len(found):
            headers["Link"] = f'<{self._gitea.base}{request.url.path}?page={page + 1}>; rel="next"'
        return JSONResponse(found[(page - 1) * size : page * size], headers=headers)

    # --------------------------------------------------------------------------------------------------- who calls

    def _grant(self, request: Request, scope: str) -> GiteaGrant:
        grant = self._gitea.grants.get(bearer(request))
        if grant is None:
            raise _refused(401, "invalid username, password or token")
        if scope not in grant.scopes and scope.replace("read:", "write:") not in grant.scopes:
            raise _refused(403, f"token does not have at least one of required scope(s): [{scope}]")
        return grant

    def _repo(self, request: Request, scope: str = "read:repository") -> tuple[Repo, GiteaGrant]:
        grant = self._grant(request, scope)
        name = f"{request.path_params['owner']}/{request.path_params['repo']}"
        repo = self._gitea.named(name)
        moved = self._gitea.repos.get(self._gitea.former.get(name.lower(), 0))
        if repo is None and moved is not None:
            place = request.url.path.replace(name, moved.full_name, 1)
            raise ApiRefusal(307, {"message": "Temporary Redirect"}, {"Location": place})
        if repo is None or (repo.private and repo.id not in grant.writes):
            raise _refused(404, "The target couldn't be found.")
        if request.method != "GET" and repo.archived:
            raise _refused(423, "repo.archived")
        return repo, grant

    def _issues_of(self, request: Request) -> tuple[Repo, GiteaGrant]:
        repo, grant = self._repo(request, "read:issue" if request.method == "GET" else "write:issue")
        if not repo.has_issues:
            raise _refused(404, "The target couldn't be found.")
        return repo, grant

    def _entry(self, request: Request) -> tuple[Repo, GiteaGrant, ForgeEntry]:
        repo, grant = self._issues_of(request)
        entry = repo.entries.get(request.path_params["number"])
        if entry is None or entry.deleted:
            raise _refused(404, "The target couldn't be found.")
        return repo, grant, entry

    # ------------------------------------------------------------------------------------------------- reading

    async def user(self, request: Request) -> Response:
        return JSONResponse(self._gitea.user_json(self._grant(request, "read:user").account))

    async def repos(self, request: Request) -> Response:
        grant, login = self._grant(request, "read:repository"), request.path_params["login"].lower()
        account = self._gitea.accounts.get(login)
        if account is None or ("/orgs/" in request.url.path) != (account.type == "Organization"):
            raise _refused(404, "user redirect does not exist")
        owned = [one for one in self._gitea.repos.values() if one.owner is account]
        found = [one for one in owned if not one.private or one.id in grant.writes]
        return self._page(request, [self._gitea.repo_json(one) for one in found])

    async def org_labels(self, request: Request) -> Response:
        self._grant(request, "read:issue")
        return self._page(request, [])

    async def repo(self, request: Request) -> Response:
        return JSONResponse(self._gitea.repo_json(self._repo(request)[0]))

    async def labels(self, request: Request) -> Response:
        repo, _ = self._issues_of(request)
        return self._page(request, [self._gitea.label_json(name) for name in sorted(repo.labels)])

    async def assignees(self, request: Request) -> Response:
        repo, _ = self._repo(request)
        return JSONResponse([self._gitea.user_json(self._gitea.account(login)) for login in sorted(repo.pushers)])

    async def issue(self, request: Request) -> Response:
        repo, _, entry = self._entry(request)
        return JSONResponse(self._gitea.issue_json(repo, entry))

    async def issues(self, request: Request) -> Response:
        repo, _ = self._issues_of(request)
        asked = request.query_params
        found = [
            one
            for one in repo.entries.values()
            if not one.deleted
            and asked.get("state", "open") in ("all", one.state)
            and not (asked.get("type") == "issues" and one.pull_request)
            and asked.get("created_by") in (None, one.author.login)
            and stamp(one.updated_at) >= asked.get("since", "")
        ]
        found.sort(key=lambda one: (one.created_at, one.number), reverse=True)
        return self._page(request, [self._gitea.issue_json(repo, one) for one in found])

    async def comments(self, request: Request) -> Response:
        """All of them, however many: this list has no pages."""
        repo, _, entry = self._entry(request)
        since = request.query_params.get("since", "")
        found = [one for one in entry.comments if stamp(one.updated_at) >= since]
        return JSONResponse([self._gitea.comment_json(repo, entry, one) for one in found])

    async def all_comments(self, request: Request) -> Response:
        repo, _ = self._issues_of(request)
        since = request.query_params.get("since", "")
        found = [(entry, one) for entry in repo.entries.values() for one in entry.comments]
        shown = [self._gitea.comment_json(repo, *each) for each in found if stamp(each[1].updated_at) >= since]
        return self._page(request, shown)

    # ------------------------------------------------------------------------------------------------- writing

    async def create_issue(self, request: Request) -> Response:
        repo, grant = self._issues_of(request)
        wish = _object(await request.json(), {"title", "body", "labels", "assignees"})
        _check(wish.get("title"))
        for login in wish.get("assignees", []):
            if login not in repo.pushers:  # the whole issue is refused for it
                raise _refused(422, f"Assignee does not exist: [name: {login}]")
        entry = self._gitea.opens(repo, grant.account.login, wish["title"], wish.get("body", ""))
        if repo.id in grant.writes:  # others' labels and assignees are dropped without a word
            entry.labels = _named(repo, wish.get("labels", []))
            entry.assignees = list(wish.get("assignees", []))
        return JSONResponse(self._gitea.issue_json(repo, entry), 201)

    async def update_issue(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request)
        writes = repo.id in grant.writes
        if not writes and entry.author is not grant.account:
            return Response(status_code=403)
        wish = _object(await request.json(), {"title", "body", "state", "assignees"})
        if "title" in wish:
            _check(wish["title"])
        if entry.pull_request and entry.merged_at is not None and "state" in wish:
            raise _refused(412, "cannot change state of this pull request, it was already merged")
        if "assignees" in wish and writes:
            entry.assignees = [login for login in wish["assignees"] if login in repo.pushers]
        values = {name: wish[name] for name in ("title", "body", "state") if name in wish}
        self._gitea.changes(repo, entry, grant.account.login, **values)
        return JSONResponse(self._gitea.issue_json(repo, entry), 201)

    async def create_comment(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request)
        if entry.locked and repo.id not in grant.writes:
            raise _refused(403, "You cannot comment on a locked conversation")
        body = _object(await request.json(), {"body"}).get("body")
        if not isinstance(body, str) or not body.strip():
            raise _refused(422, "[Body]: Required")
        comment = self._gitea.comments(repo, entry, grant.account.login, body)
        return JSONResponse(self._gitea.comment_json(repo, entry, comment), 201)

    async def delete_comment(self, request: Request) -> Response:
        repo, _ = self._issues_of(request)
        id_ = request.path_params["id"]
        for entry in repo.entries.values():
            if any(one.id == id_ for one in entry.comments):
                entry.comments = [one for one in entry.comments if one.id != id_]
                return Response(status_code=204)
        raise _refused(404, "The target couldn't be found.")

    async def add_labels(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request)
        if repo.id not in grant.writes:
            raise _refused(403, "write permission is required")
        wish = _object(await request.json(), {"labels"})
        entry.labels += [one for one in _named(repo, wish["labels"]) if one not in entry.labels]
        entry.updated_at = self._gitea.now()
        self._gitea.tell(repo, entry, "labeled", grant.account)
        return JSONResponse([self._gitea.label_json(name) for name in entry.labels])

    async def remove_label(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request)
        if repo.id not in grant.writes:
            raise _refused(403, "write permission is required")
        gone = _named(repo, [request.path_params["label"]])
        if not gone:
            raise _refused(422, "label does not exist")
        entry.labels = [one for one in entry.labels if one not in gone]
        entry.updated_at = self._gitea.now()
        self._gitea.tell(repo, entry, "unlabeled", grant.account)
        return Response(status_code=204)

    def _reactions(self, request: Request) -> tuple[list[ReactionEntry], str]:
        repo, grant = self._issues_of(request)
        if "number" in request.path_params:
            return self._entry(request)[2].reactions, grant.account.login
        for entry in repo.entries.values():
            for comment in entry.comments:
                if comment.id == request.path_params["id"]:
                    return comment.reactions, grant.account.login
        raise _refused(404, "The target couldn't be found.")

    async def react(self, request: Request) -> Response:
        there, login = self._reactions(request)
        content = _object(await request.json(), {"content"}).get("content")
        if content not in REACTIONS:
            raise _refused(403, f"'{content}' is not an allowed reaction")
        _, new = self._gitea.reacts(there, login, content)
        return JSONResponse({"user": {"login": login}, "content": content}, 201 if new else 200)

    async def unreact(self, request: Request) -> Response:
        there, login = self._reactions(request)
        content = _object(await request.json(), {"content"}).get("content")
        there[:] = [one for one in there if (one.login, one.content) != (login, content)]
        return Response(status_code=200)


def _named(repo: Repo, ids: list[int]) -> list[str]:
    """Those labels that there are; others are overlooked."""
    return [name for name in sorted(repo.labels) if label_id(name) in ids]


def _object(found: Any, known: set[str]) -> dict[str, Any]:
    """Gitea overlooks what it does not know; nobody here may rely on that."""
    assert isinstance(found, dict), found
    assert not set(found) - known, sorted(set(found) - known)
    return found


def _check(title: Any) -> None:
    if not isinstance(title, str) or not title.strip():
        raise _refused(422, "[Title]: Required")
    if len(title) > 255:
        raise _refused(500, "pq: value too long for type character varying(255)")
