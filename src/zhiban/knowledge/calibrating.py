"""Who asks for a calibration: whoever changes a base, and whoever hears from people whether an answer was right."""

from __future__ import annotations

from datetime import datetime, timedelta

from zhiban.kit.db import Transaction
from zhiban.kit.jobs import Job, enqueue

CALIBRATE = Job("calibrate", queue="slow", attempts=5)  # learns the thresholds of a base anew
SETTLED = timedelta(seconds=60)  # after a change; more changes meanwhile are learnt from at once

CALIBRATE_CONFIRMED = Job("calibrate_confirmed", queue="slow", attempts=5)  # does so when enough was confirmed
HEARD = timedelta(minutes=10)  # after the first of several voices
ENOUGH_NEW = 5  # voices since the last calibration that may change anything


async def follow_evidence(tx: Transaction, base_id: int, *, now: datetime) -> None:
    """Have the thresholds learnt anew in a while, if more people say whether answers are right."""
    await enqueue(tx, CALIBRATE_CONFIRMED.of(key=str(base_id), at=now + HEARD, base_id=base_id))


async def is_outdated(tx: Transaction, base_id: int) -> bool:
    """Whether enough people have said something since the base was calibrated."""
    new: int = await tx.value(
        "select count(*) from phrasing_evidence e join phrasing_candidate c on c.workspace_id = e.workspace_id "
        "and c.id = e.candidate_id join knowledge_base b on b.workspace_id = c.workspace_id and b.id = c.base_id "
        "where b.id = %(base)s and (b.calibrated_at is null or e.at > b.calibrated_at)",
        base=base_id,
    )
    return new >= ENOUGH_NEW
