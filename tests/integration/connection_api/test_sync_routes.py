"""Syncs over REST: found, exported, begun, paused, resumed, cancelled."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.db import Pool
from shared.syncs import Kind, SyncStore
from tests.integration.connection_api.serving import ready
from tests.integration.connection_api.test_lists import SETTINGS, get, insert_connection, walk
from tests.unit.connection_api.serving import BEARER, Client


@pytest.fixture
async def api(database_url: str, pool: Pool) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=SETTINGS.encryption_keys) as client:
        for number in (1, 2):
            await insert_connection(pool, f"con_{number}", f"acct_{number}")
        yield client


async def make(pool: Pool, count: int = 1, *, connection_id: str = "con_1", kind: Kind = Kind.BACKFILL) -> list[str]:
    store = SyncStore(pool)
    return [await store.create(connection_id, kind, trigger="test", resources=["customer"]) for _ in range(count)]


async def post(api: Client, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    answer = await api.post(path, json=body, headers=BEARER)
    return answer.status, await answer.json()


async def test_syncs_of_all_connections_are_walked_newest_first(api: Client, pool: Pool) -> None:
    first = await make(pool, 3)
    second = await make(pool, 2, connection_id="con_2")
    assert await walk(api, "/v1/syncs", "id", limit=2) == [*reversed(second), *reversed(first)]
    assert await walk(api, "/v1/syncs", "id", limit=2, connection_id="con_2") == second[::-1]


async def test_filters_narrow_every_list(api: Client, pool: Pool) -> None:
    [old], [backfill], [manual] = await make(pool), await make(pool), await make(pool, kind=Kind.MANUAL)
    for status in ("running", "failed"):
        sql = "UPDATE syncs SET created_at = now() - interval '2 days', status = $2 WHERE id = $1"
        await pool.execute(sql, old, status)
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    for path in ("/v1/syncs", "/v1/connections/con_1/syncs"):
        assert await walk(api, path, "id", limit=5, kind="manual") == [manual]
        assert await walk(api, path, "id", limit=5, status="failed") == [old]
        assert await walk(api, path, "id", limit=5, since=yesterday) == [manual, backfill]
        assert await walk(api, path, "id", limit=5, until=yesterday, kind="backfill") == [old]


async def test_export_has_all_that_is_wanted(api: Client, pool: Pool) -> None:
    made = await make(pool, 205)
    await make(pool, 3, kind=Kind.MANUAL)
    await make(pool, 3, connection_id="con_2")
    query = {"connection_id": "con_1", "kind": "backfill"}
    answer = await api.get("/v1/syncs/export", params=query, headers=BEARER)
    assert answer.content_type == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="syncs.csv"'
    assert [row["id"] for row in csv.DictReader(io.StringIO(await answer.text()))] == made[::-1]
    document = await get(api, "/v1/syncs/export", format="json", **query)
    assert [row["id"] for row in document["data"]] == made[::-1]
    assert document["data"][0] == (await get(api, "/v1/syncs", limit=1, **query))["data"][0]


async def test_resources_and_objects_are_read_anew(api: Client) -> None:
    path = "/v1/connections/con_1/syncs"
    status, sync = await post(api, path, {"resources": ["customer"]})
    assert (status, sync["kind"], sync["resources"]) == (202, "manual", ["customer"])
    status, sync = await post(api, path, {"object": {"resource": "customer", "id": "cus_1A"}})
    assert (status, sync["kind"], sync["object_id"]) == (202, "manual", "cus_1A")
    status, sync = await post(api, path, {})
    assert (status, sync["kind"]) == (202, "reconcile")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resources": ["charge"]}, "resources"),
        ({"object": {"resource": "charge", "id": "ch_1"}}, "object"),
        ({"object": {"resource": "customer", "id": ".."}}, "object.id"),
        ({"object": {"resource": "customer", "id": "."}}, "object.id"),
        ({"object": {"resource": "customer", "id": "a\x00b"}}, "object.id"),
        ({"object": {"resource": "customer", "id": "a" * 256}}, "object.id"),
        ({"object": {"resource": "customer", "id": ""}}, "object.id"),
        ({"resources": []}, "resources"),
        ({"resources": ["customer"], "object": {"resource": "customer", "id": "cus_1"}}, None),
    ],
)
async def test_what_cannot_be_read_anew_is_named(
    api: Client, pool: Pool, body: dict[str, Any], field: str | None
) -> None:
    status, problem = await post(api, "/v1/connections/con_1/syncs", body)
    assert (status, problem.get("field")) == (422, field)
    assert await walk(api, "/v1/syncs", "id", limit=5) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("syncs", {}),
        ("syncs", {"resources": ["customer"]}),
        ("syncs", {"object": {"resource": "customer", "id": "cus_1"}}),
        ("verify", {}),
        ("verify", {"full": True}),
    ],
)
async def test_asked_for_many_times_at_once_it_is_queued_once(
    api: Client, pool: Pool, path: str, body: dict[str, Any]
) -> None:
    asked = [post(api, f"/v1/connections/con_1/{path}", body) for _ in range(20)]
    answers = await asyncio.gather(*asked)
    assert {status for status, _ in answers} == {202}
    [sync_id] = {sync["id"] for _, sync in answers}
    assert await walk(api, "/v1/syncs", "id", limit=5) == [sync_id]
    await pool.execute("UPDATE syncs SET status = 'running', started_at = now()")  # it may have read that already
    assert (await post(api, f"/v1/connections/con_1/{path}", body))[1]["id"] != sync_id


async def test_what_does_something_else_is_queued_by_itself(api: Client, pool: Pool) -> None:
    one = {"resource": "customer", "id": "cus_1"}
    bodies: list[Any] = [
        {},
        {"resources": ["customer"]},
        {"object": one},
        {"object": one | {"id": "cus_2"}},
    ]
    ids = [(await post(api, "/v1/connections/con_1/syncs", body))[1]["id"] for body in bodies]
    ids += [(await post(api, "/v1/connections/con_1/verify", {"full": full}))[1]["id"] for full in (True, False)]
    ids.append((await post(api, "/v1/connections/con_2/syncs", {}))[1]["id"])
    assert len(set(ids)) == len(ids) == 7


CHOSEN = [
    *("SUMMER 50%/é", "SUMMER/50", "A B", "100%", "100%25", "a+b", "x#y", "q?z=1", "é✓", "a%2Fb", "735*%24"),
    *("Pro plan $699/month", "semi;colon", "a&b=c", "../../x", "..."),
]


@pytest.mark.parametrize("object_id", CHOSEN)
async def test_id_that_a_merchant_chose_is_taken_as_it_is(api: Client, pool: Pool, object_id: str) -> None:
    sought = {"resource": "customer", "id": object_id}
    status, sync = await post(api, "/v1/connections/con_1/syncs", {"object": sought})
    assert (status, sync["object_id"]) == (202, object_id)
    sql = """
    INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
    VALUES ('con_1', 'evt_1', 'coupon.updated', 'coupon', $1, 1700000000, 'updated')
    """
    await pool.execute(sql, object_id)
    events = (await get(api, "/v1/events", object_id=object_id))["data"]
    assert [event["object_id"] for event in events] == [object_id]


async def test_sync_is_paused_resumed_and_cancelled(api: Client, pool: Pool) -> None:
    [sync_id] = await make(pool)
    for action, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert await post(api, f"/v1/syncs/{sync_id}/{action}") == (200, await get_sync(api, sync_id, status))
    assert await post(api, f"/v1/syncs/{sync_id}/cancel") == (200, await get_sync(api, sync_id, "cancelled"))
    for action in ("pause", "resume"):
        status, problem = await post(api, f"/v1/syncs/{sync_id}/{action}")
        assert (status, problem["code"]) == (409, "conflict")
    entries = (await get(api, "/v1/audit-log", subject=sync_id))["data"]
    assert [entry["action"] for entry in entries] == ["sync.cancelled", "sync.resumed", "sync.paused"]


async def get_sync(api: Client, sync_id: str, status: str) -> dict[str, Any]:
    sync: dict[str, Any] = await get(api, f"/v1/syncs/{sync_id}")
    assert [sync.pop(part) for part in ("progress", "comparison", "delays")] == [[], [], []]
    assert sync["status"] == status
    return sync


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
async def test_sync_that_is_not_there_is_not_found(api: Client, action: str) -> None:
    assert (await post(api, f"/v1/syncs/syn_9/{action}"))[0] == 404
