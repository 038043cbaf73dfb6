"""A key that fails stops the calls, not the data, and hurts no other connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.connections import Connection, State
from shared.errors import KeyInvalidError, PermissionMissingError
from shared.syncs import Kind
from tests.integration.sync_worker.worlds import CONNECTION, World, world


async def refusals(here: World, status: int = 401) -> int:
    return len([call for call in await here.calls() if call["status"] == status])


async def be_refused(
    here: World, connection: Connection, *, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> None:
    async with here.clients.calling(connection):
        if meanwhile:
            await meanwhile()
        raise KeyInvalidError


async def test_many_fetchers_spend_few_calls_on_a_dead_key(database_url: str) -> None:
    async with world(database_url, objects=300, share=0.1) as here:
        await here.start("charge", "customer", "invoice", "invoiceitem", "balance")
        await here.control("POST", f"keys/{await here.key()}/expire")
        await asyncio.gather(*(here.backfill(f"fetcher-{n}").fetch_one() for n in range(5)))
        assert await refusals(here) <= 3
        assert (await here.connection()).state is State.ACTION_REQUIRED


async def test_many_questions_spend_few_calls_on_a_dead_key(database_url: str) -> None:
    async with world(database_url, objects=300, share=0.1) as here:
        for identity in sorted(here.truth("charge"))[:15]:
            await here.ask("charge", identity)
        await here.control("POST", f"keys/{await here.key()}/expire")
        await here.refetch().answer_due()
        assert await refusals(here) <= 3


async def test_a_missed_event_spends_few_calls_on_a_dead_key(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/expire")
    with pytest.raises(KeyInvalidError):
        await here.fill()
    assert await refusals(here) == 1


async def test_no_call_is_made_while_a_key_is_missing(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/expire")
    await here.start("charge")
    await here.fetch_all()
    before = len(await here.calls())
    await here.ask("charge", "ch_1")
    assert not await here.backfill().fetch_one()
    assert await here.refetch().answer_due() == 0
    assert len(await here.calls()) == before


async def test_a_backfill_goes_on_where_it_stopped_once_the_key_works(here: World) -> None:
    await here.start("charge", "customer")
    await here.backfill().fetch_one()
    await here.connections.set_state(CONNECTION, State.ACTION_REQUIRED)
    await here.fetch_all()
    await here.connections.set_state(CONNECTION, State.ACTIVE)
    await here.fetch_all()
    published = here.published_ids()
    assert len(published) == len(set(published))
    assert set(published) == here.truth("charge") | here.truth("customer")


async def test_a_paused_connection_stays_paused_when_its_key_dies(here: World) -> None:
    connection = await here.connection()
    await here.connections.set_state(CONNECTION, State.PAUSED)
    with pytest.raises(KeyInvalidError):
        await be_refused(here, connection)
    assert (await here.connection()).state is State.PAUSED


async def test_a_refusal_seen_twice_is_noted_once(here: World) -> None:
    """The second client saw it late: meanwhile the key may have been renewed."""
    connection = await here.connection()

    async def renew_meanwhile() -> None:
        with pytest.raises(KeyInvalidError):
            await be_refused(here, connection)
        await here.connections.set_state(CONNECTION, State.ACTIVE)

    with pytest.raises(KeyInvalidError):
        await be_refused(here, connection, meanwhile=renew_meanwhile)
    assert (await here.connection()).state is State.ACTIVE


async def test_a_missing_permission_holds_back_only_what_needs_it(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await here.control("POST", "scenarios/buy")
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_customer_read"]})
    with pytest.raises(PermissionMissingError, match="rak_customer_read"):
        await here.fill()
    assert any(str(identity).startswith("ch_") for identity in here.published_ids())
    assert await refusals(here, 403) <= 8


async def test_what_was_held_back_comes_once_the_permission_is_back(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_customer_read"]})
    with pytest.raises(PermissionMissingError):
        await here.fill()
    assert (await here.connection()).events_complete_to is None
    await here.control("POST", f"keys/{await here.key()}/grant", {"permissions": ["rak_customer_read"]})
    await here.fill()
    assert any(str(identity).startswith("cus_") for identity in here.published_ids())


async def test_a_gap_fill_that_is_refused_fails_with_its_cause(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_customer_read"]})
    sync_id = await here.syncs.create(CONNECTION, Kind.GAP_FILL, trigger="test", resources=["event"])
    await here.completion().start_queued()
    await here.fetch_all()
    [progress] = await here.syncs.progress(sync_id)
    assert progress.cause_code == "missing_permissions"


async def test_a_key_that_can_not_be_read_stops_nobody_else(here: World) -> None:
    await here.pool.execute("UPDATE connections SET api_key = '\\x00'")
    await here.ask("charge", "ch_1")
    sync_id = await here.start("charge")
    await here.fetch_all()
    await here.refetch().answer_due()
    await here.polling().poll_due()
    [progress] = await here.syncs.progress(sync_id)
    assert progress.cause_code == "secret_unreadable"
