"""An operator connects the place of issues at the terminal, and learns what does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import zhiban
from zhiban.cli.app import Exit
from zhiban.testing.gitea import GiteaSimulator
from zhiban.testing.gitea import application as gitea_application
from zhiban.testing.gitee import GiteeSimulator
from zhiban.testing.gitee import application as gitee_application
from zhiban.testing.github import GitHubSimulator, application
from zhiban.testing.gitlab import GitLabSimulator
from zhiban.testing.gitlab import application as gitlab_application
from zhiban.testing.serving import served

pytestmark = pytest.mark.process


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_github_is_connected_looked_at_and_removed(kept: Path) -> None:
    github = GitHubSimulator()
    async with github, served(application(github)) as url:
        repo = github.repository("acme/shop")
        token = github.token("zhiban-user", repo)
        connect = ("tracker", "add", "github", "--account", "acme", "--api-base", url, "--json")
        assert (await zhiban(*connect, data=kept)).code == Exit.USAGE  # neither a token nor an app
        wrong = await zhiban(*connect, "--token", "github_pat_wrong", data=kept)
        assert (wrong.code, wrong.json["repositories"]) == (Exit.FAILED, [])
        assert "凭据" in wrong.json["broken"]
        added = await zhiban(*connect, "--token", token, data=kept)
        assert added.code == 0, added.err
        assert added.json["repositories"] == ["acme/shop"]
        assert added.json["callback"].startswith("/hooks/")
        assert added.json["connection"] == wrong.json["connection"]  # mended, not made twice
        assert (await zhiban("tracker", "link", "没有这个群", "acme/shop", data=kept)).code == Exit.MISSING
        github.repository("acme/docs")
        assert "仓库1个" in (await zhiban("tracker", "sync", data=kept)).out
        (row,) = (await zhiban("tracker", "list", "--json", data=kept)).json
        assert (row["account"], row["state"], row["repositories"]) == ("acme", "正常", ["acme/shop"])
        assert (await zhiban("inbox", "list", "--json", data=kept)).json == []  # it is no inbox
        removed = await zhiban("tracker", "remove", str(row["id"]), "--yes", data=kept)
        assert removed.code == 0, removed.err
        assert (await zhiban("tracker", "list", "--json", data=kept)).json == []


async def test_other_forges_are_connected(kept: Path) -> None:
    gitlab, gitea, gitee = GitLabSimulator(), GiteaSimulator(), GiteeSimulator()
    there = (
        ("gitlab", "acme/web", "/api/v4", gitlab, gitlab_application(gitlab)),
        ("gitea", "acme", "/api/v1", gitea, gitea_application(gitea)),
        ("gitee", "acme", "/api/v5", gitee, gitee_application(gitee)),
    )
    for name, account, place, forge, application_ in there:
        async with forge, served(application_) as url:
            token = forge.token("desk", forge.repository(f"{account}/shop"))
            connect = ("tracker", "add", name, "--account", account, "--api-base", url + place, "--json")
            added = await zhiban(*connect, "--token", token, data=kept)
            assert added.code == 0, added.err
            assert added.json["repositories"] == [f"{account}/shop"]
            assert added.json["secrets"]["webhook_secret"]
