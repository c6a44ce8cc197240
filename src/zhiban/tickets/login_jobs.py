"""Work after the commit for members who bind their account: get the code, tell it, and look whether it was typed in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from zhiban.channels.connections import Connections
from zhiban.conversations import transitions
from zhiban.conversations.models import Author
from zhiban.conversations.outbox import allowance_of, enqueue, key_for
from zhiban.events import Actor
from zhiban.kit import jobs
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database
from zhiban.kit.errors import Unavailable
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

BEGIN_LOGIN = Job("begin_member_login", attempts=3)
LOOK_FOR_LOGIN = Job("look_for_member_login", attempts=3)
AGAIN = 30.0  # seconds until the tracker is asked again that did not answer


class LoginJobs:
    """What these jobs need, and the jobs."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock

    def tasks(self) -> list[Task]:
        return [Task(BEGIN_LOGIN, self.begin), Task(LOOK_FOR_LOGIN, self.look)]

    async def begin(self, workspace_id: int, login_id: int) -> None:
        """Get a code from the tracker, and tell the member where to type it in."""
        async with self._database.transaction(workspace_id) as tx:
            row = await logins.read_login(tx, login_id)
        if row is None or row.state != "asked":
            return
        try:
            code = await self._code(workspace_id, row)
        except (FeatureOff, ConnectionBroken):
            await self._ended(workspace_id, row, "off")
            return
        now = self._clock.now()
        until = now + timedelta(seconds=code.seconds)
        async with self._database.transaction(workspace_id) as tx:
            locked = await logins.read_login(tx, login_id)
            if locked is None or locked.state != "asked":
                return
            secrets = {"code": code.code}
            vault = self._connections.vault
            await logins.note_code(tx, locked, vault, secrets, interval=code.interval, until=until)
            await jobs.enqueue(tx, LOOK_FOR_LOGIN.of(login_id=login_id, at=now + timedelta(seconds=code.interval)))
        texts = Texts(row.locale)
        said = texts(
            "请在{minutes}分钟内打开{url}，登录您自己的账号，输入{code}。只有您本人输入：谁输入，以后您在这里说的话就以谁的名义写过去。",
            minutes=int(code.seconds // 60),
            url=code.url,
            code=code.typed,
        )
        await self._say(workspace_id, row, said, "code", now=now)

    async def look(self, workspace_id: int, login_id: int) -> None:
        """See whether the code was typed in; if not, look again in as many seconds as the tracker wants."""
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            row = await logins.read_login(tx, login_id)
            if row is None or row.state != "waiting":
                return
            try:
                code = str(logins.secrets_of(tx, row, self._connections.vault)["code"])
            except SealBroken:
                code = ""
        if not code or (row.expires_at is not None and row.expires_at <= now):
            await self._ended(workspace_id, row, "expired")
            return
        try:
            found = await self._found(workspace_id, row, code)
        except MemberBindingEnded as error:
            await self._ended(workspace_id, row, error.reason)
            return
        except (FeatureOff, ConnectionBroken):
            await self._ended(workspace_id, row, "off")
            return
        except Unavailable:
            found = AGAIN
        if isinstance(found, MemberGrant):
            await self._bind(workspace_id, row, found)
            return
        async with self._database.transaction(workspace_id) as tx:
            await logins.note_interval(tx, login_id, found)
            await jobs.enqueue(tx, LOOK_FOR_LOGIN.of(login_id=login_id, at=now + timedelta(seconds=found)))

    async def _bind(self, workspace_id: int, row: MemberLogin, grant: MemberGrant) -> None:
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            locked = await logins.read_login(tx, row.id)
            if locked is None or locked.state != "waiting":
                return
            await logins.bind(tx, locked, self._connections.vault, grant, now=now)
        texts = Texts(row.locale)
        said = texts(
            "已绑定{login}：以后您引用卡片说的话，就以这个账号写过去。不是您本人的账号，请马上说“解绑账号”。",
            login=grant.login,
        )
        await self._say(workspace_id, row, said, "bound", now=now)

    async def _code(self, workspace_id: int, row: MemberLogin) -> DeviceCode:
        return await (await self._binding(workspace_id, row)).begin_binding()

    async def _found(self, workspace_id: int, row: MemberLogin, code: str) -> MemberGrant | float:
        binding = await self._binding(workspace_id, row)
        return await binding.finish_binding(code, interval=row.interval_seconds)

    async def _binding(self, workspace_id: int, row: MemberLogin) -> BindsMembers:
        tracker = (await self._connections.tracker(workspace_id, row.connection_id)).tracker
        if not isinstance(tracker, BindsMembers):
            raise FeatureOff("This tracker lets nobody bind an account")
        return tracker

    async def _ended(self, workspace_id: int, row: MemberLogin, reason: Ending) -> None:
        now = self._clock.now()
        async with self._database.transaction(workspace_id) as tx:
            locked = await logins.read_login(tx, row.id)
            if locked is None or locked.state != row.state or not await logins.end(tx, locked, reason, now=now):
                return
        texts = Texts(row.locale)
        said = {
            "denied": texts("那边拒绝了，没有绑定。"),
            "expired": texts("没有在时间内输入，没有绑定；还要绑定请再说一次“绑定账号”。"),
        }.get(reason, texts("那边现在不能绑定账号，请管理员看一下连接是不是用应用接入的、有没有打开设备登录。"))
        await self._say(workspace_id, row, said, "ended", now=now)

    async def _say(self, workspace_id: int, row: MemberLogin, text: str, what: str, *, now: datetime) -> None:
        async with self._database.transaction(workspace_id) as tx:
            inbox_id = (await transitions.lock(tx, row.conversation_id)).inbox_id
        inbox = await self._connections.inbox(workspace_id, inbox_id)
        async with self._database.transaction(workspace_id) as tx:
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
