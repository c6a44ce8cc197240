"""What is done when a member says that they want to write under their own account, or no more."""

from __future__ import annotations

from datetime import datetime

from zhiban.kit.db import Transaction
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import enqueue
from zhiban.tickets import logins
from zhiban.tickets.card_replies import Replier
from zhiban.tickets.login_jobs import BEGIN_LOGIN
from zhiban.tickets.login_words import LoginWord
from zhiban.tickets.repositories import repositories_of


async def carry_out(tx: Transaction, member: Replier, word: LoginWord, texts: Texts, *, now: datetime) -> str:
    """Returns what they are answered at once; the code follows when the tracker has given it."""
    known = await logins.accounts_of(tx, member.contact_id)
    if not word.bind:
        names = [one.login for one in known if await logins.end(tx, one, "unbound", now=now)]
        if not names:
            return texts("您没有绑定账号。")
        return texts("已解绑{login}，以后用机器人的名义写，注明是您说的。", login=texts("、").join(names))
    linked = await repositories_of(tx, member.conversation_id)
    if not linked:
        return texts("这个群没有绑定仓库，不知道绑定到哪里。")
    names = [one.login for one in known if one.connection_id in {row.connection_id for row in linked}]
    free = [row.connection_id for row in linked if row.connection_id not in {one.connection_id for one in known}]
    if not free:
        return texts("您已经绑定了{login}；要换一个，请先说“解绑账号”。", login=texts("、").join(names))
    login_id = await logins.ask(tx, free[0], member, now=now)
    if login_id is None:
        return texts("您问得太多了，请过一个小时再来。")
    await enqueue(tx, BEGIN_LOGIN.of(login_id=login_id))
    return ""
