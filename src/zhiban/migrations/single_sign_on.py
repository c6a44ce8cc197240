"""The tables of whom a workspace trusts to say who its people are."""

SINGLE_SIGN_ON = """
-- The secret is sealed. `joins_as`: what strangers with an address of `domains` become; null: nobody joins.
-- `joins_inboxes`: null is every inbox, those to come included, as in agent.inbox_ids.
create table sign_in_provider (
  workspace_id bigint not null, id bigint generated always as identity,
  kind text not null, name text not null, issuer text not null default '', client_id text not null default '',
  secret bytea, links_by_email boolean not null default false, joins_as text,
  joins_inboxes bigint[] default '{}', domains text[] not null default '{}',
  connection_id bigint, vendor text, created_at timestamptz not null, removed_at timestamptz,
  constraint pk_sign_in_provider primary key (workspace_id, id),
  constraint fk_sign_in_provider_connection_id foreign key (workspace_id, connection_id) references connection,
  constraint ck_sign_in_provider_kind check (kind in ('oidc', 'members')),
  constraint ck_sign_in_provider_joins_as check (joins_as is null or joins_as in ('agent', 'read_only')));
create unique index uq_sign_in_provider_connection_id on sign_in_provider (workspace_id, connection_id)
  where connection_id is not null and removed_at is null;

-- Whose account at a provider is whose: each has one, and one is nobody else's.
create table agent_login (
  workspace_id bigint not null, provider_id bigint not null, subject text not null, agent_id bigint not null,
  linked_at timestamptz not null,
  constraint pk_agent_login primary key (workspace_id, provider_id, subject),
  constraint uq_agent_login_agent_id unique (workspace_id, agent_id, provider_id),
  constraint fk_agent_login_provider_id foreign key (workspace_id, provider_id) references sign_in_provider,
  constraint fk_agent_login_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
"""

TABLES = ["sign_in_provider", "agent_login"]
