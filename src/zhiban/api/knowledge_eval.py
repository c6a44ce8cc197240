"""The JSON API's measure of a knowledge base: a page's worth of figures, and what would have been different lately."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from zhiban.api.auth import KnowledgeReader
from zhiban.api.knowledge import BASE, TROUBLES, CleanText, Now, Rows, Trouble
from zhiban.assistant.replaying import replay
from zhiban.kit.db import Transactions
from zhiban.kit.errors import Misconfigured, NotFound
from zhiban.kit.i18n import mark
from zhiban.knowledge.evaluation import Configuration, Evaluator, LabelledQuestion, evaluate
from zhiban.knowledge.queries import DEFAULT_BASE
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders
from zhiban.people.permissions import Access

MOST_ASKED = 100  # of the base's phrasings, of what was confirmed, and of recent questions; an answer takes seconds

_FIGURES: dict[str, Any] = {
    "questions": 100,
    "out_of_scope": 100,
    "r_at_1": 84.0,
    "r_at_3": 95.0,
    "coverage": 41.0,
    "precision": 95.2,
    "out_of_scope_answered": 6.0,
    "zones": {"answer": {"questions": 41, "right": 40, "in_menu": 41, "out_of_scope": 6}},
    "curve": [{"coverage": 10.0, "precision": 100.0, "threshold": 1.41}],
    "wrong": 1,
    "wrong_answers": [
        {
            "question": "钱啥时候退",
            "answered": "怎么退货？",
            "right": "退款多久到账？",
            "taken_out": False,
            "confidence": 1.1,
        }
    ],
}


class AskedQuestionIn(BaseModel):
    question: CleanText = Field(min_length=1, max_length=2000, description=mark("What a contact would ask."))
    expected: list[Annotated[CleanText, Field(max_length=200)]] = Field(
        default=[], max_length=10, description=mark("Titles or ids of the entries that answer it; none: nothing does.")
    )


class EvaluationIn(BaseModel):
    base: CleanText | None = Field(None, max_length=100, description=BASE)
    questions: list[AskedQuestionIn] = Field(
        default=[], max_length=200, description=mark("Labelled questions of your own.")
    )
    compare: CleanText | None = Field(
        None, max_length=200, description=mark("Another configuration: words, vectors, threshold=0.6 or base=NAME.")
    )
    since_days: int | None = Field(
        None, ge=1, le=31, description=mark("Ask again what contacts asked in these days, and tell what would differ.")
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "base": "default",
                    "questions": [{"question": "钱什么时候退给我", "expected": []}],
                    "compare": "words",
                    "since_days": 7,
                }
            ]
        }
    )


class ChangeOut(BaseModel):
    question: str
    at: datetime
    zone_before: str
    zone_now: str
    before: str
    now: str


class ReplayOut(BaseModel):
    asked: int
    skipped: int = Field(description=mark("Questions that leaned on what was said before them."))
    changed: int
    changes: list[ChangeOut]


class EvaluationOut(BaseModel):
    name: str = Field(description=mark("The configuration as it was asked for; empty: as it is."))
    configuration: dict[str, Any]
    phrasings: dict[str, Any] | None = Field(description=mark("The base's own phrasings, each held out."))
    confirmed: dict[str, Any] | None = Field(description=mark("Contacts' own questions that people have confirmed."))
    questions: dict[str, Any] | None = Field(description=mark("Labelled questions of your own."))
    replay: ReplayOut | None


class EvaluationsOut(BaseModel):
    evaluations: list[EvaluationOut]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "evaluations": [
                        {
                            "name": "",
                            "configuration": {
                                "base": "default",
                                "by": "words",
                                "answer_at": 1.02,
                                "promised_precision": 0.951,
                                "suggest_at": 0.23,
                            },
                            "phrasings": _FIGURES,
                            "confirmed": None,
                            "questions": None,
                            "replay": {"asked": 40, "skipped": 7, "changed": 0, "changes": []},
                        }
                    ]
                }
            ]
        }
    )


def router(*, threshold: float | None = None, embedders: Embedders = NO_EMBEDDERS) -> APIRouter:
    """The endpoint, with the installation's KB_SIMILARITY_THRESHOLD and embedders. It measures once at a time."""
    routes = APIRouter(prefix="/api", tags=["knowledge"], responses=TROUBLES)
    measuring = asyncio.Semaphore(1)

    @routes.post(
        "/knowledge/eval",
        summary=mark("Measure a knowledge base"),
        description=mark(
            "How often the right entry comes first and among three, what is answered directly and how much of that is "
            "right, and which answers would be wrong. Takes some seconds."
        ),
        responses={
            409: {"model": Trouble, "description": mark("A configuration or an expected entry that there is not.")}
        },
    )
    async def measure(wanted: EvaluationIn, caller: KnowledgeReader, database: Rows, now: Now) -> EvaluationsOut:
        if measuring.locked():
            raise HTTPException(503, "Another base is being measured. Try again in a minute.")
        async with measuring:
            workspace_id, access = caller.workspace_id, caller.access
            return await _measured(wanted, lambda: database.page_transaction(workspace_id), access, now)

    async def _measured(
        wanted: EvaluationIn, transaction: Transactions, access: Access | None, now: datetime
    ) -> EvaluationsOut:
        usual = Configuration(wanted.base or DEFAULT_BASE)
        asked = [LabelledQuestion(one.question, tuple(one.expected)) for one in wanted.questions]
        found = []
        try:
            others = [Configuration.parse(wanted.compare, usual)] if wanted.compare else []
            for one in (usual, *others):
                evaluator = Evaluator(transaction, one, embedders, threshold)
                told = await evaluate(evaluator, asked, most=MOST_ASKED)
                again = None
                if wanted.since_days is not None:
                    again = await replay(
                        transaction,
                        one,
                        embedders,
                        since=now - timedelta(days=wanted.since_days),
                        threshold=threshold,
                        most=MOST_ASKED,
                        access=access,
                    )
                found.append({"name": one.name, **told.told(), "replay": again})
        except NotFound as error:
            raise HTTPException(404, error.sentence) from error
        except Misconfigured as error:
            raise HTTPException(409, error.sentence) from error
        return EvaluationsOut.model_validate({"evaluations": found}, from_attributes=True)

    return routes
