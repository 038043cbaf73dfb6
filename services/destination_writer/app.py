"""Builds the writer: destinations, consumers of three topics, the loops over what is parked, has to go or is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress

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
from services.destination_writer.troubles import Troubles
from shared.background import lasting, open_state, run_beside, until_available
from shared.broker_log import Log, find_log
from shared.cleanups import CleanupStore
from shared.consumers import Membership, Rejection, consuming, make_broker, publish_dead_letter, subscribe
from shared.db import Pool, is_ready
from shared.dead_letters import DeadLetter, describe
from shared.destinations import DeletedRows, DestinationStore
from shared.destinations import Destination as DestinationRow
from shared.errors import TransientError
from shared.http import make_app, serve
from shared.installation import installation_id
from shared.kafka import Cluster, Producer, ensure_topics
from shared.log import configure, get_logger
from shared.messages import RecordHeaders
from shared.networks import ANYWHERE, Networks
from shared.postgres_mark import Claimant
from shared.settings import load
from shared.topics import DEAD_LETTERS, EVENTS, SNAPSHOTS, record_key

LOOK_INTERVAL = 2.0  # seconds between two looks at which log the broker keeps


def open_as(
    installation_id: str, store: DestinationStore, networks: Networks = ANYWHERE
) -> Callable[[DestinationRow, SecretStr], Destination]:
    """Return what opens the destination that a row of the state database describes, as this installation's."""

    def open_destination(row: DestinationRow, password: SecretStr) -> Destination:
        return PostgresDestination(
            row.address,
            password,
            removes_deleted=row.deleted_rows is DeletedRows.REMOVED,
            networks=networks,
            claimant=Claimant(installation_id, row.id, store),
        )

    return open_destination


class Writer:
    """What runs beside the probes: the consumers, the retry of parked records, the cleanups and the searches."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._cluster = Cluster(settings)
        self._memberships: list[Membership] = []

    async def run(self) -> None:
        """Consume until cancelled; wait for Postgres and Kafka as long as it takes."""
        settings = self._settings
        producer = Producer(settings)
        async with open_state(settings) as pool, aclosing(self._cluster):
            self._pool = pool
            await until_available("kafka", lambda: ensure_topics(settings))
            log = await until_available("kafka", lambda: self._find_log(pool))
            own_id = await until_available("database", lambda: installation_id(pool))
            store = DestinationStore(pool, settings.key_ring)
            outlets = Outlets(store, open_as(own_id, store, settings.networks), Troubles(pool))
            try:
                await self._work(pool, producer, outlets, log)
            finally:
                await outlets.close()
                await producer.stop()

    async def _work(self, pool: Pool, producer: Producer, outlets: Outlets, log: Log) -> None:
        settings = self._settings
        routes, parking, graveyard = Routes(pool), Parking(pool, cap=settings.parked_records_cap), Graveyard(pool)
        dispatch = Dispatch(routes, outlets, parking, Rejections(producer).publish, breaker=Breaker(pool))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lasting("destinations", outlets.run))
            tasks.create_task(lasting("dead letters", graveyard.run))
            tasks.create_task(lasting("replays", Replaying(pool, producer, settings.topic_prefix).run))
            tasks.create_task(lasting("retry", Retry(parking, routes, dispatch, Ledger(pool, log.id)).run))
            tasks.create_task(lasting("cleaning", Cleaning(CleanupStore(pool), routes, outlets, parking, pool).run))
            tasks.create_task(lasting("searches", Searching(pool, routes, outlets).run))
            tasks.create_task(lasting("second look", SecondLook(pool, routes, outlets).run))
            while True:
                log = await self._consume(pool, producer, dispatch, graveyard, log)

    async def _consume(self, pool: Pool, producer: Producer, dispatch: Dispatch, graveyard: Graveyard, log: Log) -> Log:
        """Consume while the broker keeps this log; return the next one.

        With the log the consumers end, and what they had read ahead: its offsets must not count as of the next log.
        """
        settings = self._settings
        rejections = {topic: Rejection(producer, topic) for topic in (EVENTS, SNAPSHOTS, DEAD_LETTERS)}
        handlers = Handlers(
            dispatch,
            Ledger(pool, log.id),
            graveyard,
            events=rejections[EVENTS],
            snapshots=rejections[SNAPSHOTS],
            event_deadline_seconds=settings.write_deadline_seconds,
            keys=settings.key_ring,
        )
        # A broker for each topic: their consumers keep their own pace, and a backfill never delays a live event.
        consumers, self._memberships = [], []
        async with asyncio.TaskGroup() as tasks:
            for topic, handle in (
                (EVENTS, handlers.deliver_events),
                (SNAPSHOTS, handlers.deliver_snapshots),
                (DEAD_LETTERS, handlers.keep_dead_letters),
            ):
                broker = make_broker(settings)
                # Dead letters are kept once each, so they are not read again with the rest.
                life = 1 if topic is DEAD_LETTERS else log.life
                membership = subscribe(broker, settings, handle, rejection=rejections[topic], life=life)
                self._memberships.append(membership)
                consumers.append(tasks.create_task(consuming(broker)))
            following = await self._next_log(pool, log)
            for consumer in consumers:
                consumer.cancel()
        return following

    async def _next_log(self, pool: Pool, log: Log) -> Log:
        """Wait until the broker keeps another log than this one; the sync worker says so when records are lost."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            with suppress(TransientError):
                found = await self._find_log(pool)
                if found != log:
                    get_logger().warning("broker_log_changed", log=found.id)
                    return found

    async def _find_log(self, pool: Pool) -> Log:
        return await find_log(pool, await self._cluster.id())

    async def is_database_ready(self) -> bool:
        """Tell whether the state database answers."""
        return self._pool is not None and await is_ready(self._pool)

    async def is_consuming(self) -> bool:
        """Tell whether every consumer has joined its group and Kafka answers; raise `KafkaUnavailableError`."""
        has_joined = self._memberships and all(member.is_joined for member in self._memberships)
        return bool(has_joined) and await self._cluster.answers()


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
    ready = {"database": writer.is_database_ready, "kafka": writer.is_consuming}
    app = make_app(ready=ready, probe_port=settings.probe_port)
    run_beside(app, writer.run)
    return app


async def main(environ: Mapping[str, str]) -> None:
    """Run the service until it is told to stop."""
    settings = load(WriterSettings, environ)
    configure(service="destination_writer", level=settings.log_level, form=settings.log_format)
    await serve(create_app(settings), settings)
