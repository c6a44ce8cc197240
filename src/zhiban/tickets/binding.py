"""绑定 owner/name, 解绑 owner/name: an admin of a group says where its tickets are filed, and whose news it hears.

A group's admins need not be ours. So they bind only what anybody may read, and what they may not bind is answered like
what there is not.
"""

from __future__ import annotations

import re
from datetime import datetime

from zhiban.events import Actor
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.kit.patterns import lazy_pattern
from zhiban.tickets.draft_words import without_mentions
from zhiban.tickets.repositories import link, links_of, repositories_of, repository_called, unlink

LONGEST = 300
_SAID = lazy_pattern(
    r"(?:(?P<bind>绑定|綁定|bind)|解绑|解綁|解除绑定|解除綁定|unbind)(?:仓库|倉庫| repository)?[:：\s]*"
    r"(?:https?://[^/\s]{1,200}/)?(?P<name>[\w.-]{1,100}(?:/[\w.-]{1,100}){1,4}?)/?[。.!！ ]*",
    re.IGNORECASE | re.ASCII,
)


@frozen_dataclass
class BindingWord:
    """What somebody wants bound; `bind` is false where it is to be no more."""

    name: str
    bind: bool


def parse_binding(text: str) -> BindingWord | None:
    """What this says about a repository, None where it is said about something else."""
    if len(text) > LONGEST:
        return None
    found = _SAID.fullmatch(without_mentions(text))
    return BindingWord(found["name"], bind=bool(found["bind"])) if found else None


async def carry_out(
    tx: Transaction, conversation_id: int, word: BindingWord, texts: Texts, *, by: Actor, now: datetime
) -> str:
    """Bind or unbind as an admin of the group said; returns what they are answered."""
    known = await repository_called(tx, word.name)
    name = known.name if known is not None else word.name
    bound = any(one.pattern.lower() == name.lower() for one in await links_of(tx, conversation_id))
    if not word.bind:
        if not bound:
            return texts("这个群没有绑定{name}。", name=name if known is None or not known.private else word.name)
        await unlink(tx, conversation_id, name, by=by, now=now)
        left = [one.name for one in await repositories_of(tx, conversation_id)]
        if not left:
            return texts("已解绑{name}。这个群没有绑定别的仓库，以后的工单只记在我们这里。", name=name)
        return texts("已解绑{name}。还绑定着：{names}", name=name, names=texts("、").join(left))
    if bound:
        return texts("这个群已经绑定了{name}。", name=name)
    if known is None or known.private:
        return texts("没有可以在这里绑定的仓库{name}。请核对写法；私有仓库要由我们的同事来绑定。", name=word.name)
    await link(tx, conversation_id, name, by=by, now=now)
    first = (await repositories_of(tx, conversation_id))[0].name
    return texts("已绑定{name}，那里的消息会说给群里听。工单建到{first}。", name=name, first=first)
