"""One list of checks: what whoever runs an installation should know of it, read from its rows and its settings.

The health page shows the list, the red mark beside it counts what failed in it, and `zhiban doctor` adds what only a
terminal can look at: this machine, and the vendors themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from fastapi import FastAPI, Request

from zhiban.channels import inboxes
from zhiban.channels.policy import Policy
from zhiban.kit.breaker_store import paused_calls
from zhiban.kit.clock import Clock
from zhiban.kit.db import Database, Transaction
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts
from zhiban.kit.jobs import dead_letters
from zhiban.kit.settings import Settings
from zhiban.knowledge import service as knowledge
from zhiban.notifications.jobs import NotifierRegistry
from zhiban.people import first_owner, teams
from zhiban.people.agents import accounts_at
from zhiban.people.auth import PageChrome, auth_of
from zhiban.people.other_sessions import other_tokens
from zhiban.people.service import SignedInAgent
from zhiban.tickets import mirroring

Level = Literal["ok", "warn", "fail", "skip"]

BACKLOG_MINUTES = 5
MARK_AGE = timedelta(seconds=20)  # how old the number at the red mark may be
COUNTED = 100  # beyond that, how many failed does not matter


@frozen_dataclass
class Finding:
    """What one check found. `said` is for people; `cure` says what to do, where something is to be done."""

    check: str
    level: Level
    said: str
    cure: str = ""


@frozen_dataclass
class NoticeSetup:
    """What an installation was started with, as far as checks look at it: whether and where people are told of
    handoffs, and which kinds of inbox show cards to colleagues."""

    notices: bool = True
    addresses: Sequence[str] = ()
    card_kinds: Sequence[str] = ()


def notice_setup(settings: Settings, notifiers: NotifierRegistry) -> NoticeSetup:
    return NoticeSetup(settings.notification_enabled, tuple(notifiers.addresses), tuple(notifiers.card_kinds))


Findings = list[Finding]
Check = Callable[[Transaction, NoticeSetup, Texts], Awaitable[Findings]]


async def _owner(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    if await first_owner.has_owner(tx):
        return [Finding(_("负责人"), "ok", _("已设置"))]
    cure = _("启动 zhiban serve，打开它显示的一次性链接")
    return [Finding(_("负责人"), "warn", _("还没有，没人能登录"), cure)]


async def _accounts(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    connections = [row for row in await inboxes.connections(tx) if row.removed_at is None]
    accounts = await tx.rows(
        "select name, broken from inbox where archived_at is null and removed_at is null order by id"
    )
    cure = _("改好以后不用重启，下一次收发成功就恢复")
    broken = [
        Finding(called, "fail", _.error(why), cure)
        for called, why in (*((row.name, row.broken) for row in connections), *accounts)
        if why
    ]
    name = _("账号")
    if not connections:
        cure = _("照文档接入一个渠道，或运行 zhiban inbox add")
        return [Finding(name, "fail", _("没有接入任何账号，收不到消息"), cure)]
    if not accounts:
        return [*broken, Finding(name, "warn", _("连接好了，名下还没有账号"), "zhiban inbox check")]
    return [*broken, Finding(name, "ok", ", ".join(called for called, _broken in accounts))]


async def _callbacks(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    if all(row.removed_at for row in await inboxes.connections(tx)):
        return []
    failed = await tx.value(
        "select count(*) from (select 1 from delivery where state = 'failed' limit %(most)s) found", most=COUNTED
    )
    last: datetime | None = await tx.value("select max(received_at) from delivery")
    name = _("回调")
    if failed:
        return [Finding(name, "fail", _.n("{n}个回调无法解析", failed), _("在“运行”页看原因，改好以后再试"))]
    if last is None:
        return [Finding(name, "warn", _("还没有收到过回调"), _("把 zhiban inbox check 显示的回调地址填到平台上"))]
    return [Finding(name, "ok", _("上一次收到：{when}", when=_.stamp(last)))]


async def _jobs(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    dead = await dead_letters(tx, limit=COUNTED)
    name = _("任务")
    if not dead:
        return [Finding(name, "ok", _("没有失败的"))]
    names = ", ".join(sorted({letter.task_name for letter in dead}))
    said = _.n("{n}个任务没有做成：{names}", len(dead), names=names)
    return [Finding(name, "fail", said, _("在“运行”页看原因，改好以后再试"))]


async def _backlog(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    stuck = await tx.value(
        "select count(*) from (select 1 from message where state in ('pending', 'queued') "
        "and created_at < now() - make_interval(mins => %(minutes)s) union all "
        "select 1 from delivery where state = 'pending' "
        "and received_at < now() - make_interval(mins => %(minutes)s) limit %(most)s) found",
        minutes=BACKLOG_MINUTES,
        most=COUNTED,
    )
    if not stuck:
        return [Finding(_("积压"), "ok", _("没有"))]
    said = _("{n}条消息或回调等了{minutes}分钟以上", n=stuck, minutes=BACKLOG_MINUTES)
    return [Finding(_("积压"), "warn", said, _("zhiban serve在运行吗？"))]


async def _pauses(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    """Calls that everybody leaves alone for a while; what waits for them goes out by itself."""
    return [
        Finding(
            _("暂缓的调用"),
            "warn",
            _("{call}到{until}：{why}", call=one.key, until=_.clock(one.until), why=_.error(one.reason)),
        )
        for one in await paused_calls(tx)
    ]


async def _mirroring(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    """Issues that too much happened at: it goes on by itself, or when somebody says so."""
    return [
        Finding(
            _("暂停的议题"),
            "warn",
            _("{issue}到{until}不和群互相转述：来回太多", issue=one.place, until=_.clock(one.ends_at)),
            _("看是不是两个机器人在互相回答；要马上恢复：zhiban tracker resume {issue}", issue=one.place),
        )
        for one in await mirroring.pauses(tx)
    ]


async def _notices(tx: Transaction, setup: NoticeSetup, _: Texts) -> Findings:
    name = _("通知")
    if not setup.notices:
        return [Finding(name, "ok", _("已关闭：转人工时不通知任何人"))]
    if setup.addresses or await _somebody_is_told(tx, setup):
        return [Finding(name, "ok", _("转人工时有人收到通知"))]
    return [Finding(name, "fail", _("转人工时没有人会收到通知"), "NOTIFICATION_CHANNEL=telegram:… / mailto://…")]


async def _somebody_is_told(tx: Transaction, setup: NoticeSetup) -> bool:
    """An inbox names addresses of its own, or its connection shows cards to a colleague it knows."""
    rows = await tx.rows(
        "select id, policy -> 'handoff' -> 'notify' <> '[]'::jsonb from inbox "
        "where archived_at is null and removed_at is null"
    )
    if any(named for _id, named in rows):
        return True
    for inbox_id, _named in rows:
        cards = await inboxes.card_inbox(tx, inbox_id, setup.card_kinds)
        if cards is not None and await accounts_at(tx, cards.vendor):
            return True
    return False


async def _assignment(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    """Inboxes that give their conversations to a team in which nobody is."""
    members = {row.id: row.members for row in await teams.team_rows(tx)}
    cure = _("在“团队”页的“小组和分配”里换一个小组，或加上成员")
    return [
        Finding(_("分配"), "warn", _("{inbox}只分给一个没有成员的小组，没有人会分到会话", inbox=row.name), cure)
        for row in await inboxes.inboxes(tx)
        if row.archived_at is None
        and (policy := Policy.model_validate(row.policy).assignment).by != "off"
        and policy.team is not None
        and not members.get(policy.team)
    ]


async def _knowledge(tx: Transaction, _setup: NoticeSetup, _: Texts) -> Findings:
    name = _("知识库")
    filled = [base for base in await knowledge.stats(tx) if base.articles]
    if not filled:
        return [Finding(name, "warn", _("还是空的"), _("zhiban kb import 文件或文件夹"))]
    out = []
    for base in filled:
        counts = {"articles": base.articles, "phrasings": base.phrasings}
        said = _("{name}：{articles}篇，{phrasings}种问法", name=base.slug, **counts)
        cure = _("相似问法太少，只会列出相近问题；给常见问题各加三个以上相似问法")
        out.append(Finding(name, "warn", said, cure) if base.answers_at is None else Finding(name, "ok", said))
    return out


URGENT: tuple[Check, ...] = (_accounts, _callbacks, _jobs, _notices)  # which can fail, and so count at the red mark
CHECKS: tuple[Check, ...] = (*URGENT, _assignment, _pauses, _mirroring, _backlog, _owner, _knowledge)


async def findings(
    tx: Transaction, setup: NoticeSetup, texts: Texts, *, checks: Sequence[Check] = CHECKS
) -> tuple[Finding, ...]:
    """What every check found, in the order of the list."""
    return tuple([finding for check in checks for finding in await check(tx, setup, texts)])


def failed(found: Iterable[Finding]) -> int:
    """How many things somebody has to mend."""
    return sum(finding.level == "fail" for finding in found)


class Checks:
    """The list for pages, and the number at the red mark: wanted by every page, so it may be a little old."""

    def __init__(self, database: Database, setup: NoticeSetup, clock: Clock) -> None:
        self._database = database
        self._setup = setup
        self._clock = clock
        self._marks: dict[int, tuple[datetime, int]] = {}

    def install(self, app: FastAPI) -> None:
        app.state.checks = self

    async def run(self, tx: Transaction, texts: Texts) -> tuple[Finding, ...]:
        """The list of a workspace as it is now."""
        found = await findings(tx, self._setup, texts)
        self._marks[tx.workspace_id] = self._clock.now(), failed(found)
        return found

    async def failures(self, workspace_id: int) -> int:
        """How many checks failed."""
        at, number = self._marks.get(workspace_id, (None, 0))
        if at is None or self._clock.now() - at > MARK_AGE:
            async with self._database.page_transaction(workspace_id) as tx:
                number = failed(await findings(tx, self._setup, Texts(), checks=URGENT))
            self._marks[workspace_id] = self._clock.now(), number
        return number


def checks_of(request: Request) -> Checks:
    checks: Checks = request.app.state.checks
    return checks


async def chrome_of(request: Request, agent: SignedInAgent, here: str) -> PageChrome:
    """What surrounds a page of a signed-in agent, the red mark included."""
    troubles = await checks_of(request).failures(agent.workspace_id)
    return auth_of(request).chrome(agent, here, troubles=troubles, elsewhere=bool(other_tokens(request)))
