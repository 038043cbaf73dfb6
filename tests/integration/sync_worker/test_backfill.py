"""A backfill publishes everything once, resumes where it stopped, and says what it could not read."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from urllib.parse import unquote

import pytest

from services.sync_worker.objects import Objects
from services.sync_worker.publishing import Publisher, Snapshot
from services.sync_worker.slices import Checkpoint, LeaseLostError
from shared.broker_log import CurrentLog
from shared.catalogue import Resource
from shared.connections import State
from shared.errors import KafkaUnavailableError, ObjectUnreadableError
from shared.stripe_api import StripeApi
from shared.syncs import Status
from tests.integration.sync_worker.worlds import CLUSTER, World, world


async def test_every_object_is_published_once(here: World) -> None:
    await here.start("charge", "customer")
    await here.fetch_all()
    published = here.published_ids()
    assert len(published) == len(set(published))
    assert set(published) == here.truth("charge") | here.truth("customer")


async def test_calls_are_few_more_than_the_pages(here: World) -> None:
    await here.start("charge")
    await here.fetch_all()
    pages = math.ceil(len(here.truth("charge")) / 100)
    assert pages <= len(await here.calls("/v1/charges")) <= pages + 4


async def test_a_crash_before_the_checkpoint_costs_one_page(here: World) -> None:
    await here.start("charge")
    held = await here.slices().claim()
    assert held is not None
    here.producer.error = KafkaUnavailableError()
    await here.pool.execute("UPDATE slices SET lease_until = now() - interval '1 second'")
    assert await here.backfill().fetch_one()
    here.producer.error = None
    await here.pool.execute("UPDATE slices SET lease_until = NULL")  # it has been put off
    await here.fetch_all()
    queries = [call["query"] for call in await here.calls("/v1/charges")]
    assert len(queries) - len(set(queries)) == 1
    assert set(here.published_ids()) == here.truth("charge")


async def test_two_workers_never_hold_the_same_slice(here: World) -> None:
    await here.start("charge", "customer")
    held = [await here.slices(f"worker-{n}").claim() for n in range(3)]
    ids = [one.id for one in held if one]
    assert len(ids) == 2
    assert len(set(ids)) == 2


async def test_a_worker_that_slept_past_its_lease_is_fenced(here: World) -> None:
    await here.start("charge")
    sleeper = await here.slices("sleeper").claim()
    await here.pool.execute("UPDATE slices SET lease_until = now() - interval '1 second'")
    assert await here.slices("other").claim() is not None
    assert sleeper is not None
    with pytest.raises(LeaseLostError):
        await here.slices("sleeper").checkpoint(sleeper, Checkpoint("ch_1", 1, 1, {}, is_last=False))


async def test_a_split_covers_the_range_without_overlap(here: World) -> None:
    await here.start("charge")
    held = await here.slices().claim()
    assert held is not None
    await here.slices().checkpoint(held, Checkpoint("ch_1", 2_000, 1, {}, is_last=False, split=1_000))
    rows = await here.pool.fetch("SELECT range_start, range_end FROM slices ORDER BY id")
    assert [tuple(row) for row in rows] == [(1_000, held.range_end), (None, 1_000)]


async def test_a_sync_succeeds_only_when_the_writers_have_confirmed(here: World) -> None:
    sync_id = await here.start("charge")
    await here.fetch_all()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED


async def test_a_backfill_is_followed_by_a_gap_fill(here: World) -> None:
    await here.start("charge")
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    assert [sync.kind for sync in await here.syncs.list_newest()] == ["gap_fill", "backfill"]


async def test_a_broker_that_lost_everything_is_filled_again(here: World) -> None:
    sync_id = await here.start("charge")
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion("another-cluster").finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    assert await here.pool.fetchval("SELECT count(*) FROM slices WHERE status = 'planned'") > 0


async def test_a_missing_permission_stops_only_its_resource(here: World) -> None:
    key = (await here.control("GET", "state"))["api_key"]
    await here.control("POST", f"keys/{key}/revoke", {"permissions": ["rak_customer_read"]})
    sync_id = await here.start("charge", "customer")
    await here.fetch_all()
    [fault] = (await here.connection()).faults
    assert (fault.resource, fault.permission) == ("customer", "rak_customer_read")
    progress = {one.resource: one for one in await here.syncs.progress(sync_id)}
    assert not progress["customer"].confirmed  # it waits
    assert set(here.published_ids()) == here.truth("charge")


async def test_a_dead_key_stops_the_calls_and_asks_for_a_new_one(here: World) -> None:
    key = (await here.control("GET", "state"))["api_key"]
    await here.control("POST", f"keys/{key}/expire")
    await here.start("charge", "customer", "invoice")
    await here.fetch_all()
    connection = await here.connection()
    assert connection.state is State.ACTION_REQUIRED
    assert connection.cause_code == "api_key_expired"
    assert len([call for call in await here.calls() if call["status"] == 401]) <= 3


async def test_a_singleton_is_kept_under_its_account(here: World) -> None:
    await here.start("balance")
    await here.fetch_all()
    [(_, record)] = here.producer.published
    assert record.key == f"con_1:{here.simulation.platform.account_id}".encode()


async def test_a_cursor_that_was_deleted_goes_on_from_its_second(here: World) -> None:
    customers = sorted(here.truth("customer"))
    await here.start("customer")
    held = await here.slices().claim()
    assert held is not None
    created = int(here.simulation.now()) + 30
    await here.slices().checkpoint(held, Checkpoint("cus_deleted", created, 0, {}, is_last=False))
    await here.pool.execute("UPDATE slices SET lease_until = NULL")
    await here.fetch_all()
    assert sorted(map(str, here.published_ids())) == customers
    queries = [call["query"] for call in await here.calls("/v1/customers")]
    assert any(f"created[lt]={created + 1}" in unquote(query) for query in queries)


async def test_a_list_without_a_range_whose_cursor_was_deleted_begins_anew(here: World) -> None:
    await here.start("payment_method")
    held = await here.slices().claim()
    assert held is not None
    await here.slices().checkpoint(held, Checkpoint("pm_deleted", None, 0, {}, is_last=False))
    await here.pool.execute("UPDATE slices SET lease_until = NULL")
    await here.fetch_all()
    assert set(here.published_ids()) == here.truth("payment_method")


async def test_a_slice_goes_on_behind_its_checkpoint(here: World) -> None:
    newest = sorted(
        here.truth("charge"), key=lambda one: here.simulation.platform.store.tables["charge"].positions[one]
    )
    await here.start("charge")
    held = await here.slices().claim()
    assert held is not None
    await here.slices().checkpoint(held, Checkpoint(newest[-50], None, 50, {}, is_last=False))
    await here.pool.execute("UPDATE slices SET lease_until = NULL")
    await here.fetch_all()
    assert set(here.published_ids()) == set(newest[:-50])


async def test_a_worker_that_lost_its_slice_leaves_no_trace_of_its_page(here: World) -> None:
    await here.start("charge")
    sleeper = await here.slices("sleeper").claim()
    assert sleeper is not None
    await here.pool.execute("UPDATE slices SET lease_until = now() - interval '1 second'")
    await here.slices("other").claim()
    done = Checkpoint("ch_1", 1, 7, {("t", 0): 3}, is_last=True, calls=1, split=5)
    with pytest.raises(LeaseLostError):
        await here.slices("sleeper").checkpoint(sleeper, done)
    assert await here.pool.fetchval("SELECT count(*) FROM slices") == 1
    assert await here.pool.fetchval("SELECT count(*) FROM slice_offsets") == 0
    assert await here.pool.fetchval("SELECT sum(stripe_calls) FROM syncs") == 0


async def test_a_sleeper_does_not_free_the_slice_of_the_worker_that_took_it_over(here: World) -> None:
    await here.start("charge")
    sleeper = await here.slices("sleeper").claim()
    assert sleeper is not None
    async with here.slices("sleeper").held(sleeper):
        await here.pool.execute("UPDATE slices SET lease_until = now() - interval '1 second'")
        assert await here.slices("other").claim() is not None
    assert await here.slices("third").claim() is None


async def test_many_fetchers_publish_everything_once_and_waste_no_calls(database_url: str) -> None:
    async with world(database_url, objects=30_000) as here:
        resources = ("charge", "customer", "invoice", "payment_intent", "balance_transaction")
        await here.start(*resources)
        await asyncio.gather(*(until_done(here, f"worker-{n}") for n in range(6)))
        published = here.published_ids()
        assert Counter(published) == Counter(one for name in resources for one in here.truth(name))
        pages = sum(math.ceil(len(here.truth(name)) / 100) for name in resources)
        assert len(await here.calls()) - 1 <= pages * 1.05 + 4 * len(resources)


async def until_done(here: World, owner: str) -> None:
    backfill = here.backfill(owner)
    while await here.pool.fetchval("SELECT EXISTS (SELECT FROM slices WHERE status = 'planned')"):
        await backfill.fetch_one()


async def test_a_sync_tells_what_it_cost(here: World) -> None:
    sync_id = await here.start("charge", "balance")
    await here.fetch_all()
    sync = await here.syncs.get(sync_id)
    assert sync.stripe_calls == len([call for call in await here.calls() if call["path"].startswith("/v1/")])
    assert sync.read == len(here.producer.published)


async def test_a_comparison_reads_one_object_of_each_list_alone(here: World) -> None:
    """A list may show less of an object than its own address does. Each object is compared once."""
    await here.start("coupon", "charge")
    await here.pool.execute("UPDATE syncs SET kind = 'verify'")
    await here.fetch_all()
    published = here.published_ids()
    assert sorted(map(str, published)) == sorted(here.truth("charge") | here.truth("coupon"))
    assert all(headers.is_compared for headers, _ in here.records())
    alone = [call["path"] for call in await here.calls() if call["path"].count("/") == 3]
    assert sorted(path.split("/")[2] for path in alone) == ["charges", "coupons"]


async def test_an_object_that_cannot_be_read_alone_is_compared_as_it_is_listed(here: World) -> None:
    publisher = Publisher(here.producer, CurrentLog(CLUSTER))  # type: ignore[arg-type]
    here.objects = Unreadable(here.pool, publisher)
    sync_id = await here.start("charge")
    await here.pool.execute("UPDATE syncs SET kind = 'verify'")
    await here.fetch_all()
    assert set(map(str, here.published_ids())) == here.truth("charge")
    assert (
        await here.pool.fetchval("SELECT count(*) FROM slices WHERE sync_id = $1 AND status = 'failed'", sync_id) == 0
    )


class Unreadable(Objects):
    """Objects that can't be read alone."""

    async def ask(self, api: StripeApi, resource: Resource, object_id: str) -> Snapshot | None:
        """Refuse."""
        raise ObjectUnreadableError(f"{object_id} can't be read.")
