"""Members bind their own account by a code, over the wire of the simulated GitHub, and then comment as themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET, app_keys
from tests.tickets.cards import CardChat
from tests.tickets.chat import START, group_chat
from tests.tickets.stand import tracker_stand
from zhiban import bootstrap
from zhiban.channels.service import connect
from zhiban.channels.withdrawing import disconnect
from zhiban.events import SYSTEM
from zhiban.kit.clock import SetClock
from zhiban.kit.db import Database
from zhiban.kit.vault import Vault
from zhiban.ports import MemberBindingEnded, MemberGrant, Repository
from zhiban.testing.forge import ForgeEntry, Repo
from zhiban.testing.github import GitHubSimulator
from zhiban.testing.github import application as github_application
from zhiban.testing.github.simulator import AppIdentity
from zhiban.testing.serving import served
from zhiban.tickets import issues, logins, repositories
from zhiban.tickets import tracker_outbox as outbox
from zhiban.tickets.cards import note_card
from zhiban.tickets.login_jobs import BEGIN_LOGIN, LOOK_FOR_LOGIN, LoginJobs
from zhiban.tickets.login_words import LoginWord, parse_login_word


class Bound(CardChat):
    """The group, and the GitHub that it is linked with."""

    github: GitHubSimulator
    app: AppIdentity
    repo: Repo
    entry: ForgeEntry
    card_id: str
    url: str

    async def runs(self) -> list[str]:
        """What the jobs about accounts say that are due."""
        chat = self.chat
        ((before,),) = await chat.rows("select coalesce(max(id), 0) from message")
        jobs = LoginJobs(self.stand.database, self.stand.connections, chat.clock)
        self.stand.connections._inboxes_open[chat.workspace_id, chat.inbox.inbox_id] = chat.inbox
        rows = await chat.rows(
            "delete from jobs.procrastinate_jobs where task_name = any(%(names)s) and status = 'todo' "
            "and (scheduled_at is null or scheduled_at <= %(now)s) returning task_name, args",
            names=[BEGIN_LOGIN.name, LOOK_FOR_LOGIN.name],
            now=chat.clock.now(),
        )
        for name, args in rows:
            await (jobs.begin if name == BEGIN_LOGIN.name else jobs.look)(**args)
        said = await chat.rows("select text from message where author = 'tracker' and id > %(b)s order by id", b=before)
        return [text for (text,) in said]

    async def asks_for_code(self, who: str = "lu") -> str:
        assert await self.chat.asks(who, "@值班助手 绑定账号", mentions_us=True) == ""
        (said,) = await self.runs()
        assert "/login/device" in said
        return [one.typed for one in self.github.device_flow.devices.values()][-1]

    async def binds(self, who: str = "lu", login: str = "lu-dev") -> None:
        self.github.device_flow.authorizes(await self.asks_for_code(who), login)
        self.chat.clock.advance(timedelta(seconds=6))
        (said,) = await self.runs()
        assert f"已绑定{login}" in said

    async def writes(self, text: str, who: str = "lu") -> str:
        """Quote the card; what is answered."""
        self.chat.clock.advance(timedelta(seconds=2))
        assert await self.chat.asks(who, text, reply_to=self.card_id) == ""
        told = await self.settles()
        self.chat.clock.advance(timedelta(seconds=2))  # two writes are a second apart
        return "\n".join([*told, *await self.settles()])


@asynccontextmanager
async def bound(database: Database, workspace_id: int) -> AsyncIterator[Bound]:
    clock = SetClock(START)
    github = GitHubSimulator(now=lambda: clock.now().replace(microsecond=0))
    async with github, served(github_application(github)) as url:
        repo = github.repository(NAME, pushers={"chen"})
        app = github.app(app_keys()[1])
        github.install(app, repo)
        entry = github.opens(repo, "lin", "增量同步丢数据")
        values = {"account": "acme", "app_id": str(app.id), "private_key": app_keys()[0], "api_base": url}
        async with (
            tracker_stand(
                database,
                workspace_id,
                integration=bootstrap.TRACKERS["github"],
                values={**values, "webhook_secret": WEBHOOK_SECRET},
                clock=clock,
            ) as stand,
            group_chat(database, workspace_id, clock=clock) as chat,
        ):
            found = Bound(chat, stand)
            found.github, found.app, found.repo, found.entry = github, app, repo, entry
            found.url = url
            tracker = (await stand.connections.tracker(workspace_id, stand.connection_id)).tracker
            issue = await tracker.issue(NAME, 1)
            async with database.transaction(workspace_id) as tx:
                id_ = await repositories.keep(tx, stand.connection_id, Repository(str(repo.id), NAME), now=clock.now())
                await repositories.link(tx, chat.conversation_id, NAME, by=SYSTEM, now=clock.now())
                issue_id = await issues.note(tx, id_, issue, quietly=True, now=clock.now())
                found.card_id = "card"
                message_id = await tx.value(
                    "insert into message (workspace_id, conversation_id, inbox_id, direction, author, kind, text, "
                    "external_id, state, sent_at) select workspace_id, id, inbox_id, 'out', 'tracker', 'text', 'card', "
                    "'card', 'sent', %(now)s from conversation where id = %(id)s returning id",
                    id=chat.conversation_id,
                    now=clock.now(),
                )
                await note_card(tx, chat.conversation_id, message_id, issue_id)
            await chat.turn()
            yield found


@pytest.fixture
async def group(db: Database, workspace: int) -> AsyncIterator[Bound]:
    async with bound(db, workspace) as found:
        yield found


def said(group: Bound) -> list[tuple[str, str]]:
    return [(one.author.login, one.body.split("\n\n<!--")[0]) for one in group.entry.comments]


async def test_a_member_writes_as_themselves_until_they_say_otherwise(group: Bound) -> None:
    assert "已评论" in await group.writes("还没绑定")
    await group.binds()
    assert "已评论" in await group.writes("我自己说的")
    # The token ends after eight hours and is renewed without a word.
    group.chat.clock.advance(timedelta(hours=9))
    assert "已评论" in await group.writes("第二天说的")
    assert "您已经绑定了lu-dev" in await group.chat.asks("lu", "@值班助手 绑定GitHub", mentions_us=True)
    assert "已解绑lu-dev" in await group.chat.asks("lu", "@值班助手 解绑账号", mentions_us=True)
    assert "已评论" in await group.writes("又不绑了")
    assert said(group) == [
        ("zhiban[bot]", "还没绑定\n\n*via 群聊 · 陆知行*"),
        ("lu-dev", "我自己说的"),
        ("lu-dev", "第二天说的"),
        ("zhiban[bot]", "又不绑了\n\n*via 群聊 · 陆知行*"),
    ]
    # What a member wrote through us is ours all the same.
    assert {one["ours"] for one in await group.stand.facts("issue_commented")} == {True}
    assert [one["reason"] for one in await group.stand.facts("member_login_ended")] == ["unbound"]


async def test_a_group_may_listen_to_bound_members_only(group: Bound) -> None:
    chat = group.chat
    await chat.behaves(files="bound", replies="bound", changes="bound")
    refused = await chat.asks("lu", "以上2条开工单")
    assert "绑定账号" in refused
    assert "绑定账号" in await chat.asks("lu", "还没绑定", reply_to=group.card_id)
    assert "绑定账号" in await chat.asks("lu", "关闭", reply_to=group.card_id)
    assert await chat.rows("select 1 from ticket_draft") == []
    assert "工单草稿" in await chat.asks("liang", "以上2条开工单")  # an admin
    await group.binds()
    assert "工单草稿" in await chat.asks("lu", "以上2条开工单")
    assert "已评论" in await group.writes("我自己说的")
    assert "绑定账号" in await chat.asks("bei", "我也说一句", reply_to=group.card_id)  # one's account is one's own
    await chat.behaves(files="bound", replies="nobody")
    assert "已解绑" in await chat.asks("lu", "@值班助手 解绑账号", mentions_us=True)
    assert "绑定账号" in await chat.asks("lu", "确认")  # bound no more
    await group.asks_for_code("lu")  # binding is what lets them file
    assert await chat.rows("select 1 from ticket") == []


async def test_what_is_recalled_goes_under_whatever_account_it_stands_there(group: Bound) -> None:
    """Everybody's reaction is their own there; one that two asked us for goes with the last of them."""
    entry, chat = group.entry, group.chat

    def shown() -> list[str]:
        return sorted(one.login for one in entry.reactions)

    async def recalls(*messages: str) -> str:
        for message in messages:
            await chat.recalls(message)
        chat.clock.advance(timedelta(seconds=2))
        return "\n".join(await group.settles())

    await group.binds()
    for who in ("lu", "bei", "liang"):
        assert "已在" in await group.writes("👍", who)
    own, bei, liang = [
        id_ for (id_,) in await chat.rows("select external_id from message where text = '👍' order by id")
    ]
    assert shown() == ["lu-dev", "zhiban[bot]"]
    assert await recalls(own) == ""
    assert shown() == ["zhiban[bot]"]
    assert await recalls(bei) == ""
    assert shown() == ["zhiban[bot]"]
    assert await recalls(liang) == ""
    assert shown() == []
    # Whoever binds the same account again takes back what they said under it before.
    assert "已在" in await group.writes("🎉")
    assert "已评论" in await group.writes("我自己说的")
    assert "已解绑lu-dev" in await chat.asks("lu", "@值班助手 解绑账号", mentions_us=True)
    await group.binds()
    assert await recalls(chat.ids["🎉"]) == ""
    assert shown() == []
    # An answer that was lost, then the account: it was written under our name at last, and goes under it.
    group.github.fails("502", method="POST", ending="/reactions")
    assert await group.writes("🚀") == ""
    group.github.device_flow.revokes("lu-dev")
    assert await recalls(chat.ids["🚀"]) == ""
    for _ in range(2):
        chat.clock.advance(timedelta(minutes=1))
        assert await group.settles() == []
    assert shown() == []
    # Ours deletes a comment of a member who is bound no more where it may; a reaction only they can take away.
    assert await recalls(chat.ids["我自己说的"]) == ""
    assert said(group) == []
    await group.binds()
    assert "已在" in await group.writes("👀")
    assert "已解绑lu-dev" in await chat.asks("lu", "@值班助手 解绑账号", mentions_us=True)
    assert "不让我们撤掉您的表情" in await recalls(chat.ids["👀"])
    assert shown() == ["lu-dev"]


async def test_what_is_stored_is_sealed_and_follows_a_new_key(group: Bound) -> None:
    await group.binds()
    stored = str(await group.chat.rows("select sealed from member_login union all select null from tracker_call"))
    assert not any(token in stored for token in group.github.grants if token.startswith("ghu_"))
    old = group.stand.connections.vault
    new = Vault(["another key for tests", "ab" * 32])
    async with group.chat.database.transaction(group.chat.workspace_id) as tx:
        await logins.reseal(tx, new)
        ((login_id,),) = await tx.rows("select id from member_login where state = 'bound'")
        row = await logins.read_login(tx, login_id)
        assert row is not None
        assert logins.secrets_of(tx, row, new)["token"].startswith("ghu_")
    # Sealed with a key that we do not have, it is as if they had taken their word back.
    assert old is not new
    answer = await group.writes("密钥换了")
    assert "您在那边的授权失效了" in answer
    assert said(group) == [("zhiban[bot]", "密钥换了\n\n*via 群聊 · 陆知行*")]


async def test_a_token_that_was_revoked_leads_back_to_our_name_with_a_word(group: Bound) -> None:
    await group.binds()
    group.github.device_flow.revokes("lu-dev")
    answer = await group.writes("收回以后")
    assert "已评论到acme/shop #1" in answer
    assert "您在那边的授权失效了" in answer
    assert said(group) == [("zhiban[bot]", "收回以后\n\n*via 群聊 · 陆知行*")]
    assert not await group.stand.facts("connection_broke")  # ours are as good as ever
    assert "授权失效" not in await group.writes("再来一句")


@pytest.mark.parametrize("how", ["revoked", "unbound", "suspended"])
async def test_nobody_changes_with_our_rights_what_they_were_let_change_with_theirs(group: Bound, how: str) -> None:
    assert "只有群管理" in await group.chat.asks("lu", "关闭", reply_to=group.card_id)
    await group.binds("lu", "chen")
    assert await group.chat.asks("lu", "关闭", reply_to=group.card_id) == ""
    if how == "revoked":
        group.github.device_flow.revokes("chen")
    elif how == "unbound":
        assert "已解绑chen" in await group.chat.asks("lu", "@值班助手 解绑账号", mentions_us=True)
    else:
        group.github.fails("suspended", method="PATCH")
    (told,) = await group.settles()
    assert "没能写成" in told
    assert "您在那边的账号现在不能用" in told
    assert group.entry.state == "open"
    assert not await group.stand.facts("connection_broke")
    assert await group.chat.rows("select count(*) from member_login where state = 'bound'") == [(how == "suspended",)]


async def test_nothing_is_kept_of_an_account_where_the_connection_is_removed(group: Bound) -> None:
    await group.binds()
    await group.asks_for_code("bei")
    stand = group.stand
    async with stand.database.transaction(stand.workspace_id) as tx:
        await disconnect(tx, stand.connections.vault, stand.connection_id, now=stand.now)
    rows = await group.chat.rows("select state, sealed, reason from member_login")
    assert rows == [("ended", None, "off")] * 2


async def test_an_account_that_was_ended_meanwhile_gets_no_new_token(group: Bound) -> None:
    await group.binds()
    stand = group.stand
    async with stand.database.transaction(stand.workspace_id) as tx:
        row = await logins.read_login(tx, await tx.value("select id from member_login"))
        assert row is not None
        await logins.end(tx, row, "unbound", now=stand.now)
    async with stand.database.transaction(stand.workspace_id) as tx:
        with pytest.raises(MemberBindingEnded):
            await logins.keep_grant(tx, row, stand.connections.vault, MemberGrant("ghu_x", refresh="r"), now=stand.now)
    assert await group.chat.rows("select state, sealed from member_login") == [("ended", None)]


async def test_a_look_that_comes_late_ends_no_account_that_is_bound(group: Bound) -> None:
    typed, (before,) = await group.asks_for_code(), await group.chat.rows("select id from member_login")
    sql = "select args from jobs.procrastinate_jobs where task_name = %(name)s"
    looks = await group.chat.rows(sql, name=LOOK_FOR_LOGIN.name)
    group.github.device_flow.authorizes(typed, "lu-dev")
    group.chat.clock.advance(timedelta(seconds=6))
    jobs = LoginJobs(group.stand.database, group.stand.connections, group.chat.clock)
    # The second asks with a code that the first has used up.
    await asyncio.gather(group.runs(), *(jobs.look(**args) for (args,) in looks))
    assert await group.chat.rows("select id, state from member_login") == [(*before, "bound")]


async def test_a_hiccup_loses_nothing_that_was_granted(group: Bound) -> None:
    typed = await group.asks_for_code()
    group.github.device_flow.authorizes(typed, "lu-dev")
    group.github.fails("502", method="GET", ending="/user")
    group.chat.clock.advance(timedelta(seconds=6))
    assert await group.runs() == []  # the code is used up, and who they are is not known yet
    group.chat.clock.advance(timedelta(seconds=31))
    assert "已绑定lu-dev" in (await group.runs())[0]
    group.chat.clock.advance(timedelta(hours=9))
    group.github.fails("502", method="GET", ending="/user")
    assert "已评论" in await group.writes("第二天说的")
    assert said(group) == [("lu-dev", "第二天说的")]


async def test_what_one_member_has_to_wait_for_nobody_else_has_to(group: Bound) -> None:
    await group.binds()
    group.github.fails("429", ending="/comments", retry_after=600)
    assert await group.chat.asks("lu", "等一等", reply_to=group.card_id) == ""
    stand = group.stand
    async with stand.database.transaction(stand.workspace_id) as tx:
        id_ = await tx.value("select id from repository")
        wish = {"title": "支付页白屏", "bodies": ["五句话"], "client_key": "draft-1"}
        await outbox.enqueue_issue(tx, id_, by=SYSTEM, now=stand.now, **wish)
    await group.settles()
    calls = "select kind, state from tracker_call order by id"
    assert await group.chat.rows(calls) == [("comment", "queued"), ("open", "done")]
    group.chat.clock.advance(timedelta(seconds=660))
    await group.settles()
    assert said(group) == [("lu-dev", "等一等")]


async def test_a_code_and_the_word_of_it_are_one_and_what_is_stuck_is_ended(group: Bound) -> None:
    await group.asks_for_code()
    sql = "select l.xmin = m.xmin from member_login l, message m where m.text like '%%/login/device%%'"
    assert await group.chat.rows(sql) == [(True,)]
    await group.chat.rows("delete from jobs.procrastinate_jobs returning 1")
    jobs = LoginJobs(group.stand.database, group.stand.connections, group.chat.clock)
    await jobs.expire()
    assert await group.chat.rows("select state from member_login") == [("waiting",)]
    group.chat.clock.advance(timedelta(minutes=61))
    await jobs.expire()
    assert await group.chat.rows("select state, reason, sealed from member_login") == [("ended", "expired", None)]
    ((last,),) = await group.chat.rows("select text from message order by id desc limit 1")
    assert "没有在时间内输入" in last


async def test_the_first_tracker_that_lets_members_bind_is_meant_and_every_account_is_unbound(group: Bound) -> None:
    stand = group.stand
    values = {"account": "aaa", "token": "ghp_x", "webhook_secret": WEBHOOK_SECRET, "api_base": group.url}
    async with stand.database.transaction(stand.workspace_id) as tx:
        other = await connect(tx, stand.connections.vault, bootstrap.TRACKERS["github"], values, now=stand.now)
        await repositories.keep(tx, other.id, Repository("77", "aaa/first"), now=stand.now)
        await repositories.link(tx, group.chat.conversation_id, "aaa/first", by=SYSTEM, now=stand.now)
    await group.binds()
    assert await group.chat.rows("select connection_id from member_login") == [(stand.connection_id,)]
    assert await group.chat.asks("lu", "@值班助手 绑定账号", mentions_us=True) == ""
    assert "您已经绑定了lu-dev" in (await group.runs())[0]  # where else they might, nobody may
    await group.chat.rows("delete from repository_link returning 1")
    assert "已解绑lu-dev" in await group.chat.asks("lu", "@值班助手 解绑账号", mentions_us=True)


async def test_a_member_may_there_what_they_may_there(group: Bound) -> None:
    await group.binds()
    assert "那边不让我们写" in await group.writes("关闭")
    assert group.entry.state == "open"
    await group.binds("bei", "chen")
    assert "已关闭acme/shop #1" in await group.writes("关闭", "bei")
    assert "指派给：chen" in await group.writes("指派 @贝壳", "liang")


async def test_a_code_is_looked_for_as_slowly_as_github_wants_and_ends(group: Bound) -> None:
    flow, clock = group.github.device_flow, group.chat.clock
    await group.asks_for_code()
    (device,) = flow.devices.values()
    device.asked_at = clock.now() + timedelta(seconds=4)  # as if another had asked a moment before
    for seconds, interval in ((6, 10), (9, 10), (2, 10)):
        clock.advance(timedelta(seconds=seconds))
        assert await group.runs() == []
        assert device.interval == interval
    flow.denies(device.typed)
    clock.advance(timedelta(seconds=11))
    assert "那边拒绝了" in (await group.runs())[0]
    await group.asks_for_code()
    clock.advance(timedelta(minutes=16))
    assert "没有在时间内输入" in (await group.runs())[0]
    group.app.device_flow = False
    assert await group.chat.asks("lu", "@值班助手 绑定账号", mentions_us=True) == ""
    assert "不能绑定账号" in (await group.runs())[0]
    assert "问得太多" in await group.chat.asks("lu", "@值班助手 绑定账号", mentions_us=True)
    assert await group.chat.rows("select count(*) from member_login where sealed is not null") == [(0,)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("绑定账号", LoginWord(bind=True)),
        ("@值班助手 綁定我的帳號", LoginWord(bind=True)),
        ("绑定 GitHub", LoginWord(bind=True)),
        ("bind my account", LoginWord(bind=True)),
        ("解绑GitHub账号。", LoginWord(bind=False)),
        ("绑定 acme/shop", None),
        ("怎么绑定账号", None),
        ("绑定", None),
    ],
)
def test_words(text: str, word: LoginWord | None) -> None:
    assert parse_login_word(text) == word
