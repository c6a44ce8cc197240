"""What the JSON API of conversations takes and tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from zhiban.api.knowledge import CleanText
from zhiban.api.ticket_models import LabelName, PriorityName, RowId, priority_name
from zhiban.conversations.browsing import BrowsedConversation, BrowsedMessage
from zhiban.conversations.draft_files import MOST_FILES, DraftFile
from zhiban.conversations.models import Priority, Status
from zhiban.kit.i18n import mark

MOST_LABELS = 50
LONGEST_TEXT = 20_000

_CONVERSATION: JsonDict = {
    "id": 1,
    "kind": "direct",
    "name": "周予安",
    "contact_id": 1,
    "inbox_id": 1,
    "inbox": "官网客服",
    "channel": "webhook",
    "status": "open",
    "assignee_id": 2,
    "assignee": "陈默",
    "team_id": None,
    "team": None,
    "priority": "none",
    "labels": ["退款"],
    "snoozed_until": None,
    "waiting_since": "2026-11-20T10:00:00+08:00",
    "first_reply_at": None,
    "resolved_at": None,
    "handoff_reason": "asked",
    "created_at": "2026-11-20T09:58:00+08:00",
    "last_activity_at": "2026-11-20T10:00:00+08:00",
    "last_message_id": 42,
}
_MESSAGE: JsonDict = {
    "id": 42,
    "direction": "in",
    "author": "contact",
    "author_name": "周予安",
    "kind": "text",
    "text": "激活了还是提示过期",
    "state": "handled",
    "failure": None,
    "sent_at": "2026-11-20T10:00:00+08:00",
    "delivered_at": None,
    "recalled_at": None,
    "reply_to": None,
    "files": [],
}


class ConversationOut(BaseModel):
    id: int
    kind: Literal["direct", "group"]
    name: str = Field(description=mark("What colleagues call the contact, or what the group is called."))
    contact_id: int | None
    inbox_id: int
    inbox: str
    channel: str
    status: Status = Field(description=mark("`pending`: the assistant has it; `open`: people have it."))
    assignee_id: int | None
    assignee: str | None
    team_id: int | None
    team: str | None
    priority: PriorityName
    labels: list[str]
    snoozed_until: datetime | None
    waiting_since: datetime | None = Field(description=mark("Since when the contact waits for a person's reply."))
    first_reply_at: datetime | None = Field(description=mark("The first by a person since it began, or began anew."))
    resolved_at: datetime | None = Field(description=mark("The last time, also while it goes on."))
    handoff_reason: str | None
    created_at: datetime
    last_activity_at: datetime
    last_message_id: int | None = Field(description=mark("Pass it as `seen` with what you decided from reading it."))

    model_config = ConfigDict(json_schema_extra={"examples": [_CONVERSATION]})

    @classmethod
    def of(cls, one: BrowsedConversation, labels: Mapping[int, str]) -> ConversationOut:
        return cls.model_validate(
            {
                **{name: getattr(one, name) for name in cls.model_fields},
                "priority": priority_name(Priority(one.priority)),
                "labels": [labels[id_] for id_ in one.labels if id_ in labels],
            }
        )


class ConversationsOut(BaseModel):
    conversations: list[ConversationOut]
    next_before: int | None = Field(description=mark("Pass it as `before` for the next page; null at the end."))

    model_config = ConfigDict(json_schema_extra={"examples": [{"conversations": [_CONVERSATION], "next_before": None}]})


class FileOut(BaseModel):
    kind: str
    filename: str
    content_type: str | None
    size: int | None = Field(description=mark("In bytes."))


class MessageOut(BaseModel):
    id: int
    direction: Literal["in", "out", "internal"] = Field(description=mark("`internal`: a note for colleagues."))
    author: str = Field(description=mark("`contact`, `assistant`, `agent`, `rule`, `api` …"))
    author_name: str
    kind: str
    text: str = Field(description=mark("Empty once it was recalled."))
    state: str = Field(description=mark("Of ours: `queued`, `sent` or `failed`."))
    failure: str | None
    sent_at: datetime
    delivered_at: datetime | None
    recalled_at: datetime | None
    reply_to: int | None = Field(description=mark("The message that it answers."))
    files: list[FileOut]

    model_config = ConfigDict(json_schema_extra={"examples": [_MESSAGE]})

    @classmethod
    def of(cls, one: BrowsedMessage) -> MessageOut:
        told: dict[str, Any] = {name: getattr(one, name) for name in cls.model_fields if name != "reply_to"}
        told["reply_to"] = one.reply_to_id
        told["files"] = [
            {"kind": f.kind, "filename": f.filename, "content_type": f.content_type, "size": f.size} for f in one.files
        ]
        return cls.model_validate(told)


class MessagesOut(BaseModel):
    messages: list[MessageOut] = Field(description=mark("Oldest first."))
    next_before: int | None = Field(
        description=mark("Pass it as `before` for what was said before; null at the start.")
    )

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": [_MESSAGE], "next_before": None}]})


_DRAFT_FILE: JsonDict = {
    "id": 7,
    "kind": "file",
    "filename": "contract.pdf",
    "content_type": "application/pdf",
    "size": 48_213,
}


class DraftFileOut(BaseModel):
    id: int = Field(description=mark("Name it in `files` of a reply."))
    kind: str = Field(description=mark("As what the channel shows it: `image`, `video`, `voice` or `file`."))
    filename: str
    content_type: str = Field(description=mark("What its own first bytes say that it is."))
    size: int = Field(description=mark("In bytes."))

    model_config = ConfigDict(json_schema_extra={"examples": [_DRAFT_FILE]})

    @classmethod
    def of(cls, one: DraftFile) -> DraftFileOut:
        return cls.model_validate({name: getattr(one, name) for name in cls.model_fields})


class DraftFilesOut(BaseModel):
    files: list[DraftFileOut]

    model_config = ConfigDict(json_schema_extra={"examples": [{"files": [_DRAFT_FILE]}]})


# --------------------------------------------------------------------------------------------------------- what is sent


SaidText = Annotated[CleanText, Field(min_length=1, max_length=LONGEST_TEXT)]
_ANSWERED = mark("The last message you read. Refused with 409 where a person or the assistant answered since.")
_WROTE = mark("Only with the status `resolved`: the last message you read. Refused with 409 where they wrote since.")


class ReplyIn(BaseModel):
    text: Annotated[CleanText, Field(max_length=LONGEST_TEXT)] = Field(
        "", description=mark("What the contact reads; long ones go out in parts. Empty only with files.")
    )
    files: list[RowId] = Field(
        default=[],
        max_length=MOST_FILES,
        description=mark("Files that you put beside the reply, in this order, each a message after the text."),
    )
    from_person: bool = Field(
        False,
        description=mark(
            "A person of yours wrote it: people have the conversation, and the contact waits no longer. Otherwise it "
            "is a program's word, and whoever waits goes on waiting."
        ),
    )
    reply_to: RowId | None = Field(None, description=mark("A message of this conversation that it answers."))
    seen: RowId | None = Field(None, description=_ANSWERED)

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "您的包裹已经到站"}]})


class NoteIn(BaseModel):
    text: SaidText = Field(description=mark("For colleagues; @name mentions one."))

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "订单系统：已退款"}]})


class ConversationChangeIn(BaseModel):
    """Only the fields that are sent are changed."""

    status: Status = Field(
        Status.OPEN,
        description=mark("`open` reopens, `pending` gives it back to the assistant; `snoozed` needs a time."),
    )
    snoozed_until: AwareDatetime | None = Field(None, description=mark("Only with the status `snoozed`."))
    assignee_id: RowId | None = Field(None, description=mark("An agent's id; null: nobody."))
    team_id: RowId | None = Field(None, description=mark("A team's id; null: none."))
    priority: PriorityName = "none"
    labels: list[LabelName] = Field(default=[], max_length=MOST_LABELS, description=mark("Exactly these labels."))
    seen: RowId | None = Field(None, description=_WROTE)

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"status": "resolved"}]})

    def given(self) -> dict[str, Any]:
        """What was sent, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set}
