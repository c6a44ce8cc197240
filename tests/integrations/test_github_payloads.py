"""Every webhook that was recorded of GitHub is taken, and says something or nothing for a reason.

The payloads are those of the npm package `@octokit/webhooks-examples`, the description is that of `@octokit/openapi`.
The first test that needs them installs both.
"""

from __future__ import annotations

import fcntl
import hmac
import importlib.util
import json
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.integrations.github.described import REQUESTS, described, operation_of, problem, validator
from tests.ports.tracker_stands import WEBHOOK_SECRET, github_stand

from zhiban.integrations.github.hooks import read, verified
from zhiban.integrations.github.news import IGNORED, IGNORED_ACTIONS
from zhiban.ports import (
    CommentDraft,
    IssueChange,
    IssueDraft,
    Reaction,
    TakesReactions,
    TrackerRefused,
    Webhook,
)
from zhiban.testing import forge_bodies

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tests" / "integrations" / "github" / "payloads"
EXAMPLES = Path("webhooks-examples") / "api.github.com" / "index.json"

# What says nothing although its event means something to us, and why.
SILENT = {
    ("workflow_run", "completed"): "only a run that failed on the default branch is news",
}


def _tool(name: str) -> Any:
    """A program of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture(scope="module")
def packages() -> Path:
    """What GitHub publishes."""
    found = FOLDER / "node_modules" / "@octokit"
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found / "openapi").exists():
            command = [*_tool("assets").npm(), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            subprocess.run(command, cwd=FOLDER, check=True, timeout=300)
    return found


@pytest.fixture(scope="module")
def recorded(packages: Path) -> list[tuple[str, Any]]:
    """Event and payload of every example."""
    events = json.loads((packages / EXAMPLES).read_text("utf-8"))
    return [(event["name"], example) for event in events for example in event["examples"]]


def test_every_recorded_webhook_says_something_or_nothing_for_a_reason(recorded: list[tuple[str, Any]]) -> None:
    assert len(recorded) >= 329
    told: Counter[str] = Counter()
    for event, payload in recorded:
        body = json.dumps(payload, ensure_ascii=False).encode()
        signature = "sha256=" + hmac.new(b"s", body, "sha256").hexdigest()
        headers = {"x-hub-signature-256": [signature], "x-github-event": [event]}
        found = verified([b"s"], Webhook("POST", {}, body, datetime.now(UTC), headers))
        assert found.parsable
        news = read(found.body)
        action = payload.get("action", "")
        told[event] += len(news)
        for one in news:
            assert one.repository.external_id != "0"
            assert "/" in one.repository.name
            assert one.actor.login
            assert one.action
            assert one.issue is None or (one.issue.number > 0 and one.issue.url)
        silent = event in IGNORED or action in IGNORED_ACTIONS.get(event, ()) or (event, action) in SILENT
        assert news or silent, (event, action)
        assert not (news and event in IGNORED)
    assert told["issues"] >= 25
    assert told["issue_comment"] >= 8
    assert told["pull_request"] >= 20
    assert told["release"] >= 1


def test_what_calls_are_held_to_is_what_github_publishes(packages: Path) -> None:
    assert _tool("github_description").written(packages / "openapi") == REQUESTS.read_text("utf-8")


async def test_every_call_fits_githubs_own_description() -> None:
    """The bodies that were really sent, by method and path."""
    used: set[str] = set()
    async with github_stand(app=True) as stand:
        tracker, name = stand.tracker, "acme/shop"
        await tracker.open_issue(IssueDraft("0" * 36, name, "支付页白屏", "五句", ("bug",), ("chen",)))
        said = await tracker.comment(CommentDraft("1" * 36, name, 1, "还在"))
        assert isinstance(tracker, TakesReactions)
        for place in ("", said.external_id):
            for reaction in get_args(Reaction):
                there = await tracker.react(name, 1, reaction, comment=place)
            await tracker.take_back_reaction(name, 1, there, comment=place)
        await tracker.delete_comment(name, 1, said.external_id)
        for change in (
            IssueChange(state="closed", reason="duplicate", title="好了", body="改", add_labels=("question",)),
            IssueChange(state="open", remove_labels=("bug",), add_assignees=("chen",)),
        ):
            await tracker.update(name, 1, change)
        stand.github.hooks.paused = True
        stand.github.hooks.add("http://127.0.0.1:9/", WEBHOOK_SECRET, app_id=1)
        stand.github.opens(stand.repo, "chen", "二")
        stand.github.hooks.deliveries[0].status = 502
        await tracker.redeliver(since=datetime(2020, 1, 1, tzinfo=UTC))  # type: ignore[attr-defined]
        for method, path, body in stand.github.calls:
            if method == "GET":
                continue
            called = operation_of(method, path)
            assert called is not None
            used.add(called)
            assert problem(method, path, body) == ""
    assert used == set(described())


async def test_the_simulator_refuses_what_github_does_not_describe() -> None:
    """As every test with it does, through the fixture that looks at all of them."""
    async with github_stand(app=True) as stand:
        with pytest.raises(TrackerRefused):
            await stand.tracker.open_issue(IssueDraft("0" * 36, "acme/shop", "一", "二", (5,)))  # type: ignore[arg-type]
    assert len(forge_bodies.taken()) == 1


def test_a_body_that_does_not_fit_would_be_found() -> None:
    checked = validator("POST /repos/{owner}/{repo}/issues")
    assert checked.is_valid({"title": "一", "body": "二", "labels": ["bug"], "milestone": None})
    for wrong in ({"body": "no title"}, {"title": "一", "labels": "bug"}, {"title": "一", "label": ["bug"]}):
        assert not checked.is_valid(wrong)
