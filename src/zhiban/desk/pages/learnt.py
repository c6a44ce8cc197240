"""Wordings that people taught: what waits for a colleague, what is in use, what was refused, with who spoke for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response

from zhiban.conversations.access import visible
from zhiban.desk.knowledge_page import HERE, KnowledgePage
from zhiban.desk.labels import EVIDENCE_LABELS
from zhiban.desk.page import known
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge import service
from zhiban.knowledge.learnt import LearntRow, LearntWording, learnt, learnt_wording
from zhiban.knowledge.models import CandidateStatus
from zhiban.people.auth import CurrentAgent
from zhiban.web.security import same_origin

router = APIRouter(dependencies=[Depends(same_origin)], include_in_schema=False)

LEARNT = HERE + "/learnt"
PAGE = 50
SHOWN = {one.value: one for one in (CandidateStatus.WAITING, CandidateStatus.ACTIVE, CandidateStatus.REJECTED)}


@frozen_dataclass
class EvidenceView:
    """What one person said. `who` is empty, and `conversation_id` None, where that is not for the reader."""

    who: str
    said: str
    at: datetime
    conversation_id: int | None


@frozen_dataclass
class LearntView:
    """A wording, and everybody who spoke about it, the newest first."""

    row: LearntRow
    voices: tuple[EvidenceView, ...]


async def learnt_views(tx: Transaction, page: KnowledgePage, found: Sequence[LearntWording]) -> list[LearntView]:
    """Contacts and their conversations are named to those who may decide, and see the conversation."""
    said = [each for one in found for each in one.evidence]
    ids = [each.conversation_id for each in said if each.conversation_id is not None] if page.writes else []
    seen = await visible(tx, page.agent.access, ids)
    everything = page.writes and page.agent.access.inbox_ids is None
    return [
        LearntView(
            one.row,
            tuple(
                EvidenceView(
                    each.name if each.agent_id is not None or everything or each.conversation_id in seen else "",
                    page.texts(EVIDENCE_LABELS[each.kind]),
                    each.at,
                    each.conversation_id if each.conversation_id in seen else None,
                )
                for each in reversed(one.evidence)
            ),
        )
        for one in found
    ]


async def _show(
    page: KnowledgePage, *, status: str = "waiting", before: int | None = None, trouble: str = ""
) -> Response:
    chosen = SHOWN.get(status, CandidateStatus.WAITING)
    async with page.auth.database.page_transaction(page.agent.workspace_id) as tx:
        rail = await page.rail(tx)
        base_id = rail.base.id if rail.base else 0
        found = await learnt(tx, base_id=base_id, statuses=(chosen,), before=before, limit=PAGE)
        views = await learnt_views(tx, page, found)
    return await page.show(
        "knowledge/learnt.html",
        "learnt",
        rail,
        status=422 if trouble else 200,
        chosen=str(chosen),
        rows=views,
        before=before,
        next=found[-1].row.id if len(found) == PAGE else None,
        trouble=trouble,
    )


@router.get(LEARNT)
async def show(
    request: Request,
    agent: CurrentAgent,
    base: Annotated[str, Query(max_length=100)] = "",
    status: Annotated[str, Query(max_length=20)] = "waiting",
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    return await _show(KnowledgePage(request, agent, base), status=status, before=before)


@router.post(LEARNT + "/{wording_id}/{verb}")
async def act(
    request: Request,
    agent: CurrentAgent,
    wording_id: int,
    verb: str,
    base: Annotated[str, Form(max_length=100)] = "",
    status: Annotated[str, Form(max_length=20)] = "waiting",
) -> Response:
    """Let a wording lead to its article, or refuse it for good."""
    page = KnowledgePage(request, agent, base)
    try:
        page.check_writes()
        async with page.auth.database.page_transaction(agent.workspace_id) as tx:
            found = await learnt_wording(tx, known(wording_id))
            if found is None:
                raise NotFound("There is no such wording.")
            match verb:
                case "approve":
                    await service.approve_phrasing(tx, wording_id, by=page.actor, now=page.now)
                case "reject":
                    await service.reject_phrasing(tx, wording_id, by=page.actor, now=page.now)
                case _:
                    return Response(status_code=404)
    except Conflict as error:
        return await _show(page, status=status, trouble=page.words(error))
    if status.isdecimal():  # from the page of the article
        return page.back(f"{HERE}/articles/{found.row.article_id}")
    return page.back(LEARNT, status=status if status in SHOWN else "")
