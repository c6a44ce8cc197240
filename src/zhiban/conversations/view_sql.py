"""SQL that looks through some thousand conversations `c` and their contacts `p`, and reads no more than it names."""

from __future__ import annotations

import re


def selected(table: str, sql: str) -> str:
    """The columns that this SQL names of a table, which it calls so, to be selected."""
    return ", ".join(f"{table}.{name}" for name in _columns(table, sql))


def with_contacts(what: str, rows: str) -> str:
    """`what` of all these rows, with their contacts where it names them.

    All contacts are looked up at once, and joined in full, which they are anyhow: whatever the planner expects, it
    cannot compare each row with each contact then.
    """
    names = _columns("p", what)
    if not names:
        return f"select {what} from ({rows}) c"
    read, told = (", ".join(form.format(name) for name in names) for form in ("p.{0} as p_{0}", "c.p_{0} as {0}"))
    return (
        f"with looked as materialized ({rows}), contacts as materialized ("
        f"select p.id as of, {read} from contact p where p.id = any(array(select contact_id from looked))), "
        "joined as materialized (select * from looked full join contacts on of = contact_id) "
        f"select {what} from joined c cross join lateral (select {told}) p"
    )


def _columns(table: str, sql: str) -> list[str]:
    return sorted(set(re.findall(rf"\b{table}\.(\w+)", sql)))
