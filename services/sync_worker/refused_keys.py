"""Tries keys that Stripe has refused, rarely: Stripe may have erred, or a restriction may have been lifted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from services.sync_worker.clients import FIRST_PAUSE, Clients
from shared.connections import Connection, ConnectionStore, StoredKey
from shared.db import Pool, database_errors, transaction
from shared.errors import KeyInvalidError, NotFoundError, StripeRefusedError, TerminalError, TransientError
from shared.log import get_logger
from shared.syncs import SyncStore

POLL_INTERVAL = 1.0  # seconds
LONGEST_PAUSE = timedelta(hours=1)
WORKS_AGAIN = "key works again"  # what triggers the reconcile

# The next try is noted before this one is made, so a worker that dies in between costs no call more.
CLAIM = """
UPDATE connections
SET key_try_at = now() + least($1::interval * 2 ^ least(key_tries, 10), $2::interval), key_tries = key_tries + 1
WHERE id = (SELECT id FROM connections WHERE state = 'action_required' AND key_try_at <= now() AND api_key IS NOT NULL
            ORDER BY key_try_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
RESTORE = """
UPDATE connections SET state = 'active', cause_code = NULL, cause = NULL, key_tries = 0, key_try_at = NULL
WHERE id = $1 AND key_version = $2 AND state = 'action_required'
"""


class RefusedKeys:
    """Brings connections back whose key works again."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        syncs: SyncStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._connections = connections
        self._clients = clients
        self._syncs = syncs
        self._now = now

    async def run(self) -> None:
        """Try what is due, for ever."""
        while True:
            try:
                busy = await self.try_one()
            except TransientError as error:
                get_logger().warning("key_try_delayed", reason=error.message)
                busy = False
            if not busy:
                await asyncio.sleep(POLL_INTERVAL)

    async def try_one(self) -> bool:
        """Try a key that is due, with one call; tell whether there was one."""
        with database_errors():
            connection_id = await self._pool.fetchval(CLAIM, FIRST_PAUSE, LONGEST_PAUSE)
        if connection_id is None:
            return False
        try:
            connection = await self._connections.get(connection_id)
            key = await self._connections.stored_key(connection_id)
        except (NotFoundError, TerminalError) as error:
            get_logger().warning("key_unreadable", connection=connection_id, reason=error.message)
            return True
        if await self._works(connection, key):
            await self._restore(connection, key)
        return True

    async def _works(self, connection: Connection, key: StoredKey) -> bool:
        try:
            await self._clients.single(connection, key).list_page("/v1/events", [("limit", "1")])
        except (KeyInvalidError, TransientError) as error:
            get_logger().info("key_still_refused", connection=connection.id, reason=error.message)
            return False
        except StripeRefusedError:
            return True  # it may not read this, but Stripe knows it
        return True

    async def _restore(self, connection: Connection, key: StoredKey) -> None:
        async with transaction(self._pool) as db:
            if await db.execute(RESTORE, connection.id, key.version) == "UPDATE 1":
                await self._syncs.reconcile(connection, trigger=WORKS_AGAIN, now=self._now(), db=db)
                get_logger().info("key_works_again", connection=connection.id)
