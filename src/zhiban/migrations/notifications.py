"""The tables of what single agents are told."""

NOTIFICATIONS = """
-- `ways`: by which of them its agent wanted to hear of it when it was written.
create table notification (
  workspace_id bigint not null, id bigint generated always as identity,
  agent_id bigint not null, kind text not null, key text not null,
  conversation_id bigint, ticket_id bigint, connection_id bigint,
  actor_kind text not null, actor_id bigint, actor_ref text, text text not null default '',
  ways text[] not null, created_at timestamptz not null, read_at timestamptz,
  constraint pk_notification primary key (workspace_id, id),
  constraint uq_notification_key unique (workspace_id, agent_id, key),
  constraint fk_notification_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade,
  constraint fk_notification_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint fk_notification_ticket_id foreign key (workspace_id, ticket_id) references ticket on delete cascade,
  constraint fk_notification_connection_id foreign key (workspace_id, connection_id) references connection
    on delete cascade,
  constraint ck_notification_about check (num_nonnulls(conversation_id, ticket_id, connection_id) > 0));
create index ix_notification_agent_id on notification (workspace_id, agent_id, id desc);
create index ix_notification_unread on notification (workspace_id, agent_id, conversation_id) where read_at is null;
create index ix_notification_conversation_id on notification (workspace_id, conversation_id);
create index ix_notification_connection_id on notification (workspace_id, connection_id)
  where connection_id is not null;

create table notification_setting (
  workspace_id bigint not null, agent_id bigint not null,
  ways jsonb not null default '{}', address text not null default '', waiting_minutes int not null default 10,
  trouble text not null default '', tried_at timestamptz,
  constraint pk_notification_setting primary key (workspace_id, agent_id),
  constraint fk_notification_setting_agent_id foreign key (workspace_id, agent_id) references agent
    on delete cascade,
  constraint ck_notification_setting_waiting_minutes check (waiting_minutes between 1 and 1440));
"""

TABLES = ["notification", "notification_setting"]
