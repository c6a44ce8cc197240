"""What was learnt, what waits, and what was refused, with everybody who had a part in it. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.knowledge.models import CandidateStatus

LISTED = (CandidateStatus.ACTIVE, CandidateStatus.WAITING, CandidateStatus.REJECTED)


@frozen_dataclass
class EvidenceRow:
    """What one person said, in their own wording. Of a contact and an agent one is set; a name may be empty."""

    candidate_id: int
    kind: str
    supports: bool
    contact_id: int | None
    agent_id: int | None
    name: str
    wording: str
    conversation_id: int | None
    at: datetime


@frozen_dataclass
class LearntRow:
    """A wording of an article. `answered_by` is another article that answers it now, so that it waits for a colleague.

    `decided_by` is the name of who approved or rejected it; empty for the command line.
    """

    id: int
    base: str
    article_id: int
    title: str
    text: str
    status: str
    answered_by: str | None
    decided_by: str | None
    decided_at: datetime | None
    created_at: datetime


@frozen_dataclass
class LearntWording:
    """A wording with everybody who spoke about it, oldest first."""

    row: LearntRow
    evidence: tuple[EvidenceRow, ...]

    def people(self, *, supports: bool) -> int:
        return sum(one.supports is supports for one in self.evidence)


_ROWS = """
select c.id, b.slug as base, c.article_id, a.title, c.text, c.status, o.title as answered_by,
       case when c.decided_at is not null then coalesce(g.name, c.decided_by_name, '') end as decided_by, c.decided_at,
       c.created_at
  from phrasing_candidate c
  join knowledge_base b on b.workspace_id = c.workspace_id and b.id = c.base_id
  join article a on a.workspace_id = c.workspace_id and a.id = c.article_id
  left join article o on o.workspace_id = c.workspace_id and o.id = c.answered_by
  left join agent g on g.workspace_id = c.workspace_id and g.id = c.decided_by and c.decided_by_kind = 'agent'
 where c.status = any(%(statuses)b::text[]) and (%(base)s::bigint is null or c.base_id = %(base)s)
   and (%(id)s::bigint is null or c.id = %(id)s) and (%(before)s::bigint is null or c.id < %(before)s)
   and (c.status <> 'waiting' or c.decided_at is not null or exists (select from phrasing_evidence e
     where e.workspace_id = c.workspace_id and e.candidate_id = c.id and e.supports))
 order by c.id desc limit %(limit)s"""

_EVIDENCE = """
select e.candidate_id, e.kind, e.supports, e.contact_id, e.agent_id, coalesce(g.name, c.name, '') as name, e.wording,
       e.conversation_id, e.at
  from phrasing_evidence e
  left join contact c on c.workspace_id = e.workspace_id and c.id = e.contact_id
  left join agent g on g.workspace_id = e.workspace_id and g.id = e.agent_id
 where e.candidate_id = any(%(ids)b::bigint[]) order by e.at, e.id"""


async def learnt(
    tx: Transaction,
    *,
    base_id: int | None = None,
    statuses: Sequence[CandidateStatus] = LISTED,
    before: int | None = None,
    limit: int = 50,
) -> list[LearntWording]:
    """Wordings that people spoke for, of one base or of all, the newest first. `before` is the last one seen."""
    rows = await tx.objects(
        LearntRow, _ROWS, statuses=list(map(str, statuses)), base=base_id, before=before, id=None, limit=limit
    )
    return await _with_evidence(tx, rows)


async def learnt_wording(tx: Transaction, candidate_id: int) -> LearntWording | None:
    """One of them, whatever its status."""
    rows = await tx.objects(
        LearntRow, _ROWS, statuses=list(map(str, CandidateStatus)), base=None, before=None, id=candidate_id, limit=1
    )
    found = await _with_evidence(tx, rows)
    return found[0] if found else None


async def learnt_of_article(tx: Transaction, article_id: int, *, limit: int) -> list[LearntWording]:
    """The wordings of one article that wait for a colleague or for more voices, the newest first."""
    ids = await tx.values(
        "select id from phrasing_candidate where workspace_id = %(workspace)s and article_id = %(article)s "
        "and status = 'waiting' order by id desc limit %(limit)s",
        workspace=tx.workspace_id,
        article=article_id,
        limit=limit,
    )
    found = [await learnt_wording(tx, candidate_id) for candidate_id in ids]
    return [one for one in found if one is not None and one.people(supports=True)]


async def _with_evidence(tx: Transaction, rows: Sequence[LearntRow]) -> list[LearntWording]:
    said: dict[int, list[EvidenceRow]] = {}
    for one in await tx.objects(EvidenceRow, _EVIDENCE, ids=[row.id for row in rows]):
        said.setdefault(one.candidate_id, []).append(one)
    return [LearntWording(row, tuple(said.get(row.id, ()))) for row in rows]
