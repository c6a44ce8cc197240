"""Who listens to a gateway, and how the account behind it stands."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
create table gateway_state (
  workspace_id bigint not null, connection_id bigint not null,
  owner bigint, lease_until timestamptz, misses int not null default 0, retry_at timestamptz,
  configured_at timestamptz,
  state text not null default 'connecting', since timestamptz not null,
  account text not null default '', account_name text not null default '', qr_code text not null default '',
  reason text not null default '', heard_at timestamptz, message_at timestamptz,
  gap_since timestamptz, gap_until timestamptz,
  constraint pk_gateway_state primary key (workspace_id, connection_id),
  constraint fk_gateway_state_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_gateway_state_state check (state in ('connecting', 'scan', 'online', 'logged_out', 'refused')))
  with (fillfactor = 50)"""
    )
    protect("gateway_state")
