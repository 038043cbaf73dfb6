"""Deleted objects of which no row is left: their stamps, so that nothing older brings one back.

They lie in a table of their own beside the others, for longer than anything late can come. What meets a tombstone is
judged as it would be by a marked row. Writers of a table of an account take turns: a row that is not there can't be
locked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.destination_writer.delivery import Outcome, Winner, is_doubtful
from services.destination_writer.destinations import Account, Cleaned, Written, reason_of
from shared.catalogue import Child, Resource
from shared.db import Connection
from shared.messages import Origin
from shared.postgres_rows import OF_ACCOUNT, PARENT_TABLES, holds_rows
from shared.postgres_tables import TOMBSTONES, quote

TABLE = TOMBSTONES.name
ROWS = 5000  # looked at by one transaction

TURN = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_FIND = """
SELECT id, _stamp AS stamp, _listed AS listed FROM {tombstones}
WHERE {of_account} AND _table = $3 AND id = ANY ($4::text[])
"""
_LIFT = "DELETE FROM {tombstones} WHERE {of_account} AND _table = $3 AND id = ANY ($4::text[])"
_ADVANCE = """
UPDATE {tombstones} t SET _stamp = u.stamp, _listed = u.listed, _deleted_at = now()
FROM unnest($4::text[], $5::bigint[], $6::boolean[]) AS u (id, stamp, listed)
WHERE t._account = $1 AND t._livemode = $2 AND t._table = $3 AND t.id = u.id
"""
_KEEP = """
INSERT INTO {tombstones} AS t (_account, _livemode, _table, id, _stamp, _listed)
SELECT $1, $2, $3, id, _stamp, _listed FROM gone WHERE _deleted ORDER BY id
ON CONFLICT (_account, _livemode, _table, id) DO UPDATE SET
    _stamp = greatest(t._stamp, excluded._stamp), _deleted_at = excluded._deleted_at
"""
_BURY = f"""
WITH gone AS (
    DELETE FROM {{table}} WHERE {{of_account}} AND {{column}} = ANY ($4::text[]) AND _deleted
    RETURNING id, _stamp, _listed, _deleted
)
{_KEEP}
"""
# A row that is older than its tombstone was brought back while not every writer knew of it.
_BURY_SPAN = f"""
WITH span AS MATERIALIZED (
    SELECT id FROM {{table}} WHERE {{of_account}} AND ($4::text IS NULL OR id > $4) ORDER BY id LIMIT {ROWS}
), gone AS (
    DELETE FROM {{table}} r USING span s WHERE r._account = $1 AND r._livemode = $2 AND r.id = s.id AND (
        r._deleted OR EXISTS (SELECT FROM {{tombstones}} d WHERE d._account = $1 AND d._livemode = $2
                              AND d._table = $3 AND d.id = r.id AND d._stamp >= r._stamp))
    RETURNING r.id, r._stamp, r._listed, r._deleted
), kept AS ({_KEEP})
SELECT (SELECT count(*) FROM gone) AS buried, (SELECT max(id) FROM span) AS last_id,
       (SELECT count(*) FROM span) AS looked
"""
# Longer than the 30 days of Stripe's feed. As many go with each burial as keep the table small.
_EXPIRE = """
DELETE FROM {tombstones} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {tombstones} WHERE _deleted_at < now() - interval '35 days' LIMIT 1000))
"""
_FORGET = "DELETE FROM {tombstones} WHERE {of_account} AND _table = $3"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """When an object was deleted."""

    stamp: int  # Stripe's clock, in seconds
    is_listed: bool  # Stripe was asked; no event told it


def judge_buried(winner: Winner, tombstone: Tombstone, *, last_true: int) -> Written | None:
    """Say what becomes of a version that meets a tombstone; `None` for one that brings the object back.

    `last_true` is the last stamp that can be true: what Stripe answers counts more than a later one.
    """
    record = winner.record
    if tombstone.stamp > last_true and record.origin is not Origin.EVENT:
        return None
    if record.stamp > tombstone.stamp and not record.is_deleted:
        return None
    is_known = record.is_deleted and record.stamp >= tombstone.stamp
    outcome = Outcome.UNCHANGED if is_known else Outcome.IGNORED
    doubtful = is_doubtful(
        is_silent=record.resource.changes_silently,
        current_is_listed=tombstone.is_listed,
        current_stamp=tombstone.stamp,
        incoming=record,
    )
    ask = (doubtful and not record.is_deleted) or (winner.ask_stripe and record.stamp != tombstone.stamp)
    return Written(outcome, ask, reason=reason_of(outcome, ask=ask, is_buried=True))


class Tombstones:
    """The tombstones of a schema. Every method works within the caller's transaction."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    async def exist(self, db: Connection) -> bool:
        """Tell whether the schema has the table."""
        return bool(await db.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{quote(self._schema)}.{TABLE}"))

    async def take_turn(self, db: Connection, account: Account, table: str) -> None:
        """Wait for the other writers of the account's table; that of a resource stands for those of its children."""
        await db.execute(TURN, f"{self._schema}.{table} {account.id} {account.livemode}")

    async def meet(
        self, db: Connection, account: Account, table: str, batch: Sequence[Winner], *, last_true: int
    ) -> Mapping[int, Written]:
        """Say, by place in the batch, what becomes of those that stay deleted; the others' tombstones are lifted."""
        ids = [winner.record.object_id for winner in batch]
        rows = await db.fetch(self._sql(_FIND), account.id, account.livemode, table, ids)
        if not rows:
            return {}
        found = {row["id"]: Tombstone(row["stamp"], row["listed"]) for row in rows}
        answers: dict[int, Written] = {}
        lifted, advanced = [], []
        for place, winner in enumerate(batch):
            record = winner.record
            tombstone = found.get(record.object_id)
            if tombstone is None:
                continue
            answer = judge_buried(winner, tombstone, last_true=last_true)
            if answer is None:
                lifted.append(record.object_id)
                continue
            answers[place] = answer
            if record.stamp > tombstone.stamp:
                advanced.append((record.object_id, record.stamp, record.origin != "event"))
        if lifted:
            await db.execute(self._sql(_LIFT), account.id, account.livemode, table, lifted)
        if advanced:
            columns = map(list, zip(*advanced, strict=True))
            await db.execute(self._sql(_ADVANCE), account.id, account.livemode, table, *columns)
        return answers

    async def bury(self, db: Connection, account: Account, table: str, ids: Collection[str]) -> None:
        """Put tombstones in the place of those of the rows that are marked as deleted."""
        await self._bury(db, account, table, "id", ids)

    async def bury_children(self, db: Connection, account: Account, table: str, parents: Collection[str]) -> None:
        """Do the same with the children of these parents."""
        await self._bury(db, account, table, "_parent", parents)

    async def _bury(self, db: Connection, account: Account, table: str, column: str, values: Collection[str]) -> None:
        sql = self._sql(_BURY, table=f"{quote(self._schema)}.{quote(table)}", column=column)
        await db.execute(sql, account.id, account.livemode, table, list(values))
        await db.execute(self._sql(_EXPIRE))

    async def keep_out(
        self, db: Connection, account: Account, table: str, stamps: Mapping[str, int], *, last_true: int
    ) -> Collection[str]:
        """Return the children that stay deleted, since they went later than their set; lift the others' tombstones."""
        rows = await db.fetch(self._sql(_FIND), account.id, account.livemode, table, list(stamps))
        out = {row["id"] for row in rows if stamps[row["id"]] < row["stamp"] <= last_true}
        if lifted := [row["id"] for row in rows if row["id"] not in out]:
            await db.execute(self._sql(_LIFT), account.id, account.livemode, table, lifted)
        return out

    async def bury_span(
        self, db: Connection, account: Account, source: Resource | Child, *, after: str | None
    ) -> Cleaned:
        """Bury the next span of marked rows."""
        if not await holds_rows(db, self._schema, source.table):
            return Cleaned({}, None)
        await self.take_turn(db, account, PARENT_TABLES.get(source.table, source.table))
        sql = self._sql(_BURY_SPAN, table=f"{quote(self._schema)}.{quote(source.table)}")
        span = await db.fetchrow(sql, account.id, account.livemode, source.table, after)
        return Cleaned({source.table: span["buried"]}, span["last_id"] if span["looked"] == ROWS else None)

    async def forget(self, db: Connection, account: Account, table: str) -> None:
        """Forget the tombstones of a table: all of the account's rows go."""
        if await self.exist(db):
            await db.execute(self._sql(_FORGET), account.id, account.livemode, table)

    def _sql(self, statement: str, **others: str) -> str:
        return statement.format(tombstones=f"{quote(self._schema)}.{TABLE}", of_account=OF_ACCOUNT, **others)
