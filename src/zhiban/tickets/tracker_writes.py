"""What may be written at a tracker, and how a stored call keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, assert_never

from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.ports import IssueChange, Reaction

WriteKind = Literal["open", "comment", "change", "react"]


@frozen_dataclass
class NewIssue:
    """An issue to open. What does not fit into its body follows as comments."""

    title: str
    body: str
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()


@frozen_dataclass
class JoinedMessages:
    """What a comment carries to an issue that there was: messages of a draft, asked for by this contact and signed in
    this way."""

    draft_id: int
    messages: tuple[int, ...]
    contact_id: int | None
    signature: str


@frozen_dataclass
class NewComment:
    """A comment. `after`: the call that opens the issue which it continues.

    `via` says below it who says so, where it is not written under their own account.
    """

    body: str
    after: int | None = None
    via: str = ""
    joined: JoinedMessages | None = None


@frozen_dataclass
class NewReaction:
    """A reaction to an issue, or to the comment of this id at the tracker."""

    reaction: Reaction
    comment: str = ""


@frozen_dataclass
class Erasure:
    """Take away the comment or the reaction that this call has written, or will have."""

    call_id: int


TrackerWrite = NewIssue | NewComment | NewReaction | IssueChange | Erasure


def stored(write: TrackerWrite) -> tuple[WriteKind, dict[str, Any]]:
    """The kind of call, and its content as values that JSON takes."""
    match write:
        case NewIssue():
            return "open", asdict(write)
        case NewComment():
            # What continues an issue is found by the key `after`, which others must not have.
            after = {"after": write.after} if write.after is not None else {}
            joined = {"joined": asdict(write.joined)} if write.joined is not None else {}
            return "comment", {"body": write.body, "via": write.via, **after, **joined}
        case NewReaction():
            return "react", asdict(write)
        case IssueChange():
            return "change", asdict(write)
        case Erasure():
            return "change", {"erases": write.call_id}
        case never:
            assert_never(never)


def read_write(kind: WriteKind, content: Mapping[str, Any]) -> TrackerWrite:
    """What a stored call asks for. JSON has made lists of tuples."""
    match kind:
        case "open":
            return NewIssue(content["title"], content["body"], tuple(content["labels"]), tuple(content["assignees"]))
        case "comment":
            return NewComment(content["body"], content.get("after"), content.get("via", ""))
        case "react":
            return NewReaction(content["reaction"], content["comment"])
        case "change" if "erases" in content:
            return Erasure(content["erases"])
        case "change":
            return IssueChange(
                state=content["state"],
                reason=content["reason"],
                title=content["title"],
                body=content["body"],
                add_labels=tuple(content["add_labels"]),
                remove_labels=tuple(content["remove_labels"]),
                add_assignees=tuple(content["add_assignees"]),
            )
        case never:
            assert_never(never)
