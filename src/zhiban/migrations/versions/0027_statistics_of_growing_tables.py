"""Statistics of a table that was small when it was first analysed."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# PostgreSQL's own daemon may analyse a table that has a dozen rows. The plan made then reads all of them, and is kept
# until the daemon looks again a minute later. So a small table is analysed whenever it has doubled.
STATISTICS = """
create or replace function analyze_grown_tables() returns void language plpgsql security definer
set search_path = public, pg_temp as $$
declare grown regclass;
begin
  for grown in
    select c.oid::regclass from pg_class c join pg_roles r on r.oid = c.relowner and r.rolname = current_user
    where c.relkind = 'r' and c.reltuples < 1000
      and pg_stat_get_live_tuples(c.oid) >= greatest(10, 2 * c.reltuples) order by c.oid
  loop
    execute format('analyze (skip_locked) %s', grown);
  end loop;
end $$;
"""


def upgrade() -> None:
    op.execute(STATISTICS)
