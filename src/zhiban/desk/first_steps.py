"""What is left to do before the first contact is served well: shown to whoever can do it until it is done or closed."""

from __future__ import annotations

from zhiban.channels import inboxes
from zhiban.conversations.lists import has_conversations
from zhiban.kit.db import Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import mark
from zhiban.knowledge import service as knowledge
from zhiban.notifications.queries import has_chosen
from zhiban.people.agents import agent_rows, has_closed_steps
from zhiban.people.permissions import Access, Permission


@frozen_dataclass
class FirstStep:
    """One of them: its name, why, where it is done, and whether it is."""

    name: str
    why: str
    href: str
    done: bool


def may_do_steps(access: Access) -> bool:
    """Whether this agent can do all of them."""
    return access.may(Permission.MANAGE_INBOXES) and access.may(Permission.MANAGE_PEOPLE)


async def first_steps(tx: Transaction, access: Access) -> tuple[FirstStep, ...]:
    """The steps, none where all are done, or where the agent cannot do them or has closed them."""
    if not may_do_steps(access) or await has_closed_steps(tx, access.agent_id):
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
        FirstStep(
            mark("让自己听得见"),
            mark("有人在等时怎样提醒您：看一遍，按“保存”"),
            "/me/notifications",
            await has_chosen(tx, access.agent_id),
        ),
    )
    return () if all(step.done for step in steps) else steps
