"""Keeps endpoints in memory, so that a webhook does not wait for the database, nor fail because it is away."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.endpoint_secrets import Endpoint
from shared.errors import DatabaseUnavailableError

FRESH_FOR = 2.0  # seconds
REFRESH_TIMEOUT = 0.4  # seconds: what is known is good enough then
LOOKUP_TIMEOUT = 5.0  # seconds; Stripe waits longer than that for an answer, and a 503 costs it an hour
CAPACITY = 10_000
WELL_FORMED = re.compile(r"[a-z0-9_]{1,64}")

Lookup = Callable[[str], Awaitable[Endpoint | None]]


@dataclass(frozen=True, slots=True)
class _Known:
    endpoint: Endpoint | None
    fresh_until: float


def is_well_formed(endpoint_id: str) -> bool:
    """Tell whether the id can be one of ours."""
    return WELL_FORMED.fullmatch(endpoint_id) is not None


class EndpointCache:
    """Endpoints by id, asked for anew after two seconds; what is known stays in use while the database is away."""

    def __init__(
        self,
        look_up: Lookup,
        *,
        capacity: int = CAPACITY,
        timeout_seconds: float = LOOKUP_TIMEOUT,
        refresh_timeout_seconds: float = REFRESH_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_up` asks the database; `capacity` bounds the endpoints that are kept, and as many ids that are none.

        `timeout_seconds` is how long a webhook waits for an endpoint that is not known yet, `refresh_timeout_seconds`
        for news of one that is.
        """
        self._look_up = look_up
        self._capacity = capacity
        self._timeout = timeout_seconds
        self._refresh_timeout = refresh_timeout_seconds
        self._clock = clock
        self._endpoints: dict[str, _Known] = {}
        self._strangers: dict[str, _Known] = {}  # apart, so that made-up ids push no endpoint out
        self._unreadable: set[str] = set()

    async def find(self, endpoint_id: str) -> Endpoint | None:
        """Return the endpoint, or `None` if there is none with this id.

        Raises `DatabaseUnavailableError` when the database is away and the endpoint was not known before.
        """
        if not is_well_formed(endpoint_id):
            return None
        known = self._endpoints.get(endpoint_id) or self._strangers.get(endpoint_id)
        if known and self._clock() < known.fresh_until:
            return known.endpoint
        if not known or not known.endpoint:
            return self._keep(endpoint_id, await self._ask(endpoint_id, self._timeout))
        # One request asks; those that come meanwhile go on with what is known.
        self._keep(endpoint_id, known.endpoint)
        try:
            return self._keep(endpoint_id, await self._ask(endpoint_id, self._refresh_timeout))
        except DatabaseUnavailableError:
            return known.endpoint

    @property
    def has_unreadable(self) -> bool:
        """Whether a known endpoint has no secret that can be read: ids of nobody are then answered like it."""
        return bool(self._unreadable)

    async def _ask(self, endpoint_id: str, timeout_seconds: float) -> Endpoint | None:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._look_up(endpoint_id)
        except TimeoutError as error:
            raise DatabaseUnavailableError from error

    def _keep(self, endpoint_id: str, endpoint: Endpoint | None) -> Endpoint | None:
        self._endpoints.pop(endpoint_id, None)
        self._strangers.pop(endpoint_id, None)
        kept = self._endpoints if endpoint else self._strangers
        kept[endpoint_id] = _Known(endpoint, self._clock() + FRESH_FOR)
        if len(kept) > self._capacity:
            pushed_out = next(iter(kept))
            del kept[pushed_out]
            self._unreadable.discard(pushed_out)
        if endpoint and endpoint.is_unreadable:
            self._unreadable.add(endpoint_id)
        else:
            self._unreadable.discard(endpoint_id)
        return endpoint
