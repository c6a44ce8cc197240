"""GitHub in particular: who we are, what it refuses, its limits, and what its webhooks say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.ports.tracker_stands import NAME, FreeBudgets, GitHubStand, app_keys, github_stand

from zhiban import bootstrap
from zhiban.integrations.forges import client
from zhiban.integrations.github import news, parts
from zhiban.integrations.github.hooks import read, verified
from zhiban.integrations.wecom.tokens import MemoryTokens
from zhiban.kit.breaker import LocalBreakers
from zhiban.kit.clock import SetClock, SystemClock
from zhiban.kit.errors import Misconfigured
from zhiban.kit.http import Http
from zhiban.ports import (
    CommentDraft,
    ConnectionBroken,
    InvalidWebhook,
    IssueChange,
    IssueDraft,
    Tracker,
    TrackerRefused,
    TryLater,
    UnusableValues,
    Webhook,
)
from zhiban.testing.github.simulator import FaultKind

GITHUB = bootstrap.TRACKERS["github"]


@pytest.fixture
async def stand() -> AsyncIterator[GitHubStand]:
    async with github_stand(app=True) as found:
        yield found


def draft(**more: Any) -> IssueDraft:
    return IssueDraft(str(uuid4()), NAME, "支付页白屏", "五句话", **more)


# --------------------------------------------------------------------------------------------------------- webhooks


def call(body: bytes, **headers: str) -> Webhook:
    return Webhook("POST", {}, body, datetime.now(UTC), {name: [value] for name, value in headers.items()})


def test_githubs_own_vector() -> None:
    """https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries"""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"x-hub-signature-256": signature, "x-github-event": "ping"}
    found = verified([b"It's a Secret to Everybody"], call(b"Hello, World!", **headers))
    assert not found.parsable  # genuine, and no JSON
    with pytest.raises(InvalidWebhook):
        verified([b"another secret"], call(b"Hello, World!", **headers))


def test_the_old_signature_alone_is_not_believed() -> None:
    sha1 = "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"
    for headers in ({"x-hub-signature": sha1}, {"x-hub-signature-256": sha1}, {"x-hub-signature-256": "sha256="}):
        with pytest.raises(InvalidWebhook):
            verified([b"s"], call(b"{}", **{"x-github-event": "issues"}, **headers))
    with pytest.raises(InvalidWebhook):
        verified([], call(b"{}"))


async def test_a_hook_that_sends_forms_is_read_too(stand: GitHubStand) -> None:
    came = await stand.comes()
    from hashlib import sha256
    from hmac import new
    from urllib.parse import urlencode

    body = urlencode({"payload": came.body.decode()}).encode()
    signature = "sha256=" + new(b"s", body, sha256).hexdigest()
    headers = {"x-hub-signature-256": signature, "x-github-event": "issues"}
    found = verified([b"s"], call(body, **headers, **{"content-type": "application/x-www-form-urlencoded"}))
    (told,) = read(found.body)
    assert told.issue is not None
    assert told.issue.title == "打不开"


def test_only_the_end_of_a_text_is_our_mark() -> None:
    key = str(uuid4())
    assert parts.key_in(parts.marked("五句", key)) == key
    assert parts.without_mark(parts.marked("五句", key)) == "五句"
    assert parts.key_in(f"> {parts.mark_of(key)}\n我也是") == ""


async def test_what_happens_is_told_in_our_words(stand: GitHubStand) -> None:
    hooks, repo = stand.github.hooks, stand.repo
    hooks.paused = True
    hooks.add("http://127.0.0.1:9/", "s")
    entry = stand.github.opens(repo, "chen", "打不开")
    stand.github.comments(repo, entry, "dependabot[bot]", "bump")
    stand.github.closes(repo, entry, "chen", "not_planned")
    change = stand.github.opens(repo, "chen", "修好它", pull_request=True)
    stand.github.reviews(repo, change, "lin", "changes_requested", "再看看", "这一行", "还有这行")
    stand.github.merges(repo, change, "lin")
    stand.github.comments(repo, change, "lin", "合了")
    told = [
        one
        for delivery in hooks.waiting
        for one in read(json.dumps({"event": delivery.event, "payload": json.loads(delivery.body)}))
    ]
    said = [(one.kind, one.action, one.issue.number if one.issue else 0) for one in told]
    assert said == [
        ("issue", "opened", 1),
        ("comment", "created", 1),
        ("issue", "closed", 1),
        ("change", "opened", 2),
        ("review", "changes_requested", 2),
        ("review", "line", 2),
        ("review", "line", 2),
        ("change", "closed", 2),
        ("comment", "created", 2),
    ]
    assert told[1].actor.bot
    assert told[2].issue is not None
    assert told[2].issue.reason == "not_planned"
    assert told[7].issue is not None
    assert told[7].issue.reason == "merged"
    assert told[8].issue is not None
    assert told[8].issue.is_change
    assert len({one.summary["review"] for one in told[4:7]}) == 1
    assert len({one.digest for one in told}) == len(told)


def test_every_event_that_is_ignored_has_a_reason_and_no_reader() -> None:
    assert not set(news.IGNORED) & set(news._READERS)
    assert all(news.IGNORED.values())
    assert set(news.IGNORED_ACTIONS) <= set(news._READERS)


# ----------------------------------------------------------------------------------------------------------- refusals


async def test_labels_and_assignees_that_were_dropped_without_a_word_are_named(stand: GitHubStand) -> None:
    stand.installation.pushes = False
    opened = await stand.tracker.open_issue(draft(labels=("bug",), assignees=("chen",)))
    assert (opened.dropped_labels, opened.dropped_assignees) == (("bug",), ("chen",))
    changed = await stand.tracker.update(NAME, 1, IssueChange(add_labels=("bug",), add_assignees=("chen",)))
    assert (changed.dropped_labels, changed.dropped_assignees) == (("bug",), ("chen",))


async def test_one_who_cannot_be_assigned_costs_neither_the_issue_nor_the_others(stand: GitHubStand) -> None:
    opened = await stand.tracker.open_issue(draft(assignees=("chen", "nobody")))
    assert (opened.issue.assignees, opened.dropped_assignees) == (("chen",), ("nobody",))
    assert len(stand.repo.entries) == 1


async def test_a_token_of_the_installation_that_expired_is_renewed_once(stand: GitHubStand) -> None:
    await stand.tracker.open_issue(draft())
    stand.github.grants.clear()
    await stand.tracker.open_issue(draft())
    assert len(stand.repo.entries) == 2
    assert len([one for one in stand.github.calls if one[1].endswith("/access_tokens")]) == 2


async def test_a_github_whose_clock_is_behind_ours_believes_who_we_are(stand: GitHubStand) -> None:
    stand.github.now = lambda: datetime.now(UTC) - timedelta(seconds=45)
    await stand.tracker.open_issue(draft())
    assert len(stand.repo.entries) == 1


@pytest.mark.parametrize(
    ("kind", "more", "least", "most", "unknown"),
    [
        ("429", {"retry_after": 7}, 7, 12, False),
        ("secondary", {}, 60, 70, False),
        ("limit", {"retry_after": 30}, 25, 40, False),
        ("502", {}, 5, 5, True),
        ("broken_after", {}, 5, 5, True),
    ],
)
async def test_what_is_only_for_now_says_how_long(
    stand: GitHubStand, kind: FaultKind, more: dict[str, int], least: float, most: float, unknown: bool
) -> None:
    stand.github.fails(kind, **more)
    with pytest.raises(TryLater) as raised:
        await stand.tracker.open_issue(draft())
    assert least <= raised.value.after <= most
    assert raised.value.unknown == unknown
    asked = len(stand.github.calls)
    if not unknown:  # nothing is asked before the pause is over
        with pytest.raises(TryLater):
            await stand.tracker.issue(NAME, 1)
        assert len(stand.github.calls) == asked


async def test_of_an_hour_github_gets_five_hundred_writes_and_would_take_no_more(stand: GitHubStand) -> None:
    clock = SetClock(datetime(2026, 11, 27, 6, tzinfo=UTC))
    github, breakers = stand.github, LocalBreakers(now=lambda: clock.now().timestamp())
    github.now = clock.now
    stand.github.opens(stand.repo, "chen", "一")
    ours, careless = (stand.tracker_with(one, clock) for one in (breakers, FreeBudgets()))

    async def comments(tracker: Tracker) -> None:
        await tracker.comment(CommentDraft(str(uuid4()), NAME, 1, "还在"))

    for _ in range(500):
        await comments(ours)
        clock.advance(timedelta(seconds=1))
    asked = len(github.calls)
    with pytest.raises(TryLater) as raised:
        await comments(ours)
    assert (raised.value.unknown, 3600 - 502 < raised.value.after <= 3600 - 500) == (False, True)
    assert len(github.calls) == asked  # it is not even asked
    with pytest.raises(TryLater) as raised:
        await comments(careless)  # a client that does not count
    assert raised.value.code == 403
    assert len(stand.repo.entries[1].comments) == 500
    clock.advance(timedelta(seconds=3601 - 500))
    await comments(ours)


async def test_what_github_takes_after_we_hung_up_is_found_and_not_written_twice(
    stand: GitHubStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand.tracker.open_issue(draft())  # with a token at hand
    for calling in (draft(), CommentDraft(str(uuid4()), NAME, 1, "还在")):
        stand.github.fails("slow", ending="/issues" if isinstance(calling, IssueDraft) else "/comments")
        writes = stand.tracker.open_issue if isinstance(calling, IssueDraft) else stand.tracker.comment

        def written(issue: bool = isinstance(calling, IssueDraft)) -> bool:
            return len(stand.repo.entries) == 2 if issue else bool(stand.repo.entries[1].comments)

        began = datetime.now(UTC)
        with monkeypatch.context() as patched:
            patched.setattr(client, "TIMEOUT", 0.2)  # GitHub takes 0.3
            with pytest.raises(TryLater) as raised:
                await writes(calling)  # type: ignore[operator]
        assert raised.value.unknown
        async with asyncio.timeout(30):
            while not written():  # noqa: ASYNC110 - it goes on over there
                await asyncio.sleep(0.01)
        await writes(replace(calling, tried_at=began))  # type: ignore[operator]
    assert len(stand.repo.entries) == 2
    assert len(stand.repo.entries[1].comments) == 1


async def test_refusals_are_told_apart(stand: GitHubStand) -> None:
    repo = stand.repo
    entry = stand.github.opens(repo, "chen", "一")
    stand.installation.pushes = False
    entry.locked = True
    assert await refused(stand, number=1) == "locked"
    entry.locked, entry.deleted = False, True
    assert await refused(stand, number=1) == "gone"
    repo.archived = True
    assert await refused(stand) == "forbidden"
    repo.archived, stand.installation.permissions = False, {"issues": "read"}
    assert await refused(stand) == "forbidden"
    stand.installation.permissions = {"issues": "write"}
    stand.installation.repositories.clear()
    repo.private = True
    assert await refused(stand) == "not_found"


async def refused(stand: GitHubStand, number: int = 0) -> str:
    comment = CommentDraft(str(uuid4()), NAME, number, "在吗")
    calling = stand.tracker.comment(comment) if number else stand.tracker.open_issue(draft())
    with pytest.raises(TrackerRefused) as raised:
        await calling
    assert raised.value.hint  # a sentence for people
    return raised.value.reason


async def test_what_is_too_long_is_not_sent(stand: GitHubStand) -> None:
    key = str(uuid4())
    room = 65_536 - len(parts.marked("", key))
    await stand.tracker.open_issue(IssueDraft(key, NAME, "长", "字" * room))
    for wish in (IssueDraft(str(uuid4()), NAME, "长", "字" * (room + 1)), IssueDraft(str(uuid4()), NAME, " ", "字")):
        with pytest.raises(TrackerRefused) as raised:
            await stand.tracker.open_issue(wish)
        assert raised.value.reason == "invalid"
    assert len(stand.repo.entries) == 1


async def test_an_issue_that_was_lost_is_found_among_many(stand: GitHubStand) -> None:
    """Behind a hundred others of ours; one that merely quotes our mark is not taken for ours."""
    key = str(uuid4())
    stand.github.opens(stand.repo, "zhiban[bot]", "支付页白屏", parts.marked("五句话", key), app=True)
    for number in range(120):
        stand.github.opens(stand.repo, "zhiban[bot]", f"另一个{number}", f"> {parts.mark_of(key)}\n又一个", app=True)
    wish = IssueDraft(key, NAME, "支付页白屏", "五句话", tried_at=datetime.now(UTC))
    assert (await stand.tracker.open_issue(wish)).issue.number == 1
    assert len(stand.repo.entries) == 121


async def test_two_writes_are_a_second_apart() -> None:
    async with github_stand(app=False) as stand, Http() as http:
        address = stand.tracker._config.api_base  # type: ignore[attr-defined]
        config = {"account": "acme", "api_base": address}
        token = stand.github.token("zhiban-user", stand.repo)
        breakers = LocalBreakers()
        one, two = (
            GITHUB.build(http, SystemClock(), config, {"token": token}, MemoryTokens(), breakers) for _ in range(2)
        )
        began = datetime.now(UTC)
        await one.open_issue(draft())
        await two.open_issue(draft())
        assert datetime.now(UTC) - began >= timedelta(seconds=0.9)


async def test_what_github_could_not_deliver_is_asked_for_again(stand: GitHubStand) -> None:
    hooks = stand.github.hooks
    hooks.paused = True
    hooks.add("http://127.0.0.1:9/", "s", app_id=1)
    for name in ("一", "二", "三"):
        stand.github.opens(stand.repo, "chen", name)
    hooks.deliveries[0].status = 202
    since = datetime.now(UTC) - timedelta(hours=1)
    assert await stand.tracker.redeliver(since=since) == 2  # type: ignore[attr-defined]
    assert [one.guid for one in hooks.deliveries[3:]] == [hooks.deliveries[2].guid, hooks.deliveries[1].guid]
    await hooks.settled()
    for one in hooks.deliveries[3:]:
        one.status = 202  # they arrived
    assert await stand.tracker.redeliver(since=since) == 0  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------------ set-up


def test_a_token_or_an_app_is_needed() -> None:
    complete = GITHUB.setup.complete
    made = complete({"account": "acme", "token": "github_pat_x"})
    assert len(made["webhook_secret"]) > 30
    assert complete({"account": "acme", "app_id": "42", "private_key": "pem"})["api_base"] == "https://api.github.com"
    for wrong in ({"account": "acme"}, {"account": "acme/shop", "token": "x"}, {"account": "acme", "app_id": "42"}):
        with pytest.raises(UnusableValues):
            complete(wrong)
    assert GITHUB.setup.is_operators(complete({"account": "a", "token": "x", "api_base": "http://127.0.0.1/api/v3"}))


async def test_a_key_that_is_no_key_is_said(stand: GitHubStand) -> None:
    async with Http() as http:
        config = {"account": "acme", "app_id": "42", "api_base": "http://127.0.0.1:9"}
        tracker = GITHUB.build(http, SystemClock(), config, {"private_key": "no"}, MemoryTokens(), LocalBreakers())
        with pytest.raises(Misconfigured):
            await tracker.issue(NAME, 1)
        assert [one.level async for one in tracker.checks()] == ["fail"]


async def test_an_app_that_is_installed_nowhere_is_said(stand: GitHubStand) -> None:
    assert stand.app is not None
    stand.app.installations.clear()
    with pytest.raises(ConnectionBroken):
        await stand.tracker.issue(NAME, 1)
    assert app_keys()[0].startswith("-----BEGIN")


@pytest.mark.parametrize(("app_id", "ours"), [("42", True), ("Iv1.mine", True), ("43", False), ("", False)])
def test_what_our_app_wrote_is_ours_without_a_mark_too(app_id: str, ours: bool) -> None:
    """A comment by another process of ours, whose mark somebody took out."""
    comment = {
        "id": 9, "body": "还在丢", "html_url": "https://github.com/acme/shop/issues/1#9",
        "user": {"login": "zhiban[bot]", "type": "Bot"}, "created_at": "2026-11-27T06:00:00Z",
        "performed_via_github_app": {"id": 42, "client_id": "Iv1.mine"},
    }  # fmt: skip
    issue = {"number": 1, "title": "一", "state": "open", "created_at": "2026-11-27T05:00:00Z"}
    payload = {
        "action": "created", "comment": comment, "issue": issue, "sender": comment["user"],
        "repository": {"id": 1, "full_name": NAME},
    }  # fmt: skip
    (told,) = news.read("issue_comment", payload, app_id=app_id)
    assert told.comment is not None
    assert (told.actor.ours, told.comment.author.ours, told.key) == (ours, ours, "")


@pytest.mark.parametrize(
    ("conclusion", "branch", "told"),
    [
        ("failure", "main", True),
        ("failure", "feature", False),
        ("success", "main", False),
        ("cancelled", "main", False),
    ],
)
def test_only_a_run_that_failed_on_the_default_branch_is_news(conclusion: str, branch: str, told: bool) -> None:
    run = {
        "id": 5, "name": "CI", "conclusion": conclusion, "head_branch": branch, "updated_at": "2026-11-27T06:00:00Z",
        "html_url": "https://github.com/acme/shop/actions/runs/5",
    }  # fmt: skip
    place = {"id": 1, "full_name": NAME, "default_branch": "main"}
    payload = {"action": "completed", "workflow_run": run, "repository": place, "sender": {"login": "chen"}}
    found = news.read("workflow_run", payload)
    assert [(one.kind, one.action, one.summary["name"]) for one in found] == [("workflow", "failed", "CI")] * told
