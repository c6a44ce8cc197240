"""What contacts say of our service, once for each cycle of a conversation that was resolved."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Of the resolution: who it was (an agent, or nobody of ours) and for which team. Reports read the facts of the log.
SURVEYS = """
create table survey (
  workspace_id bigint not null, id bigint generated always as identity,
  conversation_id bigint not null, inbox_id bigint not null, cycle int not null, agent_id bigint, team_id bigint,
  asked_at timestamptz not null, rating smallint, comment text not null default '',
  rated_at timestamptz, changed_at timestamptz,
  constraint pk_survey primary key (workspace_id, id),
  constraint uq_survey_conversation_id unique (workspace_id, conversation_id, cycle),
  constraint fk_survey_conversation_id foreign key (workspace_id, conversation_id) references conversation
    on delete cascade,
  constraint ck_survey_rating check (rating between 1 and 5));
"""


def upgrade() -> None:
    op.execute(SURVEYS)
    protect("survey")
