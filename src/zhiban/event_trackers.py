"""What can happen to issues and repositories at a tracker. Part of `events`.

Each fact is told once, whether we learnt of it by a webhook, by asking, or because we did it ourselves.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from zhiban.event_base import Event


class IssueOpened(Event):
    """An issue that somebody asked us for is open. What the tracker silently dropped is named."""

    repository_id: int
    issue_id: int
    number: int
    url: str
    call_id: int
    ticket_id: int | None = None
    dropped_labels: tuple[str, ...] = ()
    dropped_assignees: tuple[str, ...] = ()


class IssueWritten(Event):
    """A comment, a change or a reaction that somebody asked us for stands at the tracker. `url`: where it is read.

    What the tracker silently dropped is named.
    """

    repository_id: int
    issue_id: int
    call_id: int
    wish: Literal["open", "comment", "change", "react"]
    url: str = ""
    dropped: tuple[str, ...] = ()


class IssueRefused(Event):
    """The tracker will not do what somebody asked for. `reason` is a stable word, `sentence` one for people."""

    repository_id: int
    call_id: int
    wish: Literal["open", "comment", "change", "react"]
    reason: str
    sentence: str
    ticket_id: int | None = None
    number: int | None = None


class IssueChanged(Event):
    """An issue became known or is not as it was. `login` did it, as far as the tracker said who.

    `change` names what is different; `state` and `reason` are those now. `call_id`: we did it, because of this call.
    `confidential`: not for groups; its tickets follow it all the same.
    """

    repository_id: int
    issue_id: int
    number: int
    change: Literal["opened", "closed", "reopened", "edited", "labels", "assignees", "locked", "unlocked", "removed"]
    state: Literal["open", "closed"]
    reason: str = ""
    login: str = ""
    call_id: int | None = None
    confidential: bool = False


class IssueCommented(Event):
    """There is a new comment. `call_id`: it is ours, written because of this call; `ours`: our account wrote it."""

    repository_id: int
    issue_id: int
    number: int
    comment_id: int
    login: str
    bot: bool = False
    ours: bool = False
    call_id: int | None = None


class IssueCommentChanged(Event):
    """A comment was written anew at the tracker, or taken away."""

    repository_id: int
    issue_id: int
    comment_id: int
    change: Literal["edited", "removed"]


class MemberLoginBound(Event):
    """A member of groups writes at the tracker under their own account from now on."""

    connection_id: int
    contact_id: int
    login: str


class MemberLoginEnded(Event):
    """They do so no more: they said so, bound another one, or the tracker does not let us any more."""

    connection_id: int
    contact_id: int
    login: str
    reason: str


class MirroringPaused(Event):
    """So much of one issue was mirrored within a minute (`count`) that nothing more of it is until then."""

    repository_id: int
    issue_id: int
    count: int
    until: datetime


class MirroringResumed(Event):
    """The issue is mirrored again; so much of it was not meanwhile."""

    repository_id: int
    issue_id: int
    missed: int


class RepositoryRenamed(Event):
    """A repository has another name, or another owner; its issues stay what they are."""

    repository_id: int
    name: str
    previous: str


class RepositoryAliased(Event):
    """What groups may call a repository besides its name; empty: nothing."""

    repository_id: int
    name: str
    alias: str
    previous: str


class RepositoryLinked(Event):
    """A group hears of the repositories that the pattern names, or hears of them in another way now."""

    conversation_id: int
    link_id: int
    pattern: str
    settings: dict[str, object]


class RepositoryUnlinked(Event):
    """The group hears of them no more."""

    conversation_id: int
    link_id: int
    pattern: str
