"""What every tracker promises: the twin in memory and each real one, over the simulated wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ports.tracker_stands import NAME, STANDS, Stand
from zhiban import bootstrap
from zhiban.ports import (
    CommentDraft,
    ConnectionBroken,
    InvalidWebhook,
    IssueChange,
    IssueDraft,
    ListsComments,
    TakesReactions,
    Tracker,
    TrackerRefused,
    TryLater,
    VerifiedWebhook,
    Webhook,
    WebhookOutcome,
)


@pytest.fixture(params=STANDS)
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(STANDS[request.param]())  # type: ignore[arg-type]


def draft(**more: object) -> IssueDraft:
    return IssueDraft(str(uuid4()), NAME, "支付页白屏", "五句话\n> 引用", **more)  # type: ignore[arg-type]


def test_every_tracker_is_held_to_this_contract(stand: Stand) -> None:
    assert {one.partition("_")[0] for one in STANDS} == {*bootstrap.TRACKERS, "memory"}
    assert isinstance(stand.tracker, Tracker)


async def test_an_issue_is_opened_as_it_was_asked_for(stand: Stand) -> None:
    opened = await stand.tracker.open_issue(draft(labels=("bug",), assignees=("chen",)))
    issue = opened.issue
    assert (issue.title, issue.body, issue.state) == ("支付页白屏", "五句话\n> 引用", "open")
    assert (issue.labels, issue.assignees, issue.author.ours) == (("bug",), ("chen",), True)
    assert (opened.dropped_labels, opened.dropped_assignees) == ((), ())
    assert issue.url.startswith("https://")
    assert await stand.tracker.issue(NAME, issue.number) == issue


async def test_an_issue_whose_answer_was_lost_is_found_again(stand: Stand) -> None:
    wish = draft()
    stand.lost()
    with pytest.raises(TryLater) as raised:
        await stand.tracker.open_issue(wish)
    assert raised.value.unknown
    again = IssueDraft(wish.key, NAME, wish.title, wish.body, tried_at=datetime.now(UTC) - timedelta(seconds=2))
    found = await stand.tracker.open_issue(again)
    assert stand.written() == ["支付页白屏"]
    assert found.issue.title == "支付页白屏"


async def test_a_comment_whose_answer_was_lost_is_found_again(stand: Stand) -> None:
    number = (await stand.tracker.open_issue(draft())).issue.number
    wish = CommentDraft(str(uuid4()), NAME, number, "还在发生")
    stand.lost()
    with pytest.raises(TryLater):
        await stand.tracker.comment(wish)
    again = CommentDraft(wish.key, NAME, number, wish.body, tried_at=datetime.now(UTC) - timedelta(seconds=2))
    comment = await stand.tracker.comment(again)
    assert (comment.body, comment.author.ours) == ("还在发生", True)
    assert len(stand.said(number)) == 1


async def test_what_is_busy_does_nothing_and_says_how_long(stand: Stand) -> None:
    stand.busy()
    with pytest.raises(TryLater) as raised:
        await stand.tracker.open_issue(draft())
    assert not raised.value.unknown
    assert raised.value.after >= 60
    assert not stand.written()


async def test_refused_credentials_are_no_refusal_of_the_issue(stand: Stand) -> None:
    stand.broken()
    with pytest.raises(ConnectionBroken):
        await stand.tracker.open_issue(draft())
    assert "fail" in [one.level async for one in stand.tracker.checks()]


async def test_checks_of_a_working_connection_are_fine(stand: Stand) -> None:
    assert {one.level async for one in stand.tracker.checks()} == {"ok"}


async def test_a_renamed_repository_says_its_new_name(stand: Stand) -> None:
    stand.renamed()
    with pytest.raises(TrackerRefused) as raised:
        await stand.tracker.open_issue(draft())
    expected = ("moved", "acme/store") if stand.leads_on else ("not_found", "")
    assert (raised.value.reason, raised.value.moved_to) == expected
    assert [one.name async for one in stand.tracker.repositories()] == ["acme/store"]


async def test_a_repository_without_issues_refuses(stand: Stand) -> None:
    stand.closed_for_issues()
    with pytest.raises(TrackerRefused) as raised:
        await stand.tracker.open_issue(draft())
    assert raised.value.reason == "issues_disabled"


async def test_what_is_not_there_is_not_found(stand: Stand) -> None:
    for calling in (
        stand.tracker.issue(NAME, 4711),
        stand.tracker.comment(CommentDraft(str(uuid4()), NAME, 4711, "在吗")),
        stand.tracker.update("acme/nothing", 1, IssueChange(state="closed")),
    ):
        with pytest.raises(TrackerRefused) as raised:
            await calling
        assert raised.value.reason == "not_found"


async def test_a_comment_of_ours_can_be_taken_away_and_twice_is_once(stand: Stand) -> None:
    number = (await stand.tracker.open_issue(draft())).issue.number
    kept = await stand.tracker.comment(CommentDraft(str(uuid4()), NAME, number, "留着"))
    gone = await stand.tracker.comment(CommentDraft(str(uuid4()), NAME, number, "13800006021"))
    for _ in range(2):
        await stand.tracker.delete_comment(NAME, number, gone.external_id)
    assert [kept.body in one for one in stand.said(number)] == [True]


async def test_changing_twice_is_changing_once(stand: Stand) -> None:
    number = (await stand.tracker.open_issue(draft(labels=("bug",)))).issue.number
    change = IssueChange(
        state="closed", reason="not_planned", add_labels=("question",), remove_labels=("bug",), add_assignees=("chen",)
    )
    for _ in range(2):
        changed = (await stand.tracker.update(NAME, number, change)).issue
        assert (changed.state, changed.reason) == ("closed", "not_planned" if stand.gives_reasons else "")
        assert (changed.labels, changed.assignees) == (("question",), ("chen",))
    back = (await stand.tracker.update(NAME, number, IssueChange(state="open", title="好了"))).issue
    assert (back.state, back.title) == ("open", "好了")


async def test_issues_come_oldest_change_first_and_since(stand: Stand) -> None:
    for _ in range(3):
        await stand.tracker.open_issue(draft())
    found = [one async for one in stand.tracker.issues(NAME)]
    assert [one.updated_at for one in found] == sorted(one.updated_at for one in found)
    assert len(found) == 3
    assert not [one async for one in stand.tracker.issues(NAME, since=datetime.now(UTC) + timedelta(hours=1))]
    assert [one.name async for one in stand.tracker.repositories()] == [NAME]


async def test_only_genuine_calls_are_let_in(stand: Stand) -> None:
    call = await stand.comes()
    found = stand.tracker.authenticate(call)
    assert isinstance(found, VerifiedWebhook)
    assert len(found.digest) == 32
    (news,) = stand.tracker.read(found.body)
    assert (news.kind, news.action, news.actor.login) == ("issue", "opened", "chen")
    assert news.issue is not None
    assert news.issue.title == "打不开"
    assert not news.actor.ours
    spoilt = call.body[:9] + b" " + call.body[9:]
    for forged in (
        *([Webhook("POST", {}, spoilt, call.received_at, call.headers)] if stand.signs_bodies else []),
        Webhook("POST", {}, call.body, call.received_at, {}),
        Webhook("GET", {}, b"", call.received_at, {}),
    ):
        with pytest.raises(InvalidWebhook):
            stand.tracker.authenticate(forged)
    assert 200 <= stand.tracker.acknowledge(WebhookOutcome.STORED, status=200).status < 300
    assert stand.tracker.acknowledge(WebhookOutcome.REFUSED, status=403).status == 403


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(body=st.text())
async def test_nothing_that_was_stored_breaks_the_reader(stand: Stand, body: str) -> None:
    assert stand.tracker.read(body) is not None


async def test_a_reaction_stands_once_and_can_be_taken_back(stand: Stand) -> None:
    tracker = stand.tracker
    if not isinstance(tracker, TakesReactions):
        pytest.skip("this tracker has no reactions")
    number = (await tracker.open_issue(draft())).issue.number
    comment = await tracker.comment(CommentDraft(str(uuid4()), NAME, number, "还在发生"))
    for where in ("", comment.external_id):
        first = await tracker.react(NAME, number, "up", comment=where)
        assert await tracker.react(NAME, number, "up", comment=where) == first
        for _ in range(2):
            await tracker.take_back_reaction(NAME, number, first, comment=where)
    with pytest.raises(TrackerRefused):
        await tracker.react(NAME, 4711, "heart")


async def test_comments_of_a_repository_come_oldest_change_first(stand: Stand) -> None:
    tracker = stand.tracker
    if not isinstance(tracker, ListsComments):
        pytest.skip("this tracker tells no comments of a repository")
    wish = CommentDraft(str(uuid4()), NAME, (await tracker.open_issue(draft())).issue.number, "还在发生")
    await tracker.comment(wish)
    since = datetime.now(UTC) - timedelta(minutes=5)
    ((number, comment),) = [one async for one in tracker.comments(NAME, since=since)]
    assert (number, comment.body, comment.key, comment.author.ours) == (wish.number, wish.body, wish.key, True)
    assert not [one async for one in tracker.comments(NAME, since=datetime.now(UTC) + timedelta(hours=1))]
