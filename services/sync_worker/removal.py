"""Carries out removals: step by step, each noted with its effect, so that one that was cut off goes on.

The order matters: the endpoint needs the key, rows are taken out while the writers still know whose they are, and the
connection's own row goes last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from services.sync_worker.clients import Clients
from services.sync_worker.history import LARGE, WRITERS_FINISH, NotYetError, delete_rest, delete_some, sweep
from services.sync_worker.retrying import Retrying
from shared.audit import Actor, append
from shared.cleanups import AFTER_A_CHANGE, Cleanup, CleanupStore, Kind
from shared.connections import ConnectionStore
from shared.crypto import hash_token
from shared.db import Pool, Row, affected, database_errors, transaction
from shared.delays import Work, end_delays
from shared.errors import (
    KeyInvalidError,
    NotFoundError,
    PermissionMissingError,
    StripeRefusedError,
    StripeUnavailableError,
    TerminalError,
    TransientError,
)
from shared.log import get_logger
from shared.removals import Removal, RemovalStore, Step
from shared.webhook_endpoints import WebhookEndpoints

POLL_INTERVAL = 1.0  # seconds
KEEP_INTERVAL = 10.0  # seconds
SWEEP_INTERVAL = 60.0  # seconds
AWAY = 5.0  # seconds until Stripe is asked again
PATIENCE = 120.0  # seconds that Stripe may be away before a person is asked to delete the endpoint
ACTOR = Actor("sync_worker")

ENDPOINT = "SELECT id, stripe_id FROM webhook_endpoints WHERE connection_id = $1"
IS_BEING_SET_UP = "SELECT EXISTS (SELECT FROM leases WHERE name = 'set-up:' || $1 AND until > now())"
DESTROY_KEY = "UPDATE connections SET api_key = NULL, key_hint = '' WHERE id = $1 AND api_key IS NOT NULL"
DESTROY_SECRETS = """
DELETE FROM webhook_secrets WHERE endpoint_id IN (SELECT id FROM webhook_endpoints WHERE connection_id = $1)
"""
# A set-up of the same account that was begun before is of what is being removed, and holds a key.
DESTROY_SETUPS = "DELETE FROM setups WHERE account_id = $1 AND livemode = $2 AND created_at <= $3"


class Removing:
    """The loop over removals."""

    def __init__(
        self,
        pool: Pool,
        connections: ConnectionStore,
        clients: Clients,
        endpoints: WebhookEndpoints,
        *,
        settled_after: timedelta = AFTER_A_CHANGE,
        patience_seconds: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`settled_after` is when no writer works any more by what held before the removal was asked for."""
        self._pool = pool
        self._removals = RemovalStore(pool)
        self._cleanups = CleanupStore(pool)
        self._connections = connections
        self._clients = clients
        self._endpoints = endpoints
        self._settled_after = settled_after
        self._patience = patience_seconds
        self._clock = clock
        self._away_since: dict[str, float] = {}  # removal → when Stripe did not answer first
        self._steps: Mapping[Step, Callable[[Removal], Awaitable[None]]] = {
            Step.ENDPOINT: self._delete_endpoint,
            Step.KEY: self._destroy_key,
            Step.ROWS: self._wait_for_rows,
            Step.HISTORY: self._delete_history,
        }

    async def run(self) -> None:
        """Carry out what is asked for, for ever; now and then delete what came late for a connection that is gone."""
        swept_at = -SWEEP_INTERVAL
        while True:
            try:
                busy = await self.carry_out_one()
                if self._clock() - swept_at >= SWEEP_INTERVAL:
                    await sweep(self._pool)
                    swept_at = self._clock()
            except TransientError as error:
                get_logger().warning("removal_delayed", reason=error.message)
                busy = False
            if not busy:
                await asyncio.sleep(POLL_INTERVAL)

    async def carry_out_one(self) -> bool:
        """Take a removal as far as it goes now; tell whether there was one."""
        removal = await self._removals.claim()
        if removal is None:
            return False
        async with self._kept(removal):
            try:
                for step in Step:
                    if not removal.has_done(step):
                        await self._steps[step](removal)
            except NotYetError as wait:
                await self._removals.wait(removal.id, cause=wait.cause, seconds=wait.seconds)
            else:
                get_logger().info("connection_removed", connection=removal.connection_id, removal=removal.id)
        return True

    @asynccontextmanager
    async def _kept(self, removal: Removal) -> AsyncIterator[None]:
        """Keep the removal lent while the block runs."""
        keeping = asyncio.create_task(self._keep(removal.id))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self, removal_id: str) -> None:
        while True:
            await asyncio.sleep(KEEP_INTERVAL)
            try:
                await self._removals.keep(removal_id)
            except TransientError:
                continue  # somebody else may take it over: each step can be done twice

    async def _delete_endpoint(self, removal: Removal) -> None:
        with database_errors():
            if await self._pool.fetchval(IS_BEING_SET_UP, removal.connection_id):
                raise NotYetError("The set-up that is under way ends first.")
            endpoint = await self._pool.fetchrow(ENDPOINT, removal.connection_id)
        note = await self._delete_at_stripe(removal, endpoint) if endpoint else None
        known = bool(endpoint and endpoint["stripe_id"] and not note)
        async with transaction(self._pool) as db:
            await end_delays(db, Work.REMOVAL, [removal.id])
            await self._removals.finish_step(
                db, removal.id, Step.ENDPOINT, counts={"webhook_endpoints": int(known)}, note=note
            )
        self._away_since.pop(removal.id, None)

    async def _delete_at_stripe(self, removal: Removal, endpoint: Row) -> str | None:
        """Delete our endpoint; return what a person has to do instead where it can't be done."""
        try:
            connection = await self._connections.get(removal.connection_id)
            key = await self._connections.stored_key(removal.connection_id)
            await self._endpoints.remove(connection.id, self._clients.single(connection, key))
        except StripeUnavailableError as error:
            since = self._away_since.setdefault(removal.id, self._clock())
            if self._clock() - since < self._patience:
                retrying = Retrying(self._pool, Work.REMOVAL, removal.id, connection_id=removal.connection_id)
                await retrying.failed(error, AWAY)
                raise NotYetError(f"Stripe does not answer: {error.message}", seconds=AWAY) from error
            return _by_hand("Stripe did not answer for two minutes", endpoint)
        except KeyInvalidError:
            return _by_hand("Stripe does not accept the key any more", endpoint)
        except PermissionMissingError:
            return _by_hand("The key lacks Write on Webhook Endpoints", endpoint)
        except StripeRefusedError:
            return _by_hand("Stripe refused to delete it", endpoint)
        except (NotFoundError, TerminalError):
            return _by_hand("There is no key any more that could be used", endpoint)
        return None

    async def _destroy_key(self, removal: Removal) -> None:
        account = (removal.account_id, removal.livemode, removal.requested_at)
        async with transaction(self._pool) as db:
            counts = {
                "keys": affected(await db.execute(DESTROY_KEY, removal.connection_id)),
                "webhook_secrets": affected(await db.execute(DESTROY_SECRETS, removal.connection_id)),
                "setups": affected(await db.execute(DESTROY_SETUPS, *account)),
            }
            await self._removals.finish_step(db, removal.id, Step.KEY, counts=counts)

    async def _wait_for_rows(self, removal: Removal) -> None:
        """Wait for what the writers take out: all rows if that was chosen, and fields that were left out before."""
        cleanups = await self._cleanups.of_connection(removal.connection_id)
        waiting = [one for one in cleanups if not one.is_done]
        if waiting:
            raise NotYetError(_why_rows_wait(waiting))
        note = " ".join(dict.fromkeys(one.cause for one in cleanups if one.cause)) or None
        counts: dict[str, int] = {}
        for one in cleanups if removal.deletes_rows else ():
            if one.kind is Kind.ROWS and one.created_before is None:
                counts = {
                    table: counts.get(table, 0) + one.affected.get(table, 0) for table in {*counts, *one.affected}
                }
        async with transaction(self._pool) as db:
            await self._removals.finish_step(db, removal.id, Step.ROWS, counts=counts, note=note)

    async def _delete_history(self, removal: Removal) -> None:
        settled_in = (removal.requested_at + self._settled_after - datetime.now(UTC)).total_seconds()
        if settled_in > 0:
            raise NotYetError(WRITERS_FINISH, seconds=settled_in)
        for name in ("syncs", *LARGE):
            while await self._delete_some(removal, name):
                pass
        async with transaction(self._pool) as db:
            counts = await delete_rest(db, removal)
            done = await self._removals.finish_step(db, removal.id, Step.HISTORY, counts=counts)
            if done:
                await self._removals.finish(db, removal.id)
                details = {"account": hash_token(removal.account_id).hex(), "removal": removal.id}
                counted = {step.name: step.counts for step in done}
                await append(db, ACTOR, "connection.removed", removal.connection_id, counts=counted, **details)

    async def _delete_some(self, removal: Removal, name: str) -> bool:
        """Delete a batch; tell whether there was something, so that there may be more."""
        async with transaction(self._pool) as db:
            counts = await delete_some(db, name, removal.connection_id)
            await self._removals.count(db, removal.id, counts)
        return any(counts.values())


def _by_hand(reason: str, endpoint: Row) -> str:
    """Return why our endpoint is still at Stripe, and how a person deletes it."""
    named = endpoint["stripe_id"] or f"whose URL ends in {endpoint['id']}"
    return (
        f"{reason}, so the webhook endpoint {named} may still be there. Delete it in the Stripe Dashboard under "
        "Developers, Webhooks; until then Stripe goes on calling it, and is refused."
    )


def _why_rows_wait(waiting: Sequence[Cleanup]) -> str:
    """Return what the writers still have to do, and what keeps them."""
    causes = dict.fromkeys(one.cause for one in waiting if one.cause)
    count = len({one.destination_id for one in waiting})
    where = "one destination" if count == 1 else f"{count} destinations"
    return " ".join([f"Rows are being taken out of {where}.", *causes])
