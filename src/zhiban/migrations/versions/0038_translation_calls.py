"""Calls of the model for translations: who asks now, how often an agent has asked, and what it took."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

# A call without `ended_at` is a claim until `claimed_until`; one at a time for a message in a language.
CALLS = """
create table translation_call (
  workspace_id bigint not null, id bigint generated always as identity,
  message_id bigint not null, language text not null, agent_id bigint,
  started_at timestamptz not null, claimed_until timestamptz not null, ended_at timestamptz,
  outcome text, surface text,
  model text, input_tokens int not null default 0, output_tokens int not null default 0,
  cost numeric(12, 6) not null default 0,
  constraint pk_translation_call primary key (workspace_id, id),
  constraint ck_translation_call_outcome check (outcome in ('done', 'refused', 'failed', 'lost')),
  constraint ck_translation_call_ended_at check ((ended_at is null) = (outcome is null)),
  constraint ck_translation_call_surface check ((surface is not null) = (outcome is not distinct from 'refused')),
  constraint fk_translation_call_message_id foreign key (workspace_id, message_id) references message
    on delete cascade,
  constraint fk_translation_call_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
create unique index uq_translation_call_claim on translation_call (workspace_id, message_id, language)
  where ended_at is null;
create index ix_translation_call_message_id on translation_call (workspace_id, message_id, id);
create index ix_translation_call_agent_id on translation_call (workspace_id, agent_id, started_at);
"""


def upgrade() -> None:
    op.execute(CALLS)
    protect("translation_call")
