"""Looks at the rows of one table without changing them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from services.destination_writer.comparison import Compared, Finding, RowState, compare
from services.destination_writer.destinations import Account, Older, Span
from services.destination_writer.destinations.postgres.children import collect_sets
from services.destination_writer.destinations.postgres.tombstones import TABLE as TOMBSTONES
from services.destination_writer.records import Record
from shared.catalogue import Child, Resource
from shared.db import Connection
from shared.postgres_rows import OF_ACCOUNT, holds_rows, made_before
from shared.postgres_tables import quote

ROWS = 1000  # looked at by one statement

# What belongs to a test clock stands in no list that is not asked for that clock.
_FIND_OLDER = """
WITH span AS MATERIALIZED (
    SELECT id FROM {table} WHERE {of_account} AND ($3::text IS NULL OR id > $3) ORDER BY id LIMIT {limit}
)
SELECT (SELECT max(id) FROM span) AS last_id, (SELECT count(*) FROM span) AS looked, ARRAY(
    SELECT t.id FROM {table} t JOIN span s ON t._account = $1 AND t._livemode = $2 AND t.id = s.id
    WHERE NOT t._deleted AND (t._stamp < $4 OR t._stamp > $7)
      AND ({made_before_start}) IS NOT TRUE AND ({made_before_end}) IS NOT FALSE AND t.data ->> 'test_clock' IS NULL
    ORDER BY t.id) AS ids
"""

_COMPARE = """
SELECT coalesce(t._stamp, d._stamp) AS stamp, coalesce(t._deleted, d.id IS NOT NULL) AS is_deleted,
       coalesce(t.data = i.data, false) AS is_same,
       CASE WHEN t.data <> i.data THEN t.data::text END AS body
FROM (SELECT id, body::jsonb AS data, ord FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS u (id, body, ord)) i
LEFT JOIN {table} t ON t._account = $1 AND t._livemode = $2 AND t.id = i.id
LEFT JOIN {tombstones} d ON d._account = $1 AND d._livemode = $2 AND d._table = $5 AND d.id = i.id AND t.id IS NULL
ORDER BY i.ord
"""
# In a destination in which no deleted row has ever been removed there are none.
_NO_TOMBSTONES = (
    "(SELECT NULL::text AS _account, false AS _livemode, '' AS _table, '' AS id, 0::bigint AS _stamp LIMIT 0)"
)
# The parents whose whole set, as Stripe shows it, is not the one in the table.
_COMPARE_CHILDREN = """
SELECT DISTINCT coalesce(i.parent, t._parent) AS parent
FROM (SELECT * FROM unnest($4::text[], $5::text[], $6::text[]) AS u (id, parent, body)) i
FULL JOIN (SELECT id, _parent, data FROM {table} WHERE {of_account} AND _parent = ANY ($3::text[]) AND NOT _deleted) t
  ON t.id = i.id AND t._parent = i.parent
WHERE t.id IS NULL OR i.id IS NULL OR t.data <> i.body::jsonb
"""


async def compare_rows(
    db: Connection, schema: str, account: Account, records: Sequence[Record], *, has_tombstones: bool, now: float
) -> list[Compared]:
    """Compare records of any resources with their rows, and whole child sets with theirs; answer in their order."""
    by_resource: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        by_resource[record.resource.name].append(index)
    answers: dict[int, Compared] = {}
    for indices in by_resource.values():
        batch = [records[index] for index in indices]
        answers.update(
            zip(
                indices,
                await _compare_table(db, schema, account, batch, has_tombstones=has_tombstones, now=now),
                strict=True,
            )
        )
    return [answers[index] for index in range(len(records))]


async def _compare_table(
    db: Connection, schema: str, account: Account, batch: Sequence[Record], *, has_tombstones: bool, now: float
) -> list[Compared]:
    resource = batch[0].resource
    table = f"{quote(schema)}.{quote(resource.table)}"
    values = [record.object_id for record in batch], [record.body.decode() for record in batch]
    tombstones = f"{quote(schema)}.{quote(TOMBSTONES)}" if has_tombstones else _NO_TOMBSTONES
    sql = _COMPARE.format(table=table, tombstones=tombstones)
    rows = await db.fetch(sql, account.id, account.livemode, *values, resource.table)
    states = [None if row["stamp"] is None else RowState(**dict(row)) for row in rows]
    answers = [compare(record, state, now=now) for record, state in zip(batch, states, strict=True)]
    for child in resource.children:
        shown = {Finding.EQUAL, Finding.DIFFERENT}
        pairs = zip(batch, answers, strict=True)
        parents = [record for record, answer in pairs if answer.finding in shown and not record.is_deleted]
        wrong = await _compare_children(db, schema, account, child, parents)
        path = ".".join(child.path)
        answers = [
            Compared(Finding.DIFFERENT, (*answer.fields, f"{path} ({child.table})"))
            if record.object_id in wrong and answer.finding in shown
            else answer
            for record, answer in zip(batch, answers, strict=True)
        ]
    return answers


async def _compare_children(
    db: Connection, schema: str, account: Account, child: Child, parents: Sequence[Record]
) -> set[str]:
    sets = collect_sets(child, parents)
    whole = [n for n, parent in enumerate(sets.parents) if parent in sets.complete]
    table = f"{quote(schema)}.{quote(child.table)}"
    sql = _COMPARE_CHILDREN.format(table=table, of_account=OF_ACCOUNT)
    columns = ([column[n] for n in whole] for column in (sets.ids, sets.parents, sets.bodies))
    rows = await db.fetch(sql, account.id, account.livemode, list(sets.complete), *columns)
    return {row["parent"] for row in rows}


async def find_older(
    db: Connection,
    schema: str,
    account: Account,
    resource: Resource,
    older: Older,
    *,
    after: str | None,
    last_true: int,
) -> Span:
    """Return the live rows of the next span that are older than the list that should have shown them."""
    table = f"{quote(schema)}.{quote(resource.table)}"
    if not await holds_rows(db, schema, resource.table):
        return Span((), None)
    sql = _FIND_OLDER.format(
        table=table,
        of_account=OF_ACCOUNT,
        limit=ROWS,
        made_before_start=made_before("$5::bigint", data="t.data"),
        made_before_end=made_before("$6::bigint", data="t.data"),
    )
    row = await db.fetchrow(
        sql, account.id, account.livemode, after, older.stamp, older.made_from, older.made_until, last_true
    )
    return Span(tuple(row["ids"]), row["last_id"] if row["looked"] == ROWS else None)
