"""What every page about knowledge has in common: the bases, what waits, who may change what, and how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response

from zhiban.desk.page import DeskPage
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import queries, service
from zhiban.knowledge.article_lists import BaseLine, Outline, base_lines, outline
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.people.permissions import Permission
from zhiban.people.service import SignedInAgent

HERE = "/knowledge"


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


class KnowledgePage(DeskPage):
    """One request about knowledge of a signed-in agent."""

    section = "knowledge"

    def __init__(self, request: Request, agent: SignedInAgent, base: str = "") -> None:
        super().__init__(request, agent)
        self.writes = agent.access.may(Permission.MANAGE_KNOWLEDGE)
        self.slug = base

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
        return await self.whole(template, status=status, section=section, rail=rail, writes=self.writes, **shown)

    def back(self, path: str, **query: str) -> Response:
        """Go on there, with the base that is looked at."""
        return super().back(path, **{"base": self.slug, **query})


async def base_to_write(tx: Transaction, slug: str) -> int:
    """The base that a form names; without one the default one, which is made when there is none. Raises NotFound."""
    if not slug:
        return await service.base_for(tx)
    found = await queries.base_by_slug(tx, slug)
    if found is None:
        raise NotFound("There is no such knowledge base.")
    return found.id
