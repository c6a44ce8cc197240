"""What every page about knowledge has in common: the bases, what waits, who may change what, and how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from zhiban.desk.checks import chrome_of
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound, ZhibanError
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.knowledge import queries, service
from zhiban.knowledge.article_lists import BaseLine, Outline, base_lines, outline
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.people.auth import auth_of
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent

HERE = "/knowledge"
LARGEST_ID = 2**62


@frozen_dataclass
class KnowledgeRail:
    """The bases, the one that is looked at (None: there is none yet), and what waits."""

    bases: list[BaseLine]
    base: BaseLine | None
    counts: Outline

    @property
    def query(self) -> str:
        """What keeps the chosen base in an address; empty for the default one."""
        return "" if self.base is None or self.base.slug == DEFAULT_BASE else "?" + urlencode({"base": self.base.slug})


class KnowledgePage:
    """One request about knowledge of a signed-in agent."""

    def __init__(self, request: Request, agent: SignedInAgent, base: str = "") -> None:
        self.request, self.agent, self.auth = request, agent, auth_of(request)
        self.viewer = self.auth.viewer(request, agent)
        self.writes = agent.access.may(Permission.MANAGE_KNOWLEDGE)
        self.slug = base

    @property
    def texts(self) -> Texts:
        return self.viewer.texts

    @property
    def now(self) -> datetime:
        return self.auth.clock.now()

    @property
    def actor(self) -> Actor:
        return Actor("agent", self.agent.id)

    def check_writes(self) -> None:
        """Raises NotAllowed."""
        self.agent.access.check(Permission.MANAGE_KNOWLEDGE)

    async def rail(self, tx: Transaction, *, base_id: int | None = None) -> KnowledgeRail:
        """With this base, the one that the address names, or the default one. Raises NotFound (no such base)."""
        bases = await base_lines(tx)
        wanted = self.slug or DEFAULT_BASE
        chosen = next((one for one in bases if (one.id == base_id if base_id else one.slug == wanted)), None)
        if chosen is None and self.slug:
            raise NotFound("There is no such knowledge base.")
        chosen = chosen or (bases[0] if bases else None)
        return KnowledgeRail(bases, chosen, await outline(tx, chosen.id if chosen else None))

    async def show(
        self, template: str, section: str, rail: KnowledgeRail, *, status: int = 200, **values: Any
    ) -> Response:
        """A whole page."""
        shown: Mapping[str, Any] = {"trial": None, "trouble": "", "opened": False, **values}
        return self.auth.renderer.answer(
            template,
            self.viewer,
            status=status,
            chrome=await chrome_of(self.request, self.agent, "knowledge"),
            section=section,
            rail=rail,
            writes=self.writes,
            **shown,
        )

    def part(self, template: str, **values: Any) -> Response:
        return self.auth.renderer.answer(template, self.viewer, **values)

    def words(self, error: ZhibanError) -> str:
        return self.texts.error(error.sentence)

    def back(self, path: str, **query: str) -> Response:
        """Go on there, with the base that is looked at."""
        kept = {name: value for name, value in {"base": self.slug, **query}.items() if value}
        return RedirectResponse(path + (f"?{urlencode(kept)}" if kept else ""), status_code=303)


def known(id_: int) -> int:
    """An id that may exist. Raises NotFound."""
    if not 0 < id_ < LARGEST_ID:
        raise NotFound("There is no such record.")
    return id_


async def base_to_write(tx: Transaction, slug: str) -> int:
    """The base that a form names; without one the default one, which is made when there is none. Raises NotFound."""
    if not slug:
        return await service.base_for(tx)
    found = await queries.base_by_slug(tx, slug)
    if found is None:
        raise NotFound("There is no such knowledge base.")
    return found.id
