"""The base learns new wordings from what people do, and nobody can make it learn what is wrong."""

from __future__ import annotations

from typing import Any

from tests.stories.conftest import Shop, until
from tests.stories.test_suggesting import UNSURE, labels

from zhiban.testing.wecom.simulator import OPEN_KFID

ASKED = "东西不想要了退款"
REFUND, FREIGHT = "怎么申请退款？", "运费谁出？"
ANSWERS = {REFUND: "在“我的订单”里找到订单", "退款多久到账？": "审核通过后", FREIGHT: "质量问题运费我们出"}


async def asks_and_taps(shop: Shop, contact: str, asked: str, entry: str, *, account: str = OPEN_KFID) -> None:
    """The contact asks, gets a menu, and takes an entry of it."""
    before = len(shop.wecom.sent(contact))
    shop.wecom.contact_says(contact, asked, open_kfid=account)
    await until(lambda: len(shop.wecom.sent(contact)) > before)
    menu = shop.wecom.sent(contact)[-1]
    assert menu.msgtype == "msgmenu", menu.text
    shop.wecom.contact_taps(contact, labels(menu)[entry], open_kfid=account)
    await until(lambda: len(shop.wecom.sent(contact)) > before + 1)
    assert shop.wecom.sent(contact)[-1].text.startswith(ANSWERS[entry])
    await shop.idle()


async def weighed(shop: Shop) -> None:
    """Wait until everything that was said has been weighed, and what follows is done."""
    await shop.idle()
    await shop.eventually(
        "select 1 where not exists (select from jobs.procrastinate_jobs where status in ('todo', 'doing') "
        "and task_name in ('weigh_evidence', 'index_phrasings', 'embed'))"
    )


async def is_answered(shop: Shop, contact: str, asked: str = ASKED) -> Any:
    """What the contact gets for the question: an answer, or a menu."""
    return (await shop.says(contact, asked))[0]


async def test_one_tap_changes_nothing_for_anybody_else(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await asks_and_taps(shop, "wmONE", ASKED, FREIGHT)
    await weighed(shop)
    assert (await is_answered(shop, "wmTWO")).msgtype == "msgmenu"
    assert not await shop.rows("select 1 from phrasing where origin = 'click'")


async def test_three_who_agree_teach_the_wording_to_the_fourth(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    for contact in ("wmONE", "wmTWO", "wmTHREE"):
        await asks_and_taps(shop, contact, ASKED, REFUND)
    await weighed(shop)
    answer = await is_answered(shop, "wmFOUR")
    assert answer.msgtype == "text"
    assert answer.text.startswith(ANSWERS[REFUND])
