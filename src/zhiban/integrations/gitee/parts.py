"""Gitee's JSON in our words: what its API answers, and what its hooks say."""

from __future__ import annotations

import re
from typing import Final

from zhiban.integrations.forges.parts import (
    CHANGES,
    JsonPart,
    items,
    key_in,
    names,
    number,
    part,
    second,
    without_mark,
    words,
)
from zhiban.ports import Issue, IssueComment, Repository, TrackerUser

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_IDENT = re.compile(r"I([1-9A-Z][0-9A-Z]{0,5})")
# No answer and no hook says who is a machine.
_BOT = re.compile(r".*[-_.]bot|bot[-_.].*|gitee-ci|ghost", re.IGNORECASE)


def ident_of(number_: int) -> str:
    """An issue as Gitee writes it: I and its id in base 36, `I2YRAH` for 4980905."""
    found = ""
    while number_ > 0:
        number_, digit = divmod(number_, 36)
        found = _DIGITS[digit] + found
    return f"I{found}"


def number_of(ident: str) -> int:
    """The number behind that; 0 for what is none. Bigger ones would be taken for changes."""
    found = _IDENT.fullmatch(ident)
    value = int(found[1], 36) if found else 0
    return value if value < CHANGES else 0


def user(found: JsonPart, *, ours: bool = False) -> TrackerUser:
    login = words(found, "login") or words(found, "username") or words(found, "user_name")
    return TrackerUser(login, bot=bool(_BOT.fullmatch(login)), ours=ours)


def repository(found: JsonPart) -> Repository:
    """One that only an enterprise sees is not public."""
    private = found.get("private") is True or found.get("internal") is True
    enabled = found.get("has_issues") is not False
    return Repository(str(number(found, "id")), words(found, "full_name"), private=private, issues_enabled=enabled)


def is_hidden(found: JsonPart) -> bool:
    """A private issue, of which groups hear nothing. Gitee says of each issue whether it is one."""
    return found.get("security_hole") is not False


def issue(found: JsonPart, name: str) -> Issue:
    body, state = words(found, "body"), words(found, "state")
    return Issue(
        name,
        number_of(words(found, "number")),
        words(found, "html_url"),
        words(found, "title"),
        "closed" if state in ("closed", "rejected") else "open",
        user(part(found, "user"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        body=without_mark(body),
        reason="not_planned" if state == "rejected" else "",
        labels=names(items(found, "labels"), "name"),
        assignees=_logins([part(found, "assignee"), *items(found, "collaborators")]),
        comments=number(found, "comments"),
        key=key_in(body),
    )


def change(found: JsonPart, name: str) -> Issue:
    """A pull request: counted by itself, in plain numbers."""
    body, state = words(found, "body"), words(found, "state")
    merged = state == "merged" or found.get("merged") is True
    return Issue(
        name,
        number(found, "number") + CHANGES,
        words(found, "html_url"),
        words(found, "title"),
        "open" if state == "open" and not merged else "closed",
        user(part(found, "user"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        body=without_mark(body),
        reason="merged" if merged else "",
        labels=names(items(found, "labels"), "name"),
        assignees=_logins(items(found, "assignees")),
        comments=number(found, "comments"),
        is_change=True,
        key=key_in(body),
    )


def _logins(found: list[JsonPart]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (user(one).login for one in found))))


def comment(found: JsonPart, place: str) -> IssueComment:
    """`place`: the address of what it is about; answers have none for a comment itself."""
    body, id_ = words(found, "body"), str(number(found, "id"))
    return IssueComment(
        id_,
        words(found, "html_url") or f"{place}#note_{id_}_link",
        without_mark(body),
        user(part(found, "user"), ours=bool(key_in(body))),
        second(found, "created_at"),
        max(second(found, "updated_at"), second(found, "created_at")),
        key_in(body),
    )
