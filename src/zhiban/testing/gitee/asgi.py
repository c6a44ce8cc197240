"""The REST API of the simulated Gitee: https://gitee.com/api/v5/swagger, as far as we call it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zhiban.testing.forge import Comment, ForgeEntry, ForgeFault, Repo
from zhiban.testing.forge_asgi import ApiRefusal, ForgeApi, bearer
from zhiban.testing.gitee.simulator import APART, GiteeGrant, GiteeSimulator, ident

_REPO = "/repos/{owner}/{repo}"
_ISSUE = _REPO + "/issues/{ident}"
_PULL = _REPO + "/pulls/{number:int}"


def application(gitee: GiteeSimulator, *, prefix: str = "/api/v5") -> Starlette:
    """The API as an ASGI application. An issue is created and changed at its owner's address, all else at its own."""
    api = _GiteeApi(gitee, prefix)
    routes = [
        ("GET", "/user", api.user),
        ("GET", "/user/repos", api.own_repos),
        ("GET", "/users/{login}/repos", api.repos),
        ("GET", "/orgs/{login}/repos", api.repos),
        ("POST", "/repos/{owner}/issues", api.create_issue),
        ("PATCH", "/repos/{owner}/issues/{ident}", api.update_issue),
        ("GET", _REPO, api.repo),
        ("GET", _REPO + "/labels", api.labels),
        ("GET", _REPO + "/collaborators/{login}", api.collaborator),
        ("GET", _REPO + "/issues", api.issues),
        ("GET", _REPO + "/issues/comments", api.all_comments),
        ("GET", _REPO + "/issues/comments/{id:int}", api.one_comment),
        ("DELETE", _REPO + "/issues/comments/{id:int}", api.delete_comment),
        ("DELETE", _REPO + "/pulls/comments/{id:int}", api.delete_comment),
        ("GET", _ISSUE, api.issue),
        ("GET", _PULL, api.issue),
        ("PATCH", _PULL, api.update_pull),
        *(
            row
            for place in (_ISSUE, _PULL)
            for row in (
                ("GET", place + "/comments", api.comments),
                ("POST", place + "/comments", api.create_comment),
                ("POST", place + "/labels", api.add_labels),
                ("DELETE", place + "/labels/{label:path}", api.remove_label),
            )
        ),
    ]
    return Starlette(routes=[Route(prefix + path, api.guarded(one), methods=[verb]) for verb, path, one in routes])


def _refused(status: int, said: str, **headers: str) -> ApiRefusal:
    return ApiRefusal(status, {"message": said}, {name.replace("_", "-"): value for name, value in headers.items()})


class _GiteeApi(ForgeApi):
    default_size = 20

    def __init__(self, gitee: GiteeSimulator, prefix: str) -> None:
        super().__init__(gitee, prefix)
        self._gitee = gitee

    async def _mishap(self, fault: ForgeFault) -> None:
        match fault.kind:
            case "secondary":
                after = {"Retry_After": str(fault.retry_after)} if fault.retry_after else {}
                raise _refused(429, "Too Many Requests", **after)
            case "limit":
                reset = str(int(datetime.now(UTC).timestamp()) + (fault.retry_after or 1))
                raise _refused(403, "Rate Limit Exceeded", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)
            case _:
                await super()._mishap(fault)

    def _page(self, request: Request, found: list[Any]) -> Response:
        """Without links: two headers say how many there are."""
        answer = super()._page(request, found)
        if "link" in answer.headers:
            del answer.headers["link"]
        answer.headers["total_count"] = str(len(found))
        return answer

    # --------------------------------------------------------------------------------------------------- who calls

    def _grant(self, request: Request, scope: str) -> GiteeGrant:
        grant = self._gitee.grants.get(bearer(request))
        if grant is None:
            raise _refused(401, "401 Unauthorized: Access token does not exist")
        if scope not in grant.scopes:
            # Writing without a scope is told as if there were nothing.
            if request.method != "GET" and scope == "issues":
                raise _refused(404, "project or enterprise")
            raise _refused(401, f"401 Unauthorized: no '{scope}' scope")
        return grant

    def _repo(self, request: Request, scope: str = "projects", name: str = "") -> tuple[Repo, GiteeGrant]:
        grant = self._grant(request, scope)
        repo = self._gitee.named(f"{request.path_params['owner']}/{name or request.path_params['repo']}")
        if repo is None or (repo.private and repo.id not in grant.writes):
            raise _refused(404, "project or enterprise" if name else "404 Project Not Found")
        return repo, grant

    def _entry(self, request: Request, scope: str, name: str = "") -> tuple[Repo, GiteeGrant, ForgeEntry]:
        repo, grant = self._repo(request, scope, name)
        if "number" in request.path_params:
            entry = repo.entries.get(request.path_params["number"] + APART)
        else:
            wanted = request.path_params["ident"]
            entry = next((one for one in _issues(repo) if ident(one.number) == wanted), None)
        if entry is None or entry.deleted or (not entry.pull_request and not repo.has_issues):
            raise _refused(404, "404 Issue Not Found")
        if not self._sees(grant, repo, entry):
            raise _refused(404, "404 Issue Not Found")
        return repo, grant, entry

    @staticmethod
    def _sees(grant: GiteeGrant, repo: Repo, entry: ForgeEntry) -> bool:
        return not entry.confidential or repo.id in grant.writes or entry.author is grant.account

    def _json(self, repo: Repo, entry: ForgeEntry) -> dict[str, Any]:
        return self._gitee.pull_json(repo, entry) if entry.pull_request else self._gitee.issue_json(repo, entry)

    # ------------------------------------------------------------------------------------------------- reading

    async def user(self, request: Request) -> Response:
        return JSONResponse(self._gitee.user_json(self._grant(request, "user_info").account))

    async def own_repos(self, request: Request) -> Response:
        grant = self._grant(request, "projects")
        found = [one for one in self._gitee.repos.values() if one.id in grant.writes]
        return self._page(request, [self._gitee.repo_json(one) for one in found])

    async def repos(self, request: Request) -> Response:
        self._grant(request, "projects")
        account = self._gitee.accounts.get(request.path_params["login"].lower())
        if account is None or ("/orgs/" in request.url.path) != (account.type == "Organization"):
            raise _refused(404, "404 Namespace Not Found")
        found = [one for one in self._gitee.repos.values() if one.owner is account and not one.private]
        return self._page(request, [self._gitee.repo_json(one) for one in found])

    async def repo(self, request: Request) -> Response:
        return JSONResponse(self._gitee.repo_json(self._repo(request)[0]))

    async def labels(self, request: Request) -> Response:
        repo, _ = self._repo(request, "issues")
        return JSONResponse([self._gitee.label_json(name) for name in sorted(repo.labels)])

    async def collaborator(self, request: Request) -> Response:
        repo, _ = self._repo(request)
        if request.path_params["login"] not in repo.pushers:
            raise _refused(404, "404 Not Found")
        return Response(status_code=204)

    async def issue(self, request: Request) -> Response:
        repo, _, entry = self._entry(request, "pull_requests" if "number" in request.path_params else "issues")
        return JSONResponse(self._json(repo, entry))

    async def issues(self, request: Request) -> Response:
        repo, grant = self._repo(request, "issues")
        asked = request.query_params
        if not repo.has_issues:
            raise _refused(404, "404 Not Found")
        found = [
            one
            for one in _issues(repo)
            if not one.deleted
            and self._sees(grant, repo, one)
            and asked.get("state", "open") in ("all", one.state)
            and asked.get("creator") in (None, one.author.login)
            and one.updated_at >= _since(request)
        ]
        key = "updated_at" if asked.get("sort") == "updated" else "created_at"
        found.sort(key=lambda one: (getattr(one, key), one.number), reverse=asked.get("direction", "desc") == "desc")
        return self._page(request, [self._gitee.issue_json(repo, one) for one in found])

    async def comments(self, request: Request) -> Response:
        _, _, entry = self._entry(request, "notes")
        found = [one for one in entry.comments if one.updated_at >= _since(request)]
        return self._page(request, [self._gitee.comment_json(entry, one) for one in found])

    async def all_comments(self, request: Request) -> Response:
        """Also those on private issues, of which nothing tells that they are."""
        repo, _ = self._repo(request, "notes")
        found = [(entry, one) for entry in _issues(repo) for one in entry.comments if one.updated_at >= _since(request)]
        found.sort(key=lambda each: each[1].updated_at)
        return self._page(request, [self._gitee.comment_json(*each) for each in found])

    def _comment(self, request: Request) -> tuple[ForgeEntry, Comment]:
        repo, _ = self._repo(request, "notes")
        for entry in repo.entries.values():
            for one in entry.comments:
                if one.id == request.path_params["id"] and entry.pull_request == ("/pulls/" in request.url.path):
                    return entry, one
        raise _refused(404, "404 Note Not Found")

    async def one_comment(self, request: Request) -> Response:
        return JSONResponse(self._gitee.comment_json(*self._comment(request)))

    # ------------------------------------------------------------------------------------------------- writing

    async def create_issue(self, request: Request) -> Response:
        wish = _object(await request.json(), {"repo", "title", "body", "labels", "assignee", "collaborators"})
        repo, grant = self._repo(request, "issues", wish["repo"])
        if not repo.has_issues:
            raise _refused(404, "project or enterprise")
        _check(wish.get("title"))
        people = self._people(repo, wish)
        entry = self._gitee.opens(repo, grant.account.login, wish["title"], wish.get("body", ""))
        if repo.id in grant.writes:
            entry.labels = [one for one in wish.get("labels", "").split(",") if one in repo.labels]
            entry.assignees = people
        return JSONResponse(self._gitee.issue_json(repo, entry), 201)

    async def update_issue(self, request: Request) -> Response:
        known = {"repo", "title", "body", "state", "assignee", "collaborators"}
        wish = _object(await request.json(), known)
        repo, grant, entry = self._entry(request, "issues", wish["repo"])
        people = self._people(repo, wish, entry.assignees)
        if repo.id in grant.writes:
            entry.assignees = people
        return self._changed(repo, grant, entry, wish)

    async def update_pull(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request, "pull_requests")
        return self._changed(repo, grant, entry, _object(await request.json(), {"title", "body", "state"}))

    def _changed(self, repo: Repo, grant: GiteeGrant, entry: ForgeEntry, wish: dict[str, Any]) -> Response:
        """Without a title it loses the one that it has. No hook is told of what comes over the API."""
        if repo.id not in grant.writes and entry.author is not grant.account:
            raise _refused(403, "403 Forbidden")
        if wish.get("title"):
            _check(wish["title"])
        if wish.get("state", "open") not in ("open", "progressing", "closed"):
            raise _refused(400, "state does not have a valid value")
        entry.title, entry.updated_at = wish.get("title", ""), self._gitee.now()
        entry.body, entry.state = wish.get("body", entry.body), wish.get("state", entry.state)
        return JSONResponse(self._json(repo, entry))

    @staticmethod
    def _people(repo: Repo, wish: dict[str, Any], before: list[str] | None = None) -> list[str]:
        first, others = (before or [])[:1], (before or [])[1:]
        first = [wish["assignee"]] if "assignee" in wish else first
        others = wish["collaborators"].split(",") if "collaborators" in wish else others
        if any(login not in repo.pushers for login in (*first, *others)):  # the whole issue is refused for it
            raise _refused(400, "assignee is not a member of the project")
        return [*first, *others]

    async def create_comment(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request, "notes")
        body = _object(await request.json(), {"body"}).get("body")
        if not isinstance(body, str) or not body.strip():
            raise _refused(400, "body is empty")
        comment = self._gitee.comments(repo, entry, grant.account.login, body)
        return JSONResponse(self._gitee.comment_json(entry, comment), 201)

    async def delete_comment(self, request: Request) -> Response:
        entry, comment = self._comment(request)
        entry.comments.remove(comment)
        return Response(status_code=204)

    async def add_labels(self, request: Request) -> Response:
        """A bare list. Those that the repository does not have are overlooked."""
        repo, grant, entry = self._entry(request, "pull_requests" if "number" in request.path_params else "issues")
        wish = await request.json()
        if not isinstance(wish, list):
            raise _refused(400, "Problems parsing JSON")
        if any(not 2 <= len(name) <= 20 for name in wish):
            raise _refused(400, "label name is invalid")
        if repo.id not in grant.writes:
            raise _refused(403, "403 Forbidden")
        entry.labels += [name for name in wish if name in repo.labels and name not in entry.labels]
        entry.updated_at = self._gitee.now()
        return JSONResponse([self._gitee.label_json(name) for name in entry.labels], 201)

    async def remove_label(self, request: Request) -> Response:
        repo, grant, entry = self._entry(request, "pull_requests" if "number" in request.path_params else "issues")
        if repo.id not in grant.writes:
            raise _refused(403, "403 Forbidden")
        if request.path_params["label"] not in entry.labels:
            raise _refused(404, "404 Label Not Found")
        entry.labels.remove(request.path_params["label"])
        entry.updated_at = self._gitee.now()
        return Response(status_code=204)


def _issues(repo: Repo) -> list[ForgeEntry]:
    return [one for one in repo.entries.values() if not one.pull_request]


def _since(request: Request) -> datetime:
    return datetime.fromisoformat(request.query_params.get("since", "1970-01-01T00:00:00+00:00"))


def _object(found: Any, known: set[str]) -> dict[str, Any]:
    """Gitee overlooks what it does not know; nobody here may rely on that."""
    assert isinstance(found, dict), found
    assert not set(found) - known, sorted(set(found) - known)
    return found


def _check(title: Any) -> None:
    if not isinstance(title, str) or not title.strip():
        raise _refused(400, "title is empty")
    if len(title) > 191:
        raise _refused(400, "title is too long (maximum is 191 characters)")
