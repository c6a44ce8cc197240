"""The base learns new wordings from what people do, and nobody can make it learn what is wrong."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.stories.conftest import Shop, running_shop, until
from tests.stories.test_suggesting import UNSURE, labels

from zhiban.events import Actor
from zhiban.kit.clock import SystemClock
from zhiban.knowledge import service as knowledge
from zhiban.knowledge.learnt import learnt
from zhiban.people import service as people
from zhiban.people.auth import COOKIE
from zhiban.people.models import Role
from zhiban.postgres.provisioning import DatabaseUrls
from zhiban.testing.wecom.simulator import OPEN_KFID

ASKED = "东西不想要了退款"
PUZZLED = "想把钱退回来去哪申请售后退款"  # like enough to an entry to be suggested to an agent
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
        "and task_name in ('weigh_evidence', 'index_phrasings', 'embed'))",
        within=60,  # some of them load a model first
    )


async def teach(shop: Shop, *contacts: str, entry: str = REFUND) -> None:
    """These contacts ask the same and take the same entry."""
    for contact in contacts:
        await asks_and_taps(shop, contact, ASKED, entry)
    await weighed(shop)


class Desk:
    """A colleague in the browser."""

    def __init__(self, shop: Shop, session: str) -> None:
        self._shop, self._session = shop, session

    async def ask(self, method: str, path: str, **form: str) -> str:
        headers = {"Origin": self._shop.url, "Cookie": f"{COOKIE}={self._session}", "HX-Request": "true"}
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, self._shop.url + path, data=form or None, headers=headers) as answer,
        ):
            assert answer.status in (200, 204), await answer.text()
            return await answer.text()

    async def suggestion(self, conversation_id: int) -> tuple[str, str]:
        """What is suggested, and how the page names it."""
        page = await self.ask("GET", f"/conversations/{conversation_id}/suggestion")
        text, ref = re.findall(r'data-text="([^"]*)" data-ref="([^"]*)"', page)[0]
        return html.unescape(text), ref


async def at_the_desk(shop: Shop, name: str = "陈默", member: str = "chen") -> Desk:
    async with shop.work() as tx:
        agent = await people.add_agent(
            tx, email=f"{member}@example.test", name=name, role=Role.AGENT, password_hash=None
        )
        return Desk(shop, await people.open_session(tx, agent_id=agent, now=SystemClock().now()))


async def handed_over(shop: Shop, contact: str, asked: str = PUZZLED) -> int:
    """The contact asks, takes nothing of the menu, and gets a person. Returns the conversation."""
    (menu,) = await shop.says(contact, asked)
    shop.wecom.contact_taps(contact, labels(menu)["转人工"])
    return int((await shop.becomes("open", contact)).id)


async def learnt_from_contacts(shop: Shop) -> list[str]:
    return [text for (text,) in await shop.rows("select text from phrasing where origin = 'click' and not retired")]


@pytest.fixture(params=["local", "none"])
async def any_shop(request: pytest.FixtureRequest, urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that searches with vectors, and one by words alone. Neither is ever sure without the very wording."""
    async with running_shop(urls, tmp_path, embedding_provider=request.param) as found:
        await found.behaves(zones=UNSURE)
        yield found


async def test_one_tap_changes_nothing_for_anybody_else(any_shop: Shop) -> None:
    await teach(any_shop, "wmONE", entry=FREIGHT)
    (menu,) = await any_shop.says("wmTWO", ASKED)
    assert menu.msgtype == "msgmenu"
    assert await learnt_from_contacts(any_shop) == []


async def test_three_who_agree_teach_the_wording_to_the_fourth(any_shop: Shop) -> None:
    await teach(any_shop, "wmONE", "wmTWO")
    assert await learnt_from_contacts(any_shop) == []
    await teach(any_shop, "wmTHREE")
    (answer,) = await any_shop.says("wmFOUR", ASKED)
    assert (answer.msgtype, answer.text.startswith(ANSWERS[REFUND])) == ("text", True)


async def test_one_contact_in_two_inboxes_is_one_contact(urls: DatabaseUrls, tmp_path: Path) -> None:
    async with running_shop(urls, tmp_path, before=lambda wecom: wecom.add_account("wkSECOND", "售前客服")) as shop:
        await shop.behaves(zones=UNSURE)
        await shop.behaves(account="wkSECOND", zones=UNSURE)
        for account in (OPEN_KFID, "wkSECOND", OPEN_KFID, "wkSECOND", OPEN_KFID):
            await asks_and_taps(shop, "wmONE", ASKED, FREIGHT, account=account)
        await asks_and_taps(shop, "wmONE", "您好，" + ASKED + "啊！", FREIGHT)
        await weighed(shop)
        assert await shop.rows("select count(*) from phrasing_evidence") == [(1,)]
        assert await learnt_from_contacts(shop) == []


async def test_two_who_want_to_poison_cannot(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    for _ in range(3):
        await teach(shop, "wmBAD", "wmWORSE", entry=FREIGHT)
    assert await learnt_from_contacts(shop) == []
    await teach(shop, "wmONE", "wmTWO", "wmTHREE", "wmFOUR")
    assert await learnt_from_contacts(shop) == []  # the two still speak for something else
    await teach(shop, "wmFIVE")
    (answer,) = await shop.says("wmSIX", ASKED)
    assert answer.text.startswith(ANSWERS[REFUND])


async def test_what_several_were_not_helped_by_is_asked_about_again(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE, handoff={"max_failures": 5})
    await teach(shop, "wmONE", "wmTWO", "wmTHREE")
    for contact in ("wmFOUR", "wmFIVE", "wmSIX"):
        (answer,) = await shop.says(contact, ASKED)
        assert answer.msgtype == "text"
        (again,) = await shop.says(contact, "没用，答非所问")
        assert "换个说法" in again.text  # as it always was
        await weighed(shop)
    (menu,) = await shop.says("wmSEVEN", ASKED)
    assert menu.msgtype == "msgmenu"


async def test_whoever_taps_and_is_not_helped_takes_the_word_back(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE, handoff={"max_failures": 5})
    await asks_and_taps(shop, "wmONE", ASKED, FREIGHT)
    await shop.says("wmONE", "不对")
    await shop.idle()
    assert await shop.rows("select wording, kind, supports from phrasing_evidence") == [(ASKED, "unhelpful", False)]


@pytest.mark.parametrize("words", ["有用", "解决了，谢谢", "嗯很有帮助", "that helped"])
async def test_whoever_was_helped_says_so(shop: Shop, words: str) -> None:
    await shop.says("wmONE", "怎么申请退款呀")
    (reply,) = await shop.says("wmONE", words)
    await shop.idle()
    assert "人工" not in reply.text
    assert await shop.rows("select kind, supports from phrasing_evidence") == [("helpful", True)]


async def test_praise_without_an_answer_says_nothing(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await shop.says("wmONE", ASKED)
    await shop.says("wmONE", "解决了")
    await shop.says("wmTWO", "怎么申请退款？")
    await shop.says("wmTWO", "谢谢")
    await shop.idle()
    assert await shop.rows("select kind from phrasing_evidence") == []


async def test_an_older_menu_belongs_to_no_question(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE, handoff={"max_failures": 9})
    (old,) = await shop.says("wmONE", ASKED)
    (new,) = await shop.says("wmONE", "开个发票给公司报销用")
    assert REFUND not in labels(new)
    shop.wecom.contact_taps("wmONE", labels(old)[REFUND])
    await until(lambda: shop.wecom.sent("wmONE")[-1].text.startswith(ANSWERS[REFUND]))
    await shop.idle()
    assert await shop.rows("select 1 from phrasing_evidence") == []


async def test_what_leans_on_what_was_said_or_holds_a_number_is_not_learnt(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE, handoff={"max_failures": 9})
    for contact, asked in (("wmONE", "多久到账"), ("wmTWO", "订单883726215要退款")):
        before = len(shop.wecom.sent(contact))
        (menu,) = await shop.says(contact, asked)
        if menu.msgtype == "msgmenu":
            shop.wecom.contact_taps(contact, next(iter(labels(menu).values())))
            await until(lambda who=contact, n=before: len(shop.wecom.sent(who)) > n + 1)  # type: ignore[misc]
    await shop.idle()
    assert await shop.rows("select wording from phrasing_evidence where wording <> '多久到账'") == []


async def test_what_a_colleague_undid_stays_undone(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    await teach(shop, "wmONE", "wmTWO", "wmTHREE")
    chen = await shop.agent()
    async with shop.work() as tx:
        (found,) = await learnt(tx)
        await knowledge.reject_phrasing(tx, found.row.id, by=Actor("agent", chen), now=SystemClock().now())
    await weighed(shop)
    await teach(shop, "wmFOUR", "wmFIVE", "wmSIX", "wmSEVEN")
    (menu,) = await shop.says("wmEIGHT", ASKED)
    assert menu.msgtype == "msgmenu"
    async with shop.work() as tx:
        await knowledge.approve_phrasing(tx, found.row.id, by=Actor("agent", chen), now=SystemClock().now())
    (answer,) = await shop.says("wmNINE", ASKED)
    assert answer.text.startswith(ANSWERS[REFUND])


async def test_a_suggestion_that_an_agent_sends_is_learnt(any_shop: Shop) -> None:
    desk, conversation = await at_the_desk(any_shop), await handed_over(any_shop, "wmONE")
    text, ref = await desk.suggestion(conversation)
    assert text.startswith(ANSWERS[REFUND])
    sent = {"text": f"您好，{text}有问题再找我。", "key": "k1", "adopted": ref}
    await desk.ask("POST", f"/conversations/{conversation}/replies", **sent)
    await desk.ask("POST", f"/conversations/{conversation}/replies", **sent)  # the same again
    await weighed(any_shop)
    assert await any_shop.rows("select kind, wording from phrasing_evidence") == [("adopted", PUZZLED)]
    (answer,) = await any_shop.says("wmTWO", PUZZLED)
    assert answer.text.startswith(ANSWERS[REFUND])


async def test_a_suggestion_that_was_rewritten_or_is_not_ours_is_not(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    desk, conversation = await at_the_desk(shop), await handed_over(shop, "wmONE")
    text, ref = await desk.suggestion(conversation)
    other = await handed_over(shop, "wmTWO")
    article, message = ref.split(":")
    for key, where, said, adopted in (
        ("k1", conversation, "您好，我查一下再回复您。", ref),
        ("k2", other, text, ref),  # of another conversation
        ("k3", conversation, text, f"{10**9}:{message}"),
        ("k4", conversation, text, f"{article}:{10**9}"),
        ("k5", conversation, text, "x" * 40),
    ):
        await desk.ask("POST", f"/conversations/{where}/replies", text=said, key=key, adopted=adopted)
    await shop.idle()
    assert await shop.rows("select 1 from phrasing_evidence") == []


@pytest.mark.parametrize("tapped", [True, False])
async def test_what_an_agent_sends_after_the_contact_found_the_answer_answers_something_else(
    shop: Shop, tapped: bool
) -> None:
    """The contact took an entry of the menu and wanted a person for another matter: what is sent then is no word on
    the question before. But the agent may say outright that the suggestion is its answer."""
    await shop.behaves(zones=UNSURE, handoff={"max_failures": 9})
    desk = await at_the_desk(shop)
    if tapped:
        await asks_and_taps(shop, "wmONE", PUZZLED, REFUND)
    else:
        (menu,) = await shop.says("wmONE", PUZZLED)
        (answer,) = await shop.says("wmONE", str(list(labels(menu)).index(REFUND) + 1))
        assert answer.text.startswith(ANSWERS[REFUND])
    await shop.says("wmONE", "转人工")
    conversation = int((await shop.becomes("open", "wmONE")).id)
    text, ref = await desk.suggestion(conversation)
    await desk.ask("POST", f"/conversations/{conversation}/replies", text=text, key="k1", adopted=ref)
    await shop.idle()
    assert await shop.rows("select kind from phrasing_evidence") == [("tap",)]
    await desk.ask("POST", f"/conversations/{conversation}/suggestion/confirm", ref=ref)
    assert await shop.rows("select kind from phrasing_evidence order by id") == [("tap",), ("confirmed",)]


async def test_an_agent_says_that_it_is_the_answer(shop: Shop) -> None:
    await shop.behaves(zones=UNSURE)
    desk, conversation = await at_the_desk(shop), await handed_over(shop, "wmONE")
    _, ref = await desk.suggestion(conversation)
    path = f"/conversations/{conversation}/suggestion/confirm"
    assert "已记下" in await desk.ask("POST", path, ref=ref)
    assert "没有新的可记" in await desk.ask("POST", path, ref=ref)
    await weighed(shop)
    (answer,) = await shop.says("wmTWO", PUZZLED)
    assert answer.text.startswith(ANSWERS[REFUND])
    async with shop.work() as tx:
        (found,) = await learnt(tx)
    assert [(one.name, one.kind) for one in found.evidence] == [("陈默", "confirmed")]


async def test_what_another_entry_answers_waits_for_a_colleague(any_shop: Shop) -> None:
    asked = "退货的运费谁出的"
    for contact in ("wmONE", "wmTWO", "wmTHREE"):
        await asks_and_taps(any_shop, contact, asked, REFUND)
    await weighed(any_shop)
    assert await learnt_from_contacts(any_shop) == []
    async with any_shop.work() as tx:
        (waiting,) = await learnt(tx)
    assert (waiting.row.status, waiting.row.answered_by) == ("waiting", FREIGHT)
    assert waiting.people(supports=True) == 3
