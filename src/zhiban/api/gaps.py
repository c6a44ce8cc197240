"""The JSON API of gaps: what contacts asked and nothing answered, who asked, what people told them, how one closes."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.auth import KnowledgeReader, KnowledgeWriter
from zhiban.api.knowledge import BASE, TROUBLES, CleanText, Now, Rows, Trouble, base_id_of
from zhiban.assistant.gap_answers import AnswerByPerson, Asker, gap_detail, words_of_person
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict, NotFound
from zhiban.kit.i18n import mark
from zhiban.knowledge import gap_queries, service
from zhiban.knowledge.gap_queries import GapRow, Wording
from zhiban.knowledge.models import GapStatus

GapId = Annotated[int, Path(description=mark("The gap's id."), examples=[1])]


_GAP: JsonDict = {
    "id": 1,
    "question": "能寄到日本吗",
    "times": 3,
    "contacts": 2,
    "status": "open",
    "article_id": None,
    "merged_into": None,
    "follows": None,
    "first_at": "2026-11-20T10:00:00+08:00",
    "last_at": "2026-11-21T09:30:00+08:00",
}


class GapOut(BaseModel):
    id: int
    question: str
    times: int = Field(description=mark("How many messages asked it."))
    contacts: int = Field(description=mark("How many contacts asked it."))
    status: str
    article_id: int | None = Field(description=mark("The article that answers it."))
    merged_into: int | None = Field(description=mark("The gap that has its questions now."))
    follows: int | None = Field(description=mark("A gap that was answered and asked the same."))
    first_at: datetime
    last_at: datetime

    model_config = ConfigDict(json_schema_extra={"examples": [_GAP]})

    @classmethod
    def of(cls, gap: GapRow) -> GapOut:
        return cls.model_validate(gap, from_attributes=True)


class GapPage(BaseModel):
    gaps: list[GapOut]
    next_after: int | None = Field(description=mark("Pass it as `after` for the next page; null at the end."))

    model_config = ConfigDict(json_schema_extra={"examples": [{"gaps": [_GAP], "next_after": None}]})


class WordingOut(BaseModel):
    text: str
    times: int
    contacts: int
    last_at: datetime

    @classmethod
    def of(cls, wording: Wording) -> WordingOut:
        return cls.model_validate(wording, from_attributes=True)


class GapOutDetail(GapOut):
    wordings: list[WordingOut]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_GAP,
                    "wordings": [
                        {"text": "能寄到日本吗", "times": 2, "contacts": 2, "last_at": "2026-11-21T09:30:00+08:00"}
                    ],
                }
            ]
        }
    )


class AskerOut(BaseModel):
    text: str
    origin: str = Field(description=mark("`no_answer`, `menu`, `asked` (for a person) or `complaint`."))
    conversation_id: int | None
    contact_id: int | None
    contact: str | None
    external_id: str | None
    asked_at: datetime
    told: list[str] = Field(description=mark("Titles that the assistant answered with."))

    @classmethod
    def of(cls, asker: Asker) -> AskerOut:
        return cls.model_validate(asker, from_attributes=True)


class PersonsAnswerOut(BaseModel):
    message_id: int
    question: str
    text: str
    agent: str | None
    conversation_id: int
    sent_at: datetime

    @classmethod
    def of(cls, answer: AnswerByPerson) -> PersonsAnswerOut:
        return cls.model_validate(answer, from_attributes=True)


class GapAnswers(BaseModel):
    askers: list[AskerOut]
    answers: list[PersonsAnswerOut] = Field(description=mark("What people replied, newest first."))

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "askers": [
                        {
                            "text": "能寄到日本吗",
                            "origin": "no_answer",
                            "conversation_id": 7,
                            "contact_id": 3,
                            "contact": "李晓",
                            "external_id": "wmLIXIAO",
                            "asked_at": "2026-11-21T09:30:00+08:00",
                            "told": [],
                        }
                    ],
                    "answers": [
                        {
                            "message_id": 42,
                            "question": "能寄到日本吗",
                            "text": "可以，运费 80 元，七天左右到。",
                            "agent": "陈默",
                            "conversation_id": 7,
                            "sent_at": "2026-11-21T09:42:00+08:00",
                        }
                    ],
                }
            ]
        }
    )


class ClosingIn(BaseModel):
    answer: CleanText | None = Field(
        None,
        min_length=1,
        max_length=20_000,
        description=mark("What contacts are told from now on; without any answer the gap is dismissed."),
    )
    answer_from: int | None = Field(
        None, ge=1, le=2**62, description=mark("A person's answer to this gap instead, by the id of its message.")
    )
    question: CleanText | None = Field(
        None, min_length=1, max_length=200, description=mark("The article's title; without it the gap's question.")
    )
    category: CleanText | None = Field(None, max_length=100, description=mark("What it is about."))
    base: CleanText | None = Field(None, max_length=100, description=BASE)

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"answer": "可以，运费 80 元，七天左右到。", "question": "能寄到日本吗？"}]}
    )


@cache  # describing what an endpoint takes is most of the time that an application needs to be mounted
def router() -> APIRouter:
    """The endpoints of gaps. Who asked and what people wrote needs the right to write, as it is not only knowledge."""
    routes = APIRouter(prefix="/api", tags=["knowledge"], responses=TROUBLES)

    @routes.get(
        "/gaps",
        summary=mark("List gaps"),
        description=mark("What contacts asked and nothing answered; what most contacts asked first."),
    )
    async def list_gaps(
        caller: KnowledgeReader,
        database: Rows,
        after: Annotated[int, Query(ge=0, le=1_000_000, description=mark("`next_after` of the page before."))] = 0,
        limit: Annotated[int, Query(ge=1, le=200, description=mark("How many at most."))] = 50,
    ) -> GapPage:
        async with database.page_transaction(caller.workspace_id) as tx:
            found = await gap_queries.open_gaps(tx, after=after, limit=limit)
        return GapPage(
            gaps=[GapOut.of(gap) for gap in found], next_after=after + limit if len(found) == limit else None
        )

    @routes.get(
        "/gaps/{gap_id}",
        summary=mark("Get a gap"),
        description=mark("One gap, with the ways in which it was asked."),
    )
    async def get_gap(gap_id: GapId, caller: KnowledgeReader, database: Rows) -> GapOutDetail:
        async with database.page_transaction(caller.workspace_id) as tx:
            gap = await _gap(tx, gap_id)
            wordings = await gap_queries.wordings(tx, gap_id)
        return GapOutDetail(**GapOut.of(gap).model_dump(), wordings=[WordingOut.of(one) for one in wordings])

    @routes.get(
        "/gaps/{gap_id}/answers",
        summary=mark("Who asked, and what people answered"),
        description=mark("The contacts who asked it, with their conversations, and what people replied to them."),
    )
    async def get_answers(gap_id: GapId, caller: KnowledgeWriter, database: Rows) -> GapAnswers:
        async with database.page_transaction(caller.workspace_id) as tx:
            await _gap(tx, gap_id)
            detail = await gap_detail(tx, gap_id, access=caller.access)
        return GapAnswers(
            askers=[AskerOut.of(one) for one in detail.askers],
            answers=[PersonsAnswerOut.of(one) for one in detail.answers],
        )

    @routes.post(
        "/gaps/{gap_id}/close",
        responses={409: {"model": Trouble, "description": mark("There is no answer, or there are two.")}},
        summary=mark("Close a gap"),
        description=mark(
            "With an answer it becomes an article, which is found by the contacts' own wordings; without one it is "
            "dismissed."
        ),
    )
    async def close_gap(gap_id: GapId, wanted: ClosingIn, caller: KnowledgeWriter, database: Rows, now: Now) -> GapOut:
        async with database.page_transaction(caller.workspace_id) as tx:
            await _gap(tx, gap_id)
            try:
                await _close(tx, gap_id, wanted, caller, now=now)
            except NotFound as error:
                raise HTTPException(404, error.sentence) from error
            return GapOut.of(await gap_queries.gap(tx, gap_id))

    return routes


async def _close(tx: Transaction, gap_id: int, wanted: ClosingIn, caller: KnowledgeWriter, *, now: datetime) -> None:
    answer = wanted.answer
    if answer is not None and wanted.answer_from is not None:
        raise Conflict("Give answer or answer_from, not both.")
    if wanted.question is not None and answer is None and wanted.answer_from is None:
        raise Conflict("A question needs an answer.")
    if wanted.answer_from is not None:
        answer = (await words_of_person(tx, gap_id, wanted.answer_from, access=caller.access)).text
    if answer is None:
        await gap_queries.open_gap(tx, gap_id)
        await service.close_gap(tx, gap_id, GapStatus.DISMISSED, by=caller.actor, now=now)
        return
    await service.answer_gap(
        tx,
        gap_id,
        await base_id_of(tx, wanted.base),
        answer=answer,
        question=wanted.question,
        category=wanted.category,
        by=caller.actor,
        now=now,
    )


async def _gap(tx: Transaction, gap_id: int) -> GapRow:
    if not 0 < gap_id < 2**62:
        raise HTTPException(404, "There is no such gap.")
    try:
        return await gap_queries.gap(tx, gap_id)
    except NotFound as error:
        raise HTTPException(404, error.sentence) from error
