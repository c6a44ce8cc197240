"""What every table of a workspace gets: row-level security, forced on its owner too."""

from alembic import op


def protect(*tables: str) -> None:
    """Let a transaction see and write only the rows of the workspace that it has set."""
    for table in tables:
        op.execute(f'alter table "{table}" enable row level security')
        op.execute(f'alter table "{table}" force row level security')
        op.execute(
            f'create policy workspace on "{table}" using (workspace_id = (select app_workspace())) '
            "with check (workspace_id = (select app_workspace()))"
        )
