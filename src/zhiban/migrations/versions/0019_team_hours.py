"""Business hours that teams have of their own."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Null: those of the inbox. `report_team`: as the log told of them last.
HOURS = """
alter table team add column hours jsonb;
create table report_team (
  workspace_id bigint not null, team_id bigint not null, hours jsonb,
  constraint pk_report_team primary key (workspace_id, team_id));
"""


def upgrade() -> None:
    op.execute(HOURS)
    protect("report_team")
