"""The page where contacts rate us: for who has the link, in their language, once; and the switch in the settings."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from tests.desk.conftest import SURVEYS, Site, Visit
from tests.desk.seed import LIMITS, create_seed
from zhiban.assistant.queries import remember
from zhiban.conversations import queries, service, surveys, transitions
from zhiban.conversations.facts import conversation_facts, messages_of
from zhiban.conversations.surveys import CHANGE_FOR, MOST_CHANGES, OPEN_FOR
from zhiban.events import SurveyRated
from zhiban.kit.i18n import Texts


async def asked(site: Site, who: str = "周予安") -> tuple[int, str]:
    """林晓 resolved it and the contact was sent the link; returns the survey and its path."""
    seed, now = site.seed, site.seed.clock.now()
    async with seed.database.transaction(seed.workspace_id) as tx:
        id_ = seed.conversations[who]
        await service.resolve(tx, id_, by=seed.by("林晓"), now=now, reason="agent")
        resolved = await queries.last_resolution(tx, id_)
        assert resolved is not None
        how = {"limits": LIMITS, "texts": Texts("zh"), "links": SURVEYS, "now": now}
        linked = type(SURVEYS)("https://desk.example", SURVEYS.key)
        await surveys.ask(tx, await transitions.lock(tx, id_), resolved, text="满意吗？", **{**how, "links": linked})
        survey = int(await tx.value("select id from survey"))
    return survey, SURVEYS.to(seed.workspace_id, survey, until=now + OPEN_FOR)


async def facts(site: Site, who: str = "周予安") -> list[SurveyRated]:
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        history = await queries.history(tx, site.seed.conversations[who])
    return [one for one in history if isinstance(one, SurveyRated)]


async def test_a_contact_rates_without_signing_in_and_colleagues_see_it(site: Site) -> None:
    _, path = await asked(site)
    visitor = site.client()
    for _ in range(2):  # messengers look at links before people do
        page = await visitor.get(path)
        assert (page.status, "这次服务您满意吗？" in page.text) == (200, True)
        assert (page.headers["referrer-policy"], page.headers["x-robots-tag"]) == ("no-referrer", "noindex")
    assert await facts(site) == []
    assert "How was our service?" in (await visitor.get(path, accept_language="en")).text

    evil = "很快<script>alert(1)</script>"
    said = await visitor.post(path, {"rating": "4", "comment": evil}, origin="null")
    assert (said.status, "谢谢您的评价！" in said.text, "<script>" in said.text) == (200, True, False)
    await visitor.post(path, {"rating": "4", "comment": evil})
    (fact,) = await facts(site)
    assert (fact.rating, fact.agent_id, fact.way) == (4, site.seed.agents["林晓"], "page")

    lin, id_ = await site.signed_in(), site.seed.conversations["周予安"]
    listed = "/?queue=all&status=resolved"
    for shown in (f"/conversations/{id_}", f"/conversations/{id_}/transcript", listed):
        text = (await lin.get(shown)).text
        assert ("满意吗？" in text, "/s/" in text) == (True, False), shown  # nobody rates themselves
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        question = await tx.value("select id from message where content ? 'survey'")
        told = await conversation_facts(tx, id_, question)  # what rules send to webhooks
        assert told is not None
        assert told.message is not None
        assert told.message.text == "满意吗？"
        assert (await messages_of(tx, [question]))[question].text == "满意吗？"
        remembered = (await remember(tx, id_, before=1 << 60)).said  # what a model reads, and may repeat
        assert not [one for one in remembered if "/s/" in one.text]
    thread = (await lin.get(f"/conversations/{site.seed.conversations['周予安']}")).text
    assert thread.count("★★★★☆") == 2  # in the thread, and beside the contact
    assert ("很快&lt;script&gt;" in thread, "<script>alert" in thread) == (True, False)


async def test_a_link_makes_ten_facts_and_no_more(site: Site) -> None:
    _, path = await asked(site)
    visitor = site.client()
    statuses = [
        (await visitor.post(path, {"rating": str(4 + n // 6), "comment": f"第{n}次"})).status for n in range(12)
    ]
    assert statuses == [200] * MOST_CHANGES + [410] * 2
    assert (await visitor.get(path)).status == 410
    assert [one.comment for one in await facts(site)] == [f"第{n}次" for n in range(MOST_CHANGES)]
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        lines = await tx.rows(
            "select content ->> 'what', content ->> 'rating' from message where kind = 'activity' "
            "and content ->> 'what' like 'rated%%' order by id"
        )
    assert lines == [("rated", "4"), ("rated_again", "5")]  # more words are no line of their own


async def test_only_a_whole_answer_to_an_open_survey_counts(site: Site) -> None:
    survey, path = await asked(site)
    visitor = site.client()
    missing = await visitor.post(path, {"comment": "想了想"})
    assert (missing.status, "请先选一项" in missing.text, "想了想" in missing.text) == (422, True, True)
    assert (await visitor.post(path, {"rating": "6"})).status == 422
    assert (await visitor.post(path, {"rating": "5", "comment": "长" * 2001})).status == 422
    forged = path[:-1] + ("0" if path[-1] != "0" else "1")
    assert (await visitor.get(forged)).status == 404
    assert (await visitor.post(forged, {"rating": "5"})).status == 404
    old = SURVEYS.to(site.seed.workspace_id, survey, until=site.seed.ago(seconds=1))
    assert (await visitor.post(old, {"rating": "5"})).status == 410
    other = await create_seed(site.seed.database, site.seed.clock, slug="other")
    elsewhere = SURVEYS.to(other.workspace_id, survey, until=site.seed.clock.now() + timedelta(days=1))
    assert (await visitor.get(elsewhere)).status == 404
    assert await facts(site) == []
    async with site.seed.database.transaction(site.seed.workspace_id) as tx:
        at = site.seed.clock.now() - CHANGE_FOR
        await tx.run("update survey set rating = 3, rated_at = %(at)s, asked_at = %(at)s", at=at)
    assert (await visitor.get(path)).status == 410
    assert (await visitor.post(path, {"rating": "5"})).status == 410


@pytest.mark.browser
async def test_the_page_fits_a_phone(site: Site, visit: Visit) -> None:
    _, path = await asked(site)
    page = await visit(site.url + path, width=390, height=844, touch=True)
    assert await page.evaluate("document.documentElement.scrollWidth <= 390")
    await page.get_by_role("radio", name="满意", exact=True).check()
    await page.get_by_label("想说几句（选填）").fill("回复很快")
    await page.get_by_role("button", name="提交").click()
    await expect(page.get_by_role("status")).to_contain_text("您选了“满意”")
    await expect(page.get_by_role("button", name="修改评价")).to_be_visible()
