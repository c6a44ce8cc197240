"""What the tables of every module have in common: a workspace first in the key, and references that stay inside it."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

Moment = TIMESTAMP(timezone=True)
NOW = text("now()")


def workspace_key() -> Mapped[int]:
    """The first column of the primary key."""
    return mapped_column(BigInteger, primary_key=True)


def identity_key() -> Mapped[int]:
    """The second column of the primary key, numbered by the database."""
    return mapped_column(BigInteger, Identity(always=True), primary_key=True)


def reference(table: str, column: str, own: str, *, ondelete: str | None = None) -> ForeignKeyConstraint:
    """From `own.column` to a row of `table` in the same workspace."""
    return ForeignKeyConstraint(
        ["workspace_id", column],
        [f"{table}.workspace_id", f"{table}.id"],
        name=f"fk_{own}_{column}",
        ondelete=ondelete,
    )
