"""What candidates of a search say, and what they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.models import LEARNT

_TEXTS = """
select c.id as chunk_id, a.id as article_id, a.title, c.text, a.answer, c.heading_path, s.name as source_name,
       c.unit, c.number, a.category, coalesce(p.texts, '{}') as phrasings, coalesce(p.learnt, '{}') as learnt
  from chunk c
  join article a on a.workspace_id = c.workspace_id and a.id = c.article_id
  left join source s on s.workspace_id = a.workspace_id and s.id = a.source_id
  left join lateral (
    select array_agg(p.text order by p.id) as texts, array_agg(p.origin = any(%(learnt)s) order by p.id) as learnt
      from phrasing p where p.workspace_id = c.workspace_id and p.article_id = a.id and not p.retired) p on true
 where c.workspace_id = %(workspace)s and c.id = any(%(ids)b::bigint[])
"""


@frozen_dataclass
class PassageTexts:
    """What a candidate says and belongs to."""

    chunk_id: int
    article_id: int
    title: str
    text: str
    answer: str | None
    heading_path: list[str]
    source_name: str | None
    unit: str
    number: int
    category: str | None
    phrasings: list[str]
    learnt: list[bool]


async def passage_texts(tx: Transaction, chunk_ids: Sequence[int]) -> dict[int, PassageTexts]:
    """By chunk."""
    rows = await tx.objects(PassageTexts, _TEXTS, workspace=tx.workspace_id, ids=list(chunk_ids), learnt=list(LEARNT))
    return {row.chunk_id: row for row in rows}
