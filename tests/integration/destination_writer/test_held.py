"""What is held for a person: never longer than delivery is stopped, whoever comes first."""

from __future__ import annotations

import asyncio

import pytest

from services.connection_api.life.choices import LOCK, UNLINK
from services.connection_api.life.deliveries import GO_ON, KEPT_IS_DUE, Deliveries
from services.destination_writer import breaker
from shared.audit import Actor
from tests.eventually import eventually
from tests.factories import CONNECTION, make_record
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.state import State

BY = Actor("test")
HELD = "SELECT count(*) FROM parked_records WHERE next_try_at = 'infinity'"
IS_WAITED_FOR = "SELECT EXISTS (SELECT FROM pg_locks WHERE $1 = ANY (pg_blocking_pids(pid)))"
RACES = 200


@pytest.fixture
async def office(state: State) -> Office:
    bad, good = await state.add_destination("bad"), await state.add_destination("good")
    await state.add_connection(CONNECTION, bad, good)
    return Office(state, bad, good)


async def stop(office: Office) -> None:
    await breaker.stop(office.state.pool, (office.bad_id, CONNECTION), 21, 100, "no")


async def park(office: Office, name: str) -> None:
    await office.parking.park(office.bad_id, [make_record(name)], reason="Delivery is stopped.")


async def test_what_comes_while_delivery_is_stopped_is_held(office: Office) -> None:
    await park(office, "cus_1")
    assert await office.state.value(HELD) == 0
    await stop(office)
    await park(office, "cus_2")
    assert await office.state.value(HELD) == 1
    await office.make_due()
    assert await office.retry.retry_due() == 0
    assert await office.state.value(HELD) == 2
    assert await office.parking.due() == []


async def test_what_is_parked_while_a_person_lets_it_go_on_is_not_held(office: Office) -> None:
    """Between the end of the stop and the moment at which what was kept is due: whoever parks waits for both."""
    await stop(office)
    async with office.state.pool.acquire() as db, db.transaction():
        pid = await db.fetchval("SELECT pg_backend_pid()")
        await db.execute(GO_ON, CONNECTION)
        parking = asyncio.create_task(park(office, "cus_1"))
        await eventually(lambda: is_waited_for(office, pid))
        await db.execute(KEPT_IS_DUE, CONNECTION, [office.bad_id])
    await parking
    assert await office.state.value(HELD) == 0


async def is_waited_for(office: Office, pid: int) -> bool:
    return bool(await office.state.value(IS_WAITED_FOR, pid))


async def test_whatever_the_race_nothing_is_left_behind(office: Office) -> None:
    for number in range(RACES):
        await stop(office)
        going_on = Deliveries(office.state.pool).resume(CONNECTION, by=BY)
        await asyncio.gather(park(office, f"cus_{number}"), going_on)
    assert (await office.state.value(HELD), len(await office.parked())) == (0, RACES)


async def test_what_was_left_without_its_stop_is_tried_again(office: Office) -> None:
    await park(office, "cus_1")
    await office.state.pool.execute("UPDATE parked_records SET next_try_at = 'infinity'")
    assert await office.parking.due() == [(office.bad_id, CONNECTION)]
    await Deliveries(office.state.pool).resume(CONNECTION, by=BY)  # there is nothing to let go on
    assert await office.retry.retry_due() == 1
    assert await office.parked() == []


async def test_nothing_stops_where_a_choice_has_just_ended_delivery(office: Office) -> None:
    async with office.state.pool.acquire() as db, db.transaction():
        pid = await db.fetchval("SELECT pg_backend_pid()")
        await db.execute(LOCK, CONNECTION)
        await db.execute(UNLINK, CONNECTION, [office.bad_id])
        stopping = asyncio.create_task(stop(office))
        await eventually(lambda: is_waited_for(office, pid))
    await stopping
    assert await office.state.value("SELECT count(*) FROM delivery_stops") == 0
