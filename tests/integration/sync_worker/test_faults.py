"""A permission that is missing stops its resource alone, and what was missed comes once it is back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest

from services.sync_worker.completion import FINISH, GIVE_UP_WAITING, HOLD_FAULTS
from shared.connections import Fault
from shared.errors import PermissionMissingError
from shared.syncs import EVENT_FEED, Kind, Status, Sync
from tests.eventually import eventually
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, World, world

CUSTOMERS, FEED = "rak_customer_read", "rak_event_read"


async def revoke(here: World, *permissions: str) -> None:
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": permissions})


async def grant(here: World, *permissions: str) -> None:
    await here.control("POST", f"keys/{await here.key()}/grant", {"permissions": permissions})


async def faults(here: World) -> Sequence[Fault]:
    return (await here.connection()).faults


async def try_again(here: World) -> bool:
    await here.pool.execute("UPDATE resource_faults SET next_try_at = now()")
    return await here.faults().try_one()


async def finish(here: World) -> None:
    await here.confirm_everything()
    await here.completion().finish_confirmed()


async def newest(here: World, kind: Kind) -> Sync:
    return next(iter(await here.syncs.list_newest(kind=kind)))


async def refusals(here: World) -> int:
    return len([call for call in await here.calls() if call["status"] == 403])


async def test_a_fault_names_the_row_in_stripes_dashboard_and_the_slug(here: World) -> None:
    await revoke(here, CUSTOMERS)
    await here.start("customer")
    await here.fetch_all()
    [fault] = await faults(here)
    assert (fault.resource, fault.code, fault.permission) == ("customer", "missing_permissions", CUSTOMERS)
    assert fault.cause.startswith("Missing permissions: Customers (rak_customer_read).")


async def test_a_resource_that_waits_is_asked_for_once(here: World) -> None:
    await revoke(here, CUSTOMERS)
    await here.start("customer", "charge")
    for identity in sorted(here.truth("customer"))[:3]:
        await here.ask("customer", identity)
    await here.fetch_all()
    assert await here.refetch().answer_due() == 0
    await here.fetch_all()
    assert await refusals(here) == 1
    assert set(here.published_ids()) == here.truth("charge")


async def test_a_sync_ends_when_all_else_is_done_and_says_what_it_lacked(here: World) -> None:
    await revoke(here, CUSTOMERS)
    sync_id = await here.start("customer", "charge")
    await here.backfill().fetch_one()
    await finish(here)
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    await here.fetch_all()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING  # charges are not written yet
    await finish(here)
    sync = await here.syncs.get(sync_id)
    assert (sync.status, sync.cause_code) == (Status.FAILED, "missing_permissions")
    assert CUSTOMERS in (sync.cause or "")
    assert sync.read == len(here.truth("charge"))


async def test_a_sync_that_lacks_everything_ends_too(here: World) -> None:
    await revoke(here, CUSTOMERS)
    sync_id = await here.start("customer")
    await here.fetch_all()
    await finish(here)
    assert (await here.syncs.get(sync_id)).status is Status.FAILED


async def test_what_waits_goes_on_when_the_permission_is_back_before_the_sync_has_ended(here: World) -> None:
    sync_id = await here.start("customer", "charge")
    await revoke(here, CUSTOMERS)
    await here.backfill().fetch_one()
    await grant(here, CUSTOMERS)
    assert await try_again(here)
    await here.fetch_all()
    await finish(here)
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED
    assert set(here.published_ids()) >= here.truth("customer") | here.truth("charge")


async def test_what_was_given_up_is_taken_up_by_a_sync_of_its_own(here: World) -> None:
    await revoke(here, CUSTOMERS)
    await here.start("customer", "charge")
    await here.fetch_all()
    await finish(here)
    await grant(here, CUSTOMERS)
    await try_again(here)
    assert await faults(here) == ()
    sync = await newest(here, Kind.BACKFILL)
    assert (sync.trigger, sync.resources, sync.status) == ("permission is back", ("customer",), Status.RUNNING)
    assert sync.range_start is None  # as the backfill that was given up
    await here.fetch_all()
    await finish(here)
    assert (await here.syncs.get(sync.id)).status is Status.SUCCEEDED
    assert set(here.published_ids()) == here.truth("customer") | here.truth("charge")


async def test_it_goes_on_behind_the_page_that_was_read_before(database_url: str) -> None:
    async with world(database_url, objects=4_000) as here:
        await here.start("customer")
        publish, pages = here.producer.publish_all, [0]

        async def revoke_after_two(*what: object) -> object:
            pages[0] += 1
            if pages[0] == 2:
                await revoke(here, CUSTOMERS)
            return await publish(*what)  # type: ignore[arg-type]

        here.producer.publish_all = revoke_after_two  # type: ignore[method-assign, assignment]
        await here.fetch_all()
        await finish(here)
        assert await newest(here, Kind.BACKFILL)
        await grant(here, CUSTOMERS)
        await try_again(here)
        await here.fetch_all()
        assert Counter(here.published_ids()) == Counter(here.truth("customer"))


async def test_a_list_that_is_read_whole_is_read_once(here: World) -> None:
    await revoke(here, "rak_payment_method_read")
    await here.start("payment_method")
    await here.fetch_all()
    await finish(here)
    await grant(here, "rak_payment_method_read")
    before = len(await here.calls("/v1/payment_methods"))
    await try_again(here)
    await here.fetch_all()
    assert len(await here.calls("/v1/payment_methods")) - before == 2  # the try and the page


async def test_a_cancelled_sync_is_not_taken_up_again(here: World) -> None:
    await revoke(here, CUSTOMERS)
    sync_id = await here.start("customer", "charge")
    await here.fetch_all()
    await here.syncs.cancel(sync_id)
    await finish(here)
    await grant(here, CUSTOMERS)
    await try_again(here)
    sync = await newest(here, Kind.BACKFILL)
    assert sync.range_start is not None  # the time of the fault alone


async def test_questions_are_asked_at_once_when_the_permission_is_back(here: World) -> None:
    identity = min(here.truth("customer"))
    await revoke(here, CUSTOMERS)
    await here.ask("customer", identity)
    await here.refetch().answer_due()
    await grant(here, CUSTOMERS)
    await try_again(here)
    assert await here.refetch().answer_due() == 1
    assert here.published_ids() == [identity]


async def test_what_changed_silently_meanwhile_is_read_again(here: World) -> None:
    await revoke(here, "rak_balance_transaction_source_read")
    since = datetime.now(UTC)
    await here.start("balance_transaction")
    await here.fetch_all()
    await grant(here, "rak_balance_transaction_source_read")
    await here.pool.execute("DELETE FROM syncs")
    await try_again(here)
    await here.fetch_all()
    query = parse_qs((await here.calls("/v1/balance_transactions"))[-1]["query"])
    start = datetime.fromtimestamp(int(query["created[gte]"][0]), UTC)
    assert timedelta(days=34) < since - start < timedelta(days=36)


async def test_a_fault_is_tried_ever_more_rarely(here: World) -> None:
    await revoke(here, CUSTOMERS)
    await here.start("customer")
    await here.fetch_all()
    sql = "SELECT extract(epoch FROM next_try_at - now()) FROM resource_faults"
    pauses = [float(await here.pool.fetchval(sql))]
    assert not await here.faults().try_one()
    for _ in range(5):
        assert await try_again(here)
        pauses.append(float(await here.pool.fetchval(sql)))
    assert pauses == pytest.approx([60, 120, 240, 480, 900, 900], abs=5)
    assert await refusals(here) == 1 + 5
    assert (await here.connection()).faults[0].permission == CUSTOMERS


async def test_a_connection_that_makes_no_calls_tries_nothing(here: World) -> None:
    await revoke(here, CUSTOMERS)
    await here.start("customer")
    await here.fetch_all()
    await here.pool.execute("UPDATE connections SET state = 'paused'")
    assert not await try_again(here)


async def test_a_resource_that_nobody_syncs_any_more_has_no_fault(here: World) -> None:
    await revoke(here, CUSTOMERS)
    sync_id = await here.start("customer", "charge")
    await here.fetch_all()
    await here.pool.execute("UPDATE connections SET resources = ARRAY['charge']")
    await try_again(here)
    assert await faults(here) == ()
    await here.fetch_all()
    await finish(here)
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED
    assert await refusals(here) == 1


async def test_the_feed_waits_for_its_permission_and_is_compared_then(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await revoke(here, FEED)
    await here.polling(shortest=0).poll_due()
    [fault] = await faults(here)
    assert fault.resource == EVENT_FEED
    assert fault.cause.startswith("Missing permissions: Events (rak_event_read).")
    await here.polling("worker-2", shortest=0).poll_due()
    assert await refusals(here) == 1
    await grant(here, FEED)
    await try_again(here)
    sync = await newest(here, Kind.GAP_FILL)
    assert (sync.trigger, sync.resources) == ("permission is back", (EVENT_FEED,))
    await here.completion().start_queued()
    await here.fetch_all()
    assert any(str(identity).startswith("cus_") for identity in here.published_ids())


async def test_a_gap_fill_that_may_not_read_the_feed_fails_with_its_cause(here: World) -> None:
    await revoke(here, FEED)
    sync_id = await here.syncs.create(CONNECTION, Kind.GAP_FILL, trigger="test", resources=[EVENT_FEED])
    await here.completion().start_queued()
    await here.fetch_all()
    await finish(here)
    sync = await here.syncs.get(sync_id)
    assert (sync.status, sync.cause_code) == (Status.FAILED, "missing_permissions")


async def test_a_gap_is_filled_with_all_that_may_be_read_and_the_rest_waits(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await here.control("POST", "scenarios/buy")
    await revoke(here, CUSTOMERS)
    await here.fill()
    assert any(str(identity).startswith("ch_") for identity in here.published_ids())
    assert not any(str(identity).startswith("cus_") for identity in here.published_ids())
    assert await refusals(here) <= 8
    assert (await here.connection()).events_complete_to is not None
    await here.refetch().answer_due()
    assert [fault.resource for fault in await faults(here)] == ["customer"]
    await grant(here, CUSTOMERS)
    await try_again(here)
    await here.refetch().answer_due()
    assert any(str(identity).startswith("cus_") for identity in here.published_ids())


async def test_an_old_keys_answer_makes_no_fault_of_the_new_key(here: World) -> None:
    connection = await here.connection()
    await here.pool.execute("UPDATE connections SET key_version = key_version + 1")
    await here.faults().note(connection, "customer", PermissionMissingError())
    assert await faults(here) == ()


async def test_a_permission_that_comes_back_while_the_sync_ends_loses_nothing(here: World) -> None:
    """The fault is held while what waits for it is given up, so whoever lifts it sees what was given up."""
    await revoke(here, CUSTOMERS)
    await here.start("customer")
    await here.fetch_all()
    await grant(here, CUSTOMERS)
    await here.control("POST", "faults", {"latency_before_ms": 500})
    lifting = asyncio.create_task(try_again(here))
    await eventually(lambda: is_being_tried(here))
    async with here.pool.acquire() as ending, ending.transaction():
        await ending.execute(HOLD_FAULTS)
        await eventually(lambda: is_waiting(here))
        syncs = [row["id"] for row in await ending.fetch("SELECT id FROM syncs")]
        await ending.execute(GIVE_UP_WAITING, syncs)
        await ending.execute(FINISH, CLUSTER, syncs)
    await lifting
    await here.fetch_all()
    assert set(here.published_ids()) == here.truth("customer")


async def is_being_tried(here: World) -> bool:
    return bool(await here.pool.fetchval("SELECT tries = 1 FROM resource_faults"))


async def is_waiting(here: World) -> bool:
    """Tell whether somebody waits for a row that another transaction holds."""
    sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    return bool(await here.pool.fetchval(sql))


async def refuse(here: World, status: int, message: str, path: str = "customers", code: str = "") -> None:
    fault = {"refused_path": path, "refused_status": status, "refused_message": message, "refused_code": code}
    await here.control("POST", "faults", fault)


async def test_a_list_that_is_refused_in_unknown_words_is_told_on_the_connection_and_on_the_sync(here: World) -> None:
    await refuse(here, 400, "Customers rest today.")
    sync_id = await here.start("customer", "charge")
    await here.fetch_all()
    await finish(here)
    await finish(here)
    [fault] = await faults(here)
    assert (fault.resource, fault.code, fault.permission) == ("customer", "stripe_refused", None)
    assert fault.cause == "Stripe refuses to give customers, and says: Customers rest today."
    sync = await here.syncs.get(sync_id)
    assert (sync.status, sync.cause_code) == (Status.FAILED, "stripe_refused")
    assert "Customers rest today." in (sync.cause or "")


async def test_what_was_refused_in_unknown_words_comes_once_it_is_given_again(here: World) -> None:
    await refuse(here, 400, "Customers rest today.")
    await here.start("customer")
    await here.fetch_all()
    await finish(here)
    await refuse(here, 403, "Customers are being looked at.")
    await try_again(here)
    [fault] = await faults(here)
    assert fault.cause.endswith("Customers are being looked at.")
    await here.control("DELETE", "faults")
    await try_again(here)
    assert await faults(here) == ()
    await here.fetch_all()
    await finish(here)
    assert set(here.published_ids()) == here.truth("customer")


async def test_an_account_that_is_no_platform_needs_nobody(here: World) -> None:
    await here.pool.execute("UPDATE connections SET resources = resources || '{connected_account}'")
    await refuse(
        here, 403, "Only Stripe Connect platforms can work with other accounts.", "accounts", "account_invalid"
    )
    sync_id = await here.start("connected_account")
    await here.fetch_all()
    await finish(here)
    assert await faults(here) == ()
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED


async def test_an_object_that_is_refused_is_no_fault_of_its_resource(here: World) -> None:
    customer = min(here.truth("customer"))
    await refuse(here, 400, "This one rests today.", f"customers/{customer}")
    await here.syncs.resync_object(await here.connection(), "customer", customer)
    await here.completion().start_queued()
    await here.fetch_all()
    await finish(here)
    assert await faults(here) == ()
    sync = await newest(here, Kind.MANUAL)
    assert (sync.status, sync.cause) == (Status.FAILED, "customer: This one rests today.")
