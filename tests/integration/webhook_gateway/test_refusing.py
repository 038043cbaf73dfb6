"""What gateways refuse at an endpoint stands in the state database until one of them accepts a webhook there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.webhook_gateway.app import create_app
from services.webhook_gateway.refusing import Counts
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.signature import UnverifiedError
from shared.crypto import make_encryption_key, parse_key_ring
from shared.db import Pool, make_pool
from shared.errors import DatabaseUnavailableError
from shared.refusals import Cause, Refusals, find_refusals
from tests.eventually import eventually
from tests.fakes import FakeProducer
from tests.integration.webhook_gateway.test_gateway import INSERT
from tests.unit.webhook_gateway.webhooks import NOW, SECRET, URL, header, make_body, make_settings

Client = TestClient[web.Request, web.Application]
PATIENCE = 60.0  # seconds


@pytest.fixture
async def settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> GatewaySettings:
    monkeypatch.setattr("services.webhook_gateway.refusing.INTERVAL", 0.1)
    monkeypatch.setattr("services.webhook_gateway.refusing.SOON", 0.05)
    settings = make_settings(database_url=database_url)
    database = await asyncpg.connect(database_url)
    await database.execute(INSERT)
    await database.execute(
        "INSERT INTO tillstream.webhook_secrets (endpoint_id, secret) VALUES ('we_1', $1)",
        settings.key_ring.encrypt(SECRET, owner="we_1", name="secret"),
    )
    await database.close()
    return settings


@pytest.fixture
async def pool(settings: GatewaySettings) -> AsyncIterator[Pool]:
    pool = await make_pool(settings.database_url.get_secret_value())
    yield pool
    await pool.close()


def gateway(settings: GatewaySettings, *, clock: float = NOW) -> Client:
    return TestClient(TestServer(create_app(settings, producer=FakeProducer(), now=lambda: clock)))  # type: ignore[arg-type]


async def post(client: Client, *, secret: str = SECRET, signature: str | None = None, url: str = URL) -> int:
    body = make_body()
    sent = {"Stripe-Signature": header(body, secret) if signature is None else signature}
    return (await client.post(url, data=body, headers=sent)).status


async def is_up(client: Client, settings: GatewaySettings) -> None:
    async def answers() -> bool:
        return (await post(client, url="/webhooks/stripe/whe_nobody")) == 400

    await eventually(answers, within=PATIENCE)


async def refusals(pool: Pool) -> Refusals | None:
    return (await find_refusals(pool)).get("con_1")


@pytest.mark.parametrize(
    ("clock", "sent", "cause", "skew"),
    [
        (NOW - 400, {}, Cause.CLOCK, 400),
        (NOW + 3600, {}, Cause.CLOCK, -3600),
        (NOW, {"secret": "whsec_lost"}, Cause.SECRET, 0),
        (NOW, {"signature": "v1=00"}, Cause.UNSIGNED, None),
        (NOW, {"signature": f"t={'9' * 15},v1=00"}, Cause.SECRET, 2**31 - 1),
        (NOW - 400, {"secret": "whsec_lost"}, Cause.SECRET, 400),
    ],
)
async def test_refusal_says_what_is_wrong_and_an_acceptance_anywhere_ends_it(
    settings: GatewaySettings, pool: Pool, clock: float, sent: dict[str, Any], cause: Cause, skew: int | None
) -> None:
    async with gateway(settings, clock=clock) as client, gateway(settings) as another:
        await is_up(client, settings)
        await is_up(another, settings)
        for _ in range(3):
            assert await post(client, **sent) == 400

        async def are_noted() -> bool:
            found = await refusals(pool)
            return found is not None and found.refused == 3

        await eventually(are_noted, within=PATIENCE)
        found = await refusals(pool)
        assert found is not None
        assert (found.code, found.skew_seconds) == (cause, skew)
        assert await post(another) == 200

        async def are_over() -> bool:
            return await refusals(pool) is None

        await eventually(are_over, within=PATIENCE)


async def test_what_a_stranger_sends_does_not_hide_that_the_clock_differs(
    settings: GatewaySettings, pool: Pool
) -> None:
    async with gateway(settings, clock=NOW - 400) as client:
        await is_up(client, settings)
        assert await post(client) == 400
        for number in range(2, 5):
            assert await post(client, secret="whsec_lost") == 400

            async def is_noted(number: int = number) -> bool:
                found = await refusals(pool)
                return found is not None and found.refused == number

            await eventually(is_noted, within=PATIENCE)
        found = await refusals(pool)
        assert found is not None
        assert (found.code, found.skew_seconds) == (Cause.CLOCK, 400)


async def test_strangers_at_made_up_endpoints_leave_nothing(settings: GatewaySettings, pool: Pool) -> None:
    async with gateway(settings) as client:
        await is_up(client, settings)
        for number in range(20):
            await post(client, url=f"/webhooks/stripe/whe_{number}")
        assert await post(client, secret="whsec_lost") == 400

        async def is_noted() -> bool:
            return await refusals(pool) is not None

        await eventually(is_noted, within=PATIENCE)
    assert await pool.fetchval("SELECT count(*) FROM webhook_refusals") == 1


async def test_secret_that_can_not_be_read_makes_stripe_come_again_and_is_noted(
    settings: GatewaySettings, pool: Pool
) -> None:
    lost = parse_key_ring(make_encryption_key("lost")).encrypt(SECRET, owner="we_1", name="secret")
    await pool.execute("INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ('we_1', $1)", lost)
    async with gateway(settings) as client:
        await is_up(client, settings)
        assert await post(client) == 200
    await pool.execute("UPDATE webhook_secrets SET secret = $1", lost)
    async with gateway(settings) as client:
        await is_up(client, settings)
        assert await post(client) == 503

        async def is_noted() -> bool:
            found = await refusals(pool)
            return found is not None and found.code is Cause.UNREADABLE

        await eventually(is_noted, within=PATIENCE)


async def test_what_was_counted_is_kept_while_the_database_is_away(settings: GatewaySettings, pool: Pool) -> None:
    counts = Counts()
    error = UnverifiedError("late", Cause.CLOCK, 400)
    away = await make_pool(settings.database_url.get_secret_value())
    away.terminate()
    for _ in range(2):
        counts.refuse("we_1", error)
        with pytest.raises(DatabaseUnavailableError):
            await counts.note(away)
    await counts.note(pool)
    found = await refusals(pool)
    assert found is not None
    assert found.refused == 2
    counts.accept("we_1")
    with pytest.raises(DatabaseUnavailableError):
        await counts.note(away)
    counts.refuse("we_1", error)
    await counts.note(pool)
    found = await refusals(pool)
    assert found is not None
    assert found.refused == 1


async def test_endpoint_that_is_gone_by_then_is_forgotten(settings: GatewaySettings, pool: Pool) -> None:
    counts = Counts()
    counts.refuse("we_1", UnverifiedError("late", Cause.CLOCK, 400))
    await pool.execute("DELETE FROM connections")
    await counts.note(pool)
    assert await find_refusals(pool) == {}
