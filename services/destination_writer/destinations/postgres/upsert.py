"""The statements that write a batch into one table: newest wins, in one `unnest`.

Batches are sorted by key: two writers that meet in a table then wait for each other instead of deadlocking.
"""

from __future__ import annotations

from shared.postgres_rows import made_before
from shared.postgres_tables import quote

# What was there before, by the statement's own snapshot, and whether the record was written. A row that was changed
# between snapshot and write shows as neither; the caller asks again. `same` includes what the record tells of the
# document before it, which the row may not know yet.
_WRITE = """
WITH input AS MATERIALIZED (
    SELECT ord, id, stamp, listed, deleted, body::jsonb AS data, trail::jsonb AS trail
    FROM unnest($3::text[], $4::bigint[], $5::boolean[], $6::boolean[], $7::text[], $8::text[])
         WITH ORDINALITY AS u (id, stamp, listed, deleted, body, trail, ord)
), old AS (
    SELECT i.ord, t._stamp, t._deleted, t._listed, t.data = i.data AS same, t._trail @> i.trail AS tells_nothing_new
    FROM input i JOIN {table} t ON t._account = $1 AND t._livemode = $2 AND t.id = i.id
), written AS (
    INSERT INTO {table} AS t (_account, _livemode, id, data, _stamp, _listed, _trail, _deleted, _deleted_at)
    SELECT $1, $2, id, data, stamp, listed, trail, deleted, CASE WHEN deleted THEN now() END FROM input ORDER BY id
    ON CONFLICT (_account, _livemode, id) DO UPDATE SET
        data = CASE WHEN excluded._deleted OR t.data = excluded.data THEN t.data ELSE excluded.data END,
        _stamp = excluded._stamp,
        _listed = excluded._listed,
        _trail = excluded._trail,
        _deleted = excluded._deleted,
        _deleted_at = CASE WHEN excluded._deleted THEN coalesce(t._deleted_at, excluded._deleted_at) END,
        _synced_at = now()
    WHERE t._stamp {wins} excluded._stamp OR (excluded._listed AND t._stamp > $9)
    RETURNING t.id
)
SELECT old._stamp AS stamp, old._deleted AS deleted, old._listed AS listed, old.same, old.tells_nothing_new,
       w.id IS NOT NULL AS written
FROM input i LEFT JOIN old USING (ord) LEFT JOIN written w ON w.id = i.id
ORDER BY i.ord
"""

_LOCK = """
SELECT id, _stamp AS stamp, _deleted AS deleted, _trail::text AS trail, data::text AS body
FROM {table} WHERE _account = $1 AND _livemode = $2 AND id = ANY ($3::text[]) ORDER BY id FOR UPDATE
"""

_LEARN = """
UPDATE {table} t SET _trail = u.trail::jsonb FROM unnest($3::text[], $4::text[]) AS u (id, trail)
WHERE t._account = $1 AND t._livemode = $2 AND t.id = u.id AND t._trail <> u.trail::jsonb
"""

# The parent stays until the transaction's end; its other writers don't wait.
_HOLD_PARENT = """
SELECT true FROM {table} WHERE _account = $1 AND _livemode = $2 AND id = $3 AND NOT _deleted
  AND ($4::bigint IS NULL OR ({is_older}) IS NOT TRUE) FOR KEY SHARE
"""

_WRITE_CHILDREN = """
INSERT INTO {table} AS t (_account, _livemode, id, _parent, data, _stamp, _listed)
SELECT $1, $2, id, parent, body::jsonb, stamp, false
FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[]) AS u (id, parent, stamp, body) ORDER BY id
ON CONFLICT (_account, _livemode, id) DO UPDATE SET
    data = CASE WHEN t.data = excluded.data THEN t.data ELSE excluded.data END,
    _parent = excluded._parent, _stamp = excluded._stamp, _deleted = false, _deleted_at = NULL, _synced_at = now()
WHERE t._stamp < excluded._stamp OR t._stamp > $7
   OR (t._stamp = excluded._stamp AND (t._deleted OR t.data <> excluded.data))
"""

# A child that its parent's complete set no longer has is gone. `since` is the stamp of the set.
_SWEEP = """
UPDATE {table} t SET _deleted = true, _deleted_at = now(), _stamp = s.since, _synced_at = now()
FROM unnest($3::text[], $4::bigint[]) AS s (parent, since)
WHERE t._account = $1 AND t._livemode = $2 AND t._parent = s.parent AND (t._stamp <= s.since OR t._stamp > $6)
  AND NOT t._deleted
  AND NOT t.id = ANY ($5::text[])
"""

_SWEEP_OLDER = """
UPDATE {table} t SET _deleted = true, _deleted_at = now(), _stamp = $4, _synced_at = now()
WHERE t._account = $1 AND t._livemode = $2 AND t._parent = $3 AND (t._stamp < $4 OR t._stamp > $5)
  AND NOT t._deleted
"""


def _for_table(statement: str, schema: str, table: str, **others: str) -> str:
    return statement.format(table=f"{quote(schema)}.{quote(table)}", **others)


def write_sql(schema: str, table: str, *, wins_tie: bool = False) -> str:
    """Account, livemode, arrays: id, stamp, listed, deleted, body, trail; then the last stamp that can be true.

    Returns a row per record, in order. What Stripe answered overwrites a row whose stamp can't be true.
    `wins_tie` writes records of the row's own second too: those that the rule has settled.
    """
    return _for_table(_WRITE, schema, table, wins="<=" if wins_tie else "<")


def learn_sql(schema: str, table: str) -> str:
    """Account, livemode, ids, trails: notes what late events tell of a row's second."""
    return _for_table(_LEARN, schema, table)


def lock_sql(schema: str, table: str) -> str:
    """Account, livemode, ids: locks and returns the rows that a tie is about."""
    return _for_table(_LOCK, schema, table)


def hold_parent_sql(schema: str, table: str) -> str:
    """Account, livemode, id, and the second since which it has to be made (or NULL): returns true if it is there."""
    return _for_table(_HOLD_PARENT, schema, table, is_older=made_before("$4::bigint"))


def write_children_sql(schema: str, table: str) -> str:
    """Account, livemode, then arrays: id, parent, stamp, body; and the last stamp that can be true."""
    return _for_table(_WRITE_CHILDREN, schema, table)


def sweep_sql(schema: str, table: str) -> str:
    """Account, livemode, parents, stamps of their complete sets, ids of all children in a set, last true stamp."""
    return _for_table(_SWEEP, schema, table)


def sweep_older_sql(schema: str, table: str) -> str:
    """Account, livemode, parent, stamp, last true stamp: removes what a complete walk of the children did not show."""
    return _for_table(_SWEEP_OLDER, schema, table)
