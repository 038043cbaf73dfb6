"""Builds the writer: destinations, consumers of three topics, the loops over what is parked, has to go or is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web
from pydantic import SecretStr

from services.destination_writer.breaker import Breaker
from services.destination_writer.cleaning import Cleaning
from services.destination_writer.destinations import Destination
from services.destination_writer.destinations.postgres import PostgresDestination
from services.destination_writer.dispatch import Dispatch
from services.destination_writer.graveyard import Graveyard
from services.destination_writer.handlers import Handlers
from services.destination_writer.ledger import Ledger
from services.destination_writer.outlets import Outlets
from services.destination_writer.parking import Parking
from services.destination_writer.records import Record
from services.destination_writer.replaying import Replaying
from services.destination_writer.retry import Retry
from services.destination_writer.routing import Routes
from services.destination_writer.searching import Searching
from services.destination_writer.second_look import SecondLook
from services.destination_writer.settings import WriterSettings
from shared.background import open_state, run_beside, until_available
from shared.cleanups import CleanupStore
from shared.consumers import consuming, make_broker, publish_dead_letter, subscribe
from shared.db import Pool, is_ready
from shared.dead_letters import DeadLetter, describe
from shared.destinations import Destination as DestinationRow
from shared.destinations import DestinationStore
from shared.http import make_app, serve
from shared.kafka import Producer, cluster_id, ensure_topics
from shared.log import configure
from shared.messages import RecordHeaders
from shared.settings import load
from shared.topics import DEAD_LETTERS, EVENTS, SNAPSHOTS, record_key


def open_destination(row: DestinationRow, password: SecretStr) -> Destination:
    """Open the destination that a row of the state database describes."""
    return PostgresDestination(row.address, password)


class Writer:
    """What runs beside the probes: the consumers, the retry of parked records, the cleanups and the searches."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._is_consuming = False

    async def run(self) -> None:
        """Consume until cancelled; wait for Postgres and Kafka as long as it takes."""
        settings = self._settings
        producer = Producer(settings)
        async with open_state(settings) as pool:
            self._pool = pool
            await until_available("kafka", lambda: ensure_topics(settings))
            cluster = await until_available("kafka", lambda: cluster_id(settings))
            outlets = Outlets(DestinationStore(pool, settings.key_ring), open_destination)
            try:
                await self._consume(pool, producer, outlets, Ledger(pool, cluster))
            finally:
                await outlets.close()
                await producer.stop()

    async def _consume(self, pool: Pool, producer: Producer, outlets: Outlets, ledger: Ledger) -> None:
        settings = self._settings
        routes, parking, graveyard = Routes(pool), Parking(pool), Graveyard(pool)
        dispatch = Dispatch(routes, outlets, parking, Rejections(producer).publish, breaker=Breaker(pool))
        handlers = Handlers(
            dispatch, ledger, graveyard, producer, event_deadline_seconds=settings.write_deadline_seconds
        )
        # A broker for each topic: their consumers keep their own pace, and a backfill never delays a live event.
        async with asyncio.TaskGroup() as tasks:
            for topic, handle in (
                (EVENTS, handlers.deliver_events),
                (SNAPSHOTS, handlers.deliver_snapshots),
                (DEAD_LETTERS, handlers.keep_dead_letters),
            ):
                broker = make_broker(settings)
                subscribe(broker, settings, topic, handle, producer=producer)
                tasks.create_task(consuming(broker))
            tasks.create_task(outlets.run())
            tasks.create_task(graveyard.run())
            tasks.create_task(Replaying(pool, producer, settings.topic_prefix).run())
            tasks.create_task(Retry(parking, routes, dispatch, ledger).run())
            tasks.create_task(Cleaning(CleanupStore(pool), routes, outlets, parking).run())
            tasks.create_task(Searching(pool, routes, outlets).run())
            tasks.create_task(SecondLook(pool, routes, outlets).run())
            self._is_consuming = True

    async def is_database_ready(self) -> bool:
        """Tell whether the state database answers."""
        return self._pool is not None and await is_ready(self._pool)

    async def is_consuming(self) -> bool:
        """Tell whether the consumers run."""
        return self._is_consuming


class Rejections:
    """Turns a record that a destination refused into a dead letter that can be replayed as a snapshot."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def publish(self, record: Record, destination_id: str, error: Exception) -> None:
        """Publish the dead letter; raise `KafkaUnavailableError`."""
        code, reason = describe(error)
        headers = RecordHeaders(
            record.connection_id, record.resource.name, record.stamp, record.origin, is_deleted=record.is_deleted
        )
        letter = DeadLetter(
            stage="write",
            code=code,
            reason=reason,
            body=record.body,
            connection_id=record.connection_id,
            destination_id=destination_id,
            source_topic=record.position.topic,
            source_partition=record.position.partition,
            source_offset=record.position.offset,
            key=record_key(record.connection_id, record.object_id),
            headers=(*headers.encode(), *([record.replay.encode()] if record.replay else [])),
        )
        await publish_dead_letter(self._producer, letter, cause=error)


def create_app(settings: WriterSettings) -> web.Application:
    """Return the service's app."""
    writer = Writer(settings)
    app = make_app(ready={"database": writer.is_database_ready, "kafka": writer.is_consuming})
    run_beside(app, writer.run)
    return app


async def main(environ: Mapping[str, str]) -> None:
    """Run the service until it is told to stop."""
    settings = load(WriterSettings, environ)
    configure(service="destination_writer", level=settings.log_level, form=settings.log_format)
    await serve(create_app(settings), settings)
