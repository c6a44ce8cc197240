"""A QQ group over OneBot: asked in the group, answered there, and five messages of it become an issue.

In between the process ends; whoever quotes what it said is understood by the next one."""

from __future__ import annotations

from pathlib import Path

from tests.channels.test_sockets import GROUP, LI, WANG, Desk, installed
from tests.stories.conftest import SHOP

from zhiban import bootstrap
from zhiban.channels.connecting import callback_path
from zhiban.channels.service import connect
from zhiban.conversations import replies
from zhiban.conversations.groups import group_called
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.people.models import Role
from zhiban.people.service import add_agent
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.github import GitHubSimulator
from zhiban.testing.github import application as github_application
from zhiban.testing.github.simulator import GitHubGrant, Repo
from zhiban.testing.onebot import BOT
from zhiban.testing.serving import served
from zhiban.tickets import repositories
from zhiban.tickets.tracker_jobs import TrackerJobs

REPOSITORY = "qinghe/shop"
TALK = ("昨晚开始，安卓端点付款就闪退", "我这里也是，2.3.6版", "换2.3.5就好了", "苹果的没有事", "日志里是空指针")


async def test_from_the_group_to_the_issue(urls: DatabaseUrls, tmp_path: Path) -> None:
    shop = tmp_path / "shop.md"
    shop.write_text(SHOP)
    async with (
        installed(urls, tmp_path) as desk,
        GitHubSimulator() as github,
        served(github_application(github)) as url,
    ):
        await knowledge.import_paths(desk.app.database, desk.workspace_id, "default", [shop], now=SystemClock().now())
        await desk.program.connect(desk.url)
        await desk.eventually("select count(*) from conversation where kind = 'group'", 1)
        repo = await _linked(desk, github, url)

        # Asked by name, the group is answered: to whom asked, naming what they asked.
        asked = await desk.program.says(LI, _at("怎么申请退款？"), group=GROUP)
        await desk.program.until(lambda: desk.program.sent)
        answer = desk.program.sent[0]
        assert (answer.group, answer.values("at", "qq"), answer.values("reply", "id")) == (
            GROUP,
            [str(LI)],
            [str(asked)],
        )
        assert "申请售后" in answer.text

        # What five messages said becomes an issue, by the word of whoever asks for it.
        for number, words in enumerate(TALK):
            await desk.program.says((LI, WANG)[number % 2], words, group=GROUP)
        await desk.program.says(LI, _at("以上五条开工单"), group=GROUP)
        await desk.program.until(lambda: any(TALK[0] in one.text for one in desk.program.sent))
        draft = next(one for one in desk.program.sent if TALK[0] in one.text)
        assert REPOSITORY in draft.text
        await desk.eventually("select count(*) = 0 from message where state = 'queued'")
        await desk.restart()
        await desk.eventually("select state = 'online' from gateway_state")
        await desk.program.says(LI, [{"type": "reply", "data": {"id": str(draft.id)}}, *_at("确认")], group=GROUP)
        await desk.eventually("select state from issue where number is not null", "open")
        quotes = "select count(*) from message m join message q on q.id = m.reply_to_id where m.direction = 'in'"
        assert await desk.rows(quotes) == [(1,)]
        (entry,) = repo.entries.values()
        assert "付款就闪退" in entry.title + (entry.body or "")
        assert all(words in entry.title + (entry.body or "") for words in TALK)
        await desk.program.until(lambda: any("#" in one.text and "已建到" in one.text for one in desk.program.sent))
        assert {one.group for one in desk.program.sent} == {GROUP}

        # What a process said before is quoted by the number that QQ gave it, even where it still waits to be sent.
        limits, now = (await desk.inbox()).channel.limits, SystemClock().now()
        ((conversation, said),) = await desk.rows(
            "select conversation_id, id from message where direction = 'out' and text like '%%申请售后%%'"
        )
        async with desk.app.database.transaction(desk.workspace_id) as tx:
            chen = await add_agent(tx, email="chen@example.test", name="陈默", role=Role.OWNER, password_hash=None)

            async def reply(text: str, to: int) -> int:
                (id_,) = await replies.reply(tx, conversation, text=text, by=chen, limits=limits, now=now, reply_to=to)
                return id_

            await reply("第二个也是这样", await reply("补充一点", said))
        await desk.program.until(lambda: desk.program.sent[-1].text == "第二个也是这样")
        first, second = desk.program.sent[-2:]
        assert first.values("reply", "id") == [str(answer.id)]
        assert second.values("reply", "id") == [str(first.id)]
        # And what is taken back on the account's own phone is taken back here.
        await desk.program.event(
            post_type="notice",
            notice_type="group_recall",
            group_id=GROUP,
            user_id=BOT,
            operator_id=BOT,
            message_id=first.id,
        )
        await desk.eventually("select recalled_at is not null from message where text = '补充一点'")

        # The account is put out, and nobody tells: the next reply is refused, and whoever runs this hears why.
        del desk.program.groups[GROUP]
        async with desk.app.database.transaction(desk.workspace_id) as tx:
            await replies.reply(tx, conversation, text="还在吗", by=chen, limits=limits, now=SystemClock().now())
        await desk.eventually("select left_at is not null from group_chat")
        assert await desk.rows("select failure from message where text = '还在吗'") == [("not_in_group",)]
        assert await desk.rows("select count(*) from notification where key like 'group-left-%%'") == [(1,)]
        # Nor that it is invited again: a member's next word does, and is answered.
        desk.program.groups[GROUP] = "青禾用户群"
        later = int(SystemClock().now().timestamp()) + 2  # QQ counts whole seconds
        await desk.program.says(LI, _at("以上两条开工单"), group=GROUP, time=later)
        await desk.program.until(lambda: "工单草稿" in desk.program.sent[-1].text)
        assert await desk.rows("select left_at is null from group_chat") == [(True,)]


def _at(words: str) -> list[dict[str, object]]:
    return [{"type": "at", "data": {"qq": str(BOT)}}, {"type": "text", "data": {"text": f" {words}"}}]


async def _linked(desk: Desk, github: GitHubSimulator, url: str) -> Repo:
    """The group is linked with a repository of the simulated GitHub."""
    repo = github.repository(REPOSITORY)
    repo.pushers |= {"qinghe-desk"}
    reached = {repo.id for repo in github.repos.values()}
    github.grants["a-token"] = GitHubGrant(github.account("qinghe-desk"), repositories=reached)
    values = {"account": "qinghe", "token": "a-token", "webhook_secret": "a secret of the webhooks", "api_base": url}
    integration, now = bootstrap.TRACKERS["github"], SystemClock().now()
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        done = await connect(tx, desk.app.vault, integration, values, now=now)
        public_id = await tx.value("select public_id from connection where id = %(id)s", id=done.id)
    github.hooks.add(
        desk.url.partition("/streams/")[0] + callback_path(integration, public_id), values["webhook_secret"]
    )
    await TrackerJobs(desk.app.database, desk.app.connections, SystemClock()).sync_tracker(desk.workspace_id, done.id)
    async with desk.app.database.transaction(desk.workspace_id) as tx:
        group = await group_called(tx, "青禾用户群")
        await repositories.link(tx, group, REPOSITORY, by=SYSTEM, now=now)
    return repo
