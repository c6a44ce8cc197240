"""What is open and belongs to a team, for the list of one's teams: of a team most is long resolved."""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "create index ix_conversation_team_open on conversation (workspace_id, team_id) "
        "where status = 'open' and team_id is not null"
    )
