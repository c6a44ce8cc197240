"""Gitea and Forgejo in particular: what is signed, what would cost a whole issue, what it refuses, how it counts."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET, GiteaStand, gitea_stand

from zhiban import bootstrap
from zhiban.integrations.forges.parts import marked
from zhiban.integrations.gitea import news
from zhiban.ports import (
    CommentDraft,
    ConnectionBroken,
    InvalidWebhook,
    IssueChange,
    IssueDraft,
    TrackerNews,
    TrackerRefused,
    TryLater,
    UnusableValues,
    VerifiedWebhook,
    Webhook,
)
from zhiban.testing.forge import FaultKind

GITEA = bootstrap.TRACKERS["gitea"]


@pytest.fixture
async def stand() -> AsyncIterator[GiteaStand]:
    async with gitea_stand() as found:
        yield found


def draft(**more: Any) -> IssueDraft:
    return IssueDraft(str(uuid4()), NAME, "支付页白屏", "五句话", **more)


def told(stand: GiteaStand, call: Webhook) -> list[TrackerNews]:
    found = stand.tracker.authenticate(call)
    assert isinstance(found, VerifiedWebhook)
    return list(stand.tracker.read(found.body))


async def test_a_form_is_signed_by_the_json_in_it(stand: GiteaStand) -> None:
    call = await stand.comes()
    form = urlencode({"payload": call.body.decode()}).encode()
    headers = {**call.headers, "content-type": ["application/x-www-form-urlencoded"]}
    (found,) = told(stand, replace(call, body=form, headers=headers))
    assert found.issue is not None
    assert found.issue.title == "打不开"
    over_the_form = hmac.new(WEBHOOK_SECRET.encode(), form, "sha256").hexdigest()
    for wrong in ({**headers, "x-gitea-signature": [over_the_form]}, {**headers, "x-gitea-signature": [""]}):
        with pytest.raises(InvalidWebhook):
            stand.tracker.authenticate(replace(call, body=form, headers=wrong))


async def test_what_happens_is_told_in_our_words(stand: GiteaStand) -> None:
    gitea, repo = stand.gitea, stand.repo
    all_told: list[TrackerNews] = []

    def hear(happening: Any) -> None:
        all_told.extend(told(stand, stand.call(happening)))

    hear(lambda: gitea.opens(repo, "chen", "打不开"))
    issue = repo.entries[1]
    hear(lambda: gitea.comments(repo, issue, "gitea-actions", "bump"))
    hear(lambda: gitea.closes(repo, issue, "chen"))
    hear(lambda: gitea.reopens(repo, issue, "lin"))
    hear(lambda: gitea.opens(repo, "chen", "修好它", pull_request=True))
    change = repo.entries[2]
    hear(lambda: gitea.reviews(repo, change, "lin", "rejected", "再看看"))
    hear(lambda: gitea.reviews(repo, change, "lin", "approved"))
    hear(lambda: gitea.comments(repo, change, "lin", "合了"))
    hear(lambda: gitea.merges(repo, change, "lin"))
    hear(lambda: gitea.releases(repo, "v1", "第一版"))
    said = [(one.kind, one.action, one.issue.number if one.issue else 0) for one in all_told]
    assert said == [
        ("issue", "opened", 1),
        ("comment", "created", 1),
        ("issue", "closed", 1),
        ("issue", "reopened", 1),
        ("change", "opened", 2),
        ("review", "changes_requested", 2),
        ("review", "approved", 2),
        ("comment", "created", 2),
        ("change", "closed", 2),
        ("release", "published", 0),
    ]
    assert all_told[1].actor.bot
    for at in (7, 8):
        issue_told = all_told[at].issue
        assert issue_told is not None
        assert issue_told.is_change
    assert all_told[8].issue is not None
    assert all_told[8].issue.reason == "merged"
    assert len({one.digest for one in all_told}) == len(all_told)
    assert not set(news.IGNORED) & set(news._READERS)


@pytest.mark.parametrize(
    ("kind", "more", "least", "most", "unknown"),
    [
        ("secondary", {}, 60, 70, False),
        ("limit", {"retry_after": 30}, 25, 40, False),
        ("broken_after", {}, 5, 5, True),
    ],
)
async def test_what_is_only_for_now_says_how_long(
    stand: GiteaStand, kind: FaultKind, more: dict[str, int], least: float, most: float, unknown: bool
) -> None:
    stand.forge.fails(kind, **more)
    with pytest.raises(TryLater) as raised:
        await stand.tracker.open_issue(draft())
    assert least <= raised.value.after <= most
    assert raised.value.unknown == unknown


async def test_refusals_are_told_apart(stand: GiteaStand) -> None:
    repo, grant = stand.repo, next(iter(stand.gitea.grants.values()))
    stand.gitea.opens(repo, "chen", "一")
    grant.writes.clear()
    repo.entries[1].locked = True
    assert await refused(stand, 1) == "locked"
    repo.entries[1].locked, repo.entries[1].deleted = False, True
    assert await refused(stand, 1) == "not_found"
    repo.archived = True
    assert await refused(stand) == "forbidden"
    repo.archived, repo.private = False, True
    assert await refused(stand) == "not_found"
    grant.scopes = {"read:issue", "read:repository"}
    repo.private = False
    with pytest.raises(ConnectionBroken):
        await stand.tracker.open_issue(draft())


async def refused(stand: GiteaStand, number: int = 0) -> str:
    comment = CommentDraft(str(uuid4()), NAME, number, "在吗")
    calling = stand.tracker.comment(comment) if number else stand.tracker.open_issue(draft())
    with pytest.raises(TrackerRefused) as raised:
        await calling
    assert raised.value.hint  # a sentence for people
    return raised.value.reason


async def test_who_cannot_be_assigned_costs_no_issue_and_is_named(stand: GiteaStand) -> None:
    opened = await stand.tracker.open_issue(draft(labels=("Bug", "没有的"), assignees=("chen", "nobody")))
    assert (opened.issue.labels, opened.issue.assignees) == (("bug",), ("chen",))
    assert (opened.dropped_labels, opened.dropped_assignees) == (("没有的",), ("nobody",))
    changed = await stand.tracker.update(NAME, 1, IssueChange(add_assignees=("desk",)))
    assert changed.issue.assignees == ("chen", "desk")


async def test_whatever_is_on_later_pages_is_found_although_their_links_lead_elsewhere(stand: GiteaStand) -> None:
    key = str(uuid4())
    stand.gitea.opens(stand.repo, "desk", "支付页白屏", marked("五句话", key))
    for number in range(120):
        stand.gitea.opens(stand.repo, "desk", f"另一个{number}")
    found = await stand.tracker.open_issue(IssueDraft(key, NAME, "支付页白屏", "五句话", tried_at=datetime.now(UTC)))
    assert found.issue.number == 1
    assert len([one async for one in stand.tracker.issues(NAME)]) == 121


async def test_long_titles_are_cut(stand: GiteaStand) -> None:
    await stand.tracker.open_issue(IssueDraft(str(uuid4()), NAME, "!1" * 128, "字"))
    assert len(stand.repo.entries[1].title) <= 255


def test_what_is_needed_and_who_says_where_it_is() -> None:
    complete = GITEA.setup.complete
    made = complete({"account": "acme", "token": "x"})
    assert (made["api_base"], len(made["webhook_secret"]) > 30) == ("https://gitea.com/api/v1", True)
    for wrong in ({"account": "acme"}, {"account": "acme/shop", "token": "x"}):
        with pytest.raises(UnusableValues):
            complete(wrong)
    assert GITEA.setup.is_operators(complete({"account": "a", "token": "x", "api_base": "http://10.0.0.1/api/v1"}))
    assert "api_base" not in {field.name for field in GITEA.setup.agents_fields}
