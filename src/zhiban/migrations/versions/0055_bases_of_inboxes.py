"""An inbox answers from a base that exists. What named one that was removed answers from the default one.

Columns that nothing ever read go.
"""

from alembic import op

revision = "0055"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Its owner, too, sees no row of a workspace otherwise: nothing would be mended, and the constraint check nothing.
    for table in ("inbox", "knowledge_base"):
        op.execute(f"alter table {table} no force row level security")
    op.execute(
        "update inbox set base_id = null where base_id is not null and not exists (select 1 from knowledge_base b "
        "where b.workspace_id = inbox.workspace_id and b.id = inbox.base_id)"
    )
    op.execute(
        "alter table inbox add constraint fk_inbox_base_id foreign key (workspace_id, base_id) "
        "references knowledge_base on delete set null (base_id)"
    )
    for table in ("inbox", "knowledge_base"):
        op.execute(f"alter table {table} force row level security")
    op.execute("alter table pull_state drop column rings")
    op.execute("alter table connection drop column token_generation")
