"""The files that a rule or a macro is kept with have to be there, and be the writer's to send."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from zhiban.automation.attachment_action import SendAttachmentAction
from zhiban.automation.parts import RulePart
from zhiban.conversations.action_files import lock_action_files
from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.errors import Conflict


async def check_files(
    tx: Transaction, actions: Iterable[RulePart], *, by: Actor, before: Collection[Mapping[str, Any]] = ()
) -> None:
    """Whoever writes may send what they have added, and what stood there `before`. Raises Conflict."""
    ids = {id_ for action in actions if isinstance(action, SendAttachmentAction) for id_ in action.files}
    if not ids:
        return
    known = {id_ for action in before for id_ in action.get("files", ())}
    there = await lock_action_files(tx, ids)
    foreign = [one for one in there if one.id not in known and by.kind == "agent" and one.added_by != by.id]
    if len(there) < len(ids) or foreign:
        raise Conflict("One of the files is no longer there. Add it again.")
