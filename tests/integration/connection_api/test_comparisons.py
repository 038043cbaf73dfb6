"""Verifying over REST: what is compared, what differs page by page, and its repair."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.db import Pool
from tests.integration.connection_api.serving import ready
from tests.integration.connection_api.test_lists import SETTINGS, get, insert_connection, walk
from tests.unit.connection_api.serving import BEARER, Client

DESTINATION = """
INSERT INTO destinations (id, name, kind, settings, secret, address) VALUES ('dst_1', 'Rows', 'postgres', '{}', '', 'a')
ON CONFLICT DO NOTHING
"""
DIFFERENCES = """
INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, status, kind, fields)
SELECT $1, 'con_1', 'dst_1', 'customer', 'cus_' || n, 'confirmed', 'different', '{name}' FROM generate_series(1, 5) AS n
"""
COUNTS = """
INSERT INTO comparisons (sync_id, destination_id, resource, compared, equal, different)
VALUES ($1, 'dst_1', 'customer', 9, 4, 5)
"""
END = "UPDATE syncs SET status = $2, finished_at = CASE $2 WHEN 'succeeded' THEN now() END WHERE id = $1"
VERIFY = "/v1/connections/con_1/verify"


@pytest.fixture
async def api(database_url: str, pool: Pool) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=SETTINGS.encryption_keys) as client:
        await insert_connection(pool)
        await pool.execute("UPDATE connections SET resources = '{customer, balance, charge}'")
        yield client


async def post(api: Client, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    answer = await api.post(path, json=body, headers=BEARER)
    return answer.status, await answer.json()


async def verified(api: Client, pool: Pool, *, is_ended: bool = True) -> str:
    """Return the sync of a comparison that has found five differences."""
    _, sync = await post(api, VERIFY)
    await pool.execute(DESTINATION)
    await pool.execute(DIFFERENCES, sync["id"])
    await pool.execute(COUNTS, sync["id"])
    for status in ("running", "succeeded") if is_ended else ("running",):
        await pool.execute(END, sync["id"], status)
    return str(sync["id"])


async def sample_pages(pool: Pool, sync: dict[str, Any]) -> int | None:
    found: int | None = await pool.fetchval("SELECT sample_pages FROM syncs WHERE id = $1", sync["id"])
    return found


async def test_a_sample_of_all_that_is_comparable_is_the_default(api: Client, pool: Pool) -> None:
    status, sync = await post(api, VERIFY)
    assert (status, sync["kind"], sync["trigger"], sync["status"]) == (202, "verify", "requested", "queued")
    assert sync["resources"] == ["customer", "charge"]  # the balance changes with every payment
    assert await sample_pages(pool, sync) == 5


async def test_some_resources_can_be_compared_in_full(api: Client, pool: Pool) -> None:
    _, sync = await post(api, VERIFY, {"full": True, "resources": ["charge", "charge"]})
    assert sync["resources"] == ["charge"]
    assert await sample_pages(pool, sync) is None


async def test_what_the_key_may_not_read_is_not_compared(api: Client, pool: Pool) -> None:
    await pool.execute(
        """INSERT INTO resource_faults (connection_id, resource, code, cause, next_try_at)
           VALUES ('con_1', 'charge', 'missing_permissions', 'Missing permissions.', now())"""
    )
    assert (await post(api, VERIFY))[1]["resources"] == ["customer"]


async def test_differences_come_page_by_page_and_counts_with_the_sync(api: Client, pool: Pool) -> None:
    sync_id = await verified(api, pool)
    found = await walk(api, f"/v1/syncs/{sync_id}/differences", "object_id", limit=2)
    assert found == [f"cus_{n}" for n in range(1, 6)]
    [counts] = (await get(api, f"/v1/syncs/{sync_id}"))["comparison"]
    assert (counts["resource"], counts["compared"], counts["equal"], counts["different"]) == ("customer", 9, 4, 5)


async def test_what_is_only_suspected_is_not_told(api: Client, pool: Pool) -> None:
    sync_id = await verified(api, pool)
    await pool.execute("UPDATE differences SET status = 'suspected' WHERE object_id <> 'cus_3'")
    assert await walk(api, f"/v1/syncs/{sync_id}/differences", "object_id", limit=2) == ["cus_3"]


async def test_a_repair_asks_for_each_object_once_more(api: Client, pool: Pool) -> None:
    sync_id = await verified(api, pool)
    for _ in range(2):
        assert await post(api, f"/v1/syncs/{sync_id}/repair") == (202, {"objects": 5})
    rows = await pool.fetch("SELECT generation FROM refetches WHERE reason = 'repair'")
    assert [row["generation"] for row in rows] == [2] * 5
    page = await get(api, f"/v1/syncs/{sync_id}/differences", limit=10)
    assert all(one["repaired_at"] for one in page["data"])


@pytest.mark.parametrize("body", [{"resources": ["topup"]}, {"full": "maybe"}, {"resources": []}])
async def test_what_can_not_be_compared_is_refused(api: Client, body: Any) -> None:
    status, problem = await post(api, VERIFY, body)
    assert (status, problem["code"]) == (422, "payload_invalid")


async def test_only_an_active_connection_is_compared(api: Client, pool: Pool) -> None:
    await pool.execute("UPDATE connections SET state = 'paused'")
    assert (await post(api, VERIFY))[0] == 409


async def test_only_a_comparison_that_has_ended_is_repaired(api: Client, pool: Pool) -> None:
    running = await verified(api, pool, is_ended=False)
    _, other = await post(api, "/v1/connections/con_1/syncs", {"resources": ["customer"]})
    for sync_id in (running, other["id"]):
        assert (await post(api, f"/v1/syncs/{sync_id}/repair"))[0] == 409
    assert (await post(api, "/v1/syncs/syn_0/repair"))[0] == 404
