"""Leases have one pair of names, as those of conversations: by whom, and until when."""

from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, renamed in {
        "pull_state": {"owner": "leased_by", "lease_until": "lease_expires_at"},
        "gateway_state": {"owner": "leased_by", "lease_until": "lease_expires_at"},
        "connection": {"token_owner": "token_leased_by", "token_lease_until": "token_lease_expires_at"},
        "tracker_call": {"lease_until": "lease_expires_at"},
    }.items():
        for old, new in renamed.items():
            op.execute(f"alter table {table} rename column {old} to {new}")
