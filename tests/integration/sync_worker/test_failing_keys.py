"""A key that fails stops the calls, not the data, and hurts no other connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from services.sync_worker.clients import CallsStoppedError, Clients
from shared.api_keys import parse_api_key
from shared.connections import Connection, State
from shared.db import transaction
from shared.errors import KeyInvalidError
from shared.syncs import Kind
from tests.eventually import eventually
from tests.integration.sync_worker.worlds import CONNECTION, SYNCED, World, world


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


async def test_a_key_that_cannot_be_read_asks_for_a_new_one_and_costs_no_call(here: World) -> None:
    await here.start("charge")
    key, calls = await here.key(), len(await here.calls())
    await here.pool.execute("UPDATE connections SET api_key = '\\x026b30'")
    assert await here.backfill().fetch_one()
    connection = await here.connection()
    assert (connection.state, connection.cause_code) == (State.ACTION_REQUIRED, "secret_unreadable")
    assert connection.cause
    assert "update the API key" in connection.cause
    await here.pool.execute("UPDATE connections SET key_try_at = now()")
    assert await here.refused_keys().try_one()
    assert not await here.refused_keys().try_one()  # it is tried ever more rarely
    assert not await here.backfill().fetch_one()
    assert len(await here.calls()) == calls
    await here.pool.execute("UPDATE connections SET events_complete_to = 1")
    await renew(here, key)
    await here.fetch_all()
    assert set(here.published_ids()) == here.truth("charge")


async def renew(here: World, key: str | None = None) -> None:
    """Replace the connection's key, by default with itself."""
    parsed = parse_api_key(key or await here.key(), allow_test=True)
    async with transaction(here.pool) as db:
        await here.connections.replace_key(db, CONNECTION, parsed)


async def test_an_old_keys_refusal_says_nothing_of_the_new_key(here: World) -> None:
    connection = await here.connection()
    with pytest.raises(KeyInvalidError):
        await be_refused(here, connection, meanwhile=lambda: renew(here))
    renewed = await here.connection()
    assert (renewed.state, renewed.cause) == (State.ACTIVE, None)


async def test_an_old_key_is_called_with_no_more_once_there_is_a_new_one(here: World) -> None:
    new = (await here.control("POST", "keys"))["secret"]
    async with here.clients.calling(await here.connection()) as api:
        await api.list_page("/v1/charges")
        await renew(here, new)
        with pytest.raises(CallsStoppedError):
            await api.list_page("/v1/charges")
    async with here.clients.calling(await here.connection()) as api:
        await api.list_page("/v1/charges")
    assert len(await here.calls("/v1/charges")) == 2


@pytest.mark.parametrize("state", [State.PAUSED, State.REMOVING, State.ACTION_REQUIRED])
async def test_work_under_way_makes_no_call_once_its_connection_makes_none(here: World, state: State) -> None:
    async with here.clients.calling(await here.connection()) as api:
        await here.connections.set_state(CONNECTION, state)
        with pytest.raises(CallsStoppedError):
            await api.list_page("/v1/charges")
    assert await here.calls("/v1/charges") == []


async def test_a_pause_stops_a_list_in_its_middle_and_loses_nothing(here: World) -> None:
    await here.start("charge")
    publish = here.producer.publish_all

    async def pause_after_it(*what: object) -> object:
        here.producer.publish_all = publish  # type: ignore[method-assign]
        await here.connections.set_state(CONNECTION, State.PAUSED)
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = pause_after_it  # type: ignore[method-assign, assignment]
    await here.fetch_all()
    assert len(await here.calls("/v1/charges")) == 1
    await here.connections.set_state(CONNECTION, State.ACTIVE)
    await here.fetch_all()
    published = here.published_ids()
    assert len(published) == len(set(published))
    assert set(published) == here.truth("charge")


@pytest.mark.parametrize(
    ("action", "body", "code", "words"),
    [
        ("delete", None, "api_key_invalid", "API Key is invalid: Stripe does not know it. Make sure you copied"),
        ("expire", None, "api_key_expired", "If you just rotated the key, the old one is already invalidated"),
        ("restrict", {"addresses": ["10.1.1.1"]}, "api_key_ip_restricted", "may not be used from this machine's IP"),
    ],
)
async def test_a_refused_key_is_told_in_words_that_say_what_to_do(
    here: World, action: str, body: object, code: str, words: str
) -> None:
    await here.control("POST", f"keys/{await here.key()}/{action}", body)
    with pytest.raises(KeyInvalidError):
        await here.fill()
    connection = await here.connection()
    assert (connection.state, connection.cause_code) == (State.ACTION_REQUIRED, code)
    assert words in (connection.cause or "")


async def wait_until_due(here: World) -> None:
    """Let the pause before the next try pass."""
    await here.pool.execute("UPDATE connections SET key_try_at = now()")


async def minutes_to_next_try(here: World) -> float:
    sql = "SELECT extract(epoch FROM key_try_at - now()) / 60 FROM connections"
    return float(await here.pool.fetchval(sql))


async def test_a_dead_key_is_tried_ever_more_rarely(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/expire")
    with pytest.raises(KeyInvalidError):
        await here.fill()
    pauses = [await minutes_to_next_try(here)]
    assert not await here.refused_keys().try_one()
    for _ in range(5):
        await wait_until_due(here)
        assert await here.refused_keys().try_one()
        pauses.append(await minutes_to_next_try(here))
    assert pauses == pytest.approx([5, 10, 20, 40, 60, 60], abs=0.1)
    assert await refusals(here) == 1 + 5


async def test_two_workers_try_a_dead_key_once(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/expire")
    with pytest.raises(KeyInvalidError):
        await here.fill()
    await wait_until_due(here)
    tried = await asyncio.gather(*(here.refused_keys().try_one() for _ in range(4)))
    assert sorted(tried) == [False, False, False, True]


async def test_a_try_is_one_call_although_stripe_is_away(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/expire")
    with pytest.raises(KeyInvalidError):
        await here.fill()
    await wait_until_due(here)
    await here.control("POST", "faults", {"http_503": 1.0})
    before = len(await here.calls())
    await here.refused_keys().try_one()
    assert len(await here.calls()) - before == 1
    assert (await here.connection()).state is State.ACTION_REQUIRED


async def test_a_key_that_works_again_takes_the_connection_up_by_itself(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/restrict", {"addresses": ["10.1.1.1"]})
    with pytest.raises(KeyInvalidError):
        await here.fill()
    await here.control("POST", f"keys/{await here.key()}/restrict", {"addresses": None})
    await wait_until_due(here)
    await here.refused_keys().try_one()
    connection = await here.connection()
    assert (connection.state, connection.cause_code, connection.cause) == (State.ACTIVE, None, None)
    [sync] = await here.syncs.list_newest()
    assert (sync.kind, sync.trigger) == (Kind.RECONCILE, "key works again")


async def test_a_key_that_may_not_read_the_feed_works_all_the_same(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/restrict", {"addresses": ["10.1.1.1"]})
    with pytest.raises(KeyInvalidError):
        await here.fill()
    await here.control("POST", f"keys/{await here.key()}/restrict", {"addresses": None})
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_event_read"]})
    await wait_until_due(here)
    await here.refused_keys().try_one()
    assert (await here.connection()).state is State.ACTIVE


async def test_a_new_key_ends_the_tries_of_the_old_one(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/expire")
    with pytest.raises(KeyInvalidError):
        await here.fill()
    await renew(here)
    assert await here.pool.fetchval("SELECT key_tries = 0 AND key_try_at IS NULL FROM connections")
    assert not await here.refused_keys().try_one()


@pytest.mark.parametrize("before_seconds", [0.0, 0.3, 0.6])
async def test_all_loops_of_all_workers_spend_few_calls_on_a_dead_key(database_url: str, before_seconds: float) -> None:
    """Everything runs when the key dies: lists, questions, polls, comparisons and tries, on two workers.

    At a pace at which one answer comes before the next call: those that are on their way can't be called back.
    """
    async with world(database_url, objects=3_000, share=0.1) as here:
        await here.start(*SYNCED)
        for identity in sorted(here.truth("charge"))[:30]:
            await here.ask("charge", identity)
        workers = [asyncio.create_task(work(here, f"worker-{n}")) for n in range(2)]
        await asyncio.sleep(before_seconds)
        await here.control("POST", f"keys/{await here.key()}/expire")
        await eventually(lambda: is_refused(here))
        await asyncio.sleep(2)
        await wait_until_due(here)
        await eventually(lambda: is_tried_again(here))
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        assert await refusals(here) <= 3


@pytest.mark.parametrize(("livemode", "most"), [(False, 3), (True, 10)])
async def test_a_key_that_dies_at_full_speed_is_refused_for_the_calls_under_way(
    database_url: str, livemode: bool, most: int
) -> None:
    """At 200 ms a call, as many are under way as it takes to use half of Stripe's limit: 3 in a sandbox, 10 live."""
    async with world(database_url, objects=3_000, share=0.5, livemode=livemode) as here:
        await here.control("POST", "faults", {"latency_after_ms": 200})
        await here.start(*SYNCED)
        for identity in sorted(here.truth("charge"))[:60]:
            await here.ask("charge", identity)
        working = asyncio.create_task(work(here, "worker-1", fetchers=8))
        await eventually(lambda: is_busy(here))
        await here.control("POST", f"keys/{await here.key()}/expire")
        await eventually(lambda: is_refused(here))
        await asyncio.sleep(1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert 1 <= await refusals(here) <= most


async def is_busy(here: World) -> bool:
    return len(await here.calls()) >= 15


async def is_refused(here: World) -> bool:
    return (await here.connection()).state is State.ACTION_REQUIRED


async def is_tried_again(here: World) -> bool:
    return bool(await here.pool.fetchval("SELECT key_tries > 1 FROM connections"))


async def work(here: World, owner: str, *, fetchers: int = 4) -> None:
    """Do all that one worker does, with clients of its own."""
    clients = Clients(here.session, here.settings, here.pool, here.connections)
    mine, wake = replace(here, clients=clients), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(fetchers):
            tasks.create_task(mine.backfill(owner).run(wake))
        for loop in (mine.refetch(), mine.polling(owner), mine.schedule(), mine.faults(), mine.refused_keys()):
            tasks.create_task(loop.run())


async def test_a_key_that_can_not_be_read_stops_no_loop(here: World) -> None:
    await here.pool.execute("UPDATE connections SET api_key = '\\x00'")
    await here.ask("charge", "ch_1")
    await here.start("charge")
    for work in (here.fetch_all(), here.refetch().answer_due(), here.polling().poll_due()):
        await work
    assert (await here.connection()).cause_code == "secret_unreadable"
