"""A contact of whom nothing more is heard is told goodbye once, and is welcome again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.stories.conftest import AheadClock, Shop, running_shop, until

from zhiban.conversations import labels
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.postgres.provisioning import DatabaseUrls

LI = "wmLIXIAO"
SECOND = 1 / 3600
BYE = "很久没有收到您的消息，先到这里。"


async def answered(shop: Shop) -> None:
    """A person has answered, and nobody waits for us."""
    await shop.says(LI, "转人工")
    conversation, desk = int((await shop.becomes("open")).id), await shop.session()
    await desk.post(f"/conversations/{conversation}/replies", {"text": "给您办好了", "key": "k"})
    await shop.eventually("select 1 from message where text = '给您办好了' and state = 'sent'")


async def test_it_is_said_once_then_asked_how_it_was_and_a_new_word_begins_anew(shop: Shop) -> None:
    async with shop.work() as tx:
        label = await labels.add_label(tx, name="没有下文", color=2, by=SYSTEM, now=SystemClock().now())
    idle = {"answered_hours": None, "open_hours": SECOND, "text": BYE, "label": label}
    await shop.behaves(auto_resolve=idle, closing="再见！", survey={"ask": True, "text": "满意吗？"})
    await answered(shop)
    await until(lambda: any(one.msgtype == "msgmenu" for one in shop.wecom.sent(LI)), within=60)
    await shop.idle()
    heard = [one.text for one in shop.wecom.sent(LI)]
    assert heard[-2:] == [BYE, "满意吗？"]
    assert (heard.count(BYE), "再见！" in heard) == (1, False)
    conversation = await shop.conversation()
    assert (conversation.status, conversation.labels) == ("resolved", [label])
    facts = await shop.rows(
        "select kind from event where conversation_id = %(id)s and cause_kind = 'timer' order by id", id=conversation.id
    )
    assert [kind for (kind,) in facts] == ["reply_queued", "conversation_labels_changed", "conversation_resolved"]

    await shop.says(LI, "怎么申请退款？")
    assert (await shop.conversation()).cycle == 2


async def test_when_nobody_may_write_any_more_it_ends_all_the_same_and_says_why(
    urls: DatabaseUrls, tmp_path: Path
) -> None:
    clock = AheadClock()
    async with running_shop(urls, tmp_path, clock=clock) as shop:
        await shop.behaves(auto_resolve={"open_hours": 48, "text": BYE}, closing="再见！")
        await answered(shop)
        before = len(shop.wecom.sent(LI))
        clock.ahead = timedelta(hours=49)
        conversation = await shop.becomes("resolved", within=60)
        await shop.idle()
        assert len(shop.wecom.sent(LI)) == before
        (line,) = await shop.rows(
            "select content ->> 'unsaid' from message where conversation_id = %(id)s "
            "and content ->> 'what' = 'resolved'",
            id=conversation.id,
        )
        assert line == ("window_closed",)
