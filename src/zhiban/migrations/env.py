"""Alembic's entry: runs on the connection that `zhiban.postgres.provisioning.migrate` hands over."""

from alembic import context

from zhiban.kit.db import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
