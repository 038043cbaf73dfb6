"""Our webhook endpoint is checked with every comparison, repaired when it is wrong, and never twice there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from services.connection_api.debt_sentences import owed_by_faults
from services.connection_api.status import Remedy, status_of
from shared.audit import AuditLog
from shared.catalogue import BY_NAME, WEBHOOK_ENDPOINT, webhook_events
from shared.connections import State
from shared.endpoint_secrets import Endpoint, find_endpoint
from shared.errors import ConnectionDisabledError, TransientError
from shared.stripe_api import API_VERSION
from shared.stripe_pages import Fetched
from shared.syncs import EVENT_FEED, Kind, Status, Sync
from shared.webhook_endpoints import PATH, Repair, WebhookEndpoints
from simulator.webhook_endpoints import WebhookEndpoint
from tests.integration.sync_worker.worlds import CONNECTION, PUBLIC_URL, SYNCED, World

EVENTS = webhook_events(BY_NAME[name] for name in SYNCED)
WRITE = ("rak_webhook_write", "rak_webhook_read")


@pytest.fixture
async def live(here: World) -> World:
    """Give a world whose connection has its endpoint."""
    await here.add_endpoint()
    return here


def at_stripe(here: World) -> list[WebhookEndpoint]:
    return list(here.simulation.endpoints.by_id.values())


async def ours(here: World) -> Endpoint:
    endpoint_id = await here.pool.fetchval("SELECT id FROM webhook_endpoints")
    found = await find_endpoint(here.pool, here.settings.key_ring, endpoint_id)
    assert found
    return found


async def secrets(here: World) -> list[str]:
    return [secret.get_secret_value() for secret in (await ours(here)).secrets]


async def check(here: World) -> None:
    connection = await here.connection()
    async with here.clients.calling(connection) as api:
        await here.endpoint_check().check(connection, api)


async def reconcile(here: World) -> str:
    sync_id = await here.syncs.reconcile(
        await here.connection(), trigger="test", now=here.simulation.now(), window=timedelta(minutes=1)
    )
    await here.completion().start_queued()
    await here.fetch_all()
    return sync_id


async def gap_fills(here: World) -> list[Sync]:
    return await here.syncs.list_newest(kind=Kind.GAP_FILL)


def is_right(here: World) -> bool:
    [endpoint] = at_stripe(here)
    return (
        endpoint.status == "enabled"
        and endpoint.url.startswith(f"{PUBLIC_URL}/webhooks/stripe/whe_")
        and set(endpoint.enabled_events) >= set(EVENTS)
        and endpoint.api_version == API_VERSION
    )


async def delete(here: World) -> None:
    here.simulation.endpoints.delete(at_stripe(here)[0].id)


async def disable(here: World) -> None:
    here.simulation.endpoints.update(at_stripe(here)[0].id, [("disabled", "true")])


async def move(here: World) -> None:
    here.simulation.endpoints.update(at_stripe(here)[0].id, [("url", "https://elsewhere.example/hooks")])


async def unsubscribe(here: World) -> None:
    here.simulation.endpoints.update(at_stripe(here)[0].id, [("enabled_events[]", "charge.failed")])


async def age_version(here: World) -> None:
    await replace_at_stripe(here, api_version="2024-06-20")


async def lose_secret(here: World) -> None:
    await here.pool.execute("DELETE FROM webhook_secrets")


async def spoil_secret(here: World) -> None:
    await here.pool.execute("UPDATE webhook_secrets SET secret = '\\x00'")


async def replace_at_stripe(here: World, *, api_version: str) -> None:
    """Make the endpoint that we know one of another version, as an older release may have made it."""
    endpoints, [old] = here.simulation.endpoints, at_stripe(here)
    made = endpoints.create(
        [("url", old.url), ("api_version", api_version), ("enabled_events[]", "charge.failed")],
        now=here.simulation.now(),
    )
    endpoints.delete(old.id)
    await here.pool.execute("UPDATE webhook_endpoints SET stripe_id = $1", made["id"])


DAMAGES = [
    (delete, Repair.MADE),
    (disable, Repair.ENABLED),
    (move, Repair.MOVED),
    (unsubscribe, Repair.SUBSCRIBED),
    (age_version, Repair.REPLACED),
    (lose_secret, Repair.REPLACED),
    (spoil_secret, Repair.REPLACED),
]


@pytest.mark.parametrize(("damage", "repair"), DAMAGES)
async def test_what_is_wrong_is_repaired_and_the_gap_is_filled(
    live: World, damage: Callable[[World], Awaitable[None]], repair: Repair
) -> None:
    await damage(live)
    await check(live)
    assert is_right(live)
    assert at_stripe(live)[0].secret in await secrets(live)
    [sync] = await gap_fills(live)
    assert (sync.trigger, sync.resources, sync.status) == (repair, (EVENT_FEED,), Status.QUEUED)
    [entry] = [e for e in await AuditLog(live.pool).list_newest() if e.action == "connection.webhook_endpoint_repaired"]
    assert (entry.actor, entry.subject, entry.details) == (
        "sync_worker",
        CONNECTION,
        {"repairs": [repair.name.lower()]},
    )


async def test_everything_at_once_is_repaired_with_two_calls(live: World) -> None:
    await disable(live)
    await move(live)
    await unsubscribe(live)
    before = len(await live.calls())
    await check(live)
    assert is_right(live)
    assert len(await live.calls()) - before == 2
    [sync] = await gap_fills(live)
    assert all(repair in sync.trigger for repair in (Repair.MOVED, Repair.ENABLED, Repair.SUBSCRIBED))


async def test_what_is_right_costs_one_call_and_leaves_no_trace(live: World) -> None:
    before, entries = len(await live.calls()), len(await AuditLog(live.pool).list_newest())
    await check(live)
    [call] = (await live.calls())[before:]
    assert (call["method"], call["path"]) == ("GET", PATH)
    assert await gap_fills(live) == []
    assert len(await AuditLog(live.pool).list_newest()) == entries


async def test_a_comparison_checks_the_endpoint(live: World) -> None:
    await disable(live)
    sync_id = await reconcile(live)
    assert is_right(live)
    assert WEBHOOK_ENDPOINT in (await live.syncs.get(sync_id)).resources
    [sync] = await gap_fills(live)
    assert sync.trigger == "The webhook endpoint was disabled at Stripe and has been enabled again"


async def test_a_connection_that_is_polled_has_no_endpoint_to_check(here: World) -> None:
    sync_id = await reconcile(here)
    assert WEBHOOK_ENDPOINT not in (await here.syncs.get(sync_id)).resources
    assert await here.calls(PATH) == []


async def test_an_old_secret_is_good_for_an_hour_when_the_endpoint_is_replaced(live: World) -> None:
    [old] = await secrets(live)
    await age_version(live)
    await check(live)
    new = at_stripe(live)[0].secret
    assert await secrets(live) == [new, old]
    await live.pool.execute("UPDATE webhook_secrets SET expires_at = expires_at - interval '61 minutes'")
    assert await secrets(live) == [new]


async def test_an_endpoint_is_replaced_in_an_account_that_has_no_room_for_two(live: World) -> None:
    await age_version(live)
    live.simulation.endpoints.cap = 1
    await check(live)
    assert is_right(live)


async def test_what_a_person_added_to_a_replaced_endpoint_stays(live: World) -> None:
    added = "issuing_card.created"
    live.simulation.endpoints.update(at_stripe(live)[0].id, [("enabled_events[]", added)])
    await lose_secret(live)
    await check(live)
    assert added in at_stripe(live)[0].enabled_events


async def test_a_replacement_that_was_cut_off_is_finished(live: World) -> None:
    old = at_stripe(live)[0]
    made = live.simulation.endpoints.create(
        [("url", old.url), ("api_version", API_VERSION), ("enabled_events[]", "account.updated")],
        now=live.simulation.now(),
    )
    await live.pool.execute("UPDATE webhook_endpoints SET stripe_id = $1", made["id"])
    await check(live)
    assert is_right(live)
    assert at_stripe(live)[0].id == made["id"]


async def test_two_checks_at_once_make_one_endpoint(live: World) -> None:
    await delete(live)
    await asyncio.gather(check(live), check(live), check(live))
    assert is_right(live)
    assert await secrets(live) == [at_stripe(live)[0].secret]
    assert len(await gap_fills(live)) == 1


async def test_a_check_leaves_alone_what_a_rotation_is_making(live: World) -> None:
    connection = await live.connection()
    await live.control("POST", "faults", {"latency_after_ms": 200})
    async with live.clients.calling(connection) as api:
        rotating = asyncio.create_task(live.endpoints().rotate(connection, api, EVENTS))
        await asyncio.sleep(0.1)
        await asyncio.gather(rotating, check(live))
    assert is_right(live)
    assert (await secrets(live))[0] == at_stripe(live)[0].secret
    assert await gap_fills(live) == []


async def test_a_turn_that_is_never_given_back_delays_the_check(live: World) -> None:
    insert = "INSERT INTO leases (name, owner, until) VALUES ('endpoint:' || $1, 'trn_dead', now() + $2::interval)"
    await live.pool.execute(insert, CONNECTION, timedelta(minutes=1))
    endpoints = WebhookEndpoints(live.pool, live.settings.key_ring, public_url=PUBLIC_URL, patience_seconds=0.3)
    async with live.clients.calling(await live.connection()) as api:
        with pytest.raises(TransientError):
            await endpoints.check(await live.connection(), api, EVENTS)
    await live.pool.execute("UPDATE leases SET until = now() - interval '1 second'")
    await check(live)


async def test_a_permission_that_is_missing_is_a_fault_that_says_webhook_missing(live: World) -> None:
    await live.control("POST", f"keys/{await live.key()}/revoke", {"permissions": WRITE})
    await delete(live)
    await reconcile(live)
    connection = await live.connection()
    [fault] = connection.faults
    assert (fault.resource, fault.permission) == (WEBHOOK_ENDPOINT, "rak_webhook_write")
    status = status_of(connection, owed_by_faults(connection.faults), backfill_share=None)
    assert status.text == "Action required"
    assert status.sentence.startswith("Webhook missing: ")
    assert "Webhook Endpoints, Event Destinations (rak_webhook_write)" in status.sentence
    assert status.remedy is Remedy.UPDATE_KEY


async def test_changes_are_polled_for_while_the_endpoint_is_missing(live: World) -> None:
    await live.control("POST", f"keys/{await live.key()}/revoke", {"permissions": WRITE})
    await delete(live)
    await reconcile(live)
    await live.control("POST", "scenarios/refund")
    await live.polling().poll_due()
    assert any(str(identity).startswith("ch_") for identity in live.published_ids())


async def test_the_endpoint_comes_back_by_itself_with_the_permission(live: World) -> None:
    await live.control("POST", f"keys/{await live.key()}/revoke", {"permissions": WRITE})
    await delete(live)
    await reconcile(live)
    await live.pool.execute("UPDATE resource_faults SET next_try_at = now()")
    assert await live.faults().try_one()
    assert [fault.resource for fault in (await live.connection()).faults] == [WEBHOOK_ENDPOINT]
    await live.control("POST", f"keys/{await live.key()}/grant", {"permissions": WRITE})
    await live.pool.execute("UPDATE resource_faults SET next_try_at = now()")
    assert await live.faults().try_one()
    assert is_right(live)
    assert (await live.connection()).faults == ()
    assert [sync.trigger for sync in await gap_fills(live)] == [Repair.MADE]


async def test_an_account_without_room_is_told_what_to_do(live: World) -> None:
    await delete(live)
    live.simulation.endpoints.cap = 0
    await reconcile(live)
    connection = await live.connection()
    status = status_of(connection, owed_by_faults(connection.faults), backfill_share=None)
    assert status.sentence.startswith("Webhook missing: Stripe has no room for one more webhook endpoint")
    assert status.remedy is None
    live.simulation.endpoints.cap = 16
    await live.pool.execute("UPDATE resource_faults SET next_try_at = now()")
    assert await live.faults().try_one()
    assert is_right(live)


async def test_a_connection_that_is_removed_meanwhile_gets_no_endpoint(live: World) -> None:
    connection = await live.connection()
    await delete(live)
    api = live.clients.single(connection, await live.connections.stored_key(CONNECTION))
    post = api.post

    async def remove_meanwhile(*what: Any, **how: Any) -> Fetched:
        made = await post(*what, **how)
        await live.connections.set_state(CONNECTION, State.REMOVING)
        return made

    api.post = remove_meanwhile  # type: ignore[method-assign]
    with pytest.raises(ConnectionDisabledError):
        await live.endpoint_check().check(connection, api)
    assert at_stripe(live) == []
