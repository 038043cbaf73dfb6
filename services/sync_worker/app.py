"""Builds the sync worker: fetchers, answers to the writers' questions, polling, schedule, commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

import aiohttp
from aiohttp import web

from services.sync_worker.absences import Absences
from services.sync_worker.backfill import URGENT, Backfill
from services.sync_worker.broker import Broker
from services.sync_worker.broker_watch import BrokerWatch
from services.sync_worker.clients import Clients
from services.sync_worker.completion import Completion
from services.sync_worker.delivery_gaps import DeliveryGaps
from services.sync_worker.endpoint_check import EndpointCheck
from services.sync_worker.event_feed import EventLog
from services.sync_worker.expiry import Expiry
from services.sync_worker.faults import Faults
from services.sync_worker.gap_fill import GapFill
from services.sync_worker.handlers import Handlers
from services.sync_worker.objects import Objects
from services.sync_worker.outages import Outages
from services.sync_worker.polling import Polling
from services.sync_worker.publishing import Publisher
from services.sync_worker.refetch import Refetch
from services.sync_worker.refetch_pages import RefetchPages
from services.sync_worker.refused_keys import RefusedKeys
from services.sync_worker.removal import Removing
from services.sync_worker.schedule import Schedule
from services.sync_worker.settings import WorkerSettings
from services.sync_worker.slices import Slices
from services.sync_worker.verifying import Verifying
from shared.background import lasting, open_state, run_beside, until_available
from shared.broker_log import CurrentLog
from shared.connections import ConnectionStore
from shared.consumers import Membership, Rejection, consuming, make_broker, subscribe
from shared.crypto import make_id
from shared.db import Pool, is_ready
from shared.http import make_app, serve
from shared.kafka import Cluster, Producer, ensure_topics
from shared.log import configure
from shared.settings import load
from shared.syncs import SyncStore
from shared.topics import COMMANDS
from shared.webhook_endpoints import WebhookEndpoints

KEPT_FOR_FEEDS = 2  # fetchers beside those of the settings: a long backfill never holds up what heals a gap


class Worker:
    """What runs beside the probes."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        self._cluster = Cluster(settings)
        self._membership: Membership | None = None

    async def run(self) -> None:
        """Work until cancelled; wait for Postgres and Kafka as long as it takes."""
        settings = self._settings
        producer = Producer(settings)
        async with (
            open_state(settings, pool_size=settings.fetchers + KEPT_FOR_FEEDS + 10) as pool,
            aiohttp.ClientSession() as session,
            aclosing(Broker(settings)) as kafka,
            aclosing(self._cluster),
        ):
            self._pool = pool
            await until_available("kafka", lambda: ensure_topics(settings))
            try:
                await self._work(pool, session, kafka, producer)
            finally:
                await producer.stop()

    async def _work(self, pool: Pool, session: aiohttp.ClientSession, kafka: Broker, producer: Producer) -> None:
        settings = self._settings
        owner, wake, log = make_id("wrk"), asyncio.Event(), CurrentLog("")
        connections, syncs = ConnectionStore(pool, settings.key_ring), SyncStore(pool)
        watch = BrokerWatch(pool, connections, syncs, kafka, log)
        await until_available("kafka", watch.look)
        slices = Slices(pool, owner=owner, log=log)
        clients = Clients(session, settings, pool, connections)
        publisher = Publisher(producer, log)
        objects = Objects(pool, publisher)
        endpoints = WebhookEndpoints(pool, settings.key_ring, public_url=settings.public_url or "")
        endpoint = EndpointCheck(pool, endpoints, syncs, has_public_url=bool(settings.public_url))
        faults = Faults(pool, connections, clients, syncs, endpoint, log=log)
        gap_fill = GapFill(EventLog(pool), connections, publisher, objects)
        backfill = Backfill(pool, slices, connections, clients, publisher, objects, gap_fill, faults, endpoint)
        completion = Completion(pool, syncs, slices, log=log)
        polling = Polling(
            pool,
            connections,
            clients,
            gap_fill,
            faults,
            owner=owner,
            shortest_seconds=settings.poll_seconds,
            longest_seconds=settings.poll_seconds_quiet,
        )
        schedule = Schedule(pool, connections, syncs, interval_seconds=settings.reconcile_seconds)
        broker = make_broker(settings)
        commands = Handlers(completion, wake).take_commands
        self._membership = subscribe(broker, settings, commands, rejection=Rejection(producer, COMMANDS))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(settings.fetchers):
                tasks.create_task(lasting("slices", partial(backfill.run, wake)))
            for _ in range(KEPT_FOR_FEEDS):
                tasks.create_task(lasting("feeds", partial(backfill.run, wake, of=URGENT)))
            gaps = DeliveryGaps(pool, connections, clients, gap_fill, syncs)
            outages = Outages(pool, connections, syncs, look=watch.look)
            loops: dict[str, Callable[[], Awaitable[None]]] = {
                "completion": partial(completion.run, wake),
                "delivery gaps": partial(gaps.run, wake),
                "questions": Refetch(pool, connections, clients, publisher, objects, faults).run,
                "pages of questions": RefetchPages(pool, connections, clients, objects).run,
                "absences": Absences(pool, connections, clients, objects).run,
                "faults": faults.run,
                "outages": partial(outages.run, wake),
                "refused keys": RefusedKeys(pool, connections, clients, syncs).run,
                "polling": polling.run,
                "schedule": schedule.run,
                "scheduled verifies": partial(Verifying(pool, connections).run, wake),
                "expiry": Expiry(pool).run,
                "removals": Removing(pool, connections, clients, endpoints).run,
            }
            for name, loop in loops.items():
                tasks.create_task(lasting(name, loop))
            tasks.create_task(consuming(broker))

    async def is_database_ready(self) -> bool:
        """Tell whether the state database answers."""
        return self._pool is not None and await is_ready(self._pool)

    async def is_working(self) -> bool:
        """Tell whether commands come in and Kafka answers; raise `KafkaUnavailableError`."""
        return self._membership is not None and self._membership.is_joined and await self._cluster.answers()


def create_app(settings: WorkerSettings) -> web.Application:
    """Return the service's app."""
    worker = Worker(settings)
    ready = {"database": worker.is_database_ready, "kafka": worker.is_working}
    app = make_app(ready=ready, probe_port=settings.probe_port)
    run_beside(app, worker.run)
    return app


async def main(environ: Mapping[str, str]) -> None:
    """Run the service until it is told to stop."""
    settings = load(WorkerSettings, environ)
    configure(service="sync_worker", level=settings.log_level, form=settings.log_format)
    await serve(create_app(settings), settings)
