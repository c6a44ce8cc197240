"""Whoever runs this is told of a connection that fell silent, which is about no conversation."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
alter table notification add column connection_id bigint,
  add constraint fk_notification_connection_id foreign key (workspace_id, connection_id) references connection
    on delete cascade,
  drop constraint ck_notification_about,
  add constraint ck_notification_about check (num_nonnulls(conversation_id, ticket_id, connection_id) > 0)""")
