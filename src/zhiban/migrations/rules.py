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


def append_only(table: str) -> None:
    """Take the right to change or delete rows from everybody but the owner: what is written stays written."""
    _for_others(table, f'revoke update, delete, truncate on "{table}" from %s')


def lend(function: str, *, of: str) -> None:
    """Let those who have rights on the table, and nobody else, call a function that has the owner's."""
    op.execute(f"revoke execute on function {function} from public")
    _for_others(of, f"grant execute on function {function} to %s")


def _for_others(table: str, statement: str) -> None:
    """Run a statement for each role but the owner that has rights on the table."""
    op.execute(
        f"""
do $$
declare other record;
begin
  for other in
    select distinct grantee::regrole::text as name from pg_class, aclexplode(relacl)
    where oid = '"{table}"'::regclass and grantee <> relowner and grantee <> 0
  loop
    execute format('{statement}', other.name);
  end loop;
end $$"""
    )
