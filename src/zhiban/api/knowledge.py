"""The JSON door of knowledge: try a question, look at articles. For signed-in colleagues."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import AfterValidator, BaseModel, Field

from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.text import clean
from zhiban.knowledge import queries, service
from zhiban.knowledge.retrieval import Passage, SearchResult, search
from zhiban.people.auth import SignInNeeded, auth_of
from zhiban.people.service import SignedInAgent
from zhiban.ports import Embedder, ModelUnavailable
from zhiban.web.security import same_origin


async def _signed_in(request: Request) -> SignedInAgent:
    try:
        return await auth_of(request)(request)
    except SignInNeeded as error:
        raise HTTPException(401, error.sentence) from error


Colleague = Annotated[SignedInAgent, Depends(_signed_in)]


def _database(request: Request) -> Database:
    return auth_of(request).database


Rows = Annotated[Database, Depends(_database)]


Words = Annotated[str, AfterValidator(clean)]  # without what the database refuses


class Trouble(BaseModel):
    detail: str


TROUBLES: dict[int | str, dict[str, Any]] = {
    401: {"model": Trouble, "description": "Nobody is signed in."},
    403: {"model": Trouble, "description": "The request came from another site."},
    404: {"model": Trouble, "description": "There is no such record, or no right to it."},
    503: {"model": Trouble, "description": "The database does not answer now."},
}


class Trial(BaseModel):
    query: Words = Field(min_length=1, max_length=2000, examples=["如何退款？"])
    top_k: int | None = Field(None, ge=1, le=10, description="How many passages; empty: KB_TOP_K.")
    base: Words | None = Field(None, max_length=100, description="Slug of a knowledge base; empty: the default one.")
    context: list[Annotated[Words, Field(max_length=2000)]] = Field(
        default=[], max_length=10, description="Earlier questions, oldest first."
    )


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


class ArticlePage(BaseModel):
    articles: list[ArticleOut]
    next_after: int | None = Field(description="Pass it as `after` for the next page.")


class ArticleDetail(ArticleOut):
    phrasings: list[PhrasingOut]
    chunks: list[str]


def router(*, top_k: int = 3, threshold: float | None = None, embedder: Embedder | None = None) -> APIRouter:
    """The endpoints, with the installation's KB_TOP_K, KB_SIMILARITY_THRESHOLD and embedder."""
    routes = APIRouter(prefix="/api", tags=["knowledge"], responses=TROUBLES)

    @routes.post("/test_kb", dependencies=[Depends(same_origin)], summary="What the knowledge base finds, and why")
    async def test_kb(trial: Trial, agent: Colleague, database: Rows) -> TrialResult:
        vector = await _vector(embedder, trial.query)
        async with database.page_transaction(agent.workspace_id) as tx:
            found = await search(
                tx,
                await _base_id(tx, trial.base),
                trial.query,
                top_k=trial.top_k or top_k,
                context=trial.context,
                embedder_vector=vector,
                threshold=threshold,
            )
        return TrialResult.of(found)

    @routes.get("/articles", summary="Articles of a knowledge base")
    async def list_articles(
        agent: Colleague,
        database: Rows,
        base: Annotated[Words | None, Query(max_length=100)] = None,
        text: Annotated[Words, Query(max_length=200, description="Part of the title")] = "",
        category: Annotated[Words | None, Query(max_length=100)] = None,
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> ArticlePage:
        async with database.page_transaction(agent.workspace_id) as tx:
            base_id = await _base_id(tx, base)
            found = await queries.articles(tx, base_id, text=text, category=category, after=after, limit=limit)
        return ArticlePage(
            articles=[ArticleOut.of(article) for article in found],
            next_after=found[-1].id if len(found) == limit else None,
        )

    @routes.get("/articles/{article_id}", summary="One article with its ways of asking")
    async def get_article(article_id: int, agent: Colleague, database: Rows) -> ArticleDetail:
        if not 0 < article_id < 2**62:
            raise HTTPException(404, "There is no such article.")
        async with database.page_transaction(agent.workspace_id) as tx:
            try:
                article = await queries.article(tx, article_id)
            except NotFound as error:
                raise HTTPException(404, error.sentence) from error
            asked = await queries.phrasings(tx, [article_id])
            chunks = await queries.chunks(tx, [article_id])
        return ArticleDetail(
            **ArticleOut.of(article).model_dump(),
            phrasings=[PhrasingOut(text=row.text, origin=row.origin) for row in asked],
            chunks=[chunk.text for chunk in chunks],
        )

    return routes


async def _base_id(tx: Transaction, slug: str | None) -> int:
    if slug is None:
        return await service.base_for(tx)
    base = await queries.base_by_slug(tx, slug)
    if base is None:
        raise HTTPException(404, "There is no such knowledge base.")
    return base.id


async def _vector(embedder: Embedder | None, query: str) -> list[float] | None:
    """The question's embedding; words alone serve while the embedder is unavailable."""
    if embedder is None:
        return None
    try:
        return (await embedder.embed([query], purpose="query"))[0]
    except ModelUnavailable:
        return None
