"""Takes rows, or fields of rows, out of one table, a span of ids at a time: what one transaction holds stays small.

The spans follow the primary key, so a table is walked once, whatever the share of it that goes.
"""

from __future__ import annotations

from services.destination_writer.destinations import Account, Cleaned
from services.destination_writer.omission import Tree, strip
from shared.catalogue import Child, Resource
from shared.db import Connection, Row, affected
from shared.postgres_rows import OF_ACCOUNT, holds_rows, made_before
from shared.postgres_tables import quote

ROWS = 5000  # looked at by one transaction that deletes
PARENTS = 1000  # the same, where each may take many children with it
BODIES = 1000  # read at once to take fields out of them

_DELETE = """
WITH span AS MATERIALIZED (
    SELECT id FROM {table} WHERE {of_account} {after} ORDER BY id LIMIT {limit}
), gone AS (
    DELETE FROM {table} t USING span s WHERE t._account = $1 AND t._livemode = $2 AND t.id = s.id {condition}
    RETURNING t.id
)
SELECT ARRAY(SELECT id FROM gone) AS ids, (SELECT max(id) FROM span) AS last_id, (SELECT count(*) FROM span) AS looked
"""
_DELETE_CHILDREN = "DELETE FROM {table} WHERE {of_account} AND _parent = ANY ($3::text[])"
_READ = """
SELECT id, data::text AS body, _trail::text AS trail FROM {table} WHERE {of_account} {after} ORDER BY id LIMIT {limit}
"""
_LOCK = """
SELECT id, data::text AS body, _trail::text AS trail FROM {table}
WHERE {of_account} AND id = ANY ($3::text[]) ORDER BY id FOR UPDATE
"""
_REWRITE = """
UPDATE {table} t SET data = u.body::jsonb, _trail = u.trail::jsonb, _synced_at = now()
FROM unnest($3::text[], $4::text[], $5::text[]) AS u (id, body, trail)
WHERE t._account = $1 AND t._livemode = $2 AND t.id = u.id
"""


async def delete_rows(
    db: Connection,
    schema: str,
    account: Account,
    source: Resource | Child,
    *,
    created_before: int | None,
    after: str | None,
) -> Cleaned:
    """Delete the next span of rows, and the children of those that go."""
    children = [child for child in getattr(source, "children", ()) if await holds_rows(db, schema, child.table)]
    if not await holds_rows(db, schema, source.table):
        return Cleaned({}, None)
    limit = PARENTS if children else ROWS
    values: list[object] = [account.id, account.livemode]
    condition = ""
    if created_before is not None:
        condition = f"AND {made_before(_bind(values, created_before, 'bigint'), data='t.data')}"
    sql = _for_table(_DELETE, schema, source.table, limit=limit, after=_after(values, after), condition=condition)
    span = await db.fetchrow(sql, *values)
    rows = {source.table: len(span["ids"])}
    for child in children if span["ids"] else ():
        sql = _for_table(_DELETE_CHILDREN, schema, child.table)
        rows[child.table] = affected(await db.execute(sql, account.id, account.livemode, span["ids"]))
    return Cleaned(rows, span["last_id"] if span["looked"] == limit else None)


async def omit_fields(
    db: Connection, schema: str, account: Account, source: Resource | Child, tree: Tree, *, after: str | None
) -> Cleaned:
    """Rewrite those of the next span of rows that hold what is omitted."""
    if not await holds_rows(db, schema, source.table):
        return Cleaned({}, None)
    values: list[object] = [account.id, account.livemode]
    sql = _for_table(_READ, schema, source.table, limit=BODIES, after=_after(values, after))
    span = await db.fetch(sql, *values)
    found = [row["id"] for row in span if _stripped(row, tree)]
    # Only rows that have to change are locked, and what they hold by then counts.
    sql = _for_table(_LOCK, schema, source.table)
    locked = await db.fetch(sql, account.id, account.livemode, found) if found else ()
    changes = [change for row in locked if (change := _stripped(row, tree))]
    if changes:
        columns = map(list, zip(*changes, strict=True))
        await db.execute(_for_table(_REWRITE, schema, source.table), account.id, account.livemode, *columns)
    return Cleaned({source.table: len(changes)}, span[-1]["id"] if len(span) == BODIES else None)


def _stripped(row: Row, tree: Tree) -> tuple[str, str, str] | None:
    """Return id, body and trail of the row without what is omitted; `None` when it holds nothing of that."""
    before = row["body"].encode(), row["trail"].encode()
    body, trail = (strip(text, tree) for text in before)
    return None if (body, trail) == before else (row["id"], body.decode(), trail.decode())


def _bind(values: list[object], value: object, sql_type: str) -> str:
    values.append(value)
    return f"${len(values)}::{sql_type}"


def _after(values: list[object], after: str | None) -> str:
    return "" if after is None else f"AND id > {_bind(values, after, 'text')}"


def _for_table(statement: str, schema: str, table: str, **others: object) -> str:
    return statement.format(table=f"{quote(schema)}.{quote(table)}", of_account=OF_ACCOUNT, **others)
