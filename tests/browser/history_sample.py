"""Rows of the state database that make the pages about syncs, events and removals worth looking at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.db import Pool
from tests.browser.sample import add_business, add_destination

SYNC = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, created_at, started_at, finished_at, cause,
                   stripe_calls, rate_limited, records, inserted, updated, unchanged, deleted, failed, share)
VALUES ($1, $2, $3, $4, $5, '{}', $6, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 1)
"""


async def add_sync(
    pool: Pool,
    sync_id: str,
    connection_id: str,
    kind: str = "reconcile",
    *,
    trigger: str = "schedule",
    status: str = "succeeded",
    begun_at: datetime | None = None,
    seconds: float | None = 4.2,
    cause: str | None = None,
    calls: tuple[int, int] = (3, 0),
    counts: tuple[int, ...] = (0, 0, 0, 0, 0, 0),
) -> str:
    """Add a sync; `calls` are those to Stripe and its 429s, `counts` read, inserted, … failed."""
    begun_at = begun_at or datetime.now(UTC)
    ended_at = begun_at + timedelta(seconds=seconds) if seconds is not None else None
    await pool.execute(SYNC, sync_id, connection_id, kind, trigger, status, begun_at, ended_at, cause, *calls, *counts)
    return sync_id


async def add_history(pool: Pool) -> None:
    """Add the accounts of the Accounts page, and what has happened to them."""
    await add_business(pool)
    await add_destination(pool, "dst_9", "Reporting", host="reports.internal.example", database="reports")
    now = datetime.now(UTC)
    await pool.execute("UPDATE syncs SET created_at = started_at WHERE started_at IS NOT NULL")
    await pool.execute("UPDATE syncs SET stripe_calls = 1640, rate_limited = 3 WHERE id = 'syn_a9x2'")
    await add_sync(pool, "syn_h01", "con_b4m7", begun_at=now - timedelta(minutes=4), counts=(212, 0, 9, 203, 0, 0))
    await add_sync(
        pool, "syn_h02", "con_b4m7", "live", trigger="changes", status="running", seconds=None,
        begun_at=now - timedelta(minutes=26), calls=(4, 0), counts=(1_284, 611, 640, 21, 12, 0),
    )  # fmt: skip
    await add_sync(
        pool, "syn_h03", "con_c1q8", "gap_fill", trigger="key refused", status="failed", seconds=0.4, calls=(1, 0),
        begun_at=now - timedelta(hours=3, minutes=12),
        cause="API Key is invalid: Stripe says that it has expired. Make a new restricted key and update it here.",
    )  # fmt: skip
    await add_sync(
        pool, "syn_h04", "con_d6r3", "manual", trigger="requested", seconds=94, calls=(118, 2),
        begun_at=now - timedelta(hours=5), counts=(11_760, 14, 390, 11_350, 6, 0),
    )  # fmt: skip
    await add_sync(
        pool, "syn_h05", "con_e2k5", "gap_fill", trigger="backfill finished", seconds=2.1, calls=(2, 0),
        begun_at=now - timedelta(hours=7), counts=(37, 31, 6, 0, 0, 0),
    )  # fmt: skip
    await add_sync(
        pool, "syn_h06", "con_f7w1", "backfill", trigger="start date moved", status="cancelled", seconds=610,
        begun_at=now - timedelta(days=2), calls=(903, 0), counts=(88_120, 88_020, 100, 0, 0, 0),
    )  # fmt: skip
    await add_sync(
        pool, "syn_h07", "con_d6r3", "live", trigger="changes", seconds=3600, calls=(0, 0),
        begun_at=now - timedelta(days=1, hours=2), counts=(4_431, 1_002, 3_216, 180, 30, 3),
    )  # fmt: skip
    await add_sync(
        pool, "syn_h08", "con_d6r3", "verify", trigger="requested", seconds=212, calls=(421, 0),
        begun_at=now - timedelta(hours=1), counts=(41_880, 0, 0, 0, 0, 0),
    )  # fmt: skip
    await add_comparison(pool, "syn_h08", "con_d6r3")
    await add_events(pool, now)
    await add_removal(pool, "rmv_done", done=("endpoint", "key", "rows", "history"), deletes_rows=True)
    await add_removal(
        pool, "rmv_open", done=("endpoint", "key"), requested_at=now - timedelta(minutes=2), deletes_rows=True,
        endpoint_note=ENDPOINT_NOTE, cause="Warehouse does not answer: nothing listens at db.internal.example:5432.",
    )  # fmt: skip
    await add_removal(
        pool, "rmv_kept", done=("endpoint", "key", "history"), requested_at=now - timedelta(days=3),
        endpoint_note=ENDPOINT_NOTE,
    )  # fmt: skip


ENDPOINT_NOTE = (
    "Stripe refused the key, so the endpoint we_1Qh9xK2mT4 could not be deleted. Delete it by hand at "
    "https://dashboard.stripe.com/webhooks."
)
COUNTS = {
    "endpoint": {"webhook_endpoints": 1},
    "key": {"api_keys": 1, "signing_secrets": 2},
    "rows": {"charges": 31_904, "customers": 9_807, "invoices": 12_660, "invoice_line_items": 40_112, "payouts": 612},
    "history": {"syncs": 1_204, "events": 88_120, "dead_letters": 3, "parked_records": 0},
}
REMOVAL = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows, status, steps, cause, requested_at,
                      finished_at)
VALUES ($1, $2, 'acct_1Qh9xK2mT4bVwL7e', true, $3, $4, $5, $6, $7, $8)
"""


async def add_removal(
    pool: Pool,
    removal_id: str,
    *,
    done: tuple[str, ...] = (),
    deletes_rows: bool = False,
    requested_at: datetime | None = None,
    endpoint_note: str | None = None,
    cause: str | None = None,
) -> None:
    """Add a removal whose steps `done` are behind it."""
    at = requested_at or datetime.now(UTC) - timedelta(days=1)
    steps = [
        {
            "name": name,
            "at": (at + timedelta(seconds=2 * number)).isoformat(),
            "counts": {} if endpoint_note and name == "endpoint" else COUNTS[name],
            "note": endpoint_note if name == "endpoint" else None,
        }
        for number, name in enumerate(done, start=1)
    ]
    is_done = "history" in done
    finished_at = at + timedelta(seconds=2 * len(done)) if is_done else None
    connection_id = removal_id.replace("rmv_", "con_was")
    status = "done" if is_done else "running"
    await pool.execute(REMOVAL, removal_id, connection_id, deletes_rows, status, steps, cause, at, finished_at)


COMPARISON = """
INSERT INTO comparisons (sync_id, destination_id, resource, compared, equal, newer, different, missing, extra)
VALUES ($1, 'dst_1', $2, $3, $4, $5, $6, $7, $8)
"""
DIFFERENCE = """
INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, status, kind, fields, repaired_at)
VALUES ($1, $2, 'dst_1', $3, $4, 'confirmed', $5, $6, $7)
"""


async def add_comparison(pool: Pool, sync_id: str, connection_id: str, *, repaired_at: datetime | None = None) -> None:
    """Add what a comparison has found: four differences, one of each kind and one of a child set."""
    for resource, *counts in (
        ("charge", 18_204, 18_202, 1, 0, 0, 1),
        ("customer", 9_807, 9_805, 0, 1, 1, 0),
        ("invoice", 12_660, 12_658, 1, 1, 0, 0),
        ("payout", 1_209, 1_209, 0, 0, 0, 0),
    ):
        await pool.execute(COMPARISON, sync_id, resource, *counts)
    for resource, object_id, kind, fields in (
        ("customer", "cus_RkT4bVwL7eQ2mT", "different", ["address.city", "email", "metadata.tier"]),
        ("customer", "cus_Q2mT4bVwL7eRkT", "missing", []),
        ("invoice", "in_1Qh9xK2mT4bVwL7e", "different", ["lines (invoice_line_items)"]),
        ("charge", "ch_3Qh9xK2mT4bVwL7e", "extra", []),
    ):
        await pool.execute(DIFFERENCE, sync_id, connection_id, resource, object_id, kind, fields, repaired_at)


EVENT = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, partition, record_offset,
                       received_at, written_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
DEAD_LETTER = """
INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, body)
VALUES ('write', 'destination_rejected', $1, $2, $3, 'tillstream.events.v1', $4, $5, '')
"""


async def add_event(
    pool: Pool,
    event_id: str,
    connection_id: str = "con_1",
    *,
    type: str = "invoice.paid",
    object_id: str = "in_1",
    outcome: str = "updated",
    written_at: datetime | None = None,
    is_webhook: bool = True,
    offset: int = 7,
) -> None:
    """Add an event of the log that took 180 ms; one that is no webhook was found by asking Stripe."""
    at = written_at or datetime.now(UTC)
    received_at = at - timedelta(milliseconds=180) if is_webhook else None
    place = (3, offset) if is_webhook else (None, None)
    created = int((at - timedelta(seconds=1)).timestamp())
    await pool.execute(
        EVENT, connection_id, event_id, type, type.split(".")[0], object_id, created, outcome, *place, received_at, at
    )


LETTER = """
INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, key,
                          headers, body, resource, object_id, attempts, first_seen_at, last_seen_at)
SELECT $1, $2, $3, $4, $5, 'tillstream.snapshots.v1', n % 8, 90000 + $6::int + n, '', '{}', $7, $8, $9 || n, 1,
       now() - $10::interval - interval '3 minutes', now() - $10::interval
FROM generate_series(1, $11::int) n
"""
REFUSED = "column amount is of type integer but expression is of type text"
BODY = (
    b'{\n  "id": "ch_3Qh9xK2mT4bVwL7e",\n  "object": "charge",\n  "amount": "12,90",\n  "currency": "eur",\n'
    b'  "created": 1795000000,\n  "customer": "cus_RkT4bVwL7e",\n  "description": "Two bags of beans",\n'
    b'  "livemode": true,\n  "paid": true,\n  "status": "succeeded"\n}'
)


async def add_letters(
    pool: Pool,
    number: int,
    reason: str = f"{REFUSED} (SQLSTATE 42804).",
    connection_id: str = "con_1",
    *,
    stage: str = "write",
    code: str = "destination_rejected",
    destination_id: str = "dst_1",
    resource: str | None = "charge",
    object_id: str | None = "ch_3Qh9xK2mT4bVwL",
    body: bytes = BODY,
    age: timedelta = timedelta(minutes=4),
) -> None:
    """Add dead letters with one cause."""
    offset = await pool.fetchval("SELECT count(*) FROM dead_letters")
    await pool.execute(
        LETTER, stage, code, reason, connection_id, destination_id, offset, body, resource, object_id, age, number
    )


async def add_causes(pool: Pool) -> None:
    """Add dead letters with a few causes."""
    await add_letters(pool, 417, connection_id="con_b4m7")
    await add_letters(
        pool, 3, "a text holds a NUL character, which Postgres can't keep"
        " (SQLSTATE 22P05).", "con_d6r3", resource="customer", object_id="cus_RkT4bVwL7", age=timedelta(hours=7),
    )  # fmt: skip
    await add_letters(
        pool, 1, "This is a thin event, which carries no object. Set the endpoint's payload style to snapshot in"
        " Stripe.", "con_b4m7", stage="gateway", code="thin_event", destination_id="", resource=None, object_id=None,
        age=timedelta(days=2), body=b'{"id":"evt_test_65","object":"v2.core.event","type":"v1.billing.meter.error"}',
    )  # fmt: skip


async def add_dead_letter(pool: Pool, connection_id: str, reason: str, *, offset: int, destination_id: str) -> None:
    """Add the dead letter of an event at this offset."""
    await pool.execute(DEAD_LETTER, reason, connection_id, destination_id, 3, offset)


async def add_events(pool: Pool, now: datetime) -> None:
    """Add an event of each outcome."""
    events = (
        ("charge.succeeded", "ch_3Qh9xK2mT4bVwL7e", "inserted", 2),
        ("invoice.paid", "in_1Qh9xK2mT4bVwL7e", "updated", 9),
        ("customer.updated", "cus_RkT4bVwL7e", "ignored", 40),
        ("payment_intent.created", "pi_3Qh9xK2mT4bVwL7e", "asked_stripe", 61),
        ("customer.deleted", "cus_Q2mT4bVwL7e", "deleted", 300),
        ("charge.updated", "ch_3Qh9xK2mT4bVwL7f", "failed", 4000),
        ("payout.paid", "po_1Qh9xK2mT4bVwL7e", "parked", 9000),
        ("topup.created", "tu_1Qh9xK2mT4bVwL7e", "not_synced", 90_000),
        ("product.updated", "prod_RkT4bVwL7e", "unchanged", 200_000),
    )
    for number, (kind, object_id, outcome, seconds) in enumerate(events):
        await add_event(
            pool, f"evt_1Qh9xK2mT4bVwL{number}", "con_b4m7", type=kind, object_id=object_id, outcome=outcome,
            written_at=now - timedelta(seconds=seconds), is_webhook=outcome != "asked_stripe", offset=number + 40,
        )  # fmt: skip
    reason = "The amount is no number that a bigint can hold."
    await add_dead_letter(pool, "con_b4m7", reason, offset=45, destination_id="dst_1")
