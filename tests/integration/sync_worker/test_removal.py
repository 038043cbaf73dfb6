"""A removal takes everything of its connection away, whatever interrupts it, and leaves a receipt of counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast

import pytest

from shared.audit import AuditLog
from shared.cleanups import CleanupStore, request_cleanup
from shared.connections import State
from shared.crypto import hash_token
from shared.db import transaction
from shared.errors import NotFoundError
from shared.removals import Removal, RemovalStore, Step
from shared.syncs import Kind
from shared.webhook_endpoints import WebhookEndpoints
from tests.eventually import eventually
from tests.integration.sync_worker.worlds import CONNECTION, PUBLIC_URL, World

T = TypeVar("T")
CANARY = "canary-nobody-else-says-this"
LETTERS = """
INSERT INTO dead_letters (stage, code, reason, connection_id, topic, partition, record_offset, key, headers, body)
SELECT 'write', 'bug', $2, $1, 't', 0, n, $2, jsonb_build_object('h', $2::text), convert_to($2, 'UTF8')
FROM generate_series(1, 5) n
"""
FILL = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
SELECT $1, 'evt_' || n, 'customer.updated', 'customer', 'cus_' || $2, n, 'updated' FROM generate_series(1, 7) n;
INSERT INTO parked_records (destination_id, connection_id, resource, object_id, stamp, body, origin, is_deleted, topic,
                            partition, record_offset, reason, next_try_at)
SELECT d.destination_id, $1, 'customer', $2, 1, convert_to($2, 'UTF8'), 'event', false, 't', 0, 0, $2, now()
FROM connection_destinations d WHERE d.connection_id = $1;
INSERT INTO refetches (connection_id, resource, object_id, reason, due_at)
VALUES ($1, 'customer', $2, 'tie', now() + interval '1 day');
INSERT INTO list_tails VALUES ($1, 'customer', 1) ON CONFLICT DO NOTHING;
INSERT INTO resource_faults (connection_id, resource, code, cause, next_try_at)
VALUES ($1, 'customer', 'missing_permissions', $2, now());
INSERT INTO delivery_hours (connection_id, destination_id, resource, hour)
SELECT $1, 'dst', 'customer', h FROM generate_series(now(), now() + interval '2 hours', '1 hour') h;
INSERT INTO setups SELECT 'set_' || $1, '{}', convert_to($2, 'UTF8'), $2, account_id, account_name, livemode,
    jsonb_build_object('name', $2::text), now(), now() + interval '1 day' FROM connections WHERE id = $1;
INSERT INTO leases VALUES ('poll:' || $1, 'worker', now() + interval '1 minute');
UPDATE connections SET account_name = $2, key_hint = $2, cause = $2,
    omitted_fields = jsonb_build_object('customer', jsonb_build_array($2::text)) WHERE id = $1;
"""
ASK = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows)
SELECT $1, id, account_id, livemode, $3 FROM connections WHERE id = $2
"""
COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'tillstream' AND data_type IN ('text', 'jsonb', 'bytea', 'ARRAY')
"""
# In these worlds a destination is called like its connection.
OUTLIVING = {"removals", "audit_log", "destinations"}


async def fill(here: World) -> None:
    """Give the connection something of everything."""
    connection = await here.connection()
    async with here.clients.calling(connection) as api:
        await endpoints(here).ensure(connection, api, ["customer.updated"])
    await here.start("customer", "charge")
    await here.fetch_all()
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    await here.syncs.create(CONNECTION, Kind.LIVE, trigger=CANARY, resources=["customer"])
    await here.pool.execute(of(FILL, CONNECTION))
    await here.pool.execute(of(LETTERS, CONNECTION))


def of(sql: str, connection_id: str) -> str:
    """Return statements about this connection, with a canary wherever something of it is told."""
    return sql.replace("$1", f"'{connection_id}'").replace("$2", f"'{CANARY}'")


def endpoints(here: World) -> WebhookEndpoints:
    return WebhookEndpoints(here.pool, here.settings.key_ring, public_url=PUBLIC_URL)


async def ask(here: World, connection_id: str = CONNECTION, *, deletes_rows: bool = False) -> None:
    """Ask for the removal as the API does."""
    connection = await here.connections.get(connection_id)
    async with transaction(here.pool) as db:
        await db.execute("UPDATE connections SET state = 'removing', cause = NULL WHERE id = $1", connection_id)
        await db.execute(ASK, f"rem_{connection_id}", connection_id, deletes_rows)
        for destination_id in connection.destination_ids if deletes_rows else ():
            account = (connection.account_id, connection.livemode)
            await request_cleanup(db, connection_id, destination_id, account, resources=["customer"])


async def receipt(here: World, connection_id: str = CONNECTION) -> Removal:
    return await RemovalStore(here.pool).of_connection(connection_id)


def counts(removal: Removal) -> Mapping[Step, Mapping[str, int]]:
    return {step.name: step.counts for step in removal.steps}


def notes(removal: Removal) -> list[str]:
    return [step.note for step in removal.steps if step.note]


async def endpoints_at_stripe(here: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await here.control("GET", "state"))["webhook_endpoints"]
    return found


async def places_of(here: World, *needles: str) -> set[str]:
    """Return every column of every table that holds one of `needles`."""
    found = set()
    for row in await here.pool.fetch(COLUMNS):
        table, column, kind = row["table_name"], row["column_name"], row["data_type"]
        text = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
        for needle in needles:
            sql = f"SELECT EXISTS (SELECT FROM {table} WHERE position($1 IN {text}) > 0)"
            if await here.pool.fetchval(sql, needle):
                found.add(f"{table}.{column}")
    return found


async def numbers(here: World) -> dict[str, int]:
    """Return how many rows of each kind there are, as the receipt names them."""
    tables = (
        "event_log", "dead_letters", "parked_records", "refetches", "delivery_hours", "syncs", "slices", "list_tails",
        "resource_faults", "cleanups", "leases", "connections",
    )  # fmt: skip
    return {table: int(await here.pool.fetchval(f"SELECT count(*) FROM {table}")) for table in tables}


async def test_nothing_of_the_connection_is_found_afterwards(here: World) -> None:
    await fill(here)
    needles = (CANARY, CONNECTION, here.simulation.platform.account_id, min(here.truth("customer")), await here.key())
    assert len(await places_of(here, *needles)) > 25
    await ask(here)
    await here.removing().carry_out_one()
    assert {place.partition(".")[0] for place in await places_of(here, *needles)} == OUTLIVING
    assert await places_of(here, CANARY, min(here.truth("customer")), await here.key()) == set()
    with pytest.raises(NotFoundError):
        await here.connection()


async def test_the_receipt_counts_what_was_deleted(here: World) -> None:
    await fill(here)
    before = await numbers(here)
    await ask(here)
    await here.removing().carry_out_one()
    done = await receipt(here)
    assert done.is_done
    assert done.finished_at is not None
    assert (done.cause, notes(done)) == (None, [])
    assert [step.name for step in done.steps] == list(Step)
    assert counts(done) == {
        Step.ENDPOINT: {"webhook_endpoints": 1},
        Step.KEY: {"keys": 1, "webhook_secrets": 1, "setups": 1},
        Step.ROWS: {},
        Step.HISTORY: before,
    }


async def test_the_audit_log_keeps_counts_and_the_hash_of_the_account(here: World) -> None:
    await fill(here)
    await ask(here)
    await here.removing().carry_out_one()
    [entry] = await AuditLog(here.pool).list_newest(subject=CONNECTION)
    assert (entry.actor, entry.action) == ("sync_worker", "connection.removed")
    assert entry.details["account"] == hash_token(here.simulation.platform.account_id).hex()
    assert entry.details["counts"]["history"]["event_log"] == 7
    assert (await AuditLog(here.pool).verify()).broken_at is None


async def test_another_connection_keeps_everything(here: World) -> None:
    await fill(here)
    await here.add_connection("con_2")
    await here.syncs.create("con_2", Kind.MANUAL, trigger="test", resources=["charge"])
    await here.pool.execute("INSERT INTO leases VALUES ('poll:con_2', 'worker', now())")
    await here.pool.execute("INSERT INTO list_tails VALUES ('con_2', 'customer', 1)")
    before = await numbers(here)
    await ask(here)
    await here.removing().carry_out_one()
    left = {name: number for name, number in (await numbers(here)).items() if number}
    assert left == {"connections": 1, "syncs": 1, "leases": 1, "list_tails": 1}
    removed = counts(await receipt(here))[Step.HISTORY]
    assert all(before[name] - removed[name] == left.get(name, 0) for name in before)
    assert (await here.connections.get("con_2")).state is State.ACTIVE


async def test_our_endpoint_is_deleted_at_stripe_and_no_other(here: World) -> None:
    await fill(here)
    async with here.session.post(
        f"{here.base}/v1/webhook_endpoints",
        data={"url": "https://example.com/theirs", "enabled_events[]": "*"},
        headers={"Authorization": f"Bearer {await here.key()}"},
    ) as answer:
        assert answer.status == 200
    await ask(here)
    await here.removing().carry_out_one()
    assert [one["url"] for one in await endpoints_at_stripe(here)] == ["https://example.com/theirs"]


async def endpoint_id(here: World) -> str:
    return str(await here.pool.fetchval("SELECT stripe_id FROM webhook_endpoints"))


async def test_a_dead_key_is_told_of_and_stops_nothing(here: World) -> None:
    await fill(here)
    ours = await endpoint_id(here)
    await here.control("POST", f"keys/{await here.key()}/expire")
    before = len(await here.calls())
    await ask(here)
    await here.removing().carry_out_one()
    done = await receipt(here)
    assert done.is_done
    [note] = notes(done)
    assert note.startswith("Stripe does not accept the key any more")
    assert ours in note
    assert "Developers, Webhooks" in note
    assert counts(done)[Step.ENDPOINT] == {"webhook_endpoints": 0}
    assert len(await here.calls()) - before == 1


async def test_a_key_that_may_not_write_endpoints_is_told_of(here: World) -> None:
    await fill(here)
    key = await here.key()
    await here.control("POST", f"keys/{key}/revoke", {"permissions": ["rak_webhook_write", "rak_webhook_read"]})
    await ask(here)
    await here.removing().carry_out_one()
    [note] = notes(await receipt(here))
    assert note.startswith("The key lacks Write on Webhook Endpoints")


async def test_a_key_that_is_destroyed_already_is_told_of(here: World) -> None:
    await fill(here)
    await here.pool.execute("UPDATE connections SET api_key = NULL")
    await ask(here)
    await here.removing().carry_out_one()
    [note] = notes(await receipt(here))
    assert note.startswith("There is no key any more")


async def test_stripe_is_waited_for_while_it_is_away(here: World) -> None:
    await fill(here)
    await ask(here)
    await here.control("POST", "faults", {"http_503": 1.0})
    await here.removing(patience=120).carry_out_one()
    waiting = await receipt(here)
    assert (waiting.is_done, waiting.steps) == (False, ())
    assert "Stripe does not answer" in (waiting.cause or "")
    await here.control("DELETE", "faults")
    await free(here)
    await here.removing(patience=120).carry_out_one()
    assert (await receipt(here)).is_done
    assert await endpoints_at_stripe(here) == []


async def test_stripe_is_not_waited_for_for_ever(here: World) -> None:
    await fill(here)
    await ask(here)
    await here.control("POST", "faults", {"http_503": 1.0})
    await here.removing(patience=0).carry_out_one()
    [note] = notes(await receipt(here))
    assert note.startswith("Stripe did not answer for two minutes")


async def test_a_connection_without_an_endpoint_needs_no_call(here: World) -> None:
    before = len(await here.calls())
    await ask(here)
    await here.removing().carry_out_one()
    assert counts(await receipt(here))[Step.ENDPOINT] == {"webhook_endpoints": 0}
    assert len(await here.calls()) == before


async def test_a_set_up_that_is_under_way_ends_first(here: World) -> None:
    """Its endpoint may be made at this moment."""
    await here.pool.execute("INSERT INTO leases VALUES ('set-up:con_1', 'api', now() + interval '1 minute')")
    await ask(here)
    await here.removing().carry_out_one()
    assert (await receipt(here)).cause == "The set-up that is under way ends first."
    await here.pool.execute("UPDATE leases SET until = now()")
    await free(here)
    await here.removing().carry_out_one()
    assert (await receipt(here)).is_done


async def test_writers_that_have_begun_end_first(here: World) -> None:
    await ask(here)
    await here.removing(settled_after=timedelta(seconds=15)).carry_out_one()
    waiting = await receipt(here)
    assert [step.name for step in waiting.steps] == [Step.ENDPOINT, Step.KEY, Step.ROWS]
    assert waiting.cause == "The writers finish what they have begun."


async def test_rows_are_waited_for_and_counted(here: World) -> None:
    await fill(here)
    await ask(here, deletes_rows=True)
    await here.removing().carry_out_one()
    waiting = await receipt(here)
    assert [step.name for step in waiting.steps] == [Step.ENDPOINT, Step.KEY]
    assert waiting.cause == "Rows are being taken out of one destination."
    cleanups = CleanupStore(here.pool)
    [cleanup] = await cleanups.of_connection(CONNECTION)
    await cleanups.postpone(cleanup.id, seconds=0, cause="The destination does not answer.")
    await free(here)
    await here.removing().carry_out_one()
    assert (await receipt(here)).cause == (
        "Rows are being taken out of one destination. The destination does not answer."
    )
    await cleanups.note(cleanup.id, {"customers": 4, "charges": 2})
    await cleanups.note(cleanup.id, {"customers": 3})
    await cleanups.finish(cleanup.id)
    await free(here)
    await here.removing().carry_out_one()
    assert counts(await receipt(here))[Step.ROWS] == {"customers": 7, "charges": 2}


@pytest.mark.parametrize("state", ["setting_up", "paused", "action_required"])
async def test_every_connection_can_be_removed(here: World, state: str) -> None:
    await here.pool.execute("UPDATE connections SET state = $1", state)
    await ask(here)
    await here.removing().carry_out_one()
    assert (await receipt(here)).is_done


async def test_what_comes_late_is_swept_away(here: World) -> None:
    await ask(here)
    await here.removing().carry_out_one()
    await here.pool.execute(of(LETTERS, CONNECTION))
    sweeping = asyncio.create_task(here.removing().run())
    try:
        await eventually(lambda: is_swept(here))
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


async def is_swept(here: World) -> bool:
    return not await places_of(here, CANARY)


async def test_a_page_that_is_being_fetched_leaves_nothing_behind(here: World) -> None:
    await here.start("customer")
    publish = here.producer.publish_all

    async def remove_meanwhile(*what: object) -> object:
        here.producer.publish_all = publish  # type: ignore[method-assign]
        await ask(here)
        await here.removing().carry_out_one()
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = remove_meanwhile  # type: ignore[method-assign, assignment]
    assert await here.backfill().fetch_one()
    assert {place.partition(".")[0] for place in await places_of(here, CONNECTION)} == OUTLIVING


async def test_a_poll_and_a_question_under_way_leave_nothing_behind(here: World) -> None:
    await here.control("POST", "scenarios/update_customer")
    await here.ask("charge", min(here.truth("charge")))
    publish, asked = here.producer.publish_all, asyncio.Event()

    async def remove_meanwhile(*what: object) -> object:
        if not asked.is_set():
            asked.set()
            await ask(here)
            await here.removing().carry_out_one()
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = remove_meanwhile  # type: ignore[method-assign, assignment]
    await asyncio.gather(here.polling().poll_due(), here.refetch().answer_due())
    assert {place.partition(".")[0] for place in await places_of(here, CONNECTION)} == OUTLIVING


class CutOff(Awaitable[T]):
    """Runs a coroutine and cancels it the `after`-th time that it waits for something."""

    def __init__(self, work: Awaitable[T], after: int) -> None:
        self.work, self.after, self.waits = work, after, 0

    def __await__(self) -> Generator[Any, Any, T]:
        running, failure = self.work.__await__(), None
        while True:
            try:
                awaited = running.throw(failure) if failure else running.send(None)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.waits += 1
            if self.waits == self.after:
                cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            failure = None
            try:
                yield awaited
            except BaseException as error:
                failure = error


async def free(here: World) -> None:
    await here.pool.execute("UPDATE removals SET lease_until = NULL")


async def cut_off(here: World, after: int) -> bool:
    """Carry a removal out until it waits for the `after`-th time; tell whether it came to its end before."""

    async def run() -> None:
        await CutOff(here.removing().carry_out_one(), after)

    task = asyncio.create_task(run())
    await asyncio.gather(task, return_exceptions=True)
    await free(here)
    return not task.cancelled()


SLICES = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources)
SELECT 'syn_' || $1 || n, $1, 'manual', $2, 'succeeded', '{}' FROM generate_series(1, 3) n;
INSERT INTO slices (sync_id, connection_id, resource) SELECT id, $1, 'customer' FROM syncs WHERE connection_id = $1;
"""
COUNTED = {"event_log": 7, "dead_letters": 5, "syncs": 3, "slices": 3, "delivery_hours": 3, "connections": 1}


async def test_a_removal_that_is_cut_off_at_any_wait_goes_on_and_counts_right(here: World) -> None:
    """One connection for each moment: cut off there, taken up again, and the same in the end."""
    cuts = 0
    for after in range(1, 500):
        connection_id = f"con_cut_{after}"
        await here.add_connection(connection_id)
        connection = await here.connections.get(connection_id)
        async with here.clients.calling(connection) as api:
            await endpoints(here).ensure(connection, api, ["customer.updated"])
        for sql in (FILL, LETTERS, SLICES):
            await here.pool.execute(of(sql, connection_id))
        await ask(here, connection_id)
        has_ended = await cut_off(here, after)
        await here.removing().carry_out_one()
        done = await receipt(here, connection_id)
        assert done.is_done, after
        assert notes(done) == [], after
        found = counts(done)
        assert found[Step.ENDPOINT] == {"webhook_endpoints": 1}, after
        assert found[Step.KEY] == {"keys": 1, "webhook_secrets": 1, "setups": 1}, after
        assert COUNTED.items() <= found[Step.HISTORY].items(), after
        assert len(await AuditLog(here.pool).list_newest(subject=connection_id)) == 1, after
        if has_ended:
            break
        cuts += 1
    assert cuts > 50
    assert await endpoints_at_stripe(here) == []
    assert await places_of(here, CANARY) == set()


async def test_two_workers_at_the_same_removal_count_once(here: World) -> None:
    """One that slept past its lease goes on beside the one that took over."""
    await fill(here)
    before = await numbers(here)
    await ask(here)
    first = asyncio.create_task(here.removing().carry_out_one())
    await eventually(lambda: is_lent(here))
    await free(here)
    await asyncio.gather(first, here.removing().carry_out_one())
    done = await receipt(here)
    assert counts(done)[Step.HISTORY] == before
    assert [step.name for step in done.steps] == list(Step)
    assert len(await AuditLog(here.pool).list_newest(subject=CONNECTION)) == 1


async def is_lent(here: World) -> bool:
    return bool(await here.pool.fetchval("SELECT lease_until IS NOT NULL FROM removals"))
