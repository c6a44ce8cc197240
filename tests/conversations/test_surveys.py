"""Asking how it was: whom, when, once; what is said belongs to who resolved, and calls nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.kernel_desk import NOON, Desk, open_desk
from tests.twin import WindowedChannel

from zhiban.channels.policy import SURVEY_TEXT_SIZE, Policy, PolicyMistake, parse_policy
from zhiban.conversations import queries, replies, service, surveys, transitions
from zhiban.conversations.ingest import ingest
from zhiban.conversations.models import ConversationState, Status
from zhiban.conversations.survey_links import SurveyLinks
from zhiban.conversations.surveys import CHANGE_FOR, OPEN_FOR, SurveyClosed
from zhiban.events import Actor, ConversationHandedOff, SurveyAsked, SurveyRated
from zhiban.kit.db import Database, Transaction
from zhiban.kit.errors import Gone, NotFound
from zhiban.kit.i18n import Texts
from zhiban.people import teams
from zhiban.people.models import Role
from zhiban.people.permissions import Access
from zhiban.ports import IncomingMessage, Kind, SenderRole

LIMITS = replace(WindowedChannel.limits, menus=True)
LINKS = SurveyLinks("https://desk.example", b"a key for tests only")
LATER = NOON + timedelta(hours=1)


@pytest.fixture
async def desk(db: Database, workspace: int) -> Desk:
    return await open_desk(db, workspace)


async def resolved(desk: Desk, tx: Transaction, who: str = "zhou", *, answered: bool = True) -> ConversationState:
    """林晓 has it, has answered, and resolved it."""
    state = await desk.handed_over(tx, who)
    if answered:
        await replies.reply(tx, state.id, text="好了", by=desk.lin, limits=LIMITS, now=NOON)
    await service.resolve(tx, state.id, by=Actor("agent", desk.lin), now=NOON)
    return await desk.state(tx, who)


async def ask(
    tx: Transaction,
    state: ConversationState,
    *,
    limits=LIMITS,
    links: SurveyLinks = LINKS,
    now: datetime = NOON,
    text="满意吗？",
) -> int | None:  # type: ignore[no-untyped-def]
    """Ask, as the job does; returns the survey of this cycle."""
    found = await queries.last_resolution(tx, state.id)
    assert found is not None
    how = {"limits": limits, "texts": Texts("zh"), "links": links, "now": now}
    await surveys.ask(tx, state, found, text=text, **how)
    survey = "select id from survey where conversation_id = %(id)s and cycle = %(cycle)s"
    id_: int | None = await tx.value(survey, id=state.id, cycle=state.cycle)
    return id_


def tap(id_: str, choice: str, *, thread: str = "zhou", at: datetime = LATER) -> IncomingMessage:
    return IncomingMessage(id_, thread, thread, SenderRole.CONTACT, Kind.TEXT, "满意", at, choice=choice)


async def taps(desk: Desk, tx: Transaction, *messages: IncomingMessage, now: datetime = LATER) -> None:
    await ingest(tx, desk.inbox, messages, now=now, process_id=1)


async def rated(tx: Transaction, conversation_id: int) -> list[SurveyRated]:
    return [one for one in await queries.history(tx, conversation_id) if isinstance(one, SurveyRated)]


async def test_a_resolved_conversation_is_asked_about_once_in_a_cycle(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        assert await ask(tx, await desk.state(tx, "zhou")) == survey
        (menu,) = await tx.rows("select text, content, state from message where kind = 'menu'")
        text, content, status = menu
        assert (text, status, content["survey"]) == ("满意吗？", "queued", survey)
        assert [one["label"] for one in content["choices"]] == ["非常满意", "满意", "一般", "不满意", "很不满意"]
        assert content["choices"][0]["id"] == f"csat_{survey}_5"
        asked = [one for one in await queries.history(tx, state.id) if isinstance(one, SurveyAsked)]
        assert [(one.agent_id, one.cycle, one.way) for one in asked] == [(desk.lin, 1, "menu")]


async def test_a_question_stored_before_its_bound_fits_a_menu_all_the_same(desk: Desk) -> None:
    long = Policy.model_validate({"survey": {"text": "满" * 500}}).survey.text
    with pytest.raises(PolicyMistake, match="1000"):
        parse_policy({"survey": {"text": long}})
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        await ask(tx, state, text=long)
        text = await tx.value("select text from message where kind = 'menu'")
        assert 900 < len(text.encode()) <= SURVEY_TEXT_SIZE


async def test_nobody_is_asked_who_got_no_answer_or_cannot_be_reached(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        assert await ask(tx, await resolved(desk, tx, "wang", answered=False)) is None
        assert await ask(tx, await resolved(desk, tx, "he"), now=NOON + timedelta(hours=49)) is None
        spoken = await resolved(desk, tx, "shen")
        assert await ask(tx, replace(spoken, native_state="human")) is None
        nowhere = SurveyLinks("", b"k")
        assert await ask(tx, spoken, limits=WindowedChannel.limits, links=nowhere) is None
        assert await tx.value("select count(*) from survey") == 0


async def test_where_nothing_can_be_tapped_a_link_is_sent(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state, limits=WindowedChannel.limits)
        text = await tx.value("select text from message where content ? 'survey'")
        words, _, address = text.partition("\n")
        assert words == "满意吗？"
        token = address.removeprefix("https://desk.example/s/")
        assert LINKS.read(token, now=NOON) == (desk.workspace_id, survey)


def test_a_link_is_signed_and_ends() -> None:
    token = LINKS.to(1, 22, until=LATER).rpartition("/")[2]
    assert LINKS.read(token, now=NOON) == (1, 22)
    with pytest.raises(Gone):
        LINKS.read(token, now=LATER)
    for forged in ("", "x", token[:-1] + ("0" if token[-1] != "0" else "1"), token.replace("22", "23"), token + "0"):
        with pytest.raises(NotFound):
            LINKS.read(forged, now=NOON)
    with pytest.raises(NotFound):
        SurveyLinks("https://desk.example", b"another key").read(token, now=NOON)


@pytest.mark.parametrize("status", list(Status))
async def test_a_tap_calls_nobody_whatever_the_status(desk: Desk, status: Status) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        lin = Actor("agent", desk.lin)
        match status:
            case Status.OPEN:
                await service.reopen(tx, state.id, by=desk.lin, now=NOON)
            case Status.PENDING:
                await service.return_to_assistant(tx, state.id, by=lin, now=NOON)
            case Status.SNOOZED:
                await service.reopen(tx, state.id, by=desk.lin, now=NOON)
                await service.snooze(tx, state.id, until=LATER + timedelta(days=1), by=lin, now=NOON)
            case _:
                pass
        before = await desk.state(tx, "zhou")
        await taps(desk, tx, tap("t1", f"csat_{survey}_4"))
        after = await desk.state(tx, "zhou")
        assert (after.status, after.cycle, after.waiting_since, after.assignee_id) == (
            status,
            before.cycle,
            before.waiting_since,
            before.assignee_id,
        )
        assert await tx.value("select state from message where external_id = 't1'") == "handled"
        (fact,) = await rated(tx, state.id)
        assert (fact.rating, fact.previous, fact.agent_id, fact.resolved_cycle, fact.way) == (
            4,
            None,
            desk.lin,
            1,
            "menu",
        )
        lines = await tx.values("select content from message where kind = 'activity' order by id desc limit 1")
        assert (lines[0]["what"], lines[0]["rating"], lines[0]["by"]) == ("rated", 4, "contact")


async def test_words_beside_a_tap_call_somebody_all_the_same(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        spoken = IncomingMessage("w1", "zhou", "zhou", SenderRole.CONTACT, Kind.TEXT, "还有一件事", LATER)
        await taps(desk, tx, tap("t1", f"csat_{survey}_4"), spoken)
        after = await desk.state(tx, "zhou")
        assert (after.status, after.cycle) == (Status.PENDING, 2)
        rows = await tx.rows("select external_id, state from message where external_id in ('t1', 'w1') order by 1")
        assert rows == [("t1", "handled"), ("w1", "pending")]


async def test_a_rating_is_the_resolvers_after_everything_that_follows(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        team = await teams.create(tx, name="售后", now=NOON)
        first = await desk.handed_over(tx, "zhou")
        await service.assign_team(tx, first.id, to=team, by=Actor("agent", desk.lin), now=NOON)
        await replies.reply(tx, first.id, text="好了", by=desk.lin, limits=LIMITS, now=NOON)
        await service.resolve(tx, first.id, by=Actor("agent", desk.lin), now=NOON)
        survey = await ask(tx, await desk.state(tx, "zhou"))
        assert (await desk.state(tx, "zhou")).assignee_id is None  # the rule that comes with the program
        await desk.writes(tx, "zhou", "还有问题", at=LATER)
        await service.take(tx, first.id, by=desk.chen, now=LATER)
        await service.assign_team(tx, first.id, to=None, by=Actor("agent", desk.chen), now=LATER)
        await taps(desk, tx, tap("t1", f"csat_{survey}_5"))
        (fact,) = await rated(tx, first.id)
        assert (fact.agent_id, fact.resolved_team_id, fact.resolved_cycle, fact.inbox_id) == (
            desk.lin,
            team,
            1,
            desk.inbox.inbox_id,
        )
        now = await desk.state(tx, "zhou")
        assert (now.assignee_id, now.cycle, now.status) == (desk.chen, 2, Status.OPEN)
        everything = Access(desk.chen, Role.AGENT)
        (line,) = await surveys.ratings_of(tx, first.contact_id, everything)
        assert (line.rating, line.agent_name) == (5, "林晓")
        assert await surveys.ratings_of(tx, first.contact_id, Access(desk.chen, Role.AGENT, frozenset({99}))) == []


async def test_a_rating_is_changed_for_a_day_and_never_doubled(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        assert survey is not None
        await taps(desk, tx, tap("t1", f"csat_{survey}_2"), tap("t2", f"csat_{survey}_2"))
        await taps(desk, tx, tap("t1", f"csat_{survey}_2"))  # WeCom hands it out again
        assert await surveys.rate(tx, survey, rating=5, comment=" 后来很快 ", way="page", now=LATER + CHANGE_FOR / 2)
        told = [(one.previous, one.rating, one.comment) for one in await rated(tx, state.id)]
        assert told == [(None, 2, None), (2, 5, "后来很快")]
        with pytest.raises(SurveyClosed):
            await surveys.rate(tx, survey, rating=1, way="page", now=LATER + CHANGE_FOR)
        late = LATER + CHANGE_FOR
        await taps(desk, tx, tap("t3", f"csat_{survey}_1", at=late), now=late)
        assert (await desk.state(tx, "zhou")).status is Status.RESOLVED  # too late, and still no question
        assert await tx.value("select rating from survey") == 5
        assert await tx.value("select count(*) from survey") == 1


async def test_an_old_survey_is_closed(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        survey = await ask(tx, await resolved(desk, tx))
        assert survey is not None
        with pytest.raises(SurveyClosed):
            await surveys.rate(tx, survey, rating=5, way="page", now=NOON + OPEN_FOR)


async def test_a_tap_on_somebody_elses_survey_is_an_ordinary_message(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        survey = await ask(tx, await resolved(desk, tx))
        other = await resolved(desk, tx, "wang")
        for number, choice in enumerate((f"csat_{survey}_1", "csat_99_1", f"csat_{survey}_9", "csat_x")):
            await taps(desk, tx, tap(f"t{number}", choice, thread="wang"))
        assert (await desk.state(tx, "wang")).status is Status.PENDING
        assert await rated(tx, other.id) == []
        assert await tx.value("select count(*) from survey where rating is not null") == 0


async def test_a_page_and_a_tap_at_the_same_moment_are_one_rating(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        assert survey is not None

    async def page(rating: int) -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await surveys.rate(tx, survey, rating=rating, way="page", now=LATER)

    async def phone() -> None:
        async with desk.database.transaction(desk.workspace_id) as tx:
            await taps(desk, tx, tap("t1", f"csat_{survey}_3"))

    await asyncio.gather(page(1), phone(), page(2))
    async with desk.database.transaction(desk.workspace_id) as tx:
        facts = await rated(tx, state.id)
        assert len(facts) == 3
        assert [one.previous for one in facts] == [None, facts[0].rating, facts[1].rating]
        assert await tx.value("select rating from survey") == facts[-1].rating


async def test_an_unhappy_tap_sets_off_no_rule(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        await tx.run("update rule set enabled = true, enabled_at = now()")
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        unhappy = replace(tap("t1", f"csat_{survey}_1"), text="你们就是骗子，急急急！")
        await taps(desk, tx, unhappy)
        assert (await desk.state(tx, "zhou")).status is Status.RESOLVED
        history = await queries.history(tx, state.id)
        assert len([one for one in history if isinstance(one, ConversationHandedOff)]) == 1


async def test_thanks_go_out_once_with_a_link_to_say_more(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace_id) as tx:
        state = await resolved(desk, tx)
        survey = await ask(tx, state)
        assert survey is not None
        await taps(desk, tx, tap("t1", f"csat_{survey}_3"))
        for _ in range(2):
            await surveys.thank(tx, survey, limits=LIMITS, texts=Texts("zh"), links=LINKS, now=LATER)
        (text,) = await tx.values("select text from message where text like '谢谢%%'")
        assert text.partition("https://desk.example/s/")[2]
        assert (await transitions.lock(tx, state.id)).status is Status.RESOLVED
