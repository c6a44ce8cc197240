"""A contact is asked how it was, on the phone and by a program, and answers, without calling anybody."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from tests.stories.conftest import Shop, running_shop, until
from tests.stories.test_webhook_channel import XU, connected

from zhiban.channels.configuring import set_policy
from zhiban.events import SYSTEM
from zhiban.kit.clock import SystemClock
from zhiban.postgres.provisioning import DatabaseUrls

LI = "wmLIXIAO"


async def answered(shop: Shop, thread: str = LI) -> int:
    """A person answers and resolves; returns who it was."""
    conversation, desk = int((await shop.becomes("open", thread)).id), await shop.session()
    await desk.post(f"/conversations/{conversation}/replies", {"text": "给您办好了", "key": "k"})
    await shop.eventually("select 1 from message where text = '给您办好了' and state = 'sent'")
    await desk.post(f"/conversations/{conversation}/resolve", {})
    return int((await shop.rows("select id from agent where email = 'owner@example.test'"))[0][0])


async def test_a_tap_on_the_phone_is_a_rating_and_nothing_else(shop: Shop) -> None:
    await shop.behaves(survey={"ask": True, "text": "这次满意吗？"}, closing="再见！")
    await shop.says(LI, "转人工")
    agent = await answered(shop)
    await until(lambda: any(one.msgtype == "msgmenu" for one in shop.wecom.sent(LI)))
    await until(lambda: shop.wecom.sent(LI)[-1].text == "再见！")
    menu = next(one for one in shop.wecom.sent(LI) if one.msgtype == "msgmenu")
    assert menu.text == "这次满意吗？"
    ids = [entry["click"]["id"] for entry in menu.body["msgmenu"]["list"]]
    for choice in (ids[1], ids[1], ids[4]):
        shop.wecom.contact_taps(LI, choice)
    await shop.eventually("select 1 from survey where rating = 1")
    await until(lambda: "谢谢您的评价" in shop.wecom.sent(LI)[-1].text)
    await shop.idle()
    rows = await shop.rows(
        "select data ->> 'rating', data ->> 'agent_id', data ->> 'resolved_cycle' from event "
        "where kind = 'survey_rated' order by id"
    )
    assert rows == [("4", str(agent), "1"), ("1", str(agent), "1")]
    assert (await shop.conversation()).status == "resolved"
    assert len([one for one in shop.wecom.sent(LI) if "谢谢您的评价" in one.text]) == 1

    await shop.says(LI, "怎么申请退款？")  # whoever asks again is answered by the assistant, in a cycle of its own
    assert (await shop.conversation()).cycle == 2


async def test_a_program_passes_a_link_on(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path, zhiban_url="https://desk.example") as shop, connected(shop) as crm:
        await crm.program.says(XU, "转人工")
        conversation = await shop.becomes("open", XU)
        async with shop.work() as tx:
            policy, now = {"survey": {"ask": True}}, SystemClock().now()
            await set_policy(tx, shop.app.vault, conversation.inbox_id, policy, by=SYSTEM, now=now)
        await answered(shop, XU)
        path = "/s/" + (await crm.heard("https://desk.example/s/")).rpartition("/s/")[2]
        async with aiohttp.ClientSession() as phone:
            async with phone.get(shop.url + path, headers={"accept-language": "zh-CN"}) as page:
                assert "这次服务您满意吗？" in await page.text()
            async with phone.post(shop.url + path, data={"rating": "5", "comment": "很快"}) as page:
                assert page.status == 200
        assert await shop.rows("select rating, comment from survey") == [(5, "很快")]
        assert (await shop.conversation(XU)).status == "resolved"
