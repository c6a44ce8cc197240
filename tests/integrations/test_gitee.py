"""Gitee in particular: what proves a call, what is never told, how it numbers, what it drops and what it loses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ports.tracker_stands import NAME, WEBHOOK_SECRET, GiteeStand, gitee_stand

from zhiban import bootstrap
from zhiban.integrations.forges.parts import CHANGES, marked
from zhiban.integrations.gitee import news, parts
from zhiban.integrations.gitee.tracker import GiteeTracker
from zhiban.ports import (
    CommentDraft,
    ConfirmsNews,
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
from zhiban.testing.forge import FaultKind, ForgeEntry
from zhiban.testing.gitee.simulator import FIRST, GiteeHooks

GITEE = bootstrap.TRACKERS["gitee"]


@pytest.fixture
async def stand() -> AsyncIterator[GiteeStand]:
    async with gitee_stand() as found:
        yield found


def draft(**more: Any) -> IssueDraft:
    return IssueDraft(str(uuid4()), NAME, "支付页白屏", "五句话", **more)


def verified(stand: GiteeStand, call: Webhook) -> VerifiedWebhook:
    found = stand.tracker.authenticate(call)
    assert isinstance(found, VerifiedWebhook)
    return found


async def told(stand: GiteeStand, call: Webhook) -> list[TrackerNews]:
    assert isinstance(stand.tracker, ConfirmsNews)
    return list(await stand.tracker.confirmed(stand.tracker.read(verified(stand, call).body)))


def opened(stand: GiteeStand) -> ForgeEntry:
    return stand.gitee.opens(stand.repo, "chen", "打不开", "登录后")


def with_headers(call: Webhook, **more: str) -> Webhook:
    return replace(call, headers={**call.headers, **{f"x-gitee-{name}": [value] for name, value in more.items()}})


# Issues that everybody can look at: I1ICN6 is 2535810 in Gitee's own answers, I90C1N is 15132155.
@pytest.mark.parametrize(("ident", "number"), [("I2YRAH", FIRST), ("I1ICN6", 2535810), ("I90C1N", 15132155)])
def test_a_number_is_the_id_in_base_36(ident: str, number: int) -> None:
    assert (parts.number_of(ident), parts.ident_of(number)) == (number, ident)


@given(st.integers(1, CHANGES - 1))
def test_every_number_is_written_and_read(number: int) -> None:
    assert parts.number_of(parts.ident_of(number)) == number


@pytest.mark.parametrize("ident", ["", "12", "I", "I0A", "i2yrah", "I2YRAHHH", "IZZZZZZ", "I2YR-H", "I２"])
def test_what_is_no_number_is_none(ident: str) -> None:
    assert parts.number_of(ident) == 0


async def test_a_signature_holds_for_an_hour_and_may_be_escaped(stand: GiteeStand) -> None:
    call = await stand.comes()
    token = call.headers["x-gitee-token"][0]
    assert verified(stand, with_headers(call, token=quote(token, safe=""))).digest == verified(stand, call).digest
    at = call.received_at
    verified(stand, replace(call, received_at=at + timedelta(minutes=59)))
    for late in (timedelta(minutes=61), timedelta(minutes=-61)):
        with pytest.raises(InvalidWebhook):
            stand.tracker.authenticate(replace(call, received_at=at + late))
    for wrong in ({"timestamp": "1576754827988"}, {"timestamp": ""}, {"token": ""}, {"token": token[:-2]}):
        with pytest.raises(InvalidWebhook):
            stand.tracker.authenticate(with_headers(call, **wrong))


async def test_a_password_proves_a_call_and_is_not_kept(stand: GiteeStand) -> None:
    assert isinstance(stand.gitee.hooks, GiteeHooks)
    stand.gitee.hooks.passwords = True
    stand.call(lambda: opened(stand))  # from here on there is a hook
    call = stand.call(lambda: opened(stand))
    assert WEBHOOK_SECRET.encode() in call.body
    kept = verified(stand, call)
    assert WEBHOOK_SECRET not in kept.body
    # What is told again comes at another moment; what is another thing is another call, whatever proves it.
    said = json.loads(call.body)
    again = replace(call, body=json.dumps({**said, "timestamp": "1"}).encode())
    other = replace(call, body=json.dumps({**said, "action": "assign"}).encode())
    assert verified(stand, again).digest == kept.digest
    assert verified(stand, other).digest != kept.digest
    with pytest.raises(InvalidWebhook):
        stand.tracker.authenticate(with_headers(call, token="another"))


async def test_what_no_json_says_is_kept_as_nothing(stand: GiteeStand) -> None:
    call = await stand.comes()
    for body in (b"\xff\xfe", b"hook=1", b"[" * 100_000, b'{"action": "\\ud800"}', b"[1]"):
        assert not stand.tracker.read(verified(stand, replace(call, body=body)).body)


async def test_a_private_issue_is_never_told(stand: GiteeStand) -> None:
    gitee, repo = stand.gitee, stand.repo
    call = stand.call(lambda: opened(stand))
    (before,) = await told(stand, call)
    assert before.issue is not None
    assert (before.action, before.issue.title) == ("opened", "打不开")
    entry = repo.entries[before.issue.number]
    entry.confidential = True
    remark = stand.call(lambda: gitee.comments(repo, entry, "chen", "口令是123"))
    for one in (call, remark):
        (after,) = await told(stand, one)
        assert (after.kind, after.action, after.comment) == ("issue", "deleted", None)
        assert after.issue is not None
        assert (after.issue.title, after.issue.body, after.issue.labels) == ("", "", ())
    assert not [one async for one in stand.tracker.issues(NAME)]
    since = datetime.now(UTC) - timedelta(hours=1)
    assert isinstance(stand.tracker, GiteeTracker)
    assert not [one async for one in stand.tracker.comments(NAME, since=since)]
    for calling in (
        stand.tracker.issue(NAME, before.issue.number),
        stand.tracker.update(NAME, before.issue.number, IssueChange(state="closed")),
    ):
        with pytest.raises(TrackerRefused) as raised:
            await calling
        assert raised.value.reason == "not_found"


def test_what_does_not_say_that_it_is_public_is_private() -> None:
    assert [parts.is_hidden(one) for one in ({"security_hole": False}, {"security_hole": None}, {})] == [
        False,
        True,
        True,
    ]


async def test_what_is_told_is_what_gitee_has_and_not_what_was_said(stand: GiteeStand) -> None:
    gitee, repo = stand.gitee, stand.repo
    entry = opened(stand)
    call = stand.call(lambda: gitee.comments(repo, entry, "chen", "看到了"))
    said = json.loads(call.body)
    said["comment"]["body"], said["issue"]["title"] = "转账到这个账号", "假的"
    forged = replace(call, body=json.dumps(said).encode())
    (found,) = await told(stand, forged)
    assert found.issue is not None
    assert found.comment is not None
    assert (found.issue.title, found.comment.body) == ("打不开", "看到了")
    said["comment"]["id"] = 4711
    assert not await told(stand, replace(call, body=json.dumps(said).encode()))
    for name in ("oschina/git-osc", "acme/../user", "acme/shop/x", "acme"):  # the first when a hook is tried out
        said["repository"]["full_name"] = name
        assert not stand.tracker.read(verified(stand, replace(call, body=json.dumps(said).encode())).body)


async def test_a_hook_waits_while_gitee_cannot_be_asked(stand: GiteeStand) -> None:
    call = stand.call(lambda: opened(stand))
    stand.forge.fails("502", method="GET")
    with pytest.raises(TryLater):
        await told(stand, call)
    assert len(await told(stand, call)) == 1


async def test_what_happens_is_told_in_our_words(stand: GiteeStand) -> None:
    gitee, repo = stand.gitee, stand.repo
    all_told: list[TrackerNews] = []

    async def hear(happening: Any) -> None:
        all_told.extend(await told(stand, stand.call(happening)))

    await hear(lambda: opened(stand))
    issue = repo.entries[FIRST]
    await hear(lambda: gitee.comments(repo, issue, "ci-bot", "/lgtm"))
    await hear(lambda: gitee.closes(repo, issue, "chen"))
    await hear(lambda: gitee.reopens(repo, issue, "lin"))
    await hear(lambda: gitee.changes(repo, issue, "lin", state="rejected"))
    await hear(lambda: gitee.opens(repo, "chen", "修好它", pull_request=True))
    change = repo.entries[CHANGES + 1]
    await hear(lambda: gitee.tell(repo, change, "approved", gitee.account("lin")))
    await hear(lambda: gitee.comments(repo, change, "lin", "合了"))
    await hear(lambda: gitee.merges(repo, change, "lin"))
    said = [(one.kind, one.action, one.issue.number if one.issue else 0) for one in all_told]
    assert said == [
        ("issue", "opened", FIRST),
        ("comment", "created", FIRST),
        ("issue", "closed", FIRST),
        ("issue", "reopened", FIRST),
        ("issue", "closed", FIRST),
        ("change", "opened", CHANGES + 1),
        ("review", "approved", CHANGES + 1),
        ("comment", "created", CHANGES + 1),
        ("change", "closed", CHANGES + 1),
    ]
    assert all_told[1].actor.bot
    assert [one.issue.reason for one in (all_told[2], all_told[4], all_told[8]) if one.issue] == [
        "", "not_planned", "merged",
    ]  # fmt: skip
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
    stand: GiteeStand, kind: FaultKind, more: dict[str, int], least: float, most: float, unknown: bool
) -> None:
    stand.forge.fails(kind, **more)
    with pytest.raises(TryLater) as raised:
        await stand.tracker.open_issue(draft())
    assert least <= raised.value.after <= most
    assert raised.value.unknown == unknown


async def test_refusals_are_told_apart(stand: GiteeStand) -> None:
    repo, grant = stand.repo, next(iter(stand.gitee.grants.values()))
    entry = opened(stand)
    grant.scopes.remove("issues")  # told as if there were no repository
    assert await refused(stand) == "forbidden"
    grant.scopes.add("issues")
    entry.deleted = True
    assert await refused(stand, entry.number) == "not_found"
    repo.private = True
    grant.writes.clear()
    assert await refused(stand) == "not_found"
    grant.scopes.remove("projects")
    with pytest.raises(ConnectionBroken):
        assert [one async for one in stand.tracker.repositories()]


async def refused(stand: GiteeStand, number: int = 0) -> str:
    comment = CommentDraft(str(uuid4()), NAME, number, "在吗")
    calling = stand.tracker.comment(comment) if number else stand.tracker.open_issue(draft())
    with pytest.raises(TrackerRefused) as raised:
        await calling
    assert raised.value.hint  # a sentence for people
    return raised.value.reason


async def test_who_cannot_be_asked_costs_no_issue_and_others_help(stand: GiteeStand) -> None:
    stand.repo.labels |= {"kind/导出"}
    wish = draft(labels=("Bug", "没有的", "x", "a,b"), assignees=("chen", "nobody", "desk"))
    found = await stand.tracker.open_issue(wish)
    assert (found.issue.labels, found.issue.assignees) == (("bug",), ("chen", "desk"))
    assert (found.dropped_labels, found.dropped_assignees) == (("没有的", "x", "a,b"), ("nobody",))
    stand.repo.pushers.add("lin")
    number = found.issue.number
    changed = await stand.tracker.update(
        NAME, number, IssueChange(add_assignees=("lin", "chen"), add_labels=("kind/导出",))
    )
    assert changed.issue.assignees == ("chen", "desk", "lin")
    assert changed.issue.labels == ("bug", "kind/导出")
    changed = await stand.tracker.update(NAME, number, IssueChange(state="closed", remove_labels=("kind/导出",)))
    assert (changed.issue.title, changed.issue.labels) == ("支付页白屏", ("bug",))  # nothing lost on the way


async def test_a_pull_request_is_commented_and_closed_as_one(stand: GiteeStand) -> None:
    change = stand.gitee.opens(stand.repo, "chen", "修好它", pull_request=True)
    number = CHANGES + change.number
    wish = CommentDraft(str(uuid4()), NAME, number, "合吗")
    stand.forge.fails("502_after")
    with pytest.raises(TryLater):
        await stand.tracker.comment(wish)
    written = await stand.tracker.comment(replace(wish, tried_at=datetime.now(UTC)))
    assert [written.body in one.body for one in change.comments] == [True]
    closed = await stand.tracker.update(NAME, number, IssueChange(state="closed", add_labels=("bug",)))
    assert (closed.issue.state, closed.issue.is_change, closed.issue.labels) == ("closed", True, ("bug",))
    await stand.tracker.delete_comment(NAME, number, written.external_id)
    assert not change.comments


async def test_whatever_is_on_later_pages_is_found(stand: GiteeStand) -> None:
    key = str(uuid4())
    first = stand.gitee.opens(stand.repo, "desk", "支付页白屏", marked("五句话", key))
    for number in range(120):
        stand.gitee.opens(stand.repo, "desk", f"另一个{number}")
    found = await stand.tracker.open_issue(IssueDraft(key, NAME, "支付页白屏", "五句话", tried_at=datetime.now(UTC)))
    assert found.issue.number == first.number
    assert len([one async for one in stand.tracker.issues(NAME)]) == 121


def test_what_is_needed_and_who_says_where_it_is() -> None:
    complete = GITEE.setup.complete
    made = complete({"account": "acme", "token": "x"})
    assert (made["api_base"], len(made["webhook_secret"]) > 30) == ("https://gitee.com/api/v5", True)
    for wrong in ({"account": "acme"}, {"account": "acme/shop", "token": "x"}):
        with pytest.raises(UnusableValues):
            complete(wrong)
    assert GITEE.setup.is_operators(complete({"account": "a", "token": "x", "api_base": "http://10.0.0.1/api/v5"}))
    assert "api_base" not in {field.name for field in GITEE.setup.agents_fields}
