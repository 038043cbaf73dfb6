"""When Kafka has been away, what the gateway refused meanwhile is looked for at once."""

from __future__ import annotations

import asyncio

from services.sync_worker.outages import Outages
from shared.catalogue import WEBHOOK_ENDPOINT
from shared.connections import State
from shared.errors import KafkaUnavailableError
from shared.syncs import EVENT_FEED, Kind, Sync
from tests.integration.sync_worker.worlds import CONNECTION, World


class Kafka:
    """Is there or is away."""

    is_away = False

    async def look(self) -> None:
        if self.is_away:
            raise KafkaUnavailableError


def outages(here: World, kafka: Kafka) -> Outages:
    return Outages(here.pool, here.connections, here.syncs, look=kafka.look)


async def gap_fills(here: World) -> list[Sync]:
    return await here.syncs.list_newest(kind=Kind.GAP_FILL)


async def test_kafka_that_was_never_away_leaves_nothing_to_do(here: World) -> None:
    assert not await outages(here, Kafka()).queue_after_outage()
    assert await gap_fills(here) == []


async def test_the_gap_is_filled_once_kafka_is_back(here: World) -> None:
    kafka = Kafka()
    watch = outages(here, kafka)
    kafka.is_away = True
    assert not await watch.queue_after_outage()
    assert await gap_fills(here) == []
    kafka.is_away = False
    assert await watch.queue_after_outage()
    assert not await watch.queue_after_outage()
    [sync] = await gap_fills(here)
    assert (sync.trigger, sync.resources) == ("Kafka was away", (EVENT_FEED,))


async def test_the_endpoint_is_checked_too(here: World) -> None:
    await here.add_endpoint()
    kafka = Kafka()
    watch = outages(here, kafka)
    kafka.is_away = True
    await watch.queue_after_outage()
    kafka.is_away = False
    await watch.queue_after_outage()
    [sync] = await gap_fills(here)
    assert sync.resources == (EVENT_FEED, WEBHOOK_ENDPOINT)


async def test_many_workers_queue_one_gap_fill(here: World) -> None:
    kafka = Kafka()
    watches = [outages(here, kafka) for _ in range(3)]
    kafka.is_away = True
    await asyncio.gather(*(watch.queue_after_outage() for watch in watches))
    kafka.is_away = False
    await asyncio.gather(*(watch.queue_after_outage() for watch in watches))
    assert len(await gap_fills(here)) == 1


async def test_a_connection_that_is_paused_is_left_alone(here: World) -> None:
    await here.connections.set_state(CONNECTION, State.PAUSED)
    kafka = Kafka()
    watch = outages(here, kafka)
    kafka.is_away = True
    await watch.queue_after_outage()
    kafka.is_away = False
    await watch.queue_after_outage()
    assert await gap_fills(here) == []


async def test_questions_that_have_paused_ever_longer_are_asked_when_kafka_is_back(here: World) -> None:
    kafka = Kafka()
    watch = outages(here, kafka)
    for identity, due_at in (("in_paused", "now() + interval '4 minutes'"), ("in_held", "'infinity'")):
        await here.ask("invoice", identity, due_at=due_at)
    await here.pool.execute("UPDATE refetches SET attempts = 12")
    kafka.is_away = True
    await watch.queue_after_outage()
    kafka.is_away = False
    assert await watch.queue_after_outage()
    soon = await here.pool.fetch("SELECT object_id FROM refetches WHERE due_at < now() + interval '10 seconds'")
    assert [row["object_id"] for row in soon] == ["in_paused"]
