"""The tables of what agents keep at the desk for themselves or for all."""

# `owner_id` null: everybody's. A name is free again when its bearer is removed; facts of the past name it by its id.
OWN = """
create table snippet (
  workspace_id bigint not null, id bigint generated always as identity,
  owner_id bigint, name text not null, text text not null, changed_at timestamptz not null, removed_at timestamptz,
  constraint pk_snippet primary key (workspace_id, id),
  constraint fk_snippet_owner_id foreign key (workspace_id, owner_id) references agent on delete cascade);
create unique index uq_snippet_name on snippet (workspace_id, coalesce(owner_id, 0), lower(name))
  where removed_at is null;

create table macro (
  workspace_id bigint not null, id bigint generated always as identity,
  owner_id bigint, name text not null, actions jsonb not null, revision int not null default 1,
  changed_at timestamptz not null, removed_at timestamptz,
  constraint pk_macro primary key (workspace_id, id),
  constraint fk_macro_owner_id foreign key (workspace_id, owner_id) references agent on delete cascade);
create unique index uq_macro_name on macro (workspace_id, coalesce(owner_id, 0), lower(name))
  where removed_at is null;

create table saved_view (
  workspace_id bigint not null, id bigint generated always as identity,
  owner_id bigint, name text not null, conditions jsonb not null, changed_at timestamptz not null,
  removed_at timestamptz,
  constraint pk_saved_view primary key (workspace_id, id),
  constraint fk_saved_view_owner_id foreign key (workspace_id, owner_id) references agent on delete cascade);
create unique index uq_saved_view_name on saved_view (workspace_id, coalesce(owner_id, 0), lower(name))
  where removed_at is null;
"""

# What agents can fill in of every contact, besides what all know. The values stand in `contact.attributes` by name.
CONTACT_FIELDS = """
create table contact_field (
  workspace_id bigint not null, id bigint generated always as identity,
  name text not null, kind text not null, choices text[] not null default '{}',
  created_at timestamptz not null, removed_at timestamptz,
  constraint pk_contact_field primary key (workspace_id, id),
  constraint ck_contact_field_kind check (kind in ('text', 'number', 'date', 'list', 'checkbox')));
create unique index uq_contact_field_name on contact_field (workspace_id, lower(name)) where removed_at is null;
"""
