"""Keeps endpoints in memory, so that a webhook does not wait for the database, nor fail because it is away."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.errors import DatabaseUnavailableError
from shared.webhook_endpoints import Endpoint

FRESH_FOR = 2.0  # seconds
LOOKUP_TIMEOUT = 0.4  # seconds: with the time for Kafka an answer must come within 2
CAPACITY = 10_000
WELL_FORMED = re.compile(r"[a-z0-9_]{1,64}")

Lookup = Callable[[str], Awaitable[Endpoint | None]]


@dataclass(frozen=True, slots=True)
class _Known:
    endpoint: Endpoint | None
    fresh_until: float


class EndpointCache:
    """Endpoints by id, asked for anew after two seconds; what is known stays in use while the database is away."""

    def __init__(
        self,
        look_up: Lookup,
        *,
        capacity: int = CAPACITY,
        timeout_seconds: float = LOOKUP_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_up` asks the database; `capacity` bounds the endpoints that are kept, and as many ids that are none."""
        self._look_up = look_up
        self._capacity = capacity
        self._timeout = timeout_seconds
        self._clock = clock
        self._endpoints: dict[str, _Known] = {}
        self._strangers: dict[str, _Known] = {}  # apart, so that made-up ids push no endpoint out

    async def find(self, endpoint_id: str) -> Endpoint | None:
        """Return the endpoint, or `None` if there is none with this id.

        Raises `DatabaseUnavailableError` when the database is away and the endpoint was not known before.
        """
        if not WELL_FORMED.fullmatch(endpoint_id):
            return None
        known = self._endpoints.get(endpoint_id) or self._strangers.get(endpoint_id)
        if known and self._clock() < known.fresh_until:
            return known.endpoint
        if not known or not known.endpoint:
            return self._keep(endpoint_id, await self._ask(endpoint_id))
        # One request asks; those that come meanwhile go on with what is known.
        self._keep(endpoint_id, known.endpoint)
        try:
            return self._keep(endpoint_id, await self._ask(endpoint_id))
        except DatabaseUnavailableError:
            return known.endpoint

    async def _ask(self, endpoint_id: str) -> Endpoint | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._look_up(endpoint_id)
        except TimeoutError as error:
            raise DatabaseUnavailableError from error

    def _keep(self, endpoint_id: str, endpoint: Endpoint | None) -> Endpoint | None:
        self._endpoints.pop(endpoint_id, None)
        self._strangers.pop(endpoint_id, None)
        kept = self._endpoints if endpoint else self._strangers
        kept[endpoint_id] = _Known(endpoint, self._clock() + FRESH_FOR)
        if len(kept) > self._capacity:
            del kept[next(iter(kept))]
        return endpoint
