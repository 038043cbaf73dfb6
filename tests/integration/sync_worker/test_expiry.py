"""What has expired is forgotten, in batches, whatever else there is to do."""

from __future__ import annotations

import pytest

from services.sync_worker.expiry import BATCH, EXPIRED, Expiry
from tests.integration.sync_worker.worlds import CONNECTION, World

# Each is given the time of a row that is still wanted, and of one that is not.
ROWS = {
    "event_log": """
    INSERT INTO event_log (connection_id, event_id, type, created, outcome, written_at)
    VALUES ('con_1', $1, 'x', 0, 'updated', now() - $2::text::interval)
    """,
    "idempotency_keys": """
    INSERT INTO idempotency_keys (caller, key, request_hash, created_at)
    VALUES ('me', $1, '', now() - $2::text::interval)
    """,
    "sessions": "INSERT INTO sessions (hash, expires_at) VALUES (convert_to($1, 'UTF8'), now() - $2::text::interval)",
    "sign_in_links": """
    INSERT INTO sign_in_links (hash, expires_at) VALUES (convert_to($1, 'UTF8'), now() - $2::text::interval)
    """,
    "setups": """
    INSERT INTO setups
      (id, destination_ids, api_key, key_hint, account_id, account_name, livemode, key_check, expires_at)
    VALUES ($1, '{}', '', '', 'acct_1', '', true, '{}', now() - $2::text::interval)
    """,
    "webhook_secrets": """
    INSERT INTO webhook_secrets (endpoint_id, secret, expires_at)
    SELECT id, convert_to($1, 'UTF8'), now() - $2::text::interval FROM webhook_endpoints LIMIT 1
    """,
    "stripe_budgets": """
    INSERT INTO stripe_budgets (scope, next_at) VALUES ($1, now() - $2::text::interval)
    """,
    "event_hours": """
    INSERT INTO event_hours (connection_id, hour)
    SELECT id, now() - $2::text::interval FROM connections WHERE $1 <> '' LIMIT 1
    """,
    "stripe_hours": "INSERT INTO stripe_hours VALUES ($1, now() - $2::text::interval, 1)",
    "leases": "INSERT INTO leases (name, owner, until) VALUES ($1, 'me', now() - $2::text::interval)",
    "alarm_messages": """
    INSERT INTO alarm_messages (id, channel_id, event, sentence, created_at)
    VALUES ($1, 'alc_9', 'recovered', '', now() - $2::text::interval)
    """,
}
AGES = {
    "event_log": ("34 days", "36 days"),
    "idempotency_keys": ("23 hours", "25 hours"),
    "webhook_secrets": ("59 minutes", "61 minutes"),
    "stripe_budgets": ("23 hours", "25 hours"),
    "leases": ("23 hours", "25 hours"),
    "event_hours": ("34 days", "36 days"),
    "stripe_hours": ("34 days", "36 days"),
    "alarm_messages": ("34 days", "36 days"),
}
CHANNEL = "INSERT INTO alarm_channels (id, kind, shown, address, events) VALUES ('alc_9', 'webhook', '', '', '{}')"
ENDPOINT = "INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ('whe_9', $1, '')"
SOON = ("-1 minute", "1 minute")  # of what has a moment of its own


async def count(here: World, table: str) -> int:
    return int(await here.pool.fetchval(f"SELECT count(*) FROM {table}"))


@pytest.mark.parametrize("table", EXPIRED)
async def test_what_has_expired_goes_and_the_rest_stays(here: World, table: str) -> None:
    await here.pool.execute("DELETE FROM syncs")
    await here.pool.execute("UPDATE connections SET state = 'paused'")  # nothing is ever queued for it
    await here.pool.execute(ENDPOINT, CONNECTION)
    await here.pool.execute(CHANNEL)
    before = await count(here, table)
    for name, age in zip(("kept", "gone"), AGES.get(table, SOON), strict=True):
        await here.pool.execute(ROWS[table], name, age)

    await Expiry(here.pool).forget()

    assert await count(here, table) == before + 1


async def test_much_goes_batch_by_batch(here: World) -> None:
    many = "SELECT 'me', 'k' || n, '', now() - interval '2 days' FROM generate_series(1, $1::int) AS n"
    await here.pool.execute(
        f"INSERT INTO idempotency_keys (caller, key, request_hash, created_at) {many}", 2 * BATCH + 1
    )
    expiry = Expiry(here.pool)
    assert [await expiry.forget() for _ in range(3)] == [BATCH, BATCH, 0]
    assert await count(here, "idempotency_keys") == 0
