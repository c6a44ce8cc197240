"""The organisation, its people, and the people who write to it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from zhiban.kit.db import Base

Moment = TIMESTAMP(timezone=True)
NOW = text("now()")


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    AGENT = "agent"


class Directory(Base):
    """Leads from a public id or a digest to a workspace before one is set. Ids only, no row-level security."""

    __tablename__ = "directory"

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger, index=True)
    ref: Mapped[int | None] = mapped_column(BigInteger)


class Workspace(Base):
    __tablename__ = "workspace"
    __table_args__ = (UniqueConstraint("slug"),)

    workspace_id: Mapped[int] = mapped_column(BigInteger, Identity(always=False), primary_key=True)
    slug: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    locale: Mapped[str] = mapped_column(Text, server_default="zh")
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class Agent(Base):
    """A person of ours who answers."""

    __tablename__ = "agent"
    __table_args__ = (UniqueConstraint("workspace_id", "email", name="uq_agent_email"),)

    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(Text)
    locale: Mapped[str] = mapped_column(Text, server_default="zh")
    theme: Mapped[str] = mapped_column(Text, server_default="auto")
    wecom_userid: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)


class AgentSession(Base):
    """A signed-in browser. The cookie's token is stored as its sha256 only."""

    __tablename__ = "agent_session"
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agent.workspace_id", "agent.id"],
            name="fk_agent_session_agent_id",
            ondelete="CASCADE",
        ),
    )

    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    agent_id: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    agent_hint: Mapped[str] = mapped_column(Text, server_default="")


class SetupLink(Base):
    """A one-time link: the first owner is created by one, and an agent chooses a password by one of their own."""

    __tablename__ = "setup_link"
    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "agent_id"],
            ["agent.workspace_id", "agent.id"],
            name="fk_setup_link_agent_id",
            ondelete="CASCADE",
        ),
    )

    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    agent_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    used_at: Mapped[datetime | None] = mapped_column(Moment)


class Contact(Base):
    """A person who writes to us."""

    __tablename__ = "contact"

    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text, server_default="")
    avatar_url: Mapped[str | None] = mapped_column(Text)
    remark: Mapped[str] = mapped_column(Text, server_default="")
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    blocked_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)


class ContactIdentity(Base):
    """A contact's account at one vendor: `kind` wecom (a customer) or wecom_member, `account` the corp."""

    __tablename__ = "identity"
    __table_args__ = (
        UniqueConstraint("workspace_id", "kind", "account", "external_id", name="uq_identity_kind"),
        ForeignKeyConstraint(
            ["workspace_id", "contact_id"],
            ["contact.workspace_id", "contact.id"],
            name="fk_identity_contact_id",
            ondelete="CASCADE",
        ),
        Index("ix_identity_contact_id", "workspace_id", "contact_id"),
    )

    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    contact_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    account: Mapped[str] = mapped_column(Text)
    external_id: Mapped[str] = mapped_column(Text)
    unionid: Mapped[str | None] = mapped_column(Text)
    profile: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    profiled_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, server_default=NOW)
