"""What stands at the simulated GitHub, kept in a file, so that a demonstration finds its issues again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from zhiban.testing.github.simulator import Account, GitHubSimulator, Repo


@dataclass
class KeptGitHub:
    accounts: dict[str, Account]
    repos: dict[int, Repo]


_FILE = TypeAdapter(KeptGitHub)


def keep(github: GitHubSimulator, path: Path) -> None:
    """Write it all down, whole or not at all."""
    new = path.with_suffix(".new")
    new.write_bytes(_FILE.dump_json(KeptGitHub(github.accounts, github.repos)))
    os.replace(new, path)


def find_again(github: GitHubSimulator, path: Path) -> bool:
    """Take over what was kept; False where nothing was, or nothing that this version can read."""
    try:
        found = _FILE.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return False
    github.accounts, github.repos = found.accounts, found.repos
    entries = [entry for repo in found.repos.values() for entry in repo.entries.values()]
    taken = [account.id for account in found.accounts.values()] + [*found.repos] + [entry.id for entry in entries]
    taken += [comment.id for entry in entries for comment in entry.comments]
    github.count_from(max(taken, default=0) + 1)
    return True
