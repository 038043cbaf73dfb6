"""Rows of the state database that make an Accounts page worth looking at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from shared.db import Pool

RANGE = (1_700_000_000, 1_701_000_000)  # of every slice, in Unix seconds
DESTINATION = """
INSERT INTO destinations (id, name, kind, settings, secret, address) VALUES ($1, $2, 'postgres', $3, '\\x00', $1)
ON CONFLICT DO NOTHING
"""
CONNECTION = """
INSERT INTO connections (id, account_id, account_name, livemode, state, cause, key_hint, resources, live_by,
                         events_complete_to)
VALUES ($1, $2, $3, $4, $5, $6, 'rk_live_…4f2a', '{}', $7, $8)
"""
LINK = "INSERT INTO connection_destinations SELECT $1, $2, account_id, livemode, $3 FROM connections WHERE id = $1"
HOUR = """
INSERT INTO delivery_hours (connection_id, destination_id, resource, hour, inserted)
VALUES ($1, $2, 'charge', date_trunc('hour', $3::timestamptz), $4)
"""
SYNC = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, started_at, finished_at, cause)
VALUES ($1, $2, 'backfill', 'connect', $3, $4, $5, $6, $7)
"""
SLICE = """
INSERT INTO slices (sync_id, connection_id, resource, range_start, range_end, cursor_created, status, records)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id
"""
COUNTS = "INSERT INTO slice_counts (slice_id, destination_id, inserted, updated) VALUES ($1, $2, $3, $4)"
PARKED = """
INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, topic,
                            partition, record_offset, reason, parked_at, next_try_at)
SELECT $1, $2, 'charge', 'ch_' || n, 1, '{}', 'event', false, 'events', 0, n, 'away', $3, now()
FROM generate_series(1, $4::int) n
"""

Progress = Mapping[str, tuple[float, int]]  # resource → share from 0 to 1, records


async def add_destination(pool: Pool, destination_id: str = "dst_1", name: str = "Warehouse", **settings: str) -> None:
    """Add a destination."""
    address = {"host": "db.internal.example", "port": 5432, "database": "analytics", "user": "tillstream"}
    await pool.execute(DESTINATION, destination_id, name, address | {"schema": "stripe"} | settings)


async def add_connection(
    pool: Pool,
    connection_id: str,
    name: str,
    *,
    livemode: bool = True,
    state: str = "active",
    cause: str | None = None,
    live_by: str = "webhooks",
    synced_at: datetime | None = None,
    rows_today: int = 0,
    destination_id: str = "dst_1",
) -> None:
    """Add a connection that delivers to one destination."""
    now = datetime.now(UTC)
    account_id = f"acct_1{connection_id.removeprefix('con_'):0>15}"
    await pool.execute(
        CONNECTION,
        connection_id,
        account_id,
        name,
        livemode,
        state,
        cause,
        live_by,
        int(now.timestamp()),
    )
    await pool.execute(LINK, connection_id, destination_id, synced_at)
    await pool.execute(HOUR, connection_id, destination_id, now, rows_today)


async def add_backfill(
    pool: Pool,
    connection_id: str,
    progress: Progress,
    *,
    status: str = "running",
    cause: str | None = None,
    destination_id: str = "dst_1",
) -> str:
    """Add a backfill that has come as far as `progress` says, and return its id."""
    sync_id = f"syn_{connection_id.removeprefix('con_')}"
    started = datetime.now(UTC) - timedelta(minutes=9)
    finished = started + timedelta(minutes=4) if status in ("succeeded", "failed") else None
    await pool.execute(SYNC, sync_id, connection_id, status, list(progress), started, finished, cause)
    for resource, (share, records) in progress.items():
        await _add_slice(pool, sync_id, connection_id, resource, share, records, destination_id)
    return sync_id


async def _add_slice(
    pool: Pool, sync_id: str, connection_id: str, resource: str, share: float, records: int, destination_id: str
) -> None:
    cursor = cursor_at(share) if share else None
    slice_status = "confirmed" if share >= 1 else "planned"
    slice_id = await pool.fetchval(SLICE, sync_id, connection_id, resource, *RANGE, cursor, slice_status, records)
    updated = records // 40
    await pool.execute(COUNTS, slice_id, destination_id, records - updated, updated)


async def park(pool: Pool, connection_id: str, count: int, since: datetime, destination_id: str = "dst_1") -> None:
    """Let `count` records wait for the destination."""
    await pool.execute(PARKED, destination_id, connection_id, since, count)


def cursor_at(share: float) -> int:
    """Return the time in Unix seconds down to which a slice has been walked."""
    start, end = RANGE
    return int(end - share * (end - start))


async def add_business(pool: Pool) -> None:
    """Add seven accounts, each in another state."""
    now = datetime.now(UTC)
    await add_destination(pool)
    await add_destination(pool, "dst_2", "Sandbox", host="localhost", database="tillstream", schema="stripe_test")
    await add_connection(pool, "con_a9x2", "Halcyon Coffee", synced_at=now - timedelta(seconds=1), rows_today=18_246)
    await add_backfill(pool, "con_a9x2", HALFWAY)
    await add_connection(
        pool, "con_b4m7", "Northwind Bicycles", synced_at=now - timedelta(seconds=12), rows_today=4_812
    )
    await add_backfill(pool, "con_b4m7", DONE, status="succeeded")
    await add_connection(
        pool,
        "con_c1q8",
        "Fieldnotes Studio",
        state="action_required",
        cause="API Key is invalid: Stripe says that it has expired. Make a new restricted key and update it here.",
        synced_at=now - timedelta(hours=3, minutes=12),
        rows_today=377,
    )
    await add_connection(
        pool, "con_d6r3", "Marlow & Finch Publishing", synced_at=now - timedelta(minutes=18), rows_today=1_090
    )
    await park(pool, "con_d6r3", 214, now - timedelta(minutes=18))
    await add_connection(
        pool, "con_e2k5", "Halcyon Coffee", livemode=False, live_by="polling", destination_id="dst_2",
        synced_at=now - timedelta(seconds=44), rows_today=63,
    )  # fmt: skip
    await add_connection(
        pool, "con_f7w1", "Orchard Row", state="paused", synced_at=now - timedelta(days=2), rows_today=0
    )
    await add_connection(pool, "con_g3t9", "Juniper Clinic", state="setting_up")


HALFWAY: Progress = {
    "balance_transaction": (0.81, 74_218),
    "payout": (1, 612),
    "charge": (0.74, 31_904),
    "refund": (1, 1_233),
    "dispute": (1, 41),
    "payment_intent": (0.62, 28_450),
    "customer": (1, 9_807),
    "invoice": (0.38, 12_660),
    "subscription": (0.55, 3_402),
    "product": (1, 28),
    "price": (0, 0),
    "coupon": (0, 0),
}
DONE: Progress = {
    "charge": (1, 8_211),
    "refund": (1, 310),
    "customer": (1, 2_904),
    "invoice": (1, 6_120),
    "topup": (1, 0),
    "transfer": (1, 0),
}


async def add_stop(pool: Pool, connection_id: str, destination_id: str = "dst_1") -> None:
    """Add that the destination refused too many of the connection's records."""
    reason = "column amount is of type integer but expression is of type text (SQLSTATE 42804)."
    await pool.execute(
        "INSERT INTO delivery_stops (connection_id, destination_id, failed, counted, reason)"
        " VALUES ($1, $2, 131, 500, $3)",
        connection_id,
        destination_id,
        reason,
    )
