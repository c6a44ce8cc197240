"""The JSON API of knowledge: try a question, look at articles, write and remove them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.auth import KnowledgeReader, KnowledgeWriter
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.i18n import mark
from zhiban.kit.text import clean
from zhiban.knowledge import queries, service
from zhiban.knowledge.retrieval import Passage, SearchResult, find
from zhiban.knowledge.vectors import NO_EMBEDDERS, Embedders
from zhiban.people.auth import auth_of


def _database(request: Request) -> Database:
    return auth_of(request).database


def _now(request: Request) -> datetime:
    return auth_of(request).clock.now()


Rows = Annotated[Database, Depends(_database)]
Now = Annotated[datetime, Depends(_now)]
CleanText = Annotated[str, AfterValidator(clean)]  # without what the database refuses
ArticleId = Annotated[int, Path(description=mark("The article's id."), examples=[1])]

BASE = mark("Short name of a knowledge base; without it the default one.")


class Trouble(BaseModel):
    detail: str

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "This token was revoked."}]})


TROUBLES: dict[int | str, dict[str, Any]] = {
    401: {"model": Trouble, "description": mark("No token, or one that is unknown, revoked or expired.")},
    403: {"model": Trouble, "description": mark("The token lacks the scope, or another site sent the request.")},
    404: {"model": Trouble, "description": mark("There is no such record, or no right to it.")},
    503: {"model": Trouble, "description": mark("The database does not answer now; try again.")},
}


class Trial(BaseModel):
    query: CleanText = Field(min_length=1, max_length=2000, description=mark("What a contact would ask."))
    top_k: int | None = Field(None, ge=1, le=10, description=mark("How many passages; without it KB_TOP_K."))
    base: CleanText | None = Field(None, max_length=100, description=BASE)
    context: list[Annotated[CleanText, Field(max_length=2000)]] = Field(
        default=[], max_length=10, description=mark("What the contact asked before, oldest first.")
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "如何退款？", "top_k": 5, "base": "default"}]})


class PassageOut(BaseModel):
    article_id: int
    chunk_id: int
    title: str
    text: str
    answer: str | None
    heading_path: list[str]
    source: str | None
    position: str
    category: str | None
    score: float
    body_score: float
    phrasing_score: float | None
    cosine: float | None
    phrasing: str | None
    likeness: float

    @classmethod
    def of(cls, passage: Passage) -> PassageOut:
        return cls(
            article_id=passage.article_id,
            chunk_id=passage.chunk_id,
            title=passage.title,
            text=passage.text,
            answer=passage.answer,
            heading_path=list(passage.heading_path),
            source=passage.source_name,
            position=passage.position,
            category=passage.category,
            score=passage.score,
            body_score=passage.body_score,
            phrasing_score=passage.phrasing_score,
            cosine=passage.cosine,
            phrasing=passage.phrasing,
            likeness=passage.likeness,
        )


_PASSAGE: JsonDict = {
    "article_id": 1,
    "chunk_id": 1,
    "title": "怎么申请退款？",
    "text": "在“我的订单”里点“申请退款”，原路退回。",
    "answer": "在“我的订单”里点“申请退款”，原路退回。",
    "heading_path": ["退款与退货"],
    "source": "faq/退款与退货.md",
    "position": "line 3",
    "category": "售后",
    "score": 9.81,
    "body_score": 4.12,
    "phrasing_score": 5.69,
    "cosine": None,
    "phrasing": "如何退款？",
    "likeness": 1.0,
}


class TrialResult(BaseModel):
    zone: str
    why: str
    confidence: float
    share: float
    answer_at: float | None
    suggest_at: float
    trusted: bool
    leaning_on: list[str]
    passages: list[PassageOut]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "zone": "answer",
                    "why": "The question is nearly the phrasing '如何退款？' (1.00).",
                    "confidence": 1.42,
                    "share": 0.86,
                    "answer_at": 0.93,
                    "suggest_at": 0.23,
                    "trusted": True,
                    "leaning_on": [],
                    "passages": [_PASSAGE],
                }
            ]
        }
    )

    @classmethod
    def of(cls, found: SearchResult) -> TrialResult:
        limits = found.thresholds
        return cls(
            zone=str(found.zone),
            why=found.why,
            confidence=found.confidence,
            share=found.share,
            answer_at=limits.answer_at if limits.trusted else None,
            suggest_at=limits.suggest_at,
            trusted=limits.trusted,
            leaning_on=list(found.leaning_on),
            passages=[PassageOut.of(passage) for passage in found.passages],
        )


class PhrasingOut(BaseModel):
    text: str
    origin: str


class ArticleOut(BaseModel):
    id: int
    kind: str
    title: str
    answer: str | None
    category: str | None
    source: str | None
    updated_at: datetime

    @classmethod
    def of(cls, article: queries.ArticleRow) -> ArticleOut:
        return cls(
            id=article.id,
            kind=article.kind,
            title=article.title,
            answer=article.answer,
            category=article.category,
            source=article.source_name,
            updated_at=article.updated_at,
        )


_ARTICLE: JsonDict = {
    "id": 1,
    "kind": "faq",
    "title": "怎么申请退款？",
    "answer": "在“我的订单”里点“申请退款”，原路退回。",
    "category": "售后",
    "source": "faq/退款与退货.md",
    "updated_at": "2026-11-20T10:00:00+08:00",
}


class ArticlePage(BaseModel):
    articles: list[ArticleOut]
    next_after: int | None = Field(description=mark("Pass it as `after` for the next page; null at the end."))

    model_config = ConfigDict(json_schema_extra={"examples": [{"articles": [_ARTICLE], "next_after": None}]})


class ArticleDetail(ArticleOut):
    phrasings: list[PhrasingOut]
    chunks: list[str]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_ARTICLE,
                    "phrasings": [
                        {"text": "怎么申请退款？", "origin": "question"},
                        {"text": "如何退款？", "origin": "similar"},
                    ],
                    "chunks": ["在“我的订单”里点“申请退款”，原路退回。"],
                }
            ]
        }
    )


class ArticleIn(BaseModel):
    question: CleanText = Field(min_length=1, max_length=200, description=mark("The question, as the article's title."))
    answer: CleanText = Field(min_length=1, max_length=20_000, description=mark("What contacts are told."))
    similar_questions: list[Annotated[CleanText, Field(min_length=1, max_length=200)]] = Field(
        default=[], max_length=50, description=mark("Other ways to ask; three or more make answers reliable.")
    )
    category: CleanText | None = Field(None, max_length=100, description=mark("What it is about."))
    base: CleanText | None = Field(None, max_length=100, description=BASE)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "question": "周末发货吗？",
                    "answer": "周末照常发货，每天下午四点截单。",
                    "similar_questions": ["星期天发货吗", "周六能发吗", "周末什么时候发"],
                    "category": "物流",
                }
            ]
        }
    )


def router(*, top_k: int = 3, threshold: float | None = None, embedders: Embedders = NO_EMBEDDERS) -> APIRouter:
    """The endpoints, with the installation's KB_TOP_K, KB_SIMILARITY_THRESHOLD and embedders."""
    routes = APIRouter(prefix="/api", tags=["knowledge"], responses=TROUBLES)

    @routes.post(
        "/test_kb",
        summary=mark("Try a question"),
        description=mark("What the knowledge base finds for a question, how sure it is, and what would be done."),
    )
    async def test_kb(trial: Trial, caller: KnowledgeReader, database: Rows) -> TrialResult:
        found = await find(
            lambda: database.page_transaction(caller.workspace_id),
            lambda tx: base_id_of(tx, trial.base),
            trial.query,
            embedders=embedders,
            top_k=trial.top_k or top_k,
            context=trial.context,
            threshold=threshold,
        )
        return TrialResult.of(found)

    _install_articles(routes)
    return routes


def _install_articles(routes: APIRouter) -> None:
    @routes.get(
        "/articles", summary=mark("List articles"), description=mark("The articles of a knowledge base, page by page.")
    )
    async def list_articles(
        caller: KnowledgeReader,
        database: Rows,
        base: Annotated[CleanText | None, Query(max_length=100, description=BASE)] = None,
        text: Annotated[CleanText, Query(max_length=200, description=mark("Part of the title."))] = "",
        category: Annotated[CleanText | None, Query(max_length=100, description=mark("Exactly this category."))] = None,
        after: Annotated[int, Query(ge=0, le=2**62, description=mark("`next_after` of the page before."))] = 0,
        limit: Annotated[int, Query(ge=1, le=200, description=mark("How many at most."))] = 50,
    ) -> ArticlePage:
        async with database.page_transaction(caller.workspace_id) as tx:
            base_id = await base_id_of(tx, base)
            found = await queries.articles(tx, base_id, text=text, category=category, after=after, limit=limit)
        return ArticlePage(
            articles=[ArticleOut.of(article) for article in found],
            next_after=found[-1].id if len(found) == limit else None,
        )

    @routes.get(
        "/articles/{article_id}",
        summary=mark("Get an article"),
        description=mark("One article, with every way to ask for it and its text."),
    )
    async def get_article(article_id: ArticleId, caller: KnowledgeReader, database: Rows) -> ArticleDetail:
        async with database.page_transaction(caller.workspace_id) as tx:
            return await _detail(tx, (await _article(tx, article_id)).id)

    @routes.post(
        "/articles",
        status_code=201,
        responses={409: {"model": Trouble, "description": mark("Question or answer hold no text.")}},
        summary=mark("Write an article"),
        description=mark("A question with its answer, which is found from then on."),
    )
    async def write_article(wanted: ArticleIn, caller: KnowledgeWriter, database: Rows, now: Now) -> ArticleDetail:
        async with database.page_transaction(caller.workspace_id) as tx:
            article_id = await service.put_faq(
                tx,
                await base_id_of(tx, wanted.base),
                question=wanted.question,
                answer=wanted.answer,
                similar=tuple(wanted.similar_questions),
                category=wanted.category,
                by=caller.actor,
                now=now,
            )
            return await _detail(tx, article_id)

    @routes.delete(
        "/articles/{article_id}",
        status_code=204,
        summary=mark("Remove an article"),
        description=mark("What came from a file comes back when the file changes and is imported again."),
    )
    async def remove_article(article_id: ArticleId, caller: KnowledgeWriter, database: Rows, now: Now) -> Response:
        async with database.page_transaction(caller.workspace_id) as tx:
            article = await _article(tx, article_id)
            await service.remove(tx, article.base_id, article_id=article.id, by=caller.actor, now=now)
        return Response(status_code=204)


async def _article(tx: Transaction, article_id: int) -> queries.ArticleRow:
    if not 0 < article_id < 2**62:
        raise HTTPException(404, "There is no such article.")
    try:
        return await queries.article(tx, article_id)
    except NotFound as error:
        raise HTTPException(404, error.sentence) from error


async def _detail(tx: Transaction, article_id: int) -> ArticleDetail:
    article = await queries.article(tx, article_id)
    asked = await queries.phrasings(tx, [article_id])
    chunks = await queries.chunks(tx, [article_id])
    return ArticleDetail(
        **ArticleOut.of(article).model_dump(),
        phrasings=[PhrasingOut(text=row.text, origin=row.origin) for row in asked],
        chunks=[chunk.text for chunk in chunks],
    )


async def base_id_of(tx: Transaction, slug: str | None) -> int:
    if slug is None:
        return await service.base_for(tx)
    base = await queries.base_by_slug(tx, slug)
    if base is None:
        raise HTTPException(404, "There is no such knowledge base.")
    return base.id
