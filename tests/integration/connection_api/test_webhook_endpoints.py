"""Our endpoint at Stripe, with a real database: made once, found again after a crash, never left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pydantic import SecretStr

from shared.api_keys import ApiKey
from shared.audit import Actor
from shared.catalogue import DEFAULT_RESOURCES, webhook_events
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.crypto import KeyRing, make_encryption_key, parse_key_ring
from shared.db import Pool, make_pool
from shared.endpoint_secrets import Endpoint, find_endpoint
from shared.errors import ConflictError, PermissionMissingError
from shared.stripe_api import API_VERSION, Params, StripeApi, Unlimited
from shared.stripe_pages import Fetched
from shared.webhook_endpoints import PATH, WebhookEndpoints
from simulator.webhook_endpoints import WebhookEndpoint
from tests.integration.simulator.running import Running, run_simulator

PUBLIC_URL = "https://hooks.example.com"
EVENTS = webhook_events(DEFAULT_RESOURCES)
LIMIT = 4


class CrashError(Exception):
    """The process was killed."""


class DiesAfterCreating(StripeApi):
    """A client whose process is killed between Stripe's answer and what would be done with it."""

    async def post(self, path: str, params: Params, *, idempotency_key: str | None = None) -> Fetched:
        await super().post(path, params, idempotency_key=idempotency_key)
        raise CrashError


@dataclass
class Stage:
    """A connection, its Stripe, and our endpoints there."""

    simulator: Running
    pool: Pool
    keys: KeyRing
    connection: Connection

    def api(self, kind: type[StripeApi] = StripeApi, key: str | None = None) -> StripeApi:
        secret = SecretStr(key or self.simulator.simulation.first_key)
        return kind(self.simulator.session, base=self.simulator.url, key=secret, budget=Unlimited())

    def endpoints(self, public_url: str = PUBLIC_URL) -> WebhookEndpoints:
        return WebhookEndpoints(self.pool, self.keys, public_url=public_url)

    async def ensure(self, api: StripeApi | None = None, *, public_url: str = PUBLIC_URL) -> int:
        return await self.endpoints(public_url).ensure(self.connection, api or self.api(), EVENTS)

    async def crash(self) -> None:
        with pytest.raises(CrashError):
            await self.ensure(self.api(DiesAfterCreating))

    async def ours(self) -> Endpoint:
        endpoint_id = await self.pool.fetchval("SELECT id FROM webhook_endpoints")
        found = await find_endpoint(self.pool, self.keys, endpoint_id)
        assert found
        return found

    def at_stripe(self) -> list[WebhookEndpoint]:
        return list(self.simulator.simulation.endpoints.by_id.values())


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    keys = parse_key_ring(make_encryption_key("k1"))
    pool = await make_pool(database_url)
    async with run_simulator(objects=50, max_webhook_endpoints=LIMIT) as simulator:
        store = ConnectionStore(pool, keys)
        await store.insert(
            "con_1",
            account=(simulator.simulation.platform.account_id, "Corner Shop"),
            key=ApiKey(SecretStr(simulator.simulation.first_key), livemode=True),
            destination_ids=[],
            start_date=None,
            resources=["charge"],
            live_by=LiveBy.WEBHOOKS,
            by=Actor("test"),
        )
        yield Stage(simulator, pool, keys, await store.get("con_1"))
    await pool.close()


async def test_endpoint_is_made_with_our_events_and_pinned_version(stage: Stage) -> None:
    created = await stage.ensure()

    (endpoint,) = stage.at_stripe()
    ours = await stage.ours()
    assert endpoint.url == f"{PUBLIC_URL}/webhooks/stripe/{ours.id}"
    assert endpoint.api_version == API_VERSION
    assert sorted(endpoint.enabled_events) == sorted(EVENTS)
    assert endpoint.created == created
    assert (ours.connection_id, ours.livemode) == ("con_1", stage.connection.livemode)
    assert [secret.get_secret_value() for secret in ours.secrets] == [endpoint.secret]


async def test_secret_is_unreadable_at_rest(stage: Stage) -> None:
    await stage.ensure()

    sealed = await stage.pool.fetchval("SELECT secret FROM webhook_secrets")
    assert stage.at_stripe()[0].secret.encode() not in sealed


async def test_second_time_changes_nothing(stage: Stage) -> None:
    first = await stage.ensure()
    before = stage.at_stripe()

    assert await stage.ensure() == first
    assert stage.at_stripe() == before


async def test_crash_after_creating_leaves_one_endpoint_whose_secret_is_known(stage: Stage) -> None:
    await stage.crash()
    await stage.crash()

    await stage.ensure()

    (endpoint,) = stage.at_stripe()
    assert [secret.get_secret_value() for secret in (await stage.ours()).secrets] == [endpoint.secret]


async def test_endpoint_that_somebody_deleted_is_made_anew_and_its_secret_is_void(stage: Stage) -> None:
    await stage.ensure()
    await stage.api().delete(f"{PATH}/{stage.at_stripe()[0].id}")

    await stage.ensure()

    (endpoint,) = stage.at_stripe()
    assert [secret.get_secret_value() for secret in (await stage.ours()).secrets] == [endpoint.secret]


async def test_endpoint_that_somebody_disabled_is_enabled_with_the_same_secret(stage: Stage) -> None:
    await stage.ensure()
    secret = stage.at_stripe()[0].secret
    await stage.api().post(f"{PATH}/{stage.at_stripe()[0].id}", [("disabled", "true")])

    await stage.ensure()

    assert [(one.status, one.secret) for one in stage.at_stripe()] == [("enabled", secret)]


async def test_events_that_a_person_added_stay(stage: Stage) -> None:
    await stage.ensure()
    added = "issuing_card.created"
    assert added not in EVENTS
    parameters = [("enabled_events[]", event) for event in (*EVENTS[1:], added)]
    await stage.api().post(f"{PATH}/{stage.at_stripe()[0].id}", parameters)

    await stage.ensure()

    assert set(stage.at_stripe()[0].enabled_events) == {*EVENTS, added}


async def test_endpoint_for_every_event_is_left_so(stage: Stage) -> None:
    await stage.ensure()
    await stage.api().post(f"{PATH}/{stage.at_stripe()[0].id}", [("enabled_events[]", "*")])

    await stage.ensure()

    assert stage.at_stripe()[0].enabled_events == ("*",)


async def test_endpoint_follows_the_gateway_to_its_new_address(stage: Stage) -> None:
    await stage.ensure()

    await stage.ensure(public_url="https://new.example.com")

    (endpoint,) = stage.at_stripe()
    assert endpoint.url == f"https://new.example.com/webhooks/stripe/{(await stage.ours()).id}"
    assert [secret.get_secret_value() for secret in (await stage.ours()).secrets] == [endpoint.secret]


async def test_crash_is_healed_although_the_gateway_has_moved_since(stage: Stage) -> None:
    await stage.crash()

    await stage.ensure(public_url="https://new.example.com")

    assert [one.url.startswith("https://new.example.com/") for one in stage.at_stripe()] == [True]


async def test_full_account_is_told_with_the_fix_and_nothing_of_others_is_touched(stage: Stage) -> None:
    for number in range(LIMIT):
        parameters = [("url", f"https://other.example.com/{number}"), ("enabled_events[]", "*")]
        await stage.api().post(PATH, parameters)
    before = stage.at_stripe()

    with pytest.raises(ConflictError, match=r"maximum of 4 .*Delete one") as caught:
        await stage.ensure()

    assert caught.value.code == "webhook_endpoints_full"
    assert stage.at_stripe() == before


async def test_key_without_write_access_is_named(stage: Stage) -> None:
    key = stage.simulator.simulation.keys.create(["rak_webhook_read"])

    with pytest.raises(PermissionMissingError) as caught:
        await stage.ensure(stage.api(key=key.secret))

    assert caught.value.permission == "rak_webhook_write"
    assert stage.at_stripe() == []


async def test_removal_deletes_ours_alone(stage: Stage) -> None:
    await stage.api().post(PATH, [("url", "https://other.example.com"), ("enabled_events[]", "*")])
    await stage.ensure()

    await stage.endpoints().remove("con_1", stage.api())
    await stage.endpoints().remove("con_1", stage.api())

    assert [one.url for one in stage.at_stripe()] == ["https://other.example.com"]


async def test_removal_deletes_an_endpoint_whose_answer_was_lost(stage: Stage) -> None:
    await stage.crash()

    await stage.endpoints().remove("con_1", stage.api())

    assert stage.at_stripe() == []


async def test_ours_is_found_behind_a_hundred_others(stage: Stage) -> None:
    stage.simulator.simulation.endpoints.cap = 200
    await stage.crash()
    for number in range(101):
        await stage.api().post(PATH, [("url", f"https://other.example.com/{number}"), ("enabled_events[]", "*")])

    await stage.ensure()

    assert sum(one.url.startswith(PUBLIC_URL) for one in stage.at_stripe()) == 1


async def test_replaced_secret_is_active_until_it_expires(stage: Stage) -> None:
    await stage.ensure()
    sealed = stage.keys.encrypt("whsec_old", owner=(await stage.ours()).id, name="secret")
    insert = """
    INSERT INTO webhook_secrets (endpoint_id, secret, expires_at)
    SELECT id, $1, now() + $2 FROM webhook_endpoints
    """

    await stage.pool.execute(insert, sealed, timedelta(hours=-1))
    assert len((await stage.ours()).secrets) == 1
    await stage.pool.execute(insert, sealed, timedelta(hours=1))
    assert "whsec_old" in {secret.get_secret_value() for secret in (await stage.ours()).secrets}


async def test_unknown_endpoint_and_that_of_a_removed_connection_are_none(stage: Stage) -> None:
    await stage.ensure()
    endpoint_id = (await stage.ours()).id
    await ConnectionStore(stage.pool, stage.keys).set_state("con_1", State.REMOVING)

    assert await find_endpoint(stage.pool, stage.keys, endpoint_id) is None
    assert await find_endpoint(stage.pool, stage.keys, "whe_unknown") is None


async def test_secret_that_can_not_be_read_stands_in_the_way_of_no_other(stage: Stage) -> None:
    await stage.ensure()
    [secret] = (await stage.ours()).secrets
    sealed = parse_key_ring(make_encryption_key("lost")).encrypt("x", owner=(await stage.ours()).id, name="secret")
    insert = "INSERT INTO webhook_secrets (endpoint_id, secret) SELECT id, $1 FROM webhook_endpoints"
    await stage.pool.execute(insert, sealed)
    ours = await stage.ours()
    assert (ours.secrets, ours.is_unreadable) == ((secret,), False)
    await stage.pool.execute("UPDATE webhook_secrets SET secret = $1", sealed)
    ours = await stage.ours()
    assert (ours.secrets, ours.is_unreadable) == ((), True)
