"""GitLab in particular: what proves a call, what is nobody else's business, what it refuses, and what it drops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET, GitLabStand, gitlab_stand

from zhiban import bootstrap
from zhiban.integrations.forges.parts import CHANGES, marked
from zhiban.integrations.gitlab import news
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
from zhiban.testing.gitlab.simulator import APART, GUEST, GitLabHooks

GITLAB = bootstrap.TRACKERS["gitlab"]


@pytest.fixture
async def stand() -> AsyncIterator[GitLabStand]:
    async with gitlab_stand() as found:
        yield found


def draft(**more: Any) -> IssueDraft:
    return IssueDraft(str(uuid4()), NAME, "支付页白屏", "五句话", **more)


def told(stand: GitLabStand, call: Webhook) -> list[TrackerNews]:
    found = stand.tracker.authenticate(call)
    assert isinstance(found, VerifiedWebhook)
    return list(stand.tracker.read(found.body))


# --------------------------------------------------------------------------------------------------------- webhooks


async def test_a_secret_token_proves_a_call_where_nothing_is_signed(stand: GitLabStand) -> None:
    hooks = stand.forge.hooks
    assert isinstance(hooks, GitLabHooks)
    hooks.tokens = True
    call = await stand.comes()
    assert told(stand, call)[0].action == "opened"
    for wrong in (["another"], [""], [WEBHOOK_SECRET, WEBHOOK_SECRET], []):
        with pytest.raises(InvalidWebhook):
            stand.tracker.authenticate(replace(call, headers={**call.headers, "x-gitlab-token": wrong}))


async def test_a_signature_is_not_replaced_by_a_token_nor_said_again_later(stand: GitLabStand) -> None:
    call = await stand.comes()
    assert told(stand, call)
    forged = {**call.headers, "webhook-signature": ["v1,AAAA"], "x-gitlab-token": [WEBHOOK_SECRET]}
    later = call.received_at + timedelta(minutes=10)
    for wrong in (replace(call, headers=forged), replace(call, received_at=later)):
        with pytest.raises(InvalidWebhook):
            stand.tracker.authenticate(wrong)


async def test_two_hooks_that_tell_the_same_are_one_delivery(stand: GitLabStand) -> None:
    first = await stand.comes()
    other = {**first.headers, "idempotency-key": [str(uuid4())], "x-gitlab-event-uuid": [str(uuid4())]}
    digests = {stand.tracker.authenticate(replace(first, headers=one)).digest for one in (first.headers, other)}  # type: ignore[union-attr]
    assert len(digests) == 1


async def test_what_happens_is_told_in_our_words(stand: GitLabStand) -> None:
    gitlab, repo = stand.gitlab, stand.repo
    said: list[tuple[str, str, int]] = []
    all_told: list[TrackerNews] = []

    def hear(happening: Any) -> None:
        for one in told(stand, stand.call(happening)):
            all_told.append(one)
            said.append((one.kind, one.action, one.issue.number if one.issue else 0))

    hear(lambda: gitlab.opens(repo, "chen", "打不开"))
    issue = repo.entries[1]
    hear(lambda: gitlab.comments(repo, issue, "project_7_bot_0a1b", "bump"))
    hear(lambda: gitlab.closes(repo, issue, "chen"))
    hear(lambda: gitlab.reopens(repo, issue, "lin"))
    hear(lambda: gitlab.changes(repo, issue, "lin", title="打不开了"))
    hear(lambda: gitlab.opens(repo, "chen", "修好它", pull_request=True))
    change = repo.entries[1 + APART]
    hear(lambda: gitlab.tell(repo, change, "approved", gitlab.account("lin")))
    comment = gitlab.comments(repo, change, "lin", "这一行")
    hear(lambda: gitlab.tell_note(repo, change, comment, type="DiffNote"))
    hear(lambda: gitlab.comments(repo, change, "lin", "合了"))
    hear(lambda: gitlab.merges(repo, change, "lin"))
    hear(lambda: gitlab.releases(repo, "v1", "第一版"))
    assert said == [
        ("issue", "opened", 1),
        ("comment", "created", 1),
        ("issue", "closed", 1),
        ("issue", "reopened", 1),
        ("issue", "edited", 1),
        ("change", "opened", 1 + CHANGES),
        ("review", "approved", 1 + CHANGES),
        ("review", "line", 1 + CHANGES),
        ("comment", "created", 1 + CHANGES),
        ("change", "closed", 1 + CHANGES),
        ("release", "published", 0),
    ]
    assert all_told[1].actor.bot
    assert not all_told[0].actor.bot
    assert all_told[9].issue is not None
    assert all_told[9].issue.reason == "merged"
    assert all_told[9].issue.url.endswith("/-/merge_requests/1")
    assert len({one.digest for one in all_told}) == len(all_told)
    assert {one.happened_at.tzinfo for one in all_told} == {UTC}
    assert all(abs(datetime.now(UTC) - one.happened_at) < timedelta(minutes=1) for one in all_told)


async def test_what_is_confidential_reaches_nobody(stand: GitLabStand) -> None:
    gitlab, repo = stand.gitlab, stand.repo
    entry = gitlab.opens(repo, "chen", "能看到别人的订单")
    entry.confidential = True
    (changed,) = told(stand, stand.call(lambda: gitlab.changes(repo, entry, "chen", body="还有地址")))
    assert changed.issue is not None
    assert changed.issue.confidential
    assert not changed.issue.title + changed.issue.body
    assert not told(stand, stand.call(lambda: gitlab.comments(repo, entry, "chen", "怎么做到的")))
    assert [one.confidential async for one in stand.tracker.issues(NAME)] == [True]  # known or not, nobody hears of it
    assert (await stand.tracker.issue(NAME, entry.number)).confidential
    open_one = gitlab.opens(repo, "chen", "导出乱码")
    comment = gitlab.comments(repo, open_one, "chen", "客户是……")
    comment.internal = True
    assert not told(stand, stand.call(lambda: gitlab.tell_note(repo, open_one, comment)))
    system = stand.call(
        lambda: gitlab.tell_note(repo, open_one, gitlab.comments(repo, open_one, "chen", "x"), system=True)
    )
    assert not told(stand, system)


async def test_comments_are_looked_for_in_what_changed_and_internal_ones_are_not_told(stand: GitLabStand) -> None:
    gitlab, repo, began = stand.gitlab, stand.repo, stand.gitlab.now()
    issue, change = gitlab.opens(repo, "chen", "导出乱码"), gitlab.opens(repo, "chen", "修好导出", pull_request=True)
    secret = gitlab.opens(repo, "chen", "机密")
    secret.confidential = True
    gitlab.comments(repo, secret, "chen", "机密")
    gitlab.comments(repo, issue, "chen", "客户是……").internal = True
    old = gitlab.comments(repo, issue, "lin", "很久以前说的")
    old.created_at = old.updated_at = began - timedelta(days=9)
    gitlab.comments(repo, change, "lin", "合了")
    edited = gitlab.comments(repo, issue, "lin", "还在")
    edited.created_at -= timedelta(days=9)
    clock, gitlab.now = gitlab.now, lambda: began + timedelta(minutes=1)
    gitlab.edits(repo, issue, edited, "还在发生")
    gitlab.now = clock

    async def said() -> list[tuple[int, str]]:
        since = began - timedelta(hours=1)
        return [(number, one.body) async for number, one in stand.tracker.comments(NAME, since=since)]

    there = [(change.number + CHANGES, "合了"), (issue.number, "还在发生")]
    assert await said() == there
    # Who may not see the code has no merge requests.
    (grant,) = gitlab.grants.values()
    repo.private, grant.roles[repo.id] = True, GUEST
    assert await said() == there[1:]


async def test_a_reaction_of_another_account_is_no_trouble_of_the_connection(stand: GitLabStand) -> None:
    gitlab, repo = stand.gitlab, stand.repo
    entry = gitlab.opens(repo, "chen", "导出乱码")
    theirs, _ = gitlab.reacts(entry.reactions, "chen", "thumbsup")
    ours = await stand.tracker.react(NAME, entry.number, "up")
    assert ours != str(theirs.id)
    with pytest.raises(TrackerRefused) as caught:
        await stand.tracker.take_back_reaction(NAME, entry.number, str(theirs.id))
    assert caught.value.reason == "forbidden"
    stand.broken()
    with pytest.raises(ConnectionBroken):
        await stand.tracker.take_back_reaction(NAME, entry.number, ours)


async def test_a_hook_that_is_only_tried_out_and_what_is_not_ours_say_nothing(stand: GitLabStand) -> None:
    (opened,) = [json.loads(stand.call(lambda: stand.gitlab.opens(stand.repo, "chen", "一")).body)]
    del opened["object_attributes"]["action"]
    assert not news.read("Issue Hook", opened)
    for kind in news.IGNORED:
        assert not news.read("Any Hook", {**opened, "object_kind": kind})
    assert not set(news.IGNORED) & set(news._READERS)


def test_a_groups_hook_says_that_a_project_has_another_name() -> None:
    payload = {
        "event_name": "project_rename", "project_id": 74, "path_with_namespace": "acme/store",
        "old_path_with_namespace": "acme/shop", "project_visibility": "private", "owner_name": "Chen",
        "created_at": "2026-11-20T02:00:00Z", "updated_at": "2026-11-20T02:01:00Z",
    }  # fmt: skip
    (found,) = news.read("Subgroup Hook", payload)
    assert (found.kind, found.action, found.repository.name, found.repository.private) == (
        "repository", "renamed", "acme/store", True,
    )  # fmt: skip
    assert found.repository.external_id == "74"


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("kind", "more", "least", "most", "unknown"),
    [
        ("429", {"retry_after": 7}, 7, 12, False),
        ("secondary", {}, 60, 70, False),
        ("limit", {"retry_after": 30}, 25, 40, False),
        ("broken_after", {}, 5, 5, True),
    ],
)
async def test_what_is_only_for_now_says_how_long(
    stand: GitLabStand, kind: FaultKind, more: dict[str, int], least: float, most: float, unknown: bool
) -> None:
    stand.forge.fails(kind, **more)
    with pytest.raises(TryLater) as raised:
        await stand.tracker.open_issue(draft())
    assert least <= raised.value.after <= most
    assert raised.value.unknown == unknown


async def test_refusals_that_say_nothing_are_found_out(stand: GitLabStand) -> None:
    repo, grant = stand.repo, next(iter(stand.gitlab.grants.values()))
    stand.gitlab.opens(repo, "chen", "一")
    grant.roles[repo.id] = 10
    repo.entries[1].locked = True
    assert await refused(stand, 1) == "locked"
    repo.entries[1].locked = False
    repo.entries[1].deleted = True
    assert await refused(stand, 1) == "not_found"
    repo.archived = True
    assert await refused(stand) == "forbidden"
    repo.archived, repo.private = False, True
    grant.roles.clear()
    assert await refused(stand) == "not_found"
    grant.scopes = {"read_api"}
    with pytest.raises(ConnectionBroken):
        await stand.tracker.open_issue(draft())


async def refused(stand: GitLabStand, number: int = 0) -> str:
    comment = CommentDraft(str(uuid4()), NAME, number, "在吗")
    calling = stand.tracker.comment(comment) if number else stand.tracker.open_issue(draft())
    with pytest.raises(TrackerRefused) as raised:
        await calling
    assert raised.value.hint  # a sentence for people
    return raised.value.reason


async def test_labels_and_people_that_a_guest_may_not_set_are_named(stand: GitLabStand) -> None:
    next(iter(stand.gitlab.grants.values())).roles[stand.repo.id] = 10
    opened = await stand.tracker.open_issue(draft(labels=("bug", "a,b"), assignees=("chen", "nobody")))
    assert (opened.dropped_labels, opened.dropped_assignees) == (("bug", "a,b"), ("chen", "nobody"))


async def test_who_is_assigned_stays_and_one_too_many_is_named(stand: GitLabStand) -> None:
    stand.gitlab.account("desk")
    await stand.tracker.open_issue(draft(assignees=("chen",)))
    changed = await stand.tracker.update(NAME, 1, IssueChange(add_assignees=("desk",)))
    assert changed.issue.assignees == ("chen",)  # without a subscription there is one
    assert changed.dropped_assignees == ("desk",)


async def test_a_merge_request_of_the_same_number_is_another_thing(stand: GitLabStand) -> None:
    gitlab, repo = stand.gitlab, stand.repo
    issue = gitlab.opens(repo, "chen", "打不开")
    change = gitlab.opens(repo, "chen", "修好它", pull_request=True)
    assert (issue.number, change.number) == (1, 1)
    found = await stand.tracker.issue(NAME, 1 + CHANGES)
    assert (found.title, found.is_change, found.number) == ("修好它", True, 1 + CHANGES)
    await stand.tracker.comment(CommentDraft(str(uuid4()), NAME, 1 + CHANGES, "谢谢"))
    assert (len(issue.comments), len(change.comments)) == (0, 1)


async def test_long_titles_are_cut_and_long_texts_are_not_sent(stand: GitLabStand) -> None:
    await stand.tracker.open_issue(IssueDraft(str(uuid4()), NAME, "!1" * 128, "字"))
    assert len(stand.repo.entries[1].title) <= 255
    for wish in (IssueDraft(str(uuid4()), NAME, "长", "字" * 1_000_001), IssueDraft(str(uuid4()), NAME, " ", "字")):
        with pytest.raises(TrackerRefused) as raised:
            await stand.tracker.open_issue(wish)
        assert raised.value.reason == "invalid"
    assert len(stand.repo.entries) == 1


async def test_what_was_lost_is_found_among_many(stand: GitLabStand) -> None:
    key = str(uuid4())
    stand.gitlab.opens(stand.repo, "desk", "支付页白屏", marked("五句话", key))
    for number in range(120):
        stand.gitlab.opens(stand.repo, "desk", f"另一个{number}", f"> {marked('', key)}\n又一个")
    found = await stand.tracker.open_issue(IssueDraft(key, NAME, "支付页白屏", "五句话", tried_at=datetime.now(UTC)))
    assert found.issue.number == 1
    assert len(stand.repo.entries) == 121


async def test_projects_in_groups_in_groups_are_reached_and_others_are_not(stand: GitLabStand) -> None:
    grant = next(iter(stand.gitlab.grants.values()))
    for name in ("acme/web/shop", "acmex/shop", "other/shop"):
        grant.roles[stand.gitlab.repository(name).id] = 20
    assert [one.name async for one in stand.tracker.repositories()] == [NAME, "acme/web/shop"]
    opened = await stand.tracker.open_issue(replace(draft(), repository="acme/web/shop"))
    assert opened.issue.repository == "acme/web/shop"


# ------------------------------------------------------------------------------------------------------------ set-up


def test_what_is_needed_and_who_says_where_it_is() -> None:
    complete = GITLAB.setup.complete
    made = complete({"account": "acme/web", "token": "glpat-x"})
    assert made["webhook_secret"].startswith("whsec_")
    assert made["api_base"] == "https://gitlab.com/api/v4"
    for wrong in ({"account": "acme"}, {"account": "acme//x", "token": "x"}, {"account": "/", "token": "x"},
                  {"account": "a", "token": "x", "api_base": "file:///etc"}):  # fmt: skip
        with pytest.raises(UnusableValues):
            complete(wrong)
    assert not GITLAB.setup.is_operators(made)
    assert GITLAB.setup.is_operators(complete({"account": "a", "token": "x", "api_base": "http://10.0.0.1/api/v4"}))
    assert "api_base" not in {field.name for field in GITLAB.setup.agents_fields}
