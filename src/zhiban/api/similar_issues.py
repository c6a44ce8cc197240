"""The JSON API of issues that may be about the same as something that is about to be reported."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.auth import Caller, TicketReader
from zhiban.api.calls import transaction_of
from zhiban.api.knowledge import TROUBLES, CleanText, Rows
from zhiban.api.ticket_models import LARGEST_ID
from zhiban.conversations.access import visible
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.i18n import mark
from zhiban.tickets.issue_search import FoundIssue, IssueFinder
from zhiban.tickets.issue_text import SEARCHED_CHARACTERS
from zhiban.tickets.masking import partly
from zhiban.tickets.repositories import access_repository, links_to

_ISSUE: JsonDict = {
    "number": 12,
    "title": "CSV export broken: Excel shows garbage",
    "url": "https://github.com/acme/shop/issues/12",
    "state": "open",
}


class SimilarIssueOut(BaseModel):
    number: int
    title: str
    url: str
    state: Literal["open", "closed"]

    model_config = ConfigDict(json_schema_extra={"examples": [_ISSUE]})

    @classmethod
    def of(cls, found: FoundIssue) -> SimilarIssueOut:
        return cls(number=found.number, title=partly(found.title), url=found.url, state=found.state)


class SimilarIssuesOut(BaseModel):
    issues: list[SimilarIssueOut] = Field(description=mark("The likeliest first; empty where nothing is likely."))


@cache
def router(*, similar: IssueFinder) -> APIRouter:
    """The endpoint."""
    routes = APIRouter(prefix="/api", tags=["tickets"], responses=TROUBLES)

    @routes.get(
        "/issues/similar",
        summary=mark("Find issues about the same"),
        description=mark(
            "Issues of a repository that a text may be about, in whatever words and in Chinese or English, as they are "
            "at the tracker now: at most three, and none that is not likely."
        ),
    )
    async def similar_issues(
        caller: TicketReader,
        database: Rows,
        repository: Annotated[int, Query(ge=1, le=LARGEST_ID, description=mark("The repository's id."), examples=[1])],
        text: Annotated[
            CleanText,
            Query(
                min_length=1,
                max_length=SEARCHED_CHARACTERS,
                description=mark("What is about to be reported."),
                examples=["export"],
            ),
        ],
    ) -> SimilarIssuesOut:
        async with transaction_of(database, caller) as tx:
            await _check_may_read(tx, caller, repository)
        found = await similar.likely(lambda: transaction_of(database, caller), repository, text)
        return SimilarIssuesOut(issues=[SimilarIssueOut.of(one) for one in found])

    return routes


async def _check_may_read(tx: Transaction, caller: Caller, repository_id: int) -> None:
    """Who sees some inboxes only reads of a private repository what a group there is linked with. Raises NotFound."""
    repository = await access_repository(tx, repository_id)
    if not repository.private or caller.access.inbox_ids is None:
        return
    linked = [link.conversation_id for link in await links_to(tx, repository.name)]
    if not await visible(tx, caller.access, linked):
        raise NotFound("There is no such repository.")
