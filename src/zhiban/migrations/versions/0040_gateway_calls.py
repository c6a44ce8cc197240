"""Calls to programs that are connected to another process, and who was refused beside them."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not logged: it holds what is under way for seconds, files among it; after a crash nobody waits for it any more.
    op.execute(
        """
create unlogged table gateway_call (
  workspace_id bigint not null, id bigint generated always as identity, connection_id bigint not null,
  key text not null, frame text not null, seconds double precision not null,
  state text not null default 'waiting', answer text, created_at timestamptz not null,
  constraint pk_gateway_call primary key (workspace_id, id),
  constraint fk_gateway_call_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_gateway_call_state check (state in ('waiting', 'sent', 'answered', 'unsent', 'lost')))"""
    )
    op.execute(
        "create index ix_gateway_call_waiting on gateway_call (workspace_id, connection_id, id) where state = 'waiting'"
    )
    op.execute(
        """
create table gateway_lost (
  workspace_id bigint not null, connection_id bigint not null, key text not null, lost_at timestamptz not null,
  constraint pk_gateway_lost primary key (workspace_id, connection_id, key),
  constraint fk_gateway_lost_connection_id foreign key (workspace_id, connection_id) references connection)"""
    )
    protect("gateway_call", "gateway_lost")
    op.execute(
        """
alter table gateway_state
  add column refused_account text not null default '', add column refused_at timestamptz,
  add column refused_why text not null default ''"""
    )
