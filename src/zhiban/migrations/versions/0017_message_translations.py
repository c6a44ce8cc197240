"""What contacts wrote, in agents' languages."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TRANSLATIONS = """
create table message_translation (
  workspace_id bigint not null, message_id bigint not null, language text not null, text text not null,
  agent_id bigint, created_at timestamptz not null,
  constraint pk_message_translation primary key (workspace_id, message_id, language),
  constraint ck_message_translation_language check (language in ('zh', 'en')),
  constraint fk_message_translation_message_id foreign key (workspace_id, message_id) references message
    on delete cascade,
  constraint fk_message_translation_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
"""


def upgrade() -> None:
    op.execute(TRANSLATIONS)
    protect("message_translation")
