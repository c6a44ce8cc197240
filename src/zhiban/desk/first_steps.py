"""What is left to do before the first contact is served: shown on an empty desk to whoever can do it."""

from __future__ import annotations

from zhiban.channels import inboxes
from zhiban.conversations.list_models import Counts
from zhiban.conversations.lists import has_conversations
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.knowledge import service as knowledge
from zhiban.people.agents import agent_rows
from zhiban.people.permissions import Access, Permission


@frozen_dataclass
class FirstStep:
    """One of them: its name, why, where it is done, and whether it is."""

    name: str
    why: str
    href: str
    done: bool


async def first_steps(tx: Transaction, access: Access, counts: Counts) -> tuple[FirstStep, ...]:
    """The steps, none where all are done, where conversations are open, or where the agent cannot do them."""
    if counts != Counts() or not (access.may(Permission.MANAGE_INBOXES) and access.may(Permission.MANAGE_PEOPLE)):
        return ()
    connected = any(row.removed_at is None for row in await inboxes.connections(tx))
    colleagues = len(await agent_rows(tx)) > 1
    steps = (
        FirstStep(mark("接入渠道"), mark("聊天平台、群，或自己的程序，先接一个"), "/settings/inboxes", connected),
        FirstStep(
            mark("放进知识"),
            mark("拖进常见问题的文件，助手从这里回答"),
            "/knowledge/sources",
            any(base.articles for base in await knowledge.stats(tx)),
        ),
        FirstStep(
            mark("邀请同事"),
            mark("助手没有把握时，转给他们"),
            "/settings/people",
            colleagues,
        ),
        FirstStep(
            mark("发一句话试试"),
            mark("用手机问一个问题，会话会出现在这里"),
            "/settings/inboxes",
            await has_conversations(tx),
        ),
    )
    return () if all(step.done for step in steps) else steps
