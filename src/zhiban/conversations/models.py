"""Where people write, what they wrote, what became of it, and the log of everything that happened."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from zhiban.kit.columns import NOW, Moment, identity_key, reference, workspace_key
from zhiban.kit.db import Base

EMPTY = literal("'{}'")


class Status(StrEnum):
    """Whose turn it is: the assistant's, a person's, nobody's for a while, or over."""

    PENDING = "pending"
    OPEN = "open"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class MessageState(StrEnum):
    """incoming: pending → handled; outgoing: queued → sent | failed | dropped; notes and activities: stored."""

    PENDING = "pending"
    HANDLED = "handled"
    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"
    STORED = "stored"


class Author(StrEnum):
    CONTACT = "contact"
    ASSISTANT = "assistant"
    AGENT = "agent"
    SERVICER = "servicer"  # a person of ours who wrote in the vendor's own client
    SYSTEM = "system"


class Connection(Base):
    """Our credentials at one vendor, and its current access token."""

    __tablename__ = "connection"
    __table_args__ = (UniqueConstraint("workspace_id", "public_id", name="uq_connection_public_id"),)

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    public_id: Mapped[str] = mapped_column(Text)
    vendor: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=EMPTY)
    secrets: Mapped[bytes] = mapped_column(LargeBinary)
    token: Mapped[bytes | None] = mapped_column(LargeBinary)
    token_generation: Mapped[int] = mapped_column(BigInteger, server_default=literal("0"))
    token_expires_at: Mapped[datetime | None] = mapped_column(Moment)
    token_owner: Mapped[int | None] = mapped_column(BigInteger)
    token_lease_until: Mapped[datetime | None] = mapped_column(Moment)
    broken: Mapped[str | None] = mapped_column(Text)
    broken_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class Inbox(Base):
    """One configured account of a channel (WeCom: a 客服帐号, or the app itself)."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("workspace_id", "public_id", name="uq_inbox_public_id"),
        UniqueConstraint("workspace_id", "connection_id", "kind", "external_id", name="uq_inbox_kind"),
        reference("connection", "connection_id", "inbox"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    public_id: Mapped[str] = mapped_column(Text)
    connection_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    policy: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=EMPTY)
    base_id: Mapped[int | None] = mapped_column(BigInteger)
    broken: Mapped[str | None] = mapped_column(Text)
    broken_at: Mapped[datetime | None] = mapped_column(Moment)
    archived_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class PullState(Base):
    """Where pulling an inbox stands. The cursor moves in the same transaction as the messages that it brought."""

    __tablename__ = "pull_state"
    __table_args__ = (reference("inbox", "inbox_id", "pull_state"),)

    workspace_id: Mapped[int] = workspace_key()
    inbox_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    cursor: Mapped[str | None] = mapped_column(Text)
    token: Mapped[str | None] = mapped_column(Text)
    token_at: Mapped[datetime | None] = mapped_column(Moment)
    drained: Mapped[bool] = mapped_column(Boolean, server_default=literal("false"))
    owner: Mapped[int | None] = mapped_column(BigInteger)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    rings: Mapped[int] = mapped_column(Integer, server_default=literal("0"))
    pulled_at: Mapped[datetime | None] = mapped_column(Moment)
    retry_at: Mapped[datetime | None] = mapped_column(Moment)
    misses: Mapped[int] = mapped_column(Integer, server_default=literal("0"))


class Delivery(Base):
    """One authenticated webhook call, stored before it was acknowledged."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("workspace_id", "digest", name="uq_delivery_digest"),
        reference("connection", "connection_id", "delivery"),
        Index("ix_delivery_pending", "workspace_id", "id", postgresql_where=literal("state = 'pending'")),
        Index("ix_delivery_received_at", "workspace_id", "received_at"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    connection_id: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    account: Mapped[str | None] = mapped_column(Text)
    token: Mapped[str | None] = mapped_column(Text)
    pulls: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="pending")
    attempts: Mapped[int] = mapped_column(Integer, server_default=literal("0"))
    error: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    handled_at: Mapped[datetime | None] = mapped_column(Moment)


class Conversation(Base):
    """The exchange with one contact, or in one group, in one inbox. It is reopened, never doubled.

    `owner`, `lease_until` and `rings` say which process works on it now and whether something arrived meanwhile.
    """

    __tablename__ = "conversation"
    __table_args__ = (
        UniqueConstraint("workspace_id", "inbox_id", "external_id", name="uq_conversation_inbox_id"),
        reference("inbox", "inbox_id", "conversation"),
        reference("contact", "contact_id", "conversation"),
        reference("agent", "assignee_id", "conversation"),
        Index("ix_conversation_status", "workspace_id", "status", literal("last_activity_at desc")),
        Index(
            "ix_conversation_assignee_id", "workspace_id", "assignee_id", postgresql_where=literal("status = 'open'")
        ),
        Index("ix_conversation_contact_id", "workspace_id", "contact_id"),
        Index("ix_conversation_owner", "workspace_id", "owner", postgresql_where=literal("owner is not null")),
        Index("ix_conversation_retry_at", "workspace_id", "retry_at", postgresql_where=literal("retry_at is not null")),
        Index(
            "ix_conversation_snoozed_until",
            "workspace_id",
            "snoozed_until",
            postgresql_where=literal("status = 'snoozed'"),
        ),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    inbox_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text, server_default="direct")
    contact_id: Mapped[int | None] = mapped_column(BigInteger)
    external_id: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default="pending")
    assignee_id: Mapped[int | None] = mapped_column(BigInteger)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=literal("0"))
    handoff_reason: Mapped[str | None] = mapped_column(Text)
    waiting_since: Mapped[datetime | None] = mapped_column(Moment)
    first_reply_at: Mapped[datetime | None] = mapped_column(Moment)
    opened_at: Mapped[datetime | None] = mapped_column(Moment)
    resolved_at: Mapped[datetime | None] = mapped_column(Moment)
    snoozed_until: Mapped[datetime | None] = mapped_column(Moment)
    cycle: Mapped[int] = mapped_column(Integer, server_default=literal("1"))
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    last_activity_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    last_incoming_at: Mapped[datetime | None] = mapped_column(Moment)
    replies_used: Mapped[int] = mapped_column(Integer, server_default=literal("0"))
    failures: Mapped[int] = mapped_column(Integer, server_default=literal("0"))
    native_state: Mapped[str | None] = mapped_column(Text)
    native_servicer: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, server_default="")
    owner: Mapped[int | None] = mapped_column(BigInteger)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)
    rings: Mapped[int] = mapped_column(Integer, server_default=literal("0"))
    retry_at: Mapped[datetime | None] = mapped_column(Moment)


class Message(Base):
    """An entry: what came in, what went out, a note, or a line that the product wrote (activity).

    `external_id` is the vendor's id of an incoming message and our own idempotency key of an outgoing one.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("workspace_id", "inbox_id", "external_id", name="uq_message_external_id"),
        reference("conversation", "conversation_id", "message"),
        Index("ix_message_conversation_id", "workspace_id", "conversation_id", "id"),
        Index(
            "ix_message_waiting",
            "workspace_id",
            "conversation_id",
            "id",
            postgresql_where=literal("state in ('pending', 'queued')"),
        ),
        Index(
            "uq_message_client_key",
            "workspace_id",
            "conversation_id",
            "client_key",
            unique=True,
            postgresql_where=literal("client_key is not null"),
        ),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    conversation_id: Mapped[int] = mapped_column(BigInteger)
    inbox_id: Mapped[int] = mapped_column(BigInteger)
    direction: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(Text)
    agent_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    choice: Mapped[str | None] = mapped_column(Text)
    content: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=EMPTY)
    external_id: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer, server_default=literal("0"))
    failure: Mapped[str | None] = mapped_column(Text)
    failure_code: Mapped[int | None] = mapped_column(Integer)
    turn_id: Mapped[int | None] = mapped_column(BigInteger)
    client_key: Mapped[str | None] = mapped_column(Text)
    sent_at: Mapped[datetime] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    delivered_at: Mapped[datetime | None] = mapped_column(Moment)
    recalled_at: Mapped[datetime | None] = mapped_column(Moment)


class Attachment(Base):
    """A file of a message, fetched at intake, because vendors keep it for a few days only."""

    __tablename__ = "attachment"
    __table_args__ = (
        reference("message", "message_id", "attachment", ondelete="CASCADE"),
        Index("ix_attachment_message_id", "workspace_id", "message_id"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    message_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text, server_default="")
    content_type: Mapped[str | None] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="pending")
    failure: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    fetched_at: Mapped[datetime | None] = mapped_column(Moment)


class ReadMark(Base):
    """How far an agent has read a conversation."""

    __tablename__ = "read_mark"
    __table_args__ = (
        reference("conversation", "conversation_id", "read_mark", ondelete="CASCADE"),
        reference("agent", "agent_id", "read_mark", ondelete="CASCADE"),
    )

    workspace_id: Mapped[int] = workspace_key()
    conversation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    agent_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    message_id: Mapped[int] = mapped_column(BigInteger)


class Draft(Base):
    """What an agent has typed and not sent."""

    __tablename__ = "draft"
    __table_args__ = (
        reference("conversation", "conversation_id", "draft", ondelete="CASCADE"),
        reference("agent", "agent_id", "draft", ondelete="CASCADE"),
    )

    workspace_id: Mapped[int] = workspace_key()
    conversation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    agent_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    mode: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    saved_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class Relation(Base):
    """A contact and a member of ours who added each other (WeCom 客户联系)."""

    __tablename__ = "relation"
    __table_args__ = (
        UniqueConstraint("workspace_id", "connection_id", "external_id", "member", name="uq_relation_connection_id"),
        reference("connection", "connection_id", "relation"),
        reference("contact", "contact_id", "relation"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    connection_id: Mapped[int] = mapped_column(BigInteger)
    contact_id: Mapped[int] = mapped_column(BigInteger)
    external_id: Mapped[str] = mapped_column(Text)
    member: Mapped[str] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(Text)
    remark: Mapped[str] = mapped_column(Text, server_default="")
    tags: Mapped[list[str]] = mapped_column(JSONB, server_default=literal("'[]'"))
    state: Mapped[str] = mapped_column(Text)
    added_at: Mapped[datetime | None] = mapped_column(Moment)
    removed_at: Mapped[datetime | None] = mapped_column(Moment)
    seen_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class EventRow(Base):
    """One fact, written in the transaction that made it true. Never changed afterwards."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_conversation_id", "workspace_id", "conversation_id", "id"),
        Index("ix_event_kind", "workspace_id", "kind", "at"),
    )

    workspace_id: Mapped[int] = workspace_key()
    id: Mapped[int] = identity_key()
    kind: Mapped[str] = mapped_column(Text)
    conversation_id: Mapped[int | None] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    contact_id: Mapped[int | None] = mapped_column(BigInteger)
    inbox_id: Mapped[int | None] = mapped_column(BigInteger)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    cause: Mapped[str] = mapped_column(Text, server_default="")
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
