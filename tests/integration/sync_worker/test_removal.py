"""A removal takes everything of its connection away, and leaves a receipt of counts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from shared.audit import AuditLog
from shared.cleanups import CleanupStore, give_up_cleanups
from shared.connections import State
from shared.crypto import hash_token
from shared.db import transaction
from shared.delays import Work, delays_of_connection
from shared.errors import ConflictError, NotFoundError
from shared.removals import Step
from shared.syncs import Kind
from tests.eventually import eventually
from tests.integration.sync_worker.belongings import (
    CANARY,
    LETTERS,
    OUTLIVING,
    ask,
    counts,
    endpoints,
    endpoints_at_stripe,
    fill,
    free,
    notes,
    numbers,
    of,
    places_of,
    receipt,
)
from tests.integration.sync_worker.worlds import CONNECTION, World


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


async def test_a_message_about_several_connections_is_about_one_less(here: World) -> None:
    await fill(here)
    sql = """
    INSERT INTO alarm_messages (id, channel_id, connection_ids, event, sentence)
    SELECT 'msg_both', id, ARRAY[$1, 'con_other'], 'recovered', 'x' FROM alarm_channels LIMIT 1
    """
    await here.pool.execute(sql, CONNECTION)
    await ask(here)
    await here.removing().carry_out_one()
    [kept] = await here.pool.fetch("SELECT id, connection_ids FROM alarm_messages")
    assert (kept["id"], kept["connection_ids"]) == ("msg_both", ["con_other"])


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
    [entry, created] = await AuditLog(here.pool).list_newest(subject=CONNECTION)
    assert created.action == "connection.created"
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
    [delay] = [one for one in await delays_of_connection(here.pool, CONNECTION) if one.work is Work.REMOVAL]
    assert (delay.work_id, delay.code) == (waiting.id, "stripe_unavailable")
    await here.control("DELETE", "faults")
    await free(here)
    await here.removing(patience=120).carry_out_one()
    assert (await receipt(here)).is_done
    assert await endpoints_at_stripe(here) == []
    assert await delays_of_connection(here.pool, CONNECTION) == []


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


async def test_an_endpoint_that_is_made_meanwhile_is_taken_back(here: World) -> None:
    """Whoever makes it may have begun before the removal was asked for."""
    connection = await here.connection()
    key = await here.connections.stored_key(CONNECTION)
    await ask(here)
    with pytest.raises(ConflictError, match="is being removed"):
        await endpoints(here).ensure(connection, here.clients.single(connection, key), ["customer.updated"])
    assert await endpoints_at_stripe(here) == []
    await here.removing().carry_out_one()
    assert counts(await receipt(here))[Step.KEY]["webhook_secrets"] == 0


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
    await cleanups.postpone(cleanup.id, seconds=0, code="away", cause="The destination does not answer.")
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
    done = await receipt(here)
    assert (counts(done)[Step.ROWS], notes(done)) == ({"customers": 7, "charges": 2}, [])
    assert await here.pool.fetchval("SELECT count(*) FROM delays") == 0


async def test_rows_that_were_given_up_are_noted_and_their_destination_can_be_forgotten(here: World) -> None:
    await ask(here, deletes_rows=True)
    await here.removing().carry_out_one()
    [cleanup] = await CleanupStore(here.pool).of_connection(CONNECTION)
    await CleanupStore(here.pool).postpone(cleanup.id, seconds=60, code="away", cause="It is away.")
    async with transaction(here.pool) as db:
        assert await give_up_cleanups(db, CONNECTION) == [cleanup.destination_id]
    await free(here)
    await here.removing().carry_out_one()
    done = await receipt(here)
    assert done.is_done
    assert notes(done) == [
        f"A person gave up taking rows out of {cleanup.destination_id}, so they were left there.",
    ]
    await here.pool.execute("DELETE FROM destinations WHERE id = $1", cleanup.destination_id)


async def test_receipt_says_until_when_kafka_holds_records(here: World) -> None:
    await ask(here)
    assert (await receipt(here)).leftovers == ()
    await here.removing().carry_out_one()
    done = await receipt(here)
    assert done.finished_at
    held = {one.topic: one.until - done.finished_at for one in done.leftovers}
    assert held == {
        "events": timedelta(days=8, hours=1),
        "snapshots": timedelta(days=3, hours=1),
        "commands": timedelta(days=8, hours=1),
        "dead-letters": timedelta(days=8, hours=1),
    }


async def test_answers_that_name_the_connection_go_with_it(here: World) -> None:
    sql = """
    INSERT INTO idempotency_keys (caller, key, request_hash, status, answer, names) VALUES ('me', $1, '', 200, '', $2)
    """
    for key, names in (("a", [CONNECTION]), ("b", [here.simulation.platform.account_id]), ("c", ["con_other"])):
        await here.pool.execute(sql, key, names)
    await ask(here)
    await here.removing().carry_out_one()
    assert counts(await receipt(here))[Step.HISTORY]["kept_answers"] == 2
    assert [row["key"] for row in await here.pool.fetch("SELECT key FROM idempotency_keys")] == ["c"]


@pytest.mark.parametrize("state", ["setting_up", "paused", "action_required"])
async def test_every_connection_can_be_removed(here: World, state: str) -> None:
    for step in ("action_required", state) if state == "setting_up" else (state,):
        await here.pool.execute("UPDATE connections SET state = $1", step)
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
