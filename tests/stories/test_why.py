"""An agent is told in words why an answer is suggested, why none is, and why it did not go out by itself."""

from __future__ import annotations

import html

from tests.stories.conftest import Shop
from tests.stories.test_learning import ANSWERS, PUZZLED, REFUND, at_the_desk, handed_over
from tests.stories.test_suggesting import UNSURE


async def why(desk: object, conversation: int) -> str:
    page = await desk.ask("GET", f"/conversations/{conversation}/suggestion/why")  # type: ignore[attr-defined]
    return html.unescape(page)


async def test_a_suggestion_says_what_it_was_made_of_and_why_it_was_not_sent(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    desk, conversation = await at_the_desk(shop), await handed_over(shop, "wmONE")
    facts = "select count(*) from event where conversation_id is not null and actor_kind = 'agent'"
    traces = f"select (select count(*) from turn), (select sum(times) from gap), ({facts})"
    before = await shop.rows(traces)
    told = await why(desk, conversation)
    assert f"对方问：{PUZZLED}" in told
    assert "为什么建议这一条" in told
    assert "最像的问法是“" in told
    assert "自己定的线：把握到2.00直接回答，到0.00列出相近的问题" in told
    assert "转人工：对方要求人工" in told
    assert "只会列出相近的问题" in told
    assert REFUND in told
    assert ANSWERS[REFUND] in told
    assert await shop.rows(traces) == before  # looking leaves no trace
    await shop.behaves()
    assert "没有自己的线" in await why(desk, conversation)
    await shop.behaves(assistant=False)
    assert "助手关着" in await why(desk, conversation)
    await shop.behaves(handoff={"words": ["退款"]})
    assert "会转人工：说到了要转人工的词" in await why(desk, conversation)


async def test_no_suggestion_says_why_there_is_none(shop: Shop) -> None:
    desk = await at_the_desk(shop)
    shop.wecom.contact_says("wmONE", "转人工")
    silent = int((await shop.becomes("open", "wmONE")).id)
    assert "没有建议的回复，为什么" in await desk.ask("GET", f"/conversations/{silent}/suggestion")
    told = await why(desk, silent)
    assert "对方没有新的问题" in told
    assert "为什么没有自己发" not in told
    await shop.says("wmTWO", "量子计算机的芯片怎么制造")
    strange = int((await shop.becomes("open", "wmTWO")).id)
    told = await why(desk, strange)
    assert "为什么没有建议" in told
    assert "没有一条够近" in told
    assert "会转人工：知识里没有答案" in told


async def test_a_learnt_wording_is_named_as_learnt(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    desk, conversation = await at_the_desk(shop), await handed_over(shop, "wmONE")
    page = await desk.suggestion(conversation)
    await desk.ask("POST", f"/conversations/{conversation}/suggestion/confirm", ref=page[1])
    await shop.eventually("select 1 from phrasing where origin in ('agent', 'click') and indexed")
    assert f"最像的问法是“{PUZZLED}”（像1.00），从接待中学来的" in await why(desk, conversation)
