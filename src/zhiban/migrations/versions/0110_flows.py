"""Flows: what asks contacts several questions, one after the other."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0110"
down_revision = "0109"
branch_labels = None
depends_on = None

# A run keeps to the version with which it began, whatever becomes of the flow meanwhile.
FLOWS = """
create table flow (
  workspace_id bigint not null, id bigint generated always as identity,
  name text not null, enabled boolean not null default false, definition jsonb not null,
  revision int not null default 1, created_at timestamptz not null, changed_at timestamptz not null, changed_by bigint,
  removed_at timestamptz,
  constraint pk_flow primary key (workspace_id, id));
create unique index uq_flow_name on flow (workspace_id, lower(name)) where removed_at is null;

create table flow_version (
  workspace_id bigint not null, flow_id bigint not null, revision int not null, definition jsonb not null,
  constraint pk_flow_version primary key (workspace_id, flow_id, revision),
  constraint fk_flow_version_flow_id foreign key (workspace_id, flow_id) references flow);

create table flow_run (
  workspace_id bigint not null, id bigint generated always as identity,
  flow_id bigint not null, revision int not null, conversation_id bigint not null,
  depth smallint not null, step smallint not null default 0, tries smallint not null default 0,
  answers jsonb not null default '[]',
  started_at timestamptz not null, due_at timestamptz not null, ended_at timestamptz,
  outcome text, actions jsonb not null default '[]',
  constraint pk_flow_run primary key (workspace_id, id),
  constraint fk_flow_run_revision foreign key (workspace_id, flow_id, revision) references flow_version,
  constraint fk_flow_run_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint ck_flow_run_outcome check ((ended_at is null) = (outcome is null)
    and outcome in ('finished', 'cancelled', 'asked', 'failed', 'silent', 'interrupted', 'removed')))
  with (fillfactor = 70);
create index ix_flow_run_due_at on flow_run (workspace_id, due_at) where ended_at is null;
create index ix_flow_run_flow_id on flow_run (workspace_id, flow_id, id);
create index ix_flow_run_conversation_id on flow_run (workspace_id, conversation_id);
"""


def upgrade() -> None:
    op.execute(FLOWS)
    protect("flow", "flow_version", "flow_run")
