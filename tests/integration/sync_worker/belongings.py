"""What belongs to a connection in the state database, and what is left of it after its removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.cleanups import request_cleanup
from shared.db import transaction
from shared.removals import Removal, RemovalStore, Step
from shared.syncs import Kind
from shared.webhook_endpoints import WebhookEndpoints
from tests.integration.sync_worker.worlds import CONNECTION, PUBLIC_URL, World

CANARY = "canary-nobody-else-says-this"
LETTERS = """
INSERT INTO dead_letters (stage, code, reason, connection_id, topic, partition, record_offset, key, headers, body)
SELECT 'write', 'bug', $2, $1, 't', 0, n, $2, jsonb_build_object('h', $2::text), convert_to($2, 'UTF8')
FROM generate_series(1, 5) n
"""
FILL = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
SELECT $1, 'evt_' || n, 'customer.updated', 'customer', 'cus_' || $2, n, 'updated' FROM generate_series(1, 7) n;
INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, topic,
                            partition, record_offset, reason, next_try_at)
SELECT d.destination_id, $1, 'customer', $2, 1, convert_to($2, 'UTF8'), 'event', false, 't', 0, 0, $2, now()
FROM connection_destinations d WHERE d.connection_id = $1;
INSERT INTO refetches (connection_id, resource, object_id, reason, due_at)
VALUES ($1, 'customer', $2, 'tie', now() + interval '1 day');
INSERT INTO list_tails VALUES ($1, 'customer', 1) ON CONFLICT DO NOTHING;
INSERT INTO resource_faults (connection_id, resource, code, cause, next_try_at)
VALUES ($1, 'customer', 'missing_permissions', $2, now());
INSERT INTO delays (work, work_id, connection_id, code, cause, next_try_at)
VALUES ('question', $1 || ':customer:' || $2, $1, 'stripe_unavailable', $2, now());
INSERT INTO delivery_gaps (destination_id, connection_id, resource, records)
SELECT d.destination_id, $1, 'customer', 1 FROM connection_destinations d WHERE d.connection_id = $1;
INSERT INTO delivery_hours (connection_id, destination_id, resource, hour)
SELECT $1, 'dst', 'customer', h FROM generate_series(now(), now() + interval '2 hours', '1 hour') h;
INSERT INTO setups SELECT 'set_' || $1, '{}', convert_to($2, 'UTF8'), $2, account_id, account_name, livemode,
    jsonb_build_object('name', $2::text), now(), now() + interval '1 day' FROM connections WHERE id = $1;
INSERT INTO dead_letter_replays (id, chosen, up_to, letters)
VALUES ('rep_' || $1, jsonb_build_object('connection_id', $1::text), 0, 0);
INSERT INTO verify_schedules VALUES ($1, 'daily', 2, 'UTC', 2, now() + interval '1 day');
INSERT INTO alarm_channels (id, kind, shown, address, events)
VALUES ('alm_' || md5($1), 'webhook', 'x', '', '{recovered}');
INSERT INTO alarm_memories VALUES ('alm_' || md5($1), $1, jsonb_build_object('told', $2::text));
INSERT INTO alarm_messages (id, channel_id, connection_id, event, sentence)
VALUES ('msg_' || $1, 'alm_' || md5($1), $1, 'recovered', $2);
INSERT INTO alarm_messages (id, channel_id, connection_ids, event, sentence)
VALUES ('msg_all_' || $1, 'alm_' || md5($1), ARRAY[$1], 'recovered', $2);
INSERT INTO leases VALUES ('poll:' || $1, 'worker', now() + interval '1 minute');
UPDATE connections SET account_name = $2, key_hint = $2, cause = $2,
    omitted_fields = jsonb_build_object('customer', jsonb_build_array($2::text)) WHERE id = $1;
"""
ASK = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows)
SELECT $1, id, account_id, livemode, $3 FROM connections WHERE id = $2
"""
COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'tillstream' AND data_type IN ('text', 'jsonb', 'bytea', 'ARRAY')
"""
# In these worlds a destination is called like its connection.
OUTLIVING = {"removals", "audit_log", "destinations"}


async def fill(here: World) -> None:
    """Give the connection something of everything."""
    connection = await here.connection()
    async with here.clients.calling(connection) as api:
        await endpoints(here).ensure(connection, api, ["customer.updated"])
    await here.start("customer", "charge")
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    await here.syncs.create(CONNECTION, Kind.LIVE, trigger=CANARY, resources=["customer"])
    await here.pool.execute(of(FILL, CONNECTION))
    await here.pool.execute(of(LETTERS, CONNECTION))


def of(sql: str, connection_id: str) -> str:
    """Return statements about this connection, with a canary wherever something of it is told."""
    return sql.replace("$1", f"'{connection_id}'").replace("$2", f"'{CANARY}'")


def endpoints(here: World) -> WebhookEndpoints:
    return WebhookEndpoints(here.pool, here.settings.key_ring, public_url=PUBLIC_URL)


async def ask(here: World, connection_id: str = CONNECTION, *, deletes_rows: bool = False) -> None:
    """Ask for the removal as the API does."""
    connection = await here.connections.get(connection_id)
    async with transaction(here.pool) as db:
        await db.execute("UPDATE connections SET state = 'removing', cause = NULL WHERE id = $1", connection_id)
        await db.execute(ASK, f"rem_{connection_id}", connection_id, deletes_rows)
        for destination_id in connection.destination_ids if deletes_rows else ():
            account = (connection.account_id, connection.livemode)
            await request_cleanup(db, connection_id, destination_id, account, resources=["customer"])


async def receipt(here: World, connection_id: str = CONNECTION) -> Removal:
    return await RemovalStore(here.pool).of_connection(connection_id)


def counts(removal: Removal) -> Mapping[Step, Mapping[str, int]]:
    return {step.name: step.counts for step in removal.steps}


def notes(removal: Removal) -> list[str]:
    return [step.note for step in removal.steps if step.note]


async def endpoints_at_stripe(here: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await here.control("GET", "state"))["webhook_endpoints"]
    return found


async def places_of(here: World, *needles: str) -> set[str]:
    """Return every column of every table that holds one of `needles`."""
    found = set()
    for row in await here.pool.fetch(COLUMNS):
        table, column, kind = row["table_name"], row["column_name"], row["data_type"]
        text = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
        for needle in needles:
            sql = f"SELECT EXISTS (SELECT FROM {table} WHERE position($1 IN {text}) > 0)"
            if await here.pool.fetchval(sql, needle):
                found.add(f"{table}.{column}")
    return found


async def numbers(here: World) -> dict[str, int]:
    """Return how many rows of each kind there are, as the receipt names them."""
    tables = (
        "event_log", "dead_letters", "parked_records", "refetches", "delivery_gaps", "delivery_hours", "syncs",
        "slices", "list_tails", "resource_faults", "delays", "dead_letter_replays", "cleanups", "leases", "connections",
        "verify_schedules", "alarm_memories", "alarm_messages",
    )  # fmt: skip
    found = {table: int(await here.pool.fetchval(f"SELECT count(*) FROM {table}")) for table in tables}
    return found | {"kept_answers": int(await here.pool.fetchval("SELECT count(*) FROM idempotency_keys"))}


async def free(here: World) -> None:
    await here.pool.execute("UPDATE removals SET lease_until = NULL")
