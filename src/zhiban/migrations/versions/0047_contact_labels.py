"""Labels of contacts: the same that conversations bear."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Beside the contact, whose row is read with every message: only who asks for labels reads these.
    op.execute(
        """
create table contact_label (
  workspace_id bigint not null, contact_id bigint not null, label_id bigint not null,
  constraint pk_contact_label primary key (workspace_id, contact_id, label_id),
  constraint fk_contact_label_contact_id foreign key (workspace_id, contact_id) references contact on delete cascade,
  constraint fk_contact_label_label_id foreign key (workspace_id, label_id) references label)"""
    )
    op.execute("create index ix_contact_label_label_id on contact_label (workspace_id, label_id, contact_id desc)")
    protect("contact_label")
