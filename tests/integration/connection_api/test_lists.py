"""Lists by keyset: connections, syncs, events, destinations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from services.connection_api.rest.event_log import EventLog
from services.connection_api.rest.event_search import EventSearch, begins_with
from shared.api_keys import parse_api_key
from shared.audit import Actor
from shared.connections import ConnectionStore, LiveBy, State
from shared.crypto import KeyRing
from shared.db import Pool
from shared.destinations import DestinationStore, PostgresAddress
from shared.syncs import Kind, SyncStore
from tests.integration.connection_api.serving import ready
from tests.unit.connection_api.serving import BEARER, Client, make_settings

SETTINGS = make_settings()
KEYS: KeyRing = SETTINGS.key_ring


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=SETTINGS.encryption_keys) as client:
        yield client


async def get(api: Client, path: str, **query: str | int) -> Any:
    answer = await api.get(path, params=query, headers=BEARER)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def walk(api: Client, path: str, key: str, **query: str | int) -> list[str]:
    """Return the key of every row, page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(api, path, **query, **cursor)
        assert len(page["data"]) <= int(query["limit"])
        found += [row[key] for row in page["data"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def insert_connection(pool: Pool, connection_id: str = "con_1", account_id: str = "acct_1") -> None:
    await ConnectionStore(pool, KEYS).insert(
        connection_id,
        account=(account_id, "Ada"),
        key=parse_api_key("rk_live_" + "a" * 30, allow_test=False),
        destination_ids=[],
        start_date=None,
        resources=["customer"],
        live_by=LiveBy.POLLING,
        by=Actor("test"),
    )
    await ConnectionStore(pool, KEYS).set_state(connection_id, State.ACTIVE)


async def test_connections_are_walked_page_by_page(api: Client, pool: Pool) -> None:
    names = [f"con_{number}" for number in range(7)]
    for number, name in enumerate(names):
        await insert_connection(pool, name, f"acct_{number}")
    assert await walk(api, "/v1/connections", "id", limit=3) == names
    assert await walk(api, "/v1/connections", "id", limit=7) == names


async def test_destinations_are_walked_page_by_page(api: Client, pool: Pool) -> None:
    store = DestinationStore(pool, KEYS)
    made = [
        await store.insert(
            f"Rows {n}", PostgresAddress("db", 5432, "rows", "ada", f"s{n}"), SecretStr("hidden"), by=Actor("test")
        )
        for n in range(5)
    ]
    assert await walk(api, "/v1/destinations", "id", limit=2) == sorted(made)


async def test_connection_tells_its_backfill_and_todays_rows(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    assert (await get(api, "/v1/connections/con_1"))["backfill"] is None
    syncs = SyncStore(pool)
    await syncs.create("con_1", Kind.BACKFILL, trigger="connected", resources=["customer"])
    newest = await syncs.create("con_1", Kind.BACKFILL, trigger="connected", resources=["customer"])
    await syncs.create("con_1", Kind.RECONCILE, trigger="schedule", resources=["event"])
    await pool.execute(
        """INSERT INTO delivery_hours
             (connection_id, destination_id, resource, hour, inserted, updated, deleted, ignored)
           VALUES ('con_1', 'dst_1', 'customer', date_trunc('hour', now()), 5, 3, 1, 100),
                  ('con_1', 'dst_1', 'customer', date_trunc('day', now(), 'UTC') - interval '1 hour', 1000, 0, 0, 0)"""
    )
    connection = await get(api, "/v1/connections/con_1")
    assert connection["backfill"] == {
        "id": newest,
        "status": "queued",
        "share": 0.0,
        "read": 0,
        "stripe_calls": 0,
        "rate_limited": 0,
        "counts": {"inserted": 0, "updated": 0, "unchanged": 0, "deleted": 0, "ignored": 0, "failed": 0},
    }
    assert connection["rows_today"] == 9
    assert (await get(api, "/v1/connections"))["data"] == [connection]
    assert "api_key" not in connection
    assert connection["key_hint"] == "rk_live_…aaaa"


async def test_syncs_are_walked_newest_first(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    await insert_connection(pool, "con_2", "acct_2")
    syncs = SyncStore(pool)
    made = [await syncs.create("con_1", Kind.MANUAL, trigger="test", resources=["customer"]) for _ in range(5)]
    await syncs.create("con_2", Kind.MANUAL, trigger="test", resources=["customer"])
    # Those that are made at the same moment are told apart by their ids.
    await pool.execute("UPDATE syncs SET created_at = now() - interval '1 hour' WHERE id = ANY ($1)", made[1:4])
    found = await walk(api, "/v1/connections/con_1/syncs", "id", limit=2)
    assert found == [made[4], made[0], *sorted(made[1:4], reverse=True)]


async def test_sync_tells_its_progress(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    sync_id = await SyncStore(pool).create("con_1", Kind.BACKFILL, trigger="connected", resources=["customer"])
    slice_id = await pool.fetchval(
        """INSERT INTO slices (sync_id, connection_id, resource, range_start, range_end, status, records)
           VALUES ($1, 'con_1', 'customer', 0, 100, 'confirmed', 12) RETURNING id""",
        sync_id,
    )
    await pool.execute("INSERT INTO slice_counts (slice_id, destination_id, inserted) VALUES ($1, 'd', 12)", slice_id)
    sync = await get(api, f"/v1/syncs/{sync_id}")
    assert (sync["read"], sync["share"], sync["counts"]["inserted"]) == (12, 1.0, 12)
    [line] = sync["progress"]
    assert (line["resource"], line["read"], line["confirmed"], line["counts"]["inserted"]) == ("customer", 12, True, 12)


async def insert_events(pool: Pool, connection_id: str, count: int) -> None:
    await pool.execute(
        """INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, written_at)
           SELECT $1, 'evt_' || n, 'customer.updated', 'customer', 'cus_' || n % 3, 1700000000 + n, 'written',
                  now() - make_interval(secs => n / 4)
           FROM generate_series(1, $2) AS n""",
        connection_id,
        count,
    )


async def insert_some_events(pool: Pool) -> None:
    """Add five events, one for each of the first days of 2026."""
    await insert_connection(pool, "con_1", "acct_1")
    some = [
        ("invoice.created", "invoice", "in_1A", "inserted"),
        ("invoice.paid", "invoice", "in_1aB", "updated"),
        ("invoice.paid", "invoice", "in_2", "failed"),
        ("customer.created", "customer", "cus_1", "inserted"),
        ("v2.core.account.created", None, "acct_1", "failed"),
    ]
    for day, row in enumerate(some, start=1):
        await pool.execute(
            "INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, written_at) "
            "VALUES ('con_1', 'evt_' || $1::int, $2, $3, $4, 1, $5, make_date(2026, 1, $1))",
            day,
            *row,
        )


async def test_events_written_together_are_walked_without_gap_or_repeat(api: Client, pool: Pool) -> None:
    for connection_id, account_id in (("con_1", "acct_1"), ("con_2", "acct_2")):
        await insert_connection(pool, connection_id, account_id)
        await insert_events(pool, connection_id, 20)
    assert len(await walk(api, "/v1/events", "event_id", limit=7)) == 40
    found = await walk(api, "/v1/events", "event_id", limit=3, connection_id="con_1")
    assert sorted(found) == sorted(f"evt_{n}" for n in range(1, 21))
    written = [row["written_at"] for row in (await get(api, "/v1/events", limit=40))["data"]]
    assert written == sorted(written, reverse=True)


async def test_events_are_found_by_their_id_and_by_their_object(api: Client, pool: Pool) -> None:
    for connection_id, account_id in (("con_1", "acct_1"), ("con_2", "acct_2")):
        await insert_connection(pool, connection_id, account_id)
        await insert_events(pool, connection_id, 9)
    by_id = (await get(api, "/v1/events", event_id="evt_4"))["data"]
    assert {(row["connection_id"], row["event_id"]) for row in by_id} == {("con_1", "evt_4"), ("con_2", "evt_4")}
    by_object = (await get(api, "/v1/events", object_id="cus_1", connection_id="con_2"))["data"]
    assert {row["event_id"] for row in by_object} == {"evt_1", "evt_4", "evt_7"}
    assert (await get(api, "/v1/events", object_id="cus_9"))["data"] == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"type": "invoice.paid"}, ["evt_2", "evt_3"]),
        ({"type": "invoice.*"}, ["evt_1", "evt_2", "evt_3"]),
        ({"resource": "invoice"}, ["evt_1", "evt_2", "evt_3"]),
        ({"outcome": "failed"}, ["evt_3", "evt_5"]),
        ({"outcome": "failed", "type": "invoice.*"}, ["evt_3"]),
        ({"since": "2026-01-03T00:00:00Z"}, ["evt_3", "evt_4", "evt_5"]),
        ({"until": "2026-01-03T00:00:00Z"}, ["evt_1", "evt_2"]),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}, ["evt_2"]),
    ],
)
async def test_events_are_found_by_what_they_are_and_when_they_came(
    api: Client, pool: Pool, wanted: dict[str, str], found: list[str]
) -> None:
    await insert_some_events(pool)
    rows = (await get(api, "/v1/events", **wanted))["data"]
    assert sorted(row["event_id"] for row in rows) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("in_1", ["evt_1", "evt_2"]),
        ("in_1A", ["evt_1"]),
        ("in_1a", ["evt_2"]),
        ("in_%", []),
        ("cus_", ["evt_4"]),
        ("evt_", ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"]),
        ("evt_3", ["evt_3"]),
        ("invoice", ["evt_1", "evt_2", "evt_3"]),
        ("invoice.p", ["evt_2", "evt_3"]),
        ("customer.*", ["evt_4"]),
        ("v2.core", ["evt_5"]),
    ],
)
async def test_events_are_found_by_the_beginning_of_a_text(pool: Pool, text: str, found: list[str]) -> None:
    await insert_some_events(pool)
    log = EventLog(pool, KEYS, topic="events")
    rows = await log.list_newest(EventSearch(**begins_with(text)), before=None, limit=10)
    assert sorted(row.event_id for row in rows) == found


@pytest.mark.parametrize("wanted", [{"type": "Invoice"}, {"type": "*"}, {"outcome": "lost"}, {"since": "soon"}])
async def test_a_search_for_events_that_says_nothing_names_the_field(api: Client, wanted: dict[str, str]) -> None:
    answer = await api.get("/v1/events", params=wanted, headers=BEARER)
    assert (answer.status, (await answer.json())["field"]) == (422, *wanted)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/connections/con_9"),
        ("GET", "/v1/connections/con_9/syncs"),
        ("POST", "/v1/connections/con_9/syncs"),
        ("POST", "/v1/connections/con_9/pause"),
        ("POST", "/v1/connections/con_9/resume"),
        ("GET", "/v1/syncs/syn_9"),
        ("GET", "/v1/destinations/dst_9"),
        ("DELETE", "/v1/destinations/dst_9"),
    ],
)
async def test_what_is_not_there_is_not_found(api: Client, method: str, path: str) -> None:
    answer = await api.request(method, path, headers=BEARER)
    assert (answer.status, (await answer.json())["code"]) == (404, "not_found")


async def test_cursor_of_another_list_is_refused(api: Client, pool: Pool) -> None:
    for number in range(3):
        await insert_connection(pool, f"con_{number}", f"acct_{number}")
    cursor = (await get(api, "/v1/connections", limit=1))["next_cursor"]
    answer = await api.get("/v1/events", params={"cursor": cursor}, headers=BEARER)
    assert (answer.status, (await answer.json())["field"]) == (422, "cursor")


async def test_pause_sync_and_resume(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    paused = await api.post("/v1/connections/con_1/pause", headers=BEARER)
    assert (paused.status, (await paused.json())["state"]) == (200, "paused")
    again = await api.post("/v1/connections/con_1/pause", headers=BEARER)
    assert (again.status, (await again.json())["state"]) == (200, "paused")
    assert (await api.post("/v1/connections/con_1/syncs", headers=BEARER)).status == 409
    resumed = await api.post("/v1/connections/con_1/resume", headers=BEARER)
    assert (resumed.status, (await resumed.json())["state"]) == (200, "active")
    again = await api.post("/v1/connections/con_1/resume", headers=BEARER)
    assert (again.status, (await again.json())["state"]) == (200, "active")
    actions = [entry["action"] for entry in (await get(api, "/v1/audit-log", subject="con_1"))["data"]]
    assert actions == ["connection.resumed", "connection.paused", "connection.created"]
    sync = await api.post("/v1/connections/con_1/syncs", headers=BEARER)
    assert (sync.status, (await sync.json())["kind"]) == (202, "reconcile")


async def test_connection_whose_key_was_refused_can_not_be_paused(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    await pool.execute("UPDATE connections SET state = 'action_required'")
    for action in ("pause", "resume"):
        answer = await api.post(f"/v1/connections/con_1/{action}", headers=BEARER)
        assert (answer.status, (await answer.json())["code"]) == (409, "conflict")


async def test_connections_are_found_by_name_id_and_status(api: Client, pool: Pool) -> None:
    for number in range(6):
        await insert_connection(pool, f"con_{number}", f"acct_{number}")
    await pool.execute("UPDATE connections SET account_name = 'Zoë 🦆 ' || id WHERE id IN ('con_1', 'con_2')")
    await pool.execute("UPDATE connections SET state = 'paused' WHERE id IN ('con_2', 'con_3')")
    assert await walk(api, "/v1/connections", "id", limit=1, q="zoë") == ["con_1", "con_2"]
    assert await walk(api, "/v1/connections", "id", limit=1, status="Paused") == ["con_3", "con_2"]
    assert await walk(api, "/v1/connections", "id", limit=2, q="acct_5") == ["con_5"]
    assert await walk(api, "/v1/connections", "id", limit=2, q="Ada", status="Paused") == ["con_3"]
    assert await walk(api, "/v1/connections", "id", limit=2, q="nobody") == []


async def test_long_name_makes_a_cursor_that_is_taken_back(api: Client, pool: Pool) -> None:
    for number in range(3):
        await insert_connection(pool, f"con_{number}", f"acct_{number}")
    await pool.execute("UPDATE connections SET account_name = repeat('語', 500)")
    assert await walk(api, "/v1/connections", "id", limit=1) == ["con_0", "con_1", "con_2"]


async def test_connection_tells_the_status_that_people_see(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    await pool.execute("UPDATE connections SET events_complete_to = extract(epoch FROM now())")
    assert (await get(api, "/v1/connections/con_1"))["status"]["word"] == "Live"
    await pool.execute(
        """INSERT INTO resource_faults (connection_id, resource, code, cause, permission, next_try_at)
           VALUES ('con_1', 'customer', 'missing_permissions', 'Not any more.', 'rak_customer_read', now())"""
    )
    connection = await get(api, "/v1/connections/con_1")
    status = connection["status"]
    assert (status["word"], status["tone"], status["remedy"]) == ("Action required", "bad", "update_key")
    assert "rak_customer_read" in status["sentence"]
    [fault] = connection["faults"]
    assert (fault["resource"], fault["permission"]) == ("customer", "rak_customer_read")
    assert (connection["key_version"], connection["omitted_fields"]) == (1, {})


async def test_delivery_that_has_stopped_is_the_status_and_goes_on_by_command(api: Client, pool: Pool) -> None:
    await insert_connection(pool)
    await pool.execute(
        """WITH d AS (INSERT INTO destinations (id, name, kind, settings, secret, address)
                     VALUES ('dst_s', 'Warehouse', 'postgres', $1, '', 'there') RETURNING id),
                l AS (INSERT INTO connection_destinations SELECT 'con_1', id, 'acct_1', true FROM d)
           SELECT""",
        {"host": "db", "port": 5432, "database": "rows", "schema": "stripe", "user": "ada"},
    )
    await pool.execute("INSERT INTO delivery_stops VALUES ('con_1', 'dst_s', 131, 500, 'column amount is odd.')")
    status = (await get(api, "/v1/connections/con_1"))["status"]
    assert (status["word"], status["remedy"]) == ("Action required", "deliver_again")
    assert status["sentence"] == (
        "Warehouse refused 131 of the last 500 records, so what comes is kept and not sent there: column amount is odd."
    )
    assert len((await get(api, "/v1/connections", status="Action required"))["data"]) == 1
    answer = await api.post("/v1/connections/con_1/deliver-again", headers=BEARER)
    assert (answer.status, (await answer.json())["status"]["remedy"]) == (200, None)
    again = await api.post("/v1/connections/con_1/deliver-again", headers=BEARER)
    assert (again.status, (await again.json())["id"]) == (200, "con_1")
