"""What the JSON API of tickets takes and tells. Numbers and secrets are shown to programs as to colleagues: half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.knowledge import CleanText
from zhiban.conversations.models import Priority
from zhiban.kit.frozen_dataclass import frozen_dataclass
from zhiban.kit.i18n import Texts, mark
from zhiban.tickets.involving import LONGEST_COMMENT
from zhiban.tickets.masking import partly
from zhiban.tickets.models import Audience, Ticket, TicketComment, TicketMessage, TicketState
from zhiban.tickets.queries import TicketFact
from zhiban.tickets.service import LONGEST_NOTE, MOST_LABELS

MOST_WATCHERS = 100

PriorityName = Literal["none", "low", "normal", "high", "urgent"]
LARGEST_ID = 2**53 - 1  # what every reader of JSON knows from its neighbours
RowId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
LabelName = Annotated[CleanText, Field(min_length=1, max_length=100)]

_TOLD = ("state", "owner", "due", "priority", "labels", "repository")  # changes whose values are told
_TICKET: JsonDict = {
    "id": 1,
    "number": 1,
    "title": "授权码激活后仍提示过期",
    "state": "open",
    "priority": "high",
    "owner_id": 2,
    "owner": "陈默",
    "due_on": "2026-12-04",
    "due_at": "2026-12-04T18:00:00+08:00",
    "labels": ["缺陷"],
    "inbox_id": 1,
    "conversation_id": 7,
    "requester": "周予安",
    "repository_id": None,
    "tracker_state": "",
    "created_at": "2026-11-20T10:00:00+08:00",
    "changed_at": "2026-11-20T10:05:00+08:00",
    "done_at": None,
}


@frozen_dataclass
class TicketWords:
    """What ids in tickets are called, and in which zone days are counted. `labels` are those in use."""

    agents: Mapping[int, str]
    labels: Mapping[int, str]
    texts: Texts

    def named(self, labels: Sequence[int]) -> list[str]:
        return [self.labels[id_] for id_ in labels if id_ in self.labels]

    def day(self, at: datetime | None) -> date | None:
        return None if at is None else at.astimezone(self.texts.zone).date()


def priority_name(priority: Priority) -> PriorityName:
    names: tuple[PriorityName, ...] = ("none", "low", "normal", "high", "urgent")
    return names[priority]


class TicketOut(BaseModel):
    id: int
    number: int = Field(description=mark("What people call it: #12."))
    title: str
    state: TicketState
    priority: PriorityName
    owner_id: int | None
    owner: str | None
    due_on: date | None = Field(description=mark("The day it is due."))
    due_at: datetime | None
    labels: list[str]
    inbox_id: int | None = Field(description=mark("Whose agents see it; null: all."))
    conversation_id: int | None = Field(description=mark("Where it comes from."))
    requester: str
    repository_id: int | None
    tracker_state: str = Field(description=mark("Empty, or `waiting`, `opened`, `refused`: its issue."))
    created_at: datetime
    changed_at: datetime
    done_at: datetime | None

    model_config = ConfigDict(json_schema_extra={"examples": [_TICKET]})

    @classmethod
    def fields_of(cls, ticket: Ticket, words: TicketWords) -> dict[str, Any]:
        return {
            "id": ticket.id,
            "number": ticket.number,
            "title": partly(ticket.title),
            "state": ticket.state,
            "priority": priority_name(ticket.priority),
            "owner_id": ticket.owner_id,
            "owner": words.agents.get(ticket.owner_id or 0),
            "due_on": words.day(ticket.due_at),
            "due_at": ticket.due_at,
            "labels": words.named(ticket.labels),
            "inbox_id": ticket.inbox_id,
            "conversation_id": ticket.conversation_id,
            "requester": ticket.requester,
            "repository_id": ticket.repository_id,
            "tracker_state": ticket.tracker_state.value,
            "created_at": ticket.created_at,
            "changed_at": ticket.changed_at,
            "done_at": ticket.done_at,
        }

    @classmethod
    def of(cls, ticket: Ticket, words: TicketWords) -> TicketOut:
        return cls(**cls.fields_of(ticket, words))


class TicketsOut(BaseModel):
    tickets: list[TicketOut]
    next_before: int | None = Field(description=mark("Pass it as `before` for the next page; null at the end."))

    model_config = ConfigDict(json_schema_extra={"examples": [{"tickets": [_TICKET], "next_before": None}]})


_COMMENT: JsonDict = {
    "id": 1,
    "author_kind": "agent",
    "name": "陈默",
    "audience": "desk",
    "text": "先看日志",
    "url": "",
    "created_at": "2026-11-20T10:05:00+08:00",
}


class TicketCommentOut(BaseModel):
    id: int
    author_kind: str = Field(description=mark("`agent`, `api`, `contact`, `tracker` …"))
    name: str
    audience: Audience = Field(description=mark("`desk`: our own people only; `issue`: who reads the issue, too."))
    text: str
    url: str
    created_at: datetime

    model_config = ConfigDict(json_schema_extra={"examples": [_COMMENT]})

    @classmethod
    def of(cls, comment: TicketComment) -> TicketCommentOut:
        return cls(
            id=comment.id,
            author_kind=comment.author_kind,
            name=comment.name,
            audience=comment.audience,
            text=partly(comment.text),
            url=comment.url,
            created_at=comment.created_at,
        )


class TicketMessageOut(BaseModel):
    message_id: int
    conversation_id: int
    speaker: str = Field(description=mark("Who wrote it, as others saw them."))
    sent_at: datetime
    text: str = Field(description=mark("As it was when the ticket was opened; empty once it was recalled."))
    recalled_at: datetime | None

    @classmethod
    def of(cls, message: TicketMessage) -> TicketMessageOut:
        return cls(
            message_id=message.message_id,
            conversation_id=message.conversation_id,
            speaker=message.alias or message.name,
            sent_at=message.sent_at,
            text=partly(message.text),
            recalled_at=message.recalled_at,
        )


class TicketFactOut(BaseModel):
    kind: str
    at: datetime
    actor_kind: str
    actor: str | None
    change: str | None = Field(description=mark("Of `ticket_changed`: what changed."))
    before: str | int | list[str] | None
    after: str | int | list[str] | None

    @classmethod
    def of(cls, fact: TicketFact, words: TicketWords, label_names: Mapping[int, str]) -> TicketFactOut:
        """Titles that it had are not told: their words may have been recalled since."""
        change = fact.data.get("change")
        before, after = (
            _told(change, fact.data.get(which), label_names) if change in _TOLD else None
            for which in ("before", "after")
        )
        return cls(
            kind=fact.kind,
            at=fact.at,
            actor_kind=fact.actor_kind,
            actor=words.agents.get(fact.actor_id or 0) if fact.actor_kind == "agent" else fact.actor_ref,
            change=change,
            before=before,
            after=after,
        )


def _told(change: Any, value: Any, label_names: Mapping[int, str]) -> Any:
    match change:
        case "priority":
            return priority_name(Priority(value))
        case "labels":
            return [label_names[id_] for id_ in value if id_ in label_names]
        case _:
            return value


class TicketDetail(TicketOut):
    summary: str
    note: str
    issue_url: str | None = Field(description=mark("Its issue at the tracker."))
    problem: str = Field(description=mark("Why the tracker refused the issue."))
    messages: list[TicketMessageOut] = Field(description=mark("What it is about, from conversations that you see."))
    comments: list[TicketCommentOut] = Field(description=mark("Oldest first."))
    conversation_ids: list[int] = Field(description=mark("Conversations that have to do with it, as far as you see."))
    watcher_ids: list[int] = Field(description=mark("Agents who are told what happens to it."))
    history: list[TicketFactOut] = Field(description=mark("The last hundred facts, newest first."))

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_TICKET,
                    "summary": "",
                    "note": "",
                    "issue_url": None,
                    "problem": "",
                    "messages": [
                        {
                            "message_id": 42,
                            "conversation_id": 7,
                            "speaker": "周予安",
                            "sent_at": "2026-11-20T09:58:00+08:00",
                            "text": "激活了还是提示过期",
                            "recalled_at": None,
                        }
                    ],
                    "comments": [_COMMENT],
                    "conversation_ids": [7],
                    "watcher_ids": [],
                    "history": [
                        {
                            "kind": "ticket_opened",
                            "at": "2026-11-20T10:00:00+08:00",
                            "actor_kind": "agent",
                            "actor": "陈默",
                            "change": None,
                            "before": None,
                            "after": None,
                        }
                    ],
                }
            ]
        }
    )


# --------------------------------------------------------------------------------------------------------- what is sent


_OWNER = mark("An agent's id; `zhiban agent list --json` shows them. Null: nobody.")
_DUE = mark("The day it is due, until six in the evening. Null: none.")
_WATCHERS = mark("Exactly these agents are told what happens to it.")


class TicketIn(BaseModel):
    title: CleanText = Field(min_length=1, max_length=300, description=mark("What is promised, in one line."))
    note: CleanText = Field("", max_length=LONGEST_NOTE, description=mark("What else whoever does it should know."))
    priority: PriorityName = "none"
    owner_id: RowId | None = Field(None, description=_OWNER)
    due_on: date | None = Field(None, description=_DUE)
    labels: list[LabelName] = Field(default=[], max_length=MOST_LABELS, description=mark("Names of labels."))
    watcher_ids: list[RowId] = Field(default=[], max_length=MOST_WATCHERS, description=_WATCHERS)
    conversation_id: RowId | None = Field(
        None, description=mark("The conversation that it comes from; who sees its inbox sees the ticket.")
    )
    repository_id: RowId | None = Field(None, description=mark("A repository in which it becomes an issue."))

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"title": "授权码激活后仍提示过期", "priority": "high", "due_on": "2026-12-04"}]
        },
    )


class TicketValues(BaseModel):
    """Columns of a ticket. What is left out is left alone; so is null, except for owner and day."""

    title: CleanText | None = Field(None, min_length=1, max_length=300)
    state: TicketState | None = None
    priority: PriorityName | None = None
    owner_id: RowId | None = Field(None, description=_OWNER)
    due_on: date | None = Field(None, description=_DUE)
    labels: list[LabelName] | None = Field(
        None, max_length=MOST_LABELS, description=mark("Exactly these labels, by their names.")
    )
    watcher_ids: list[RowId] | None = Field(None, max_length=MOST_WATCHERS, description=_WATCHERS)

    model_config = ConfigDict(extra="forbid")

    def given(self) -> dict[str, Any]:
        """What somebody said of the columns, by name."""
        return {
            name: value
            for name in TicketValues.model_fields
            if name in self.model_fields_set
            and ((value := getattr(self, name)) is not None or name in ("owner_id", "due_on"))
        }


class TicketChangeIn(TicketValues):
    was: TicketValues | None = Field(
        None,
        description=mark(
            "What you saw of these fields. Where one has become something else meanwhile, nothing is changed."
        ),
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"state": "in_progress", "was": {"state": "open"}}]}
    )


class TicketCommentIn(BaseModel):
    text: CleanText = Field(min_length=1, max_length=LONGEST_COMMENT, description=mark("What is said."))
    audience: Audience = Field(
        Audience.DESK, description=mark("`desk`: our own people only; `issue`: it is written at the issue, too.")
    )

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "先看日志"}]})
