"""Stripe clients for connections, and what a key's failure does to its connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from services.sync_worker.settings import WorkerSettings
from shared.budget import AccountBudget
from shared.connections import Connection, ConnectionStore, State
from shared.db import Pool
from shared.errors import KeyInvalidError
from shared.log import get_logger
from shared.stripe_api import StripeApi


class Clients:
    """Makes a client with the connection's key and its account's budget."""

    def __init__(
        self, session: aiohttp.ClientSession, settings: WorkerSettings, pool: Pool, connections: ConnectionStore
    ) -> None:
        self._session = session
        self._settings = settings
        self._pool = pool
        self._connections = connections

    @asynccontextmanager
    async def calling(self, connection: Connection) -> AsyncIterator[StripeApi]:
        """Lend a client; a key that Stripe refuses stops the connection's calls and asks for a new one."""
        budget = AccountBudget(
            self._pool,
            account_id=connection.account_id,
            livemode=connection.livemode,
            share=self._settings.stripe_budget_share,
        )
        api = StripeApi(
            self._session,
            base=self._settings.stripe_api_base,
            key=await self._connections.api_key(connection.id),
            budget=budget,
            timeout_seconds=self._settings.stripe_timeout_seconds,
        )
        try:
            yield api
        except KeyInvalidError as error:
            get_logger().warning("key_refused", connection=connection.id, reason=error.message)
            await self._connections.set_state(
                connection.id,
                State.ACTION_REQUIRED,
                unless=(State.PAUSED, State.REMOVING),
                cause_code=error.code,
                cause=f"API Key is invalid: {error.message}",
            )
            raise
