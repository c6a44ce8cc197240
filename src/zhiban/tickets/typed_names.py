"""Our name as somebody types it: “@值班 以上三条开工单” where the account is called 值班助手.

WeChat makes a mention of what is picked from its list, and nothing of what is typed. In front of a command the
beginning of our name is meant for us, as long as it is nobody else's.
"""

from __future__ import annotations

import re

from zhiban.channels.gateways import gateway
from zhiban.conversations.participants import participants
from zhiban.conversations.responder import ConversationSnapshot, PendingMessage
from zhiban.kit.db import Transaction
from zhiban.tickets.binding import parse_binding
from zhiban.tickets.command import parse
from zhiban.tickets.login_words import parse_login_word

LEAST = 2  # characters of a name
MOST_MEMBERS = 5000  # whose names are compared

_TYPED = re.compile(rf"\A\s*@([^\s@\u2005]{{{LEAST},40}})[\s\u2005]")


async def names_us_by_hand(tx: Transaction, snapshot: ConversationSnapshot, message: PendingMessage) -> bool:
    """Whether it begins with @ and what our account is called, or the beginning of that, and goes on with a command.

    Costs nothing where it is no command, and is false where a member's name begins so, too.
    """
    typed = _TYPED.match(message.text)
    if typed is None or not _commands(message):
        return False
    called, known = _plain(typed[1]), await gateway(tx, snapshot.inbox.connection.id)
    if known is None or not _plain(known.account_name).startswith(called):
        return False
    members = await participants(tx, snapshot.id, most=MOST_MEMBERS)
    return not any(_plain(name).startswith(called) for one in members for name in (one.name, one.nickname))


def _commands(message: PendingMessage) -> bool:
    text = message.text
    return (
        parse(text, addressed=True, quoting=message.reply_to_id is not None) is not None
        or parse_binding(text) is not None
        or parse_login_word(text) is not None
    )


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()
