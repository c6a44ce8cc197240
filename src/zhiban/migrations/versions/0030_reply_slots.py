"""Where messages may be answered, on channels that are answered in slots alone."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
create table reply_slot (
  workspace_id bigint not null, connection_id bigint not null, key text not null,
  inbox_id bigint not null, thread text not null, message text not null, how text not null,
  address text not null default '', otherwise text not null default '', superseded text not null default '',
  opened_at timestamptz not null, until timestamptz not null, asked_at timestamptz,
  message_key text, text text, tried_at timestamptz, given_at timestamptz, closed_at timestamptz,
  constraint pk_reply_slot primary key (workspace_id, connection_id, key),
  constraint fk_reply_slot_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_reply_slot_how check (how in ('fetched', 'posted')))
  with (fillfactor = 70)"""
    )
    op.execute("create index ix_reply_slot_thread on reply_slot (workspace_id, connection_id, thread, opened_at)")
    op.execute(
        "create unique index ix_reply_slot_message_key on reply_slot (workspace_id, connection_id, message_key) "
        "where message_key is not null"
    )
    protect("reply_slot")
