"""Knowledge bases, where their articles come from, the search index over them, and the questions nothing answered."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from zhiban.kit.columns import NOW, Moment, identity_key, reference, workspace_key
from zhiban.kit.db import Base

ZERO = text("0")


class ArticleKind(StrEnum):
    FAQ = "faq"  # a question with its answer
    DOCUMENT = "document"  # a file of text, cut into chunks


class Origin(StrEnum):
    """Where a way of asking came from."""

    QUESTION = "question"  # the article's own
    SIMILAR = "similar"  # written beside it in the source
    AGENT = "agent"  # added by a person in the desk
    CLICK = "click"  # from a contact's click on a suggestion


class GapStatus(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    DISMISSED = "dismissed"


class _Vector(UserDefinedType[str]):
    """pgvector's types, as text."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


class KnowledgeBase(Base):
    """A set of articles that is searched as one. The counts and lengths are what BM25 needs to know of it."""

    __tablename__ = "knowledge_base"
    __table_args__ = (UniqueConstraint("workspace_id", "slug", name="uq_knowledge_base_slug"),)

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    bodies: Mapped[int] = mapped_column(BigInteger, server_default=ZERO)
    body_terms: Mapped[int] = mapped_column(BigInteger, server_default=ZERO)
    body_pivot: Mapped[float] = mapped_column(Float(53), server_default=ZERO)
    phrasings: Mapped[int] = mapped_column(BigInteger, server_default=ZERO)
    phrasing_terms: Mapped[int] = mapped_column(BigInteger, server_default=ZERO)
    phrasing_pivot: Mapped[float] = mapped_column(Float(53), server_default=ZERO)
    parts: Mapped[int] = mapped_column(SmallInteger, server_default=ZERO)
    recipe: Mapped[int] = mapped_column(Integer, server_default=ZERO)
    embedder: Mapped[str | None] = mapped_column(Text)
    dimensions: Mapped[int | None] = mapped_column(Integer)
    answer_at: Mapped[float | None] = mapped_column(Float(53))
    calibration: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    calibrated_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class SynonymGroup(Base):
    """Words that mean the same in one base."""

    __tablename__ = "synonym_group"
    __table_args__ = (
        reference("knowledge_base", "base_id", "synonym_group", ondelete="CASCADE"),
        Index("ix_synonym_group_base_id", "workspace_id", "base_id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    base_id: Mapped[int] = mapped_column(BigInteger)
    words: Mapped[list[str]] = mapped_column(ARRAY(Text))


class Source(Base):
    """A file that was imported. `converter` is the version of our reading of it."""

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint("workspace_id", "base_id", "name", name="uq_source_name"),
        reference("knowledge_base", "base_id", "source", ondelete="CASCADE"),
        Index("ix_source_digest", "workspace_id", "base_id", "digest"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    base_id: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    converter: Mapped[int] = mapped_column(Integer)
    imported_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class Article(Base):
    """One piece of knowledge. `key` names it within its source, so that a changed file updates it in place."""

    __tablename__ = "article"
    __table_args__ = (
        reference("knowledge_base", "base_id", "article", ondelete="CASCADE"),
        reference("source", "source_id", "article", ondelete="CASCADE"),
        Index("ix_article_base_id", "workspace_id", "base_id", "id"),
        Index("ix_article_source_id", "workspace_id", "source_id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    base_id: Mapped[int] = mapped_column(BigInteger)
    source_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class Phrasing(Base):
    """A way of asking for an FAQ article."""

    __tablename__ = "phrasing"
    __table_args__ = (
        reference("article", "article_id", "phrasing", ondelete="CASCADE"),
        Index("ix_phrasing_article_id", "workspace_id", "article_id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    article_id: Mapped[int] = mapped_column(BigInteger)
    text: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class Chunk(Base):
    """What a search finds: an FAQ's answer, or a piece of a document with its headings and its place in the file."""

    __tablename__ = "chunk"
    __table_args__ = (
        reference("article", "article_id", "chunk", ondelete="CASCADE"),
        Index("ix_chunk_article_id", "workspace_id", "article_id"),
        Index("ix_chunk_base_id", "workspace_id", "base_id", "id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    base_id: Mapped[int] = mapped_column(BigInteger)
    article_id: Mapped[int] = mapped_column(BigInteger)
    ordinal: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(Text)
    heading_path: Mapped[list[str]] = mapped_column(ARRAY(Text))
    unit: Mapped[str] = mapped_column(Text)  # line, page, row or paragraph
    number: Mapped[int] = mapped_column(Integer)
    digest: Mapped[bytes] = mapped_column(LargeBinary)


class ChunkIndex(Base):
    """A chunk as the search reads it; see `indexing`."""

    __tablename__ = "chunk_index"
    __table_args__ = (
        reference("chunk", "chunk_id", "chunk_index", ondelete="CASCADE"),
        Index("ix_chunk_index_base_id", "base_id"),
        Index("ix_chunk_index_keys", "keys", postgresql_using="gin"),
    )

    workspace_id: Mapped[int] = workspace_key()
    chunk_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    base_id: Mapped[int] = mapped_column(BigInteger)
    keys: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    body: Mapped[str] = mapped_column(_Vector("sparsevec"))
    phrasings: Mapped[list[str]] = mapped_column(ARRAY(_Vector("sparsevec")))
    body_length: Mapped[int] = mapped_column(Integer)
    phrasing_lengths: Mapped[list[int]] = mapped_column(ARRAY(Integer))


class TermDf(Base):
    """In how many bodies and in how many phrasings of a base a term stands: the sum over its parts."""

    __tablename__ = "term_df"

    workspace_id: Mapped[int] = workspace_key()
    base_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    part: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    term: Mapped[int] = mapped_column(Integer, primary_key=True)
    bodies: Mapped[int] = mapped_column(Integer)
    phrasings: Mapped[int] = mapped_column(Integer)


class ChunkVector(Base):
    """A chunk's embedding, when the base has an embedder."""

    __tablename__ = "chunk_vector"
    __table_args__ = (
        reference("chunk", "chunk_id", "chunk_vector", ondelete="CASCADE"),
        Index("ix_chunk_vector_base_id", "workspace_id", "base_id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    chunk_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    base_id: Mapped[int] = mapped_column(BigInteger)
    dimensions: Mapped[int] = mapped_column(Integer)
    vector: Mapped[str] = mapped_column(_Vector("halfvec"))


class Gap(Base):
    """A question that nothing answered, with those that ask the same."""

    __tablename__ = "gap"
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "article_id"],
            ["article.workspace_id", "article.id"],
            name="fk_gap_article_id",
            ondelete="SET NULL (article_id)",
        ),
        Index("ix_gap_last_at", "workspace_id", "status", "last_at"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    question: Mapped[str] = mapped_column(Text)
    terms: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    times: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    status: Mapped[str] = mapped_column(Text, server_default=text("'open'"))
    article_id: Mapped[int | None] = mapped_column(BigInteger)
    first_at: Mapped[datetime] = mapped_column(Moment)
    last_at: Mapped[datetime] = mapped_column(Moment)


class GapQuestion(Base):
    """One time that a gap was asked for, and where."""

    __tablename__ = "gap_question"
    __table_args__ = (
        UniqueConstraint("workspace_id", "message_id", name="uq_gap_question_message_id"),
        reference("gap", "gap_id", "gap_question", ondelete="CASCADE"),
        Index("ix_gap_question_gap_id", "workspace_id", "gap_id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    gap_id: Mapped[int] = mapped_column(BigInteger)
    text: Mapped[str] = mapped_column(Text)
    conversation_id: Mapped[int | None] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    asked_at: Mapped[datetime] = mapped_column(Moment)
