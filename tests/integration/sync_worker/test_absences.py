"""Stripe is asked about each row that a comparison's list did not show; a writer then compares with the answer."""

from __future__ import annotations

from typing import Any

from services.sync_worker.absences import Absences
from services.sync_worker.retrying import forget_ended
from shared.delays import delays_of_sync
from shared.syncs import Kind
from tests.integration.sync_worker.worlds import CONNECTION, World

ABSENT = """
INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, status, kind)
SELECT $1, $2, id, $3, $4, 'absent', 'extra' FROM destinations LIMIT 1
"""


async def missed(here: World, resource: str, object_id: str) -> Absences:
    sync_id = await here.syncs.create(CONNECTION, Kind.VERIFY, trigger="test", resources=[resource])
    await here.pool.execute(ABSENT, sync_id, CONNECTION, resource, object_id)
    return Absences(here.pool, here.connections, here.clients, here.objects)


async def found(here: World) -> list[tuple[Any, ...]]:
    rows = await here.pool.fetch("SELECT status, is_deleted, stamp > 0 AS has_stamp, body FROM differences")
    return [(row["status"], row["is_deleted"], row["has_stamp"]) for row in rows]


async def test_what_stripe_does_not_have_is_suspected_to_be_extra(here: World) -> None:
    absences = await missed(here, "charge", "ch_gone")
    assert await absences.ask_due() == 1
    assert await found(here) == [("suspected", True, True)]
    assert await here.pool.fetchval("SELECT due_at > now() + interval '5 seconds' FROM differences")
    assert await here.pool.fetchval("SELECT stripe_calls FROM syncs") == 1


async def test_what_is_there_and_not_listed_is_compared_as_it_is(here: World) -> None:
    absences = await missed(here, "charge", min(here.truth("charge")))
    await absences.ask_due()
    assert await found(here) == [("suspected", False, True)]
    assert here.producer.published == []


async def test_what_stripe_does_not_tell_is_no_difference(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_charge_read"]})
    absences = await missed(here, "charge", "ch_gone")
    await absences.ask_due()
    assert await found(here) == []


async def test_a_paused_connection_is_not_asked_about(here: World) -> None:
    absences = await missed(here, "charge", "ch_gone")
    await here.pool.execute("UPDATE connections SET state = 'paused'")
    assert await absences.ask_due() == 0
    assert await found(here) == [("absent", False, False)]


async def test_questions_that_stripe_does_not_answer_now_are_told_on_their_sync_until_it_does(here: World) -> None:
    absences = await missed(here, "charge", "ch_gone")
    [sync] = await here.syncs.list_newest()
    await here.control("POST", "faults", {"http_500": 1.0})
    await absences.ask_due()
    await forget_ended(here.pool)
    [delay] = await delays_of_sync(here.pool, sync.id)
    assert (delay.code, delay.connection_id) == ("stripe_unavailable", CONNECTION)
    await here.control("DELETE", "faults")
    await here.pool.execute("UPDATE differences SET due_at = now()")
    await absences.ask_due()
    assert await delays_of_sync(here.pool, sync.id) == []
