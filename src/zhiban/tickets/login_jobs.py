"""Work after the commit for members who bind their account: get the code, tell it, and look whether it was typed in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from zhiban.channels.connections import Connections, OpenInbox
from zhiban.conversations import transitions
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.events import Actor
from zhiban.kit import jobs
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import NotFound, Unavailable
from zhiban.kit.failures import only_logged
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import Job, Task
from zhiban.kit.vault import SealBroken
from zhiban.ports import (
    BindsMembers,
    ConnectionBroken,
    DeviceCode,
    FeatureOff,
    MemberBindingEnded,
    MemberGrant,
    Mention,
)
from zhiban.tickets import logins
from zhiban.tickets.logins import Ending, MemberLogin
from zhiban.tickets.repositories import repositories_of

log = logging.getLogger(__name__)

BEGIN_LOGIN = Job("begin_member_login", attempts=3)
LOOK_FOR_LOGIN = Job("look_for_member_login", attempts=3)
EXPIRE_LOGINS = Job("expire_member_logins", cron="*/10 * * * *", attempts=1)
AGAIN = 30.0  # seconds until the tracker is asked again that did not answer


class LoginJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [
            Task(BEGIN_LOGIN, self.begin),
            Task(LOOK_FOR_LOGIN, self.look),
            Task(EXPIRE_LOGINS, self.expire),
        ]

    async def begin(self, workspace_id: int, login_id: int) -> None:
        """Get a code from the tracker, and tell the member where to type it in."""
        async with self._database.transaction(workspace_id) as tx:
            row = await logins.read_login(tx, login_id)
        if row is None or row.state != "asked":
            return
        try:
            connection_id, code = await self._code(workspace_id, row)
        except (FeatureOff, ConnectionBroken, NotFound):
            await self._ended(workspace_id, row, "off")
            return
        texts = Texts(row.locale)
        said = texts(
            "请在{minutes}分钟内打开{url}，登录您自己的账号，输入{code}。只有您本人输入：谁输入，以后您在这里说的话就以谁的名义写过去。",
            minutes=int(code.seconds // 60),
            url=code.url,
            code=code.typed,
        )
        inbox, now = await self._inbox(workspace_id, row), self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            await transitions.lock(tx, row.conversation_id)  # before the row, as whoever asks in there does
            locked = await logins.read_login(tx, login_id)
            if locked is None or locked.state != "asked":
                return
            await logins.note_code(
                tx,
                locked,
                self._connections.vault,
                code.code,
                connection_id=connection_id,
                interval=code.interval,
                until=now + timedelta(seconds=code.seconds),
            )
            await jobs.enqueue(tx, LOOK_FOR_LOGIN.of(login_id=login_id, at=now + timedelta(seconds=code.interval)))
            await _say(tx, inbox, row, said, "code", now=now)

    async def look(self, workspace_id: int, login_id: int) -> None:
        """See whether the code was typed in; if not, look again in as many seconds as the tracker wants."""
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            row = await logins.read_login(tx, login_id)
            if row is None or row.state != "waiting":
                return
            try:
                secrets = logins.secrets_of(tx, row, self._connections.vault)
            except SealBroken:
                secrets = {}
        if not secrets or (row.expires_at is not None and row.expires_at <= now):
            await self._ended(workspace_id, row, "expired")
            return
        try:
            found = await self._found(workspace_id, row, secrets)
        except MemberBindingEnded as error:
            if error.reason != "expired":
                await self._ended(workspace_id, row, error.reason)
                return
            found = AGAIN  # before its time: another look has used the code up, and may be about to bind
        except (FeatureOff, ConnectionBroken, NotFound):
            await self._ended(workspace_id, row, "off")
            return
        except Unavailable:
            found = AGAIN
        if isinstance(found, str):
            await self._bind(workspace_id, row, found)
            return
        async with self._database.transaction(workspace_id) as tx:
            await logins.note_interval(tx, login_id, found)
            await jobs.enqueue(tx, LOOK_FOR_LOGIN.of(login_id=login_id, at=now + timedelta(seconds=found)))

    async def expire(self) -> None:
        """End what nothing came of, as its job was given up or lost."""
        for workspace_id in await self._database.workspaces():
            async with self._database.transaction(workspace_id) as tx:
                rows = await logins.stale(tx, now=self._clock.now())
            for row in rows:
                with only_logged(log, f"Account {row.id}, which nobody bound, stays for now."):
                    await self._ended(workspace_id, row, "expired")

    async def _bind(self, workspace_id: int, row: MemberLogin, login: str) -> None:
        inbox, now = await self._inbox(workspace_id, row), self._clock.now()
        texts = Texts(row.locale)
        said = texts(
            "已绑定{login}：以后您引用卡片说的话，就以这个账号写过去。不是您本人的账号，请马上说“解绑账号”。",
            login=login,
        )
        async with self._database.transaction(workspace_id) as tx:
            await transitions.lock(tx, row.conversation_id)
            locked = await logins.read_login(tx, row.id)
            if locked is None or locked.state != "waiting":
                return
            await logins.bind(tx, locked, login, now=now)
            await _say(tx, inbox, row, said, "bound", now=now)

    async def _code(self, workspace_id: int, row: MemberLogin) -> tuple[int, DeviceCode]:
        """A code of the first tracker of the group that gives one, and which it is. Raises FeatureOff, TryLater."""
        async with self._database.transaction(workspace_id) as tx:
            bound = {one.connection_id for one in await logins.accounts_of(tx, row.contact_id)}
            linked = [one.connection_id for one in await repositories_of(tx, row.conversation_id)]
        for connection_id in dict.fromkeys((row.connection_id, *linked)):
            if connection_id not in bound:
                try:
                    return connection_id, await (await self._binding(workspace_id, connection_id)).begin_binding()
                except (FeatureOff, ConnectionBroken, NotFound):
                    continue
        raise FeatureOff("This tracker lets nobody bind an account")

    async def _found(self, workspace_id: int, row: MemberLogin, secrets: Mapping[str, Any]) -> str | float:
        """The login that they are, or the seconds until the next look."""
        binding = await self._binding(workspace_id, row.connection_id)
        token = secrets.get("token")
        if token is None:
            found = await binding.finish_binding(str(secrets["code"]), interval=row.interval_seconds)
            if not isinstance(found, MemberGrant):
                return found
            token = found.token
            # The code is used up: what it gave is kept before anything else can go wrong.
            async with self._database.transaction(workspace_id) as tx:
                await logins.keep_grant(tx, row, self._connections.vault, found, now=self._clock.now())
        return await binding.member_name(str(token))

    async def _binding(self, workspace_id: int, connection_id: int) -> BindsMembers:
        tracker = (await self._connections.tracker(workspace_id, connection_id)).tracker
        if not isinstance(tracker, BindsMembers):
            raise FeatureOff("This tracker lets nobody bind an account")
        return tracker

    async def _ended(self, workspace_id: int, row: MemberLogin, reason: Ending) -> None:
        inbox, now, texts = await self._inbox(workspace_id, row), self._clock.now(), Texts(row.locale)
        said = {
            "denied": texts("那边拒绝了，没有绑定。"),
            "expired": texts("没有在时间内输入，没有绑定；还要绑定请再说一次“绑定账号”。"),
        }.get(reason, texts("那边现在不能绑定账号，请管理员看一下连接是不是用应用接入的、有没有打开设备登录。"))
        async with self._database.transaction(workspace_id) as tx:
            await transitions.lock(tx, row.conversation_id)
            locked = await logins.read_login(tx, row.id)
            if locked is None or locked.state != row.state or not await logins.end(tx, locked, reason, now=now):
                return
            names = [one.login for one in await logins.accounts_of(tx, row.contact_id)] if reason == "off" else []
            if names:  # at the other tracker of the group
                said = texts("您已经绑定了{login}；要换一个，请先说“解绑账号”。", login=texts("、").join(names))
            await _say(tx, inbox, row, said, "ended", now=now)

    async def _inbox(self, workspace_id: int, row: MemberLogin) -> OpenInbox:
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = (await transitions.lock(tx, row.conversation_id)).inbox_id
        return await self._connections.inbox(workspace_id, inbox_id)


async def _say(tx: Transaction, inbox: OpenInbox, row: MemberLogin, text: str, what: str, *, now: datetime) -> None:
    state = await transitions.lock(tx, row.conversation_id)
    if allowance_of(state, inbox.channel.limits.reply_window).closed(now):
        return
    named: dict[str, Any] = {"mentions": (Mention(row.ref, row.name),)} if row.ref else {}
    await enqueue(
        tx,
        state,
        author=Author.TRACKER,
        actor=Actor("tracker"),
        text=text,
        key=key_for("member-login", row.id, what),
        limits=inbox.channel.limits,
        now=now,
        **named,
    )
