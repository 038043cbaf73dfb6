"""The schedule of comparisons over REST: what it costs, when it runs, what its runs have found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from services.connection_api.views.verified import read_verified
from shared.catalogue import BY_NAME
from shared.db import Pool
from shared.verify_schedules import HowOften
from tests.integration.connection_api.serving import ready
from tests.integration.connection_api.test_lists import SETTINGS, get, insert_connection
from tests.unit.connection_api.serving import BEARER, Client

PATH = "/v1/connections/con_1/verify-schedule"
RUN = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, created_at, started_at, finished_at)
VALUES ($1, 'con_1', 'verify', $2, $3, '{customer}', $4, $4, $4)
"""
FOUND = """
INSERT INTO comparisons (sync_id, destination_id, resource, compared, equal, different, skipped)
VALUES ($1, 'dst_1', 'customer', 100, 100 - $2::bigint, $2, $3), ($1, 'dst_1', 'charge', 50, 50, 0, 0)
"""


@pytest.fixture
async def api(database_url: str, pool: Pool) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=SETTINGS.encryption_keys) as client:
        await insert_connection(pool)
        await pool.execute("UPDATE connections SET resources = '{customer, balance, charge}'")
        yield client


async def put(api: Client, body: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.put(PATH, json=body, headers=BEARER)
    return answer.status, await answer.json()


async def add_run(
    pool: Pool, day: int, *, trigger: str = "daily", status: str = "succeeded", different: int = 0, skipped: int = 0
) -> None:
    sync_id = f"syn_{trigger}{day:02}"
    await pool.execute(RUN, sync_id, trigger, status, datetime(2026, 1, day, 2, tzinfo=UTC))
    await pool.execute(FOUND, sync_id, different, skipped)


async def test_nobody_is_compared_before_a_person_has_chosen_it(api: Client) -> None:
    told = await get(api, PATH)
    assert (told["how_often"], told["next_run_at"], told["last_run"], told["runs"]) == ("never", None, None, [])
    lists = BY_NAME["customer"].walk_count + BY_NAME["charge"].walk_count  # the balance is not compared
    assert told["calls"] == lists * (told["pages"] + 1)


async def test_a_schedule_says_when_it_runs_and_what_it_reads(api: Client) -> None:
    body = {"how_often": "weekly", "hour": 3, "zone": "Europe/Berlin", "pages": 7}
    status, told = await put(api, body)
    assert status == 200
    assert {name: told[name] for name in body} == body
    at = datetime.fromisoformat(told["next_run_at"])
    assert at > datetime.now(UTC)
    assert at.weekday() == 6
    assert at.hour in (1, 2)
    assert told["calls"] % 8 == 0
    assert (await get(api, PATH)) == told


async def test_never_takes_the_next_run_away(api: Client) -> None:
    await put(api, {"how_often": "daily"})
    _, told = await put(api, {"how_often": "never"})
    assert told["next_run_at"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "how_often"),
        ({"how_often": "hourly"}, "how_often"),
        ({"how_often": "daily", "hour": 24}, "hour"),
        ({"how_often": "daily", "zone": "Europe/Bielefeld"}, "zone"),
        ({"how_often": "daily", "pages": 0}, "pages"),
        ({"how_often": "daily", "pages": 21}, "pages"),
    ],
)
async def test_what_makes_no_schedule_is_refused(api: Client, body: Any, field: str) -> None:
    status, problem = await put(api, body)
    assert (status, problem["field"]) == (422, field)


async def test_runs_of_the_schedule_are_told_newest_first(api: Client, pool: Pool) -> None:
    await put(api, {"how_often": "daily"})
    for day in range(1, 32):
        await add_run(pool, day, different=2 if day == 31 else 0, skipped=5 if day == 30 else 0)
    await add_run(pool, 20, trigger="weekly")  # of the rhythm before
    await add_run(pool, 21, trigger="daily_failed", status="failed")
    told = await get(api, PATH)
    assert [run["sync_id"] for run in told["runs"][:2]] == ["syn_daily31", "syn_daily30"]
    assert len(told["runs"]) == 30
    last = told["last_run"]
    assert (last["compared"], last["differences"], last["skipped"]) == (150, 2, 0)
    assert told["runs"][1]["skipped"] == 5


async def test_a_comparison_that_a_person_began_is_the_last_and_no_part_of_the_row(api: Client, pool: Pool) -> None:
    await put(api, {"how_often": "daily"})
    await add_run(pool, 1)
    await add_run(pool, 2, trigger="requested")
    told = await get(api, PATH)
    assert told["last_run"]["sync_id"] == "syn_requested02"
    assert [run["sync_id"] for run in told["runs"]] == ["syn_daily01"]


async def test_a_run_that_failed_is_told_until_one_comes_to_its_end(pool: Pool, api: Client) -> None:
    del api  # it has made the connection
    await add_run(pool, 1)
    await add_run(pool, 2, status="failed")
    told = await read_verified(pool, "con_1", how_often=HowOften.DAILY, hour=2)
    assert told.failed
    assert (told.failed.sync_id, len(told.scheduled)) == ("syn_daily02", 1)
    await add_run(pool, 3)
    assert (await read_verified(pool, "con_1", how_often=HowOften.DAILY, hour=2)).failed is None


async def test_a_connection_that_goes_gets_no_schedule(api: Client, pool: Pool) -> None:
    await pool.execute("UPDATE connections SET state = 'removing'")
    assert (await put(api, {"how_often": "daily"}))[0] == 409
    assert (await api.get("/v1/connections/con_none/verify-schedule", headers=BEARER)).status == 404
