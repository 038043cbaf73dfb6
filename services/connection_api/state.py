"""What the routes work with, from the moment at which the state database first answers."""

from __future__ import annotations

import aiohttp

from services.connection_api.connect import Connect
from services.connection_api.settings import ApiSettings
from shared.background import open_state
from shared.connections import ConnectionStore
from shared.crypto import KeyRing
from shared.db import Pool, is_ready
from shared.destinations import DestinationStore
from shared.errors import DatabaseUnavailableError
from shared.kafka import Producer
from shared.syncs import SyncStore


class State:
    """The pool and what is built on it; every property raises `DatabaseUnavailableError` while there is none."""

    def __init__(self, settings: ApiSettings, producer: Producer) -> None:
        self._settings = settings
        self._keys: KeyRing = settings.key_ring
        self._producer = producer
        self._pool: Pool | None = None
        self._connect: Connect | None = None

    async def run(self) -> None:
        """Hold the pool and go on with cut-off set-ups, until cancelled; wait for the database."""
        settings = self._settings
        async with open_state(settings) as pool, aiohttp.ClientSession() as session:
            self._connect = Connect(pool=pool, settings=settings, session=session, producer=self._producer)
            self._pool = pool
            await self._connect.run()

    @property
    def pool(self) -> Pool:
        """The state database."""
        if self._pool is None:
            raise DatabaseUnavailableError
        return self._pool

    @property
    def connect(self) -> Connect:
        """The use cases of a connection."""
        if self._connect is None:
            raise DatabaseUnavailableError
        return self._connect

    @property
    def destinations(self) -> DestinationStore:
        """The destinations."""
        return DestinationStore(self.pool, self._keys)

    @property
    def connections(self) -> ConnectionStore:
        """The connections."""
        return ConnectionStore(self.pool, self._keys)

    @property
    def syncs(self) -> SyncStore:
        """The syncs."""
        return SyncStore(self.pool)

    async def is_ready(self) -> bool:
        """Tell whether the state database answers."""
        return self._pool is not None and await is_ready(self._pool)
