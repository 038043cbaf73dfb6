"""What the state database holds of a connection, and how it is deleted: much of it in batches, the rest at the end."""

from __future__ import annotations

from collections.abc import Mapping

from shared.budget import scope_of
from shared.db import Connection, Pool, affected, database_errors, in_transaction
from shared.dead_letters import take_turn
from shared.removals import Removal

BATCH = 5_000  # rows; a transaction that deletes them takes a fraction of a second
SYNC_BATCH = 500  # syncs, each with its slices
PAUSE = 0.2  # seconds; a writer's transaction takes less
WRITERS_FINISH = "The writers finish what they have begun."


class NotYetError(Exception):
    """The current step has to wait, for a cause that people may read."""

    def __init__(self, cause: str, *, seconds: float = 2.0) -> None:
        """`seconds` is the pause before another look."""
        super().__init__(cause)
        self.cause = cause
        self.seconds = seconds


def _batch(table: str, key: str, condition: str = "connection_id = $1") -> str:
    first = f"SELECT ctid FROM {table} WHERE {condition} ORDER BY {key} LIMIT {BATCH} FOR UPDATE"
    return f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({first}))"


# A record that is parked is found by its destination: nothing else has an index on its connection.
_PARKED = "connection_id = $1 AND destination_id = ANY (ARRAY(SELECT id FROM destinations))"
# What may be large, by the name under which it is counted.
LARGE: Mapping[str, str] = {
    "delivery_hours": _batch("delivery_hours", "destination_id, resource, hour"),
    "event_log": _batch("event_log", "event_id"),
    "refetches": _batch("refetches", "resource, object_id"),
    "parked_records": _batch("parked_records", "destination_id, resource, object_id", _PARKED),
    "dead_letters": _batch("dead_letters", "id"),
}
# Slices have no index on their connection either, so they go with their syncs; offsets and counts follow by themselves.
SYNCS = f"""
SELECT id FROM syncs WHERE id = ANY (ARRAY(
    SELECT id FROM syncs WHERE connection_id = $1 ORDER BY created_at DESC LIMIT {SYNC_BATCH})) ORDER BY id FOR UPDATE
"""
SLICES_OF = "DELETE FROM slices WHERE sync_id = ANY ($1::text[])"
SYNCS_OF = "DELETE FROM syncs WHERE id = ANY ($1::text[])"
SMALL: Mapping[str, str] = {
    "list_tails": "DELETE FROM list_tails WHERE connection_id = $1",
    "delivery_gaps": "DELETE FROM delivery_gaps WHERE connection_id = $1",
    "resource_faults": "DELETE FROM resource_faults WHERE connection_id = $1",
    "dead_letter_replays": "DELETE FROM dead_letter_replays WHERE chosen ->> 'connection_id' = $1",
    "cleanups": "DELETE FROM cleanups WHERE connection_id = $1",
    "verify_schedules": "DELETE FROM verify_schedules WHERE connection_id = $1",
    "alarm_memories": "DELETE FROM alarm_memories WHERE connection_id = $1",
    "alarm_messages": "DELETE FROM alarm_messages WHERE connection_id = $1 OR connection_ids = ARRAY[$1]",
    "delays": "DELETE FROM delays WHERE connection_id = $1",
    "leases": "DELETE FROM leases WHERE name IN ('poll:' || $1, 'set-up:' || $1, 'endpoint:' || $1)",
}
# A message about several accounts is about one less.
NO_LONGER_TOLD = """
UPDATE alarm_messages SET connection_ids = array_remove(connection_ids, $1)
WHERE connection_id IS NULL AND $1 = ANY (connection_ids) AND cardinality(connection_ids) > 1
"""
# What was answered to requests that may be repeated, where it names the connection or its account.
ANSWERS = "DELETE FROM idempotency_keys WHERE names && ARRAY[$1, $2]"
# Nobody can add to what refers to it from now on: whoever is about to waits, and finds it gone.
HOLD = "SELECT id FROM connections WHERE id = $1 FOR UPDATE SKIP LOCKED"
IS_THERE = "SELECT EXISTS (SELECT FROM connections WHERE id = $1)"
CONNECTION = "DELETE FROM connections WHERE id = $1"
BUDGETS = "DELETE FROM stripe_budgets WHERE scope = $1 OR starts_with(scope, $1 || ' ')"
# Another connection of the account goes on counting.
CALLS = """
DELETE FROM stripe_hours WHERE scope = $1
  AND NOT EXISTS (SELECT FROM connections WHERE account_id = $2 AND livemode = $3)
"""
# These refer to no connection, so a record that was on its way may come after the end; Kafka keeps it for a week.
LATE_LETTERS = "DELETE FROM dead_letters t USING removals r WHERE t.connection_id = r.connection_id"
LATE = (
    "DELETE FROM parked_records t USING removals r WHERE t.connection_id = r.connection_id",
    "DELETE FROM leases t USING removals r WHERE split_part(t.name, ':', 2) = r.connection_id",
)
IS_LATE = "AND r.status = 'done' AND r.finished_at > now() - interval '8 days'"


async def delete_some(db: Connection, name: str, connection_id: str) -> dict[str, int]:
    """Delete a batch of what is counted under `name`, within the caller's transaction; return how much it was.

    Raises `NotYetError` while somebody writes for the connection; nobody begins to until the transaction ends.
    """
    await _hold(db, connection_id)
    if name == "dead_letters":
        await take_turn(db)
    if name != "syncs":
        return {name: affected(await db.execute(LARGE[name], connection_id))}
    ids = [row["id"] for row in await db.fetch(SYNCS, connection_id)]
    return {"slices": affected(await db.execute(SLICES_OF, ids)), "syncs": affected(await db.execute(SYNCS_OF, ids))}


async def _hold(db: Connection, connection_id: str) -> None:
    """Hold the connection, unless somebody else does at the moment; raise `NotYetError` then.

    One who waited in Postgres' queue would close a circle: a writer that holds the connection and wants to note more of
    it stands behind us, and we wait for another writer, which waits for what the first has locked.
    """
    if not await db.fetchrow(HOLD, connection_id) and await db.fetchval(IS_THERE, connection_id):
        raise NotYetError(WRITERS_FINISH, seconds=PAUSE)


async def delete_rest(db: Connection, removal: Removal) -> dict[str, int]:
    """Delete what is left and the connection itself, within the caller's transaction; return how much it was."""
    counts: dict[str, int] = {}
    for name in ("syncs", *LARGE):
        more = await delete_some(db, name, removal.connection_id)
        counts |= more
    await db.execute(NO_LONGER_TOLD, removal.connection_id)
    for name, statement in SMALL.items():
        counts[name] = affected(await db.execute(statement, removal.connection_id))
    counts["kept_answers"] = affected(await db.execute(ANSWERS, removal.connection_id, removal.account_id))
    counts["connections"] = affected(await db.execute(CONNECTION, removal.connection_id))
    scope = scope_of(removal.account_id, livemode=removal.livemode)
    await db.execute(BUDGETS, scope)
    await db.execute(CALLS, scope, removal.account_id, removal.livemode)
    return counts


async def sweep(pool: Pool) -> None:
    """Delete what came late of connections that were removed."""

    async def sweep_letters(db: Connection) -> None:
        await take_turn(db)
        await db.execute(f"{LATE_LETTERS} {IS_LATE}")

    await in_transaction(pool, sweep_letters)
    with database_errors():
        for statement in LATE:
            await pool.execute(f"{statement} {IS_LATE}")
