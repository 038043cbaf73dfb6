"""Stripe clients for connections, and what a key's failure does to its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakValueDictionary

import aiohttp

from services.sync_worker.settings import WorkerSettings
from shared.budget import AccountBudget, calls_at_once
from shared.connections import Connection, ConnectionStore, StoredKey
from shared.crypto import SecretUnreadableError
from shared.db import Pool, RowInUseError, database_errors
from shared.errors import ConnectionDisabledError, KeyInvalidError, TerminalError
from shared.key_check import explain_invalid
from shared.log import get_logger
from shared.stripe_api import Budget, OnFailure, StripeApi

UNREADABLE = (
    "The stored API key can't be read: the encryption key that it was stored with is missing from "
    "TILLSTREAM_ENCRYPTION_KEYS. Put that key back, or update the API key."
)
FIRST_PAUSE = timedelta(minutes=5)  # between Stripe's refusal of a key and the call that tries it again

# An answer to a call with an old key says nothing of the new one; a paused connection stays paused.
REFUSE = """
UPDATE connections
SET state = 'action_required', cause_code = $3, cause = $4, key_tries = 1, key_try_at = now() + $5::interval
WHERE id = $1 AND key_version = $2 AND state = 'active'
"""
MAY_CALL = "SELECT EXISTS (SELECT FROM connections WHERE id = $1 AND key_version = $2 AND state = 'active')"


class CallsStoppedError(TerminalError):
    """The connection was paused or removed, or got another key: whoever goes on begins anew."""

    code = "calls_stopped"


@dataclass(slots=True, weakref_slot=True)
class _Gate:
    """What the clients that call with one key at the same time share."""

    turns: asyncio.Semaphore
    refusal: str | None = None  # what Stripe said when it refused the key


@dataclass(frozen=True, slots=True)
class _GuardedBudget:
    """A budget that lets no call start once the key has been refused, whichever worker learned it.

    Calls that are under way by then are refused too, so it lets no more be so than the budget needs.
    """

    budget: Budget
    gate: _Gate
    pool: Pool
    connection_id: str
    key_version: int

    @asynccontextmanager
    async def turn(self, endpoint: str) -> AsyncIterator[None]:
        """Run the block, which makes one call of `endpoint`, when it may start; raise when none may."""
        async with self.budget.turn(endpoint), self.gate.turns:
            with database_errors():
                may_call = await self.pool.fetchval(MAY_CALL, self.connection_id, self.key_version)
            if self.gate.refusal:
                raise KeyInvalidError(self.gate.refusal)
            if not may_call:
                raise CallsStoppedError
            yield


class Clients:
    """Makes a client with the connection's key and its account's budget."""

    def __init__(
        self, session: aiohttp.ClientSession, settings: WorkerSettings, pool: Pool, connections: ConnectionStore
    ) -> None:
        self._session = session
        self._settings = settings
        self._pool = pool
        self._connections = connections
        self._gates: WeakValueDictionary[tuple[str, int], _Gate] = WeakValueDictionary()

    @asynccontextmanager
    async def calling(self, connection: Connection, *, on_failure: OnFailure | None = None) -> AsyncIterator[StripeApi]:
        """Lend a client; a key that Stripe refuses stops the connection's calls and asks for a new one.

        `on_failure` is told of each call that is made again.
        Its calls raise `CallsStoppedError` once the connection is not active or has another key. The block raises
        `ConnectionDisabledError` when the connection was removed meanwhile.
        """
        key = await self._key(connection)
        gate = self._gates.setdefault((connection.id, key.version), self._new_gate(connection))
        budget = _GuardedBudget(self._budget(connection), gate, self._pool, connection.id, key.version)
        try:
            yield self._client(key, budget, on_failure=on_failure)
        except KeyInvalidError as error:
            if not gate.refusal:
                gate.refusal = error.message
                await self._ask_for_key(connection, key, error)
                # The same key may work again one day: Stripe's mistake, or a restriction that was lifted.
                self._gates.pop((connection.id, key.version), None)
            raise
        except RowInUseError as error:
            raise ConnectionDisabledError from error

    async def _key(self, connection: Connection) -> StoredKey:
        """Return the key; one that can't be read counts as refused, since a person has to enter one."""
        try:
            return await self._connections.stored_key(connection.id)
        except SecretUnreadableError as error:
            get_logger().warning("key_unreadable", connection=connection.id, reason=error.message)
            with database_errors():
                await self._pool.execute(
                    REFUSE, connection.id, connection.key_version, error.code, UNREADABLE, FIRST_PAUSE
                )
            raise KeyInvalidError(UNREADABLE) from error

    def single(self, connection: Connection, key: StoredKey) -> StripeApi:
        """Return a client whose calls are made once, also for a connection that makes none by itself."""
        return self._client(key, self._budget(connection), attempts=1)

    def _new_gate(self, connection: Connection) -> _Gate:
        at_once = calls_at_once(livemode=connection.livemode, share=self._settings.stripe_budget_share)
        return _Gate(asyncio.Semaphore(at_once))

    def _client(
        self, key: StoredKey, budget: Budget, *, attempts: int = 5, on_failure: OnFailure | None = None
    ) -> StripeApi:
        return StripeApi(
            self._session,
            base=self._settings.stripe_api_base,
            key=key.secret,
            budget=budget,
            timeout_seconds=self._settings.stripe_timeout_seconds,
            attempts=attempts,
            on_failure=on_failure,
        )

    def _budget(self, connection: Connection) -> AccountBudget:
        return AccountBudget(
            self._pool,
            account_id=connection.account_id,
            livemode=connection.livemode,
            share=self._settings.stripe_budget_share,
        )

    async def _ask_for_key(self, connection: Connection, key: StoredKey, error: KeyInvalidError) -> None:
        get_logger().warning("key_refused", connection=connection.id, reason=error.message)
        why = explain_invalid(error)
        with database_errors():
            await self._pool.execute(REFUSE, connection.id, key.version, why.code, why.message, FIRST_PAUSE)
