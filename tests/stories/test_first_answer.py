"""The main job: a WeCom contact is answered from the knowledge base, or handed to a person."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.stories.conftest import Shop, until

from zhiban.conversations import replies
from zhiban.integrations.wecom.kf import KfChannel
from zhiban.people import service as people
from zhiban.people.models import Role


def text_of(message: object) -> str:
    body = message.body  # type: ignore[attr-defined]
    return str(body.get("text", body.get("msgmenu", {})).get("content", ""))


async def test_a_known_question_is_answered_with_its_source(shop: Shop) -> None:
    (answer,) = await shop.says("wmLIXIAO", "怎么申请退款？")
    assert "7 天内都可以申请" in text_of(answer)
    assert "怎么申请退款" in text_of(answer)  # the source is named
    await shop.idle()
    (turn,) = await shop.rows("select decision, zone from turn")
    assert turn == ("Answer", "answer")


async def test_a_follow_up_is_understood_without_a_model(shop: Shop) -> None:
    await shop.says("wmLIXIAO", "怎么申请退款？")
    (answer,) = await shop.says("wmLIXIAO", "那运费呢？")
    await shop.idle()
    ((cited,),) = await shop.rows("select content from message where direction = 'out' order by id desc limit 1")
    titles = [c["title"] for c in cited.get("citations", [])] + [c["label"] for c in cited.get("choices", [])]
    assert "运费谁出？" in titles, answer


async def test_an_unknown_question_is_handed_to_a_person_who_answers(shop: Shop) -> None:
    (notice,) = await shop.says("wmLIXIAO", "你们老板的车是什么颜色")
    assert "人工客服" in text_of(notice)
    ((id_, status, reason),) = await shop.rows("select id, status, handoff_reason from conversation")
    assert (status, reason) == ("open", "nothing_found")
    assert await shop.rows("select 1 from gap")
    async with shop.work() as tx:
        agent = await people.add_agent(tx, email="chen@example.test", name="陈默", role=Role.AGENT, password_hash=None)
    async with shop.work() as tx:
        await replies.reply(tx, id_, text="蓝色的。", by=agent, limits=KfChannel.limits, now=datetime.now(UTC))
    await until(lambda: len(shop.wecom.sent("wmLIXIAO")) == 2)
    assert text_of(shop.wecom.sent("wmLIXIAO")[1]) == "蓝色的。"
    # From here on the assistant keeps quiet.
    shop.wecom.contact_says("wmLIXIAO", "怎么申请退款？")
    await shop.idle()
    assert len(shop.wecom.sent("wmLIXIAO")) == 2
