"""Connecting an account over REST, with a Stripe that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.connection_api.serving import execute, ready
from tests.integration.simulator.running import Running, run_simulator
from tests.unit.connection_api.serving import BEARER, Client


@dataclass(frozen=True)
class Stage:
    """An API, its Stripe and a destination."""

    api: Client
    stripe: Running
    database_url: str
    destination_id: str

    async def connect(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        body = {"api_key": self.stripe.simulation.first_key, "destination_ids": [self.destination_id]}
        answer = await self.api.post("/v1/connections", json=body | changes, headers=BEARER)
        return answer.status, await answer.json()


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with (
        run_simulator(objects=50, livemode=True) as stripe,
        ready(database_url, stripe_api_base=stripe.url, public_url="https://hooks.example.com") as api,
    ):
        made = await api.post("/v1/destinations", json={"name": "Rows", "url": database_url}, headers=BEARER)
        yield Stage(api, stripe, database_url, (await made.json())["id"])


async def test_account_is_connected_and_its_backfill_waits(stage: Stage) -> None:
    status, connection = await stage.connect(start_date="2025-01-31", resources=["customer", "invoice"])
    assert status == 201, connection
    assert (connection["state"], connection["livemode"], connection["live_by"]) == ("active", True, "webhooks")
    assert connection["start_date"] == "2025-01-31T00:00:00Z"
    assert sorted(connection["resources"]) == ["customer", "invoice"]
    assert connection["destination_ids"] == [stage.destination_id]
    assert connection["backfill"]["status"] == "queued"
    assert connection["account_id"].startswith("acct_")


async def test_key_is_never_given_back(stage: Stage) -> None:
    _, connection = await stage.connect()
    key = stage.stripe.simulation.first_key
    for path in ("/v1/connections", f"/v1/connections/{connection['id']}", "/openapi.json"):
        assert key not in await (await stage.api.get(path, headers=BEARER)).text()
    assert connection["key_hint"].endswith(key[-4:])


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"api_key": "sk_live_" + "a" * 30}, "api_key", "secret key"),
        ({"api_key": "rk_test_" + "a" * 30}, "api_key", "test mode"),
        ({"api_key": "rk_live_" + "a" * 30}, "api_key", "API Key is invalid"),
        ({"api_key": ""}, "api_key", "There is no key"),
        ({"destination_ids": ["dst_unknown"]}, "destination_ids", "no destination dst_unknown"),
        ({"resources": ["customers"]}, "resources", "customers"),
    ],
)
async def test_what_cannot_be_connected_is_named_and_not_kept(
    stage: Stage, changes: dict[str, Any], field: str, says: str
) -> None:
    status, problem = await stage.connect(**changes)
    assert (status, problem["field"]) == (422, field)
    assert says in problem["detail"]
    assert await execute(stage.database_url, "SELECT FROM connections") == []


async def test_same_account_twice_into_one_place_is_a_conflict(stage: Stage) -> None:
    assert (await stage.connect())[0] == 201
    status, problem = await stage.connect()
    assert (status, problem["code"], problem["field"]) == (409, "conflict", "destination_ids")
