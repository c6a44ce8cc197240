"""The JSON API of what was learnt: look at wordings and who spoke for them, approve them, undo them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.auth import Caller, KnowledgeReader, KnowledgeWriter
from zhiban.api.knowledge import BASE, TROUBLES, CleanText, Now, Rows, Trouble, base_id_of
from zhiban.kit.db import Transaction
from zhiban.kit.i18n import mark
from zhiban.knowledge import service
from zhiban.knowledge.learnt import LISTED, LearntWording, learnt, learnt_wording
from zhiban.knowledge.models import CandidateStatus
from zhiban.people.tokens import Scope

WordingId = Annotated[int, Path(description=mark("The wording's id."), examples=[1])]


class WordingStatus(StrEnum):
    """What may be asked for."""

    ACTIVE = "active"
    WAITING = "waiting"
    REJECTED = "rejected"


class LearntEvidenceOut(BaseModel):
    kind: str
    supports: bool
    contact_id: int | None = Field(description=mark("Only for who has the scope knowledge:write, too."))
    agent_id: int | None
    agent: str | None
    wording: str
    conversation_id: int | None
    at: datetime


_WORDING: JsonDict = {
    "id": 1,
    "base": "default",
    "article_id": 1,
    "title": "怎么申请退款？",
    "text": "东西不想要了退款",
    "status": "waiting",
    "answered_by": None,
    "people_for": 1,
    "people_against": 0,
    "decided_by": None,
    "decided_at": None,
    "created_at": "2026-11-20T10:00:00+08:00",
    "evidence": [
        {
            "kind": "tap",
            "supports": True,
            "contact_id": 1,
            "agent_id": None,
            "agent": None,
            "wording": "东西不想要了退款",
            "conversation_id": 1,
            "at": "2026-11-20T10:00:00+08:00",
        }
    ],
}


class LearntOut(BaseModel):
    id: int
    base: str
    article_id: int
    title: str
    text: str
    status: str
    answered_by: str | None = Field(
        description=mark("Another article that answers this wording now; it waits for a colleague because of that.")
    )
    people_for: int
    people_against: int
    decided_by: str | None
    decided_at: datetime | None
    created_at: datetime
    evidence: list[LearntEvidenceOut]

    @classmethod
    def of(cls, one: LearntWording, *, to: Caller) -> LearntOut:
        """Contacts and their conversations are named to those only who may also decide, and see every inbox."""
        row, decides = one.row, Scope.KNOWLEDGE_WRITE in to.scopes and to.access.inbox_ids is None
        return cls(
            id=row.id,
            base=row.base,
            article_id=row.article_id,
            title=row.title,
            text=row.text,
            status=row.status,
            answered_by=row.answered_by,
            people_for=one.people(supports=True),
            people_against=one.people(supports=False),
            decided_by=row.decided_by,
            decided_at=row.decided_at,
            created_at=row.created_at,
            evidence=[
                LearntEvidenceOut(
                    kind=said.kind,
                    supports=said.supports,
                    contact_id=said.contact_id if decides else None,
                    agent_id=said.agent_id,
                    agent=said.name if said.agent_id is not None else None,
                    wording=said.wording,
                    conversation_id=said.conversation_id if decides else None,
                    at=said.at,
                )
                for said in one.evidence
            ],
        )

    model_config = ConfigDict(json_schema_extra={"examples": [_WORDING]})


class WordingPage(BaseModel):
    wordings: list[LearntOut]
    next_before: int | None = Field(description=mark("Pass it as `before` for the next page; null at the end."))

    model_config = ConfigDict(json_schema_extra={"examples": [{"wordings": [_WORDING], "next_before": None}]})


@cache  # describing what an endpoint takes is most of the time that an application needs to be mounted
def router() -> APIRouter:
    """The endpoints."""
    routes = APIRouter(prefix="/api", tags=["knowledge"], responses=TROUBLES)

    @routes.get(
        "/learned",
        summary=mark("List learnt wordings"),
        description=mark(
            "Wordings that people spoke for, the newest first: those that are active, wait, or were refused."
        ),
    )
    async def list_learnt(
        caller: KnowledgeReader,
        database: Rows,
        base: Annotated[CleanText | None, Query(max_length=100, description=BASE)] = None,
        status: Annotated[WordingStatus | None, Query(description=mark("Only of this status."))] = None,
        before: Annotated[
            int | None, Query(ge=1, le=2**62, description=mark("`next_before` of the page before."))
        ] = None,
        limit: Annotated[int, Query(ge=1, le=200, description=mark("How many at most."))] = 50,
    ) -> WordingPage:
        async with database.page_transaction(caller.workspace_id) as tx:
            statuses = LISTED if status is None else (CandidateStatus(status),)
            base_id = await base_id_of(tx, base)
            found = await learnt(tx, base_id=base_id, statuses=statuses, before=before, limit=limit)
        return WordingPage(
            wordings=[LearntOut.of(one, to=caller) for one in found],
            next_before=found[-1].row.id if len(found) == limit else None,
        )

    @routes.post(
        "/learned/{wording_id}/approve",
        responses={409: {"model": Trouble, "description": mark("The article cannot have this wording.")}},
        summary=mark("Approve a wording"),
        description=mark("Contacts who ask like this get the article from then on, whatever others said before."),
    )
    async def approve(wording_id: WordingId, caller: KnowledgeWriter, database: Rows, now: Now) -> LearntOut:
        async with database.page_transaction(caller.workspace_id) as tx:
            await _known(tx, wording_id)
            await service.approve_phrasing(tx, wording_id, by=caller.actor, now=now)
            return LearntOut.of(await _known(tx, wording_id), to=caller)

    @routes.post(
        "/learned/{wording_id}/undo",
        responses={409: {"model": Trouble, "description": mark("The article has this wording of its own.")}},
        summary=mark("Undo a wording"),
        description=mark("Nobody gets the article by this wording any more, and no evidence brings it back."),
    )
    async def undo(wording_id: WordingId, caller: KnowledgeWriter, database: Rows, now: Now) -> LearntOut:
        async with database.page_transaction(caller.workspace_id) as tx:
            await _known(tx, wording_id)
            await service.reject_phrasing(tx, wording_id, by=caller.actor, now=now)
            return LearntOut.of(await _known(tx, wording_id), to=caller)

    return routes


async def _known(tx: Transaction, wording_id: int) -> LearntWording:
    found = await learnt_wording(tx, wording_id) if 0 < wording_id < 2**62 else None
    if found is None:
        raise HTTPException(404, "There is no such wording.")
    return found
