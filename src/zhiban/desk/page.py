"""One request of a signed-in agent for a page outside the inbox: who asks, in which words, and how it is answered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from zhiban.desk.checks import chrome_of
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound, ZhibanError
from zhiban.kit.i18n import Texts
from zhiban.people.auth import auth_of
from zhiban.people.permissions import Access
from zhiban.people.service import SignedInAgent

LARGEST_ID = 2**62


class DeskPage:
    """A page says with `section` where in the frame it stands, and how its own errors are told with `words`."""

    section: ClassVar[str] = ""

    def __init__(self, request: Request, agent: SignedInAgent) -> None:
        self.request, self.agent, self.auth = request, agent, auth_of(request)
        self.viewer = self.auth.viewer(request, agent)

    @property
    def texts(self) -> Texts:
        return self.viewer.texts

    @property
    def now(self) -> datetime:
        return self.auth.clock.now()

    @property
    def actor(self) -> Actor:
        return Actor("agent", self.agent.id)

    @property
    def access(self) -> Access:
        return self.agent.access

    @property
    def address(self) -> str:
        """Where people and vendors reach us, without a slash at the end."""
        return self.auth.url or str(self.request.base_url).rstrip("/")

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self.auth.database.page_transaction(self.agent.workspace_id)

    async def form(self) -> list[tuple[str, str]]:
        """Every field that was sent, in order; files are left out."""
        return [(key, value) for key, value in (await self.request.form()).multi_items() if isinstance(value, str)]

    async def whole(self, template: str, *, here: str = "", status: int = 200, **values: Any) -> Response:
        """The whole page, in its frame; `here` says where it stands there, if not where all of its kind do."""
        chrome = await chrome_of(self.request, self.agent, here or self.section)
        return self.auth.renderer.answer(template, self.viewer, status=status, chrome=chrome, **values)

    def part(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A piece of a page, for htmx."""
        return self.auth.renderer.answer(template, self.viewer, status=status, **values)

    def words(self, error: ZhibanError) -> str:
        """What stood in the way, in the reader's language."""
        return self.texts.error(error.sentence)

    def back(self, path: str, **query: str) -> Response:
        """Go on there."""
        kept = {name: value for name, value in query.items() if value}
        return RedirectResponse(path + (f"?{urlencode(kept)}" if kept else ""), status_code=303)


async def sent(request: Request, names: Iterable[str], *, longest: int) -> dict[str, str]:
    """Those of these fields that the address names, or the form that was sent; too long a value is none."""
    given: Mapping[str, object] = await request.form() if request.method == "POST" else request.query_params
    found = {name: given.get(name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, str) and len(value) <= longest}


def known(id_: int) -> int:
    """An id that may exist. Raises NotFound."""
    if not 0 < id_ < LARGEST_ID:
        raise NotFound("There is no such record.")
    return id_


class FormPage(DeskPage):
    """A page with forms that shows itself again with what was typed and why nothing was changed."""

    @abstractmethod
    async def show(self, *, status: int = 200, trouble: str = "", **values: Any) -> Response: ...

    async def refused(self, error: ZhibanError, **values: Any) -> Response:
        return await self.show(status=422, trouble=self.words(error), **values)
