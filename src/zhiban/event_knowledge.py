"""What can happen to what a base knows. `events` shows these facts among all others."""

from __future__ import annotations

from typing import Literal

from zhiban.event_base import Event


class KnowledgeBaseAdded(Event):
    """Somebody made a base; those that files and articles bring about are made without a word."""

    base_id: int
    slug: str


class ThresholdsMoved(Event):
    """From which confidence on a base answers by itself, as it learnt from its own questions. None: it never does."""

    base_id: int
    answer_at: float | None = None
    answer_at_with_vectors: float | None = None


class SourcesImported(Event):
    """Files became articles of a base."""

    base_id: int
    added: int = 0
    changed: int = 0
    removed: int = 0


class ImportRequested(Event):
    """Somebody sent files to be read into a base."""

    base_id: int
    import_id: int
    files: int


class ImportDecided(Event):
    """Somebody decided about an import that would take away more than it brings: to go on, or not."""

    import_id: int
    confirmed: bool


class ArticleChanged(Event):
    """An article was written or changed by hand."""

    base_id: int
    article_id: int


class ArticleVersionRemoved(Event):
    """Somebody took an old version of an article away for good."""

    base_id: int
    article_id: int
    version_id: int


class SynonymsChanged(Event):
    """Somebody wants other words to mean the same; the base is indexed anew for them."""

    base_id: int
    groups: int


class ArticlesRemoved(Event):
    """So many articles went at once, with their source or with the whole base."""

    base_id: int
    count: int


class PhrasingAdded(Event):
    """A way of asking was added to an article; `origin` tells from where."""

    article_id: int
    phrasing: str
    origin: str


class PhrasingRemoved(Event):
    """A way of asking that was learnt is no longer one. `reason`: rejected by a colleague, doubted by contacts."""

    article_id: int
    phrasing: str
    reason: Literal["rejected", "doubted"]


class ReplyKept(Event):
    """An agent's reply became knowledge: the answer of an article, or another way to ask for one."""

    article_id: int
    message_id: int
    conversation_id: int


class EvidenceRecorded(Event):
    """Somebody said whether an article answers a wording. `evidence` tells how, `supports` which way."""

    candidate_id: int
    article_id: int
    evidence: str
    supports: bool
    contact_id: int | None = None
    conversation_id: int | None = None


class PhrasingApproved(Event):
    """A colleague decided that an article answers a wording, whatever others said before."""

    candidate_id: int
    article_id: int
    phrasing: str


class PhrasingRejected(Event):
    """A colleague decided that an article does not answer a wording; no evidence makes it a phrasing again."""

    candidate_id: int
    article_id: int
    phrasing: str
