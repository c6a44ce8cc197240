"""What articles said before they were changed, and who saved what they say now."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Who saved what is there already, nobody wrote down. A change of type is no update, which the walls between workspaces
# would keep from rows of all of them.
SAVED = """
alter table article add column saved_from text, add column actor_kind text, add column actor_id bigint,
  add column actor_ref text;
alter table article alter column saved_from type text
  using case when source_id is null then 'editor' else 'import' end;
alter table article alter column saved_from set not null, add constraint ck_article_saved_from check (
  saved_from in ('editor', 'import', 'gap', 'reply', 'restored'));
"""

# Each as it stood until the next save; what it says now is the article itself.
VERSIONS = """
create table article_version (
  workspace_id bigint not null, id bigint generated always as identity, article_id bigint not null,
  title text not null, answer text not null, category text, similar_questions text[] not null,
  saved_from text not null, file text, actor_kind text, actor_id bigint, actor_ref text, saved_at timestamptz not null,
  constraint pk_article_version primary key (workspace_id, id),
  constraint fk_article_version_article_id foreign key (workspace_id, article_id) references article
    on delete cascade);
create index ix_article_version_article_id on article_version (workspace_id, article_id, id);
"""


def upgrade() -> None:
    op.execute(SAVED)
    op.execute(VERSIONS)
    protect("article_version")
