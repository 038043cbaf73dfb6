"""Stripe clients for connections, and what a key's failure does to its connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

import aiohttp

from services.sync_worker.settings import WorkerSettings
from shared.budget import AccountBudget
from shared.connections import Connection, ConnectionStore, State
from shared.db import Pool
from shared.errors import KeyInvalidError
from shared.log import get_logger
from shared.stripe_api import Budget, StripeApi


@dataclass(slots=True, weakref_slot=True)
class _Gate:
    """What the clients that call with one connection's key at the same time know of it."""

    refusal: str | None = None  # what Stripe said when it refused the key


@dataclass(frozen=True, slots=True)
class _GuardedBudget:
    """A budget that lets no call start once the key has been refused."""

    budget: Budget
    gate: _Gate

    async def wait(self, endpoint: str) -> None:
        """Return when one call of `endpoint` may be made; raise `KeyInvalidError` when none may."""
        await self.budget.wait(endpoint)
        if self.gate.refusal:
            raise KeyInvalidError(self.gate.refusal)


class Clients:
    """Makes a client with the connection's key and its account's budget."""

    def __init__(
        self, session: aiohttp.ClientSession, settings: WorkerSettings, pool: Pool, connections: ConnectionStore
    ) -> None:
        self._session = session
        self._settings = settings
        self._pool = pool
        self._connections = connections
        self._gates: WeakValueDictionary[str, _Gate] = WeakValueDictionary()

    @asynccontextmanager
    async def calling(self, connection: Connection) -> AsyncIterator[StripeApi]:
        """Lend a client; a key that Stripe refuses stops the connection's calls and asks for a new one."""
        budget = AccountBudget(
            self._pool,
            account_id=connection.account_id,
            livemode=connection.livemode,
            share=self._settings.stripe_budget_share,
        )
        gate = self._gates.setdefault(connection.id, _Gate())
        api = StripeApi(
            self._session,
            base=self._settings.stripe_api_base,
            key=await self._connections.api_key(connection.id),
            budget=_GuardedBudget(budget, gate),
            timeout_seconds=self._settings.stripe_timeout_seconds,
        )
        try:
            yield api
        except KeyInvalidError as error:
            if not gate.refusal:
                gate.refusal = error.message
                await self._ask_for_key(connection, error)
                self._gates.pop(connection.id, None)  # whoever begins from now on may have the new key
            raise

    async def _ask_for_key(self, connection: Connection, error: KeyInvalidError) -> None:
        get_logger().warning("key_refused", connection=connection.id, reason=error.message)
        await self._connections.set_state(
            connection.id,
            State.ACTION_REQUIRED,
            unless=(State.PAUSED, State.REMOVING),
            cause_code=error.code,
            cause=f"API Key is invalid: {error.message}",
        )
