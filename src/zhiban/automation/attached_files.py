"""Which files rules and macros name: checked when one is kept, told when one is rehearsed, forgotten when none is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from zhiban.automation.attachment_action import SendAttachmentAction
from zhiban.automation.definition import Definition
from zhiban.automation.macros import macros
from zhiban.automation.queries import rules
from zhiban.automation.rehearsal import Rehearsal
from zhiban.automation.wording import Names
from zhiban.conversations.action_files import ActionFile, action_files, forget_action_files
from zhiban.conversations.draft_files import shown_size
from zhiban.kit.db import Transaction
from zhiban.kit.errors import NotFound
from zhiban.kit.i18n import Texts
from zhiban.ports import Limits


async def visible_files(tx: Transaction, agent_id: int) -> dict[int, ActionFile]:
    """Files that this agent has added, or that stand in a rule, or in a macro of theirs or of everybody's."""
    kept = [rule.definition.get("actions", ()) for rule in await rules(tx)]
    kept += [macro.actions for macro in await macros(tx, agent_id)]
    ids = _ids(kept)
    return {one.id: one for one in await action_files(tx) if one.added_by == agent_id or one.id in ids}


async def access_attached(tx: Transaction, file_id: int, *, agent_id: int) -> ActionFile:
    """One of them. Raises NotFound."""
    file = (await visible_files(tx, agent_id)).get(file_id)
    if file is None:
        raise NotFound("There is no such file.")
    return file


async def forget_unused_files(tx: Transaction, *, now: datetime) -> int:
    """Take away what no rule and no macro has named for a while. Returns how many."""
    kept = [rule.definition.get("actions", ()) for rule in await rules(tx)]
    kept += await tx.values("select actions from macro where removed_at is null")
    return await forget_action_files(tx, used=_ids(kept), now=now)


def _ids(kept: Iterable[Collection[Mapping[str, Any]]]) -> set[int]:
    return {id_ for actions in kept for action in actions for id_ in action.get("files", ())}


def file_remarks(
    definition: Definition, found: Rehearsal, names: Names, limits_of: Callable[[str], Limits], texts: Texts
) -> list[str]:
    """Which files a rule would have sent, and how often the channel would not have taken them."""
    said = []
    for action in definition.actions:
        if not isinstance(action, SendAttachmentAction):
            continue
        files = [names.files[id_] for id_ in action.files if id_ in names.files]
        if len(files) < len(action.files):
            said.append(texts("有文件已经不在了，发附件这一步不会做。"))
            continue
        told = texts("和").join(
            texts("“{name}”（{size}）", name=one.filename, size=shown_size(one.size)) for one in files
        )
        said.append(texts("会发：{files}。", files=told))
        fired = [limits_of(run.channel) for run in found.runs if run.checked.held]
        refused = sum(not all(one.is_taken(limits) for one in files) for limits in fired)
        if refused:
            said.append(texts.n("其中{n}次，会话的渠道收不了这些文件，发附件这一步不会做。", refused))
    return said
