"""Pages on which you play the maintainer at the simulated GitHub: its issues, one of them, and two buttons.

Only the demonstration shows them. What they show is what the simulated GitHub holds; what is pressed goes out as the
signed webhooks that the real one would send.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

from zhiban.conversations.published_files import PATH
from zhiban.desk.labels import WORDS
from zhiban.kit.errors import NotFound
from zhiban.people.auth import auth_of
from zhiban.testing.github.simulator import BODY_CHARACTERS, ForgeEntry, GitHubSimulator, Repo
from zhiban.web.render import viewer_of, wants_part
from zhiban.web.routers import add_routes
from zhiban.web.security import same_origin

HERE = "/demo/github"
_PUBLISHED = re.compile(rf"https?://[^/]+({PATH}/[0-9a-z-]+)")
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)

router = APIRouter(include_in_schema=False, dependencies=[Depends(same_origin)])


class GitHubPages:
    """One repository as its maintainer sees it. `changed` is called after whatever the maintainer does."""

    def __init__(
        self, github: GitHubSimulator, repository: str, maintainer: str, *, changed: Callable[[], Awaitable[None]]
    ) -> None:
        self.github = github
        self.repository = repository
        self.maintainer = maintainer
        self.changed = changed

    def install(self, app: FastAPI) -> None:
        app.state.github_pages = self
        add_routes(app, router)

    @property
    def repo(self) -> Repo:
        found = self.github.named(self.repository)
        if found is None:
            raise NotFound("There is no such repository.")
        return found

    def entry(self, name: str, number: int) -> ForgeEntry:
        """Raises NotFound."""
        found = self.repo.entries.get(number) if name.lower() == self.repository.lower() else None
        if found is None or found.deleted:
            raise NotFound("There is no such issue.")
        return found


@cache
def _parser() -> MarkdownIt:
    # Whatever looks like HTML is shown as it is written, and so are pictures that would be fetched from elsewhere.
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 30}).enable("table")
    parser.add_render_rule("image", _picture)
    return parser


def _picture(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """One that this installation publishes, by whatever name it is called here; of any other what it is called."""
    words = renderer.renderInlineAsText(tokens[index].children, options, env)
    own = _PUBLISHED.fullmatch(str(tokens[index].attrGet("src")))
    return f'<img src="{own[1]}" alt="{escape(words)}">' if own else str(escape(f"![{words}]"))


def rendered(body: str) -> Markup:
    """What somebody wrote, as GitHub would show it; what is hidden in a comment of HTML stays hidden."""
    return Markup(_parser().render(_HIDDEN.sub("", body)))  # noqa: S704 - the parser escapes what it does not make


def _pages(request: Request) -> GitHubPages:
    pages: GitHubPages = request.app.state.github_pages
    return pages


def _answer(request: Request, template: str, **values: Any) -> Response:
    pages = _pages(request)
    return auth_of(request).renderer.answer(
        template,
        viewer_of(request),
        at=HERE,
        repo=pages.repo,
        maintainer=pages.maintainer,
        rendered=rendered,
        **WORDS,
        **values,
    )


@router.get(HERE)
async def issues(request: Request, state: Annotated[Literal["open", "closed"], Query()] = "open") -> Response:
    """The repository's issues, the newest first."""
    found = [one for one in _pages(request).repo.entries.values() if not one.deleted]
    template = "github_rows.html" if wants_part(request) else "github_list.html"
    return _answer(
        request,
        template,
        state=state,
        rows=sorted((one for one in found if one.state == state), key=lambda one: -one.number),
        counts={one: sum(each.state == one for each in found) for one in ("open", "closed")},
    )


@router.get(HERE + "/{owner}/{name}/issues/{number}")
async def issue(request: Request, owner: str, name: str, number: int) -> Response:
    """One issue with its comments."""
    entry = _pages(request).entry(f"{owner}/{name}", number)
    return _answer(request, "github_thread.html" if wants_part(request) else "github_issue.html", issue=entry)


@router.post(HERE + "/{owner}/{name}/issues/{number}")
async def act(
    request: Request,
    owner: str,
    name: str,
    number: int,
    text: Annotated[str, Form(max_length=BODY_CHARACTERS)] = "",
    then: Annotated[Literal["", "completed", "not_planned", "reopened"], Form()] = "",
) -> Response:
    """The maintainer comments, closes, or opens again."""
    pages = _pages(request)
    github, repo, entry = pages.github, pages.repo, pages.entry(f"{owner}/{name}", number)
    if text.strip():
        github.comments(repo, entry, pages.maintainer, text.strip().replace("\r\n", "\n"))
    if then == "reopened" and entry.state == "closed":
        github.reopens(repo, entry, pages.maintainer)
    elif then in ("completed", "not_planned") and entry.state == "open":
        github.closes(repo, entry, pages.maintainer, then)
    await pages.changed()
    return RedirectResponse(f"{HERE}/{repo.full_name}/issues/{entry.number}", 303)
