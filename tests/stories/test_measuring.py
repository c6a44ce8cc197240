"""What operators learn about a base: what contacts asked lately, asked again as it is now or run in another way."""

from __future__ import annotations

from datetime import timedelta

from tests.stories.conftest import Shop
from tests.stories.test_suggesting import LI, labels

from zhiban.assistant.replaying import Replay, replay
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import queries
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.evaluation import Configuration

USUAL = Configuration("default")


async def replayed(shop: Shop, configuration: Configuration = USUAL, *, days: int = 7) -> Replay:
    return await replay(
        lambda: shop.app.database.transaction(shop.workspace_id),
        configuration,
        shop.app.embedders,
        since=SystemClock().now() - timedelta(days=days),
    )


async def test_last_weeks_questions_are_asked_again_and_what_would_differ_is_told(shop: Shop) -> None:
    (menu,) = await shop.says(LI, "不合适的话怎么申请退款？")
    assert "怎么申请退款？" in labels(menu)
    (answer,) = await shop.says("wmWANG", "怎么申请退款？")
    assert "我的订单" in answer.text
    await shop.says(LI, "谢谢")
    await shop.idle()
    same = await replayed(shop)
    assert (same.asked, same.changed) == (2, 0)
    bold = await replayed(shop, Configuration.parse("threshold=0.1", USUAL))
    (change,) = bold.changes
    assert (change.zone_before, change.zone_now, change.now) == ("suggest", "answer", "怎么申请退款？")
    async with shop.app.database.transaction(shop.workspace_id) as tx:
        base_id = await knowledge.base_for(tx)
        article = (await queries.articles(tx, base_id, text="怎么申请退款"))[0]
        await knowledge.remove(tx, base_id, article_id=article.id, now=SystemClock().now())
    changed = {change.question: change for change in (await replayed(shop)).changes}
    assert changed["怎么申请退款？"].zone_before == "answer"
    assert changed["怎么申请退款？"].now != "怎么申请退款？"
    assert (await replayed(shop, days=0)).asked == 0
