"""A contact of customer service asks for a ticket by the same sentence, in a chat of two."""

from __future__ import annotations

from tests.stories.conftest import Shop
from tests.stories.test_first_answer import text_of

LI = "wmLIXIAO"


async def test_a_contact_opens_a_ticket_of_what_they_said(shop: Shop) -> None:
    await shop.says(LI, "怎么申请退款？")
    (preview,) = await shop.says(LI, "以上1条开工单，标题：退款申请打不开，打我电话13800006021")
    shown = text_of(preview)
    assert "工单草稿" in shown
    assert "怎么申请退款" in shown
    assert "7 天内" not in shown  # our own words are not a contact's
    assert "13800006021" not in shown
    assert await shop.rows("select 1 from ticket") == []
    (filed,) = await shop.says(LI, "1")  # nobody else is there who could be meant
    assert "已开工单1" in text_of(filed)
    assert await shop.rows(
        "select t.number, t.state, c.external_id, count(m.*)::int from ticket t join conversation c "
        "on c.id = t.conversation_id join ticket_message m on m.ticket_id = t.id group by 1, 2, 3"
    ) == [(1, "open", LI, 1)]
    (undone,) = await shop.says(LI, "撤销")
    assert "已撤销工单1" in text_of(undone)
    assert await shop.rows("select state from ticket") == [("cancelled",)]
    await shop.idle()
    assert await shop.rows("select 1 from message where state = 'failed'") == []
