"""The tables of what is asked for after the password."""

SECOND_FACTOR = """
-- The secret is sealed; enrolled_at is null until a code of it was typed. No code of last_step or before works (again).
create table second_factor (
  workspace_id bigint not null, agent_id bigint not null, secret bytea not null,
  created_at timestamptz not null, enrolled_at timestamptz, last_step bigint not null default 0,
  constraint pk_second_factor primary key (workspace_id, agent_id),
  constraint fk_second_factor_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);

create table recovery_code (
  workspace_id bigint not null, agent_id bigint not null, digest bytea not null, used_at timestamptz,
  constraint pk_recovery_code primary key (workspace_id, agent_id, digest),
  constraint fk_recovery_code_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
"""

TABLES = ["second_factor", "recovery_code"]
