"""Words that mean the same in a base. Changing them means indexing the base anew, which a job does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from zhiban.events import Actor, SynonymsChanged
from zhiban.kit import event_log
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.jobs import Job, enqueue
from zhiban.kit.json_safe import json_safe
from zhiban.knowledge import maintenance
from zhiban.knowledge.document import clean

APPLY_SYNONYMS = Job("apply_synonyms", queue="slow", attempts=10, wait=5.0, longest=120.0)


@frozen_dataclass
class SynonymGroups:
    """The groups that searches know; `wanted` are those that a job is about to put in their place, None: nothing."""

    groups: list[list[str]]
    wanted: list[list[str]] | None

    @property
    def text(self) -> str:
        """What was asked for last, a group a line."""
        return "\n".join("、".join(words) for words in (self.groups if self.wanted is None else self.wanted))


def groups_of(text: str) -> list[list[str]]:
    """The groups of a text, one a line, parted by commas or spaces; what follows a # is a remark. Raises Conflict."""
    groups = []
    for number, line in enumerate(clean(text).split("\n"), 1):
        words = [word for word in re.split(r"[,，、\s]+", line.partition("#")[0]) if word]
        if len(words) == 1:
            raise Conflict(f"Line {number} has one word; a group needs two or more.")
        if words:
            groups.append(words)
    return groups


async def synonyms(tx: Transaction, base_id: int) -> SynonymGroups:
    found = await tx.object(
        SynonymGroups,
        "select coalesce((select jsonb_agg(to_jsonb(g.words) order by g.id) from synonym_group g "
        "where g.workspace_id = b.workspace_id and g.base_id = b.id), '[]') as groups, b.wanted_synonyms as wanted "
        "from knowledge_base b where b.id = %(base)s",
        base=base_id,
    )
    return found or SynonymGroups([], None)


async def want_synonyms(
    tx: Transaction, base_id: int, groups: Sequence[Sequence[str]], *, by: Actor, now: datetime
) -> None:
    """Have a job put these groups in the place of those that are there. Raises NotFound, BaseBusy."""
    await maintenance.locked_soon(tx, base_id)
    await tx.run(
        "update knowledge_base set wanted_synonyms = %(groups)s::jsonb where id = %(base)s",
        groups=json_safe([list(words) for words in groups]),
        base=base_id,
    )
    await enqueue(tx, APPLY_SYNONYMS.of(key=str(base_id), base_id=base_id))
    await event_log.append(tx, SynonymsChanged(actor=by, at=now, base_id=base_id, groups=len(groups)))


async def apply_synonyms(tx: Transaction, base_id: int) -> bool:
    """Index the base anew with the groups that are wanted. False when none are."""
    wanted: list[list[str]] | None = await tx.value(
        "select wanted_synonyms from knowledge_base where id = %(base)s for no key update", base=base_id
    )
    if wanted is None:
        return False
    await maintenance.set_synonyms(tx, base_id, wanted)
    await tx.run("update knowledge_base set wanted_synonyms = null where id = %(base)s", base=base_id)
    return True
