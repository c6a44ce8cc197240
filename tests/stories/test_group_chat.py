"""People talk in a group: the assistant says what it is asked, and what it knows for certain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.stories.conftest import Shop, until
from tests.stories.test_webhook_channel import Crm, connected

from zhiban.assistant.inserting import EntrySearch
from zhiban.automation import service as rules
from zhiban.automation.definition import load_definition
from zhiban.conversations import groups
from zhiban.conversations.group_policy import GroupPolicy
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import maintenance
from zhiban.knowledge import service as knowledge
from zhiban.people import teams

GROUP = {"id": "g-1", "name": "青禾用户群"}
NAMES = {"zhou": "周周", "wang": "小王", "lei": "阿雷"}
KNOWN = "怎么申请退款？"


class GroupTalk:
    """The group as its members see it."""

    def __init__(self, crm: Crm) -> None:
        self.crm = crm
        self.shop = crm.shop
        self.said = 0

    async def says(self, who: str, text: str, *, us: bool = False, **message: Any) -> str:
        """A member says something; waits until it was looked at. Returns the message's id."""
        more = {"mentions_us": True, **message} if us else message
        self.said += 1
        id_ = f"g{self.said}"
        status, answer = await self.crm.program.call(
            {
                "type": "message",
                "group": GROUP,
                "contact": {"id": who, "name": NAMES[who]},
                "message": {"id": id_, "text": text, **more},
            }
        )
        assert status == 202, answer
        await self.shop.eventually("select 1 from message where external_id = %(id)s and state = 'handled'", id=id_)
        await self.shop.idle()
        return id_

    async def behaves(self, **policy: Any) -> None:
        async with self.shop.work() as tx:
            id_ = await tx.value("select id from conversation where external_id = 'g-1'")
            await groups.configure(tx, id_, GroupPolicy(**policy), by=SYSTEM, now=SystemClock().now())

    @property
    def heard(self) -> list[str]:
        return [one.text for one in self.crm.program.replies("g-1")]

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = self.crm.program.replies("g-1")[-1].body["message"]
        return found


@pytest.fixture
async def talk(shop: Shop) -> AsyncIterator[GroupTalk]:
    async with connected(shop) as crm:
        yield GroupTalk(crm)


async def test_a_group_from_the_first_word_to_the_handoff(talk: GroupTalk) -> None:
    # Nobody asked us: people talk to each other, however well we know it.
    await talk.says("zhou", "大家早")
    await talk.says("wang", KNOWN)
    assert talk.heard == []
    # Asked by name, we answer who asked, by their name and their message.
    asked = await talk.says("zhou", f"@值班 {KNOWN}", us=True)
    assert "申请售后" in talk.heard[-1]
    assert (talk.last["mentions"], talk.last["reply_to"]) == ([{"id": "zhou", "name": "周周"}], asked)
    # What we do not know, people get, and it is said in one line.
    await talk.says("wang", "@值班 你们的服务器放在火星上吗？", us=True)
    assert talk.last["mentions"] == [{"id": "wang", "name": "小王"}]
    found = await talk.shop.conversation("g-1")
    assert (found.status, found.kind, found.handoff_reason, found.contact_id) == (
        "open",
        "group",
        "nothing_found",
        None,
    )
    gaps = await talk.shop.rows("select q.text, p.name from gap_question q join contact p on p.id = q.contact_id")
    assert gaps == [("你们的服务器放在火星上吗", "小王")]
    # While people have it, the others may still ask.
    await talk.says("lei", "@值班 可以开发票吗？", us=True)
    assert "电子发票" in talk.heard[-1]
    assert (await talk.shop.conversation("g-1")).status == "open"
    await talk.says("lei", "@值班 帮助", us=True)
    assert "我是这个群的值班助手" in talk.heard[-1]
    assert "以上五条开工单" in talk.heard[-1]


async def test_what_is_certain_is_said_unasked_once_and_never_again_where_it_was_wrong(talk: GroupTalk) -> None:
    await talk.says("zhou", "大家早")
    await talk.behaves(answers="sure")
    await talk.says("zhou", KNOWN)
    assert len(talk.heard) == 1
    # Not twice, not what we are unsure of, not what is said to somebody else, and no talk.
    for who, text, more in (
        ("wang", KNOWN, {}),
        ("wang", "群里有人知道怎么种番茄吗？", {}),
        ("lei", "可以开发票吗？", {"mentions": ["wang"]}),
        ("lei", "好的谢谢", {}),
    ):
        await talk.says(who, text, **more)
    assert len(talk.heard) == 1
    # Somebody else's "wrong" is not about us; that of who asked is.
    await talk.says("lei", "不对")
    assert len(talk.heard) == 1
    await talk.says("zhou", "不对")
    assert "答错了" in talk.heard[-1]
    assert await talk.shop.rows("select kind from phrasing_evidence") == [("unhelpful",)]
    assert await talk.shop.rows("select origin from gap_question") == [("complaint",)]
    silenced = "select actor_kind, jsonb_array_length(data -> 'article_ids') from event where kind = '{}'"
    assert await talk.shop.rows(silenced.format("group_answers_silenced")) == [("contact", 1)]
    # Asked by name it is not said again either: people get it.
    await talk.says("wang", f"@值班 {KNOWN}", us=True)
    assert "申请售后" not in talk.heard[-1]
    assert (await talk.shop.conversation("g-1")).status == "open"


async def test_a_group_is_answered_from_its_own_base(talk: GroupTalk) -> None:
    """One account is in groups of several products."""
    await talk.says("zhou", f"@值班 {KNOWN}", us=True)
    assert "申请售后" in talk.heard[-1]
    now = SystemClock().now()
    async with talk.shop.work() as tx:
        other = await knowledge.ensure_base(tx, "cloud", "云产品")
        await knowledge.put_faq(tx, other, question=KNOWN, answer="云产品在控制台里退款。", now=now)
    await talk.behaves(base_id=other)
    await talk.says("wang", f"@值班 {KNOWN}", us=True)
    assert "控制台" in talk.heard[-1]
    # At the desk, too, entries are looked for there.
    conversation = await talk.shop.conversation("g-1")
    search = EntrySearch(talk.shop.app.database)
    found = await search.search(talk.shop.workspace_id, conversation.id, conversation.inbox_id, "退款")
    assert found.base is not None
    assert found.base.slug == "cloud"
    # When it is gone, the inbox's answers again.
    async with talk.shop.work() as tx:
        await maintenance.remove_base(tx, other)
    await talk.says("lei", f"@值班 {KNOWN}", us=True)
    assert "申请售后" in talk.heard[-1]


async def test_the_words_fit_the_hours_of_the_team_that_has_the_group(talk: GroupTalk) -> None:
    await talk.shop.behaves(hours={"weekly": {}})
    now = SystemClock().now()
    async with talk.shop.work() as tx:
        night = await teams.create(tx, name="夜班", now=now)
        await teams.set_hours(tx, night, {}, now=now)  # always there
        made = load_definition({"on": ["conversation_handed_off"], "actions": [{"kind": "assign_team", "team": night}]})
        await rules.add(tx, name="给夜班", definition=made, enabled=True, by=SYSTEM, now=now)
    asks = "@值班 你们的服务器放在火星上吗？"
    await talk.says("wang", asks, us=True)  # a rule gives it to the night shift
    assert "非工作时间" not in talk.heard[-1]
    async with talk.shop.work() as tx:
        await teams.set_hours(tx, night, {"weekly": {}}, now=now)
    await talk.shop.behaves()  # always, as far as the inbox goes
    await talk.says("zhou", asks, us=True)
    assert "非工作时间" in talk.heard[-1]


async def test_quiet_hours_read_only_and_never(talk: GroupTalk) -> None:
    await talk.says("zhou", "大家早")
    await talk.behaves(answers="sure", quiet={"start": 0, "end": 24 * 60})
    await talk.says("zhou", KNOWN)
    assert talk.heard == []
    await talk.says("zhou", f"@值班 {KNOWN}", us=True)
    assert len(talk.heard) == 1
    await talk.behaves(answers="never")
    await talk.says("wang", "@值班 可以开发票吗？", us=True)
    assert len(talk.heard) == 1
    await talk.behaves(answers="sure", read_only=True)
    await talk.says("wang", "@值班 可以开发票吗？", us=True)
    await talk.says("wang", "@值班 帮助", us=True)
    await talk.says("wang", "@值班 火星上有服务器吗？", us=True)
    assert (len(talk.heard), (await talk.shop.conversation("g-1")).status) == (1, "resolved")


async def test_who_talks_much_hears_little(talk: GroupTalk) -> None:
    for _ in range(8):
        await talk.says("zhou", f"@值班 {KNOWN}", us=True)
    assert len(talk.heard) == 3
    for who in ("wang", "lei") * 3:
        await talk.says(who, "@值班 帮助", us=True)
    assert len(talk.heard) == 6


async def test_a_member_is_not_kept_until_they_allow_it_again(talk: GroupTalk) -> None:
    await talk.says("zhou", "@值班 不要保存我的消息", us=True)
    assert "不保存" in talk.heard[-1]
    await talk.says("zhou", "我的手机号是13800000000")
    await talk.says("zhou", "@值班 可以保存我的消息了", us=True)
    await talk.says("zhou", "好的")
    said = await talk.shop.rows("select text from message where direction = 'in' order by id")
    assert [text for (text,) in said] == ["@值班 不要保存我的消息", "", "@值班 可以保存我的消息了", "好的"]
    # Where nothing may be said, the wish is kept all the same.
    await talk.behaves(read_only=True)
    await talk.says("wang", "@值班 不要引用我", us=True)
    assert await talk.shop.rows("select consent from participant order by contact_id") == [("all",), ("unquoted",)]


async def test_nobody_in_the_group_waits_while_the_program_is_away(talk: GroupTalk) -> None:
    talk.crm.program.loses_answers = 1
    await talk.says("zhou", f"@值班 {KNOWN}", us=True)
    await until(lambda: talk.crm.program.repeats == 1)
    assert len(talk.heard) == 1


async def test_those_who_come_together_are_greeted_at_once(talk: GroupTalk) -> None:
    await talk.says("zhou", f"@值班 {KNOWN}", us=True)
    await talk.behaves(welcome="欢迎！大家常问：\n{faq}", welcome_minutes=1)
    for number, who in enumerate(("wang", "lei")):
        joined = {"type": "members_joined", "group": GROUP, "members": [{"id": who, "name": NAMES[who]}]}
        assert (await talk.crm.program.call(joined, id_=f"j{number}"))[0] == 202
    await talk.shop.eventually("select 1 from participant having count(joined_at) = 2")
    # Its minute is over.
    due = await talk.shop.rows(
        "update jobs.procrastinate_jobs set scheduled_at = now() where task_name = 'welcome_members' returning id"
    )
    assert len(due) == 1
    await until(lambda: len(talk.heard) == 2)
    assert talk.heard[-1] == "欢迎！大家常问：\n· 怎么申请退款？"
    assert talk.last["mentions"] == [{"id": "wang", "name": "小王"}, {"id": "lei", "name": "阿雷"}]
