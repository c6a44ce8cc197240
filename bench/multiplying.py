"""A large base out of a small one: its rows again and again, inside the server, with ids of their own.

What a search does with them is what it does with entries that were imported one by one, or a little more: a term that
stands in one entry of a small base stands in as many as there are copies.
"""

from __future__ import annotations

import psycopg

from material import Stand
from zhiban.kit.db import Transaction

_TABLES = ("article", "phrasing", "chunk")  # with an identity each
_OF_BASE = {
    "article": "base_id = %(base)s",
    "phrasing": "article_id in (select id from article where base_id = %(base)s and id <= %(articles)s)",
    "chunk": "base_id = %(base)s",
    "chunk_index": "base_id = %(base)s",
}
_MOVED = {
    "article": {"id": "article"},
    "phrasing": {"id": "phrasing", "article_id": "article"},
    "chunk": {"id": "chunk", "article_id": "article"},
    "chunk_index": {"chunk_id": "chunk"},
}


async def multiply(found: Stand, base_id: int, times: int) -> None:
    """Let the base, the last one that was filled, have so many times its entries."""
    async with found.database.transaction(found.workspace) as tx:
        spans = {table: await _reserved(tx, table, times) for table in _TABLES}
        last = await tx.value("select max(id) from article where base_id = %(base)s", base=base_id)
    # The index of words is the same when it is made at once, and made in a tenth of the time.
    async with await psycopg.AsyncConnection.connect(found.owner, autocommit=True) as owner:
        row = await (await owner.execute("select pg_get_indexdef('ix_chunk_index_keys'::regclass)")).fetchone()
        assert row is not None
        await owner.execute("drop index ix_chunk_index_keys")
        for copy in range(1, times):
            async with found.database.transaction(found.workspace) as tx:
                await tx.lift_time_limit()
                for table, moved in _MOVED.items():
                    await _copy(tx, table, {name: copy * spans[of] for name, of in moved.items()}, base_id, last, spans)
        await owner.execute("set maintenance_work_mem = '1GB'")
        await owner.execute(row[0])
    async with found.database.transaction(found.workspace) as tx:
        await tx.lift_time_limit()
        await tx.run(
            "update term_df set bodies = bodies * %(times)s, phrasings = phrasings * %(times)s "
            "where base_id = %(base)s",
            times=times,
            base=base_id,
        )
        await tx.run(
            "update knowledge_base set bodies = bodies * %(times)s, body_terms = body_terms * %(times)s, "
            "phrasings = phrasings * %(times)s, phrasing_terms = phrasing_terms * %(times)s where id = %(base)s",
            times=times,
            base=base_id,
        )
        await tx.value("select tidy_knowledge()")


async def _reserved(tx: Transaction, table: str, times: int) -> int:
    """How far apart the copies of this table's ids lie; as many are taken from its sequence."""
    span: int = await tx.value(f"select max(id) from {table}")  # the whole range: also what other bases have
    await tx.value(
        f"select count(nextval(pg_get_serial_sequence('{table}', 'id'))) from generate_series(1, %(count)s)",
        count=span * times,
    )
    return span


async def _copy(
    tx: Transaction, table: str, moved: dict[str, int], base_id: int, last: int, spans: dict[str, int]
) -> None:
    columns = await tx.values(
        "select column_name::text from information_schema.columns where table_schema = 'public' "
        "and table_name = %(table)s and is_generated = 'NEVER' order by ordinal_position",
        table=table,
    )
    first = next(iter(_MOVED[table]))
    values = [f"t.{name} + {moved[name]}" if name in moved else f"t.{name}" for name in columns]
    await tx.run(
        f"insert into {table} ({', '.join(columns)}) overriding system value "
        f"select {', '.join(values)} from {table} t where {_OF_BASE[table]} and t.{first} <= %(most)s",
        base=base_id,
        articles=last,
        most=spans[_MOVED[table][first]],
    )
