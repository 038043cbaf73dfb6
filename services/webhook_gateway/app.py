"""Builds the gateway: the database for its endpoints, the producer for its events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from services.webhook_gateway.bodies import MAX_BODY
from services.webhook_gateway.endpoints import EndpointCache
from services.webhook_gateway.refusing import Counts
from services.webhook_gateway.routes import PATH, Intake
from services.webhook_gateway.settings import GatewaySettings
from shared.background import open_state, run_beside, until_available
from shared.db import Pool
from shared.endpoint_secrets import Endpoint, find_endpoint
from shared.errors import DatabaseUnavailableError
from shared.http import Access, add_route, make_app, serve
from shared.kafka import Cluster, Producer, ensure_topics
from shared.log import configure
from shared.settings import load

POOL_SIZE = 4  # connections; a look-up takes a millisecond, and only after two seconds again
PUBLISH_TIMEOUT = 1.5  # seconds: while Kafka is away, Stripe gets its 503 within 2


class State:
    """The state database, from the moment at which it first answers."""

    def __init__(self, settings: GatewaySettings, counts: Counts) -> None:
        self._settings = settings
        self._counts = counts
        self._keys = settings.key_ring
        self._pool: Pool | None = None

    async def run(self) -> None:
        """Hold the pool and note what is refused, until cancelled; wait for the database as long as it takes."""
        async with open_state(self._settings, pool_size=POOL_SIZE) as pool:
            self._pool = pool
            await self._counts.run(pool)

    async def find_endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return the endpoint; raise `DatabaseUnavailableError`."""
        if self._pool is None:
            raise DatabaseUnavailableError
        return await find_endpoint(self._pool, self._keys, endpoint_id)

    async def has_answered(self) -> bool:
        """Tell whether endpoints can be looked up.

        It stays true when the database goes away: the gateway then serves the endpoints that it knows, which it could
        not do if the cluster sent it no more webhooks.
        """
        return self._pool is not None


def create_app(
    settings: GatewaySettings,
    *,
    producer: Producer | None = None,
    endpoints: EndpointCache | None = None,
    now: Callable[[], float] = time.time,
) -> web.Application:
    """Return the service's app; `now` gives the time in seconds since 1970."""
    counts = Counts()
    state, cluster = State(settings, counts), Cluster(settings)
    app = make_app(
        ready={"database": state.has_answered, "kafka": cluster.answers},
        max_body=MAX_BODY,
        probe_port=settings.probe_port,
    )
    if endpoints is None:
        endpoints = EndpointCache(state.find_endpoint)
        run_beside(app, state.run)
    if producer is None:
        producer = Producer(settings, timeout_seconds=PUBLISH_TIMEOUT)
        run_beside(app, lambda: until_available("kafka", lambda: ensure_topics(settings)))
    app.cleanup_ctx.append(_stopping(producer, cluster))
    add_route(app, "POST", PATH, Intake(endpoints, producer, counts, now).receive, Access.SIGNED)
    return app


def _stopping(producer: Producer, cluster: Cluster) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        yield
        await producer.stop()
        await cluster.aclose()

    return context


async def main(environ: Mapping[str, str]) -> None:
    """Run the service until it is told to stop."""
    settings = load(GatewaySettings, environ)
    configure(service="webhook_gateway", level=settings.log_level, form=settings.log_format)
    await serve(create_app(settings), settings)
