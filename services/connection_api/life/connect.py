"""Connects a Stripe account: the key is checked, our endpoint is made, then the backfill begins.

The order matters (the gap between endpoint and backfill is filled afterwards), and every step can be repeated:
a connection whose set-up was cut off by a crash is taken up again, and no endpoint is left behind at Stripe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import SecretStr

from services.connection_api.life.at_stripe import AtStripe
from services.connection_api.life.choices import LOCK, choose_resources
from services.connection_api.life.naming import default_names, read_name
from services.connection_api.life.places import Places
from services.connection_api.settings import ApiSettings
from shared.api_keys import ApiKey, parse_api_key
from shared.audit import Actor, append
from shared.catalogue import Resource
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.crypto import make_id
from shared.db import Connection as Database
from shared.db import Pool, database_errors, transaction
from shared.errors import (
    AppError,
    ConflictError,
    KafkaUnavailableError,
    PayloadError,
    RejectedError,
    StripeUnavailableError,
    TransientError,
)
from shared.kafka import Outgoing, Producer
from shared.key_check import KeyCheck, check_key
from shared.log import get_logger
from shared.messages import RequestSync
from shared.syncs import SyncStore
from shared.topics import COMMANDS

TAKE_LEASE = """
INSERT INTO leases AS l (name, owner, until) VALUES ('set-up:' || $1, $2, now() + $3::interval)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE l.until < now() RETURNING 1
"""
GIVE_LEASE = "DELETE FROM leases WHERE name = 'set-up:' || $1 AND owner = $2"
DESTINATION_NAME = "SELECT name FROM destinations WHERE id = $1"
LEASE = timedelta(seconds=60)
ATTEMPT_TIMEOUT = 50.0  # seconds: an attempt ends before its lease does
MOVE = "UPDATE connections SET state = $2 WHERE id = $1 AND state = $3"
# State and backfill change together: a set-up either goes on from its beginning or is done.
ACTIVATE = """
WITH active AS (
    UPDATE connections SET state = 'active', cause_code = NULL, cause = NULL, events_complete_to = $2
    WHERE id = $1 AND state = 'setting_up' RETURNING id, resources, start_date
)
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, range_start)
SELECT $3, id, 'backfill', 'connected', 'queued', resources, start_date FROM active RETURNING id
"""


@dataclass(frozen=True, slots=True)
class NewConnection:
    """What a person gives to connect a Stripe account."""

    api_key: SecretStr
    destination_ids: tuple[str, ...]
    start_date: datetime | None = None
    resources: tuple[str, ...] | None = None  # None: those that are on by default
    account_id: str | None = None  # needed only where Stripe does not tell the key's account
    omitted_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    name: str | None = None  # None: the account's and the first destination's, with a number where it is taken


class Connect:
    """The use cases of a connection's beginning and of its syncs."""

    def __init__(
        self,
        *,
        pool: Pool,
        settings: ApiSettings,
        at_stripe: AtStripe,
        producer: Producer,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._at_stripe = at_stripe
        self._producer = producer
        self._now = now
        self._owner = make_id("api")
        self._connections = ConnectionStore(pool, settings.key_ring)
        self._syncs = SyncStore(pool)
        self._places = Places(pool, settings)

    async def connect(self, wanted: NewConnection, *, by: Actor) -> str:
        """Connect the account and return the connection's id.

        Raises `KeyRefusedError`, `PayloadError` or `ConflictError`, also for a destination's sake, after which nothing
        is kept, and a `TransientError` as long as nothing is. A set-up that is held up later goes on by itself.
        """
        key = parse_api_key(wanted.api_key.get_secret_value(), allow_test=self._settings.allow_test_keys)
        resources = choose_resources(wanted.resources)
        if not wanted.destination_ids:
            raise PayloadError("Choose at least one destination.", field="destination_ids")
        given = read_name(wanted.name) if wanted.name else None
        check = await check_key(self._at_stripe.client(key.secret), resources, account_id=wanted.account_id)
        await self._places.require_usable(wanted.destination_ids)
        connection_id = make_id("con")
        names = [given] if given else await self._default_names(wanted, check)
        await self._insert(connection_id, wanted, key, check, resources, names, by)
        try:
            await self._set_up(connection_id)
        except RejectedError:
            await self._forget(connection_id, by)
            raise
        except TransientError as error:
            get_logger().warning("set_up_delayed", connection=connection_id, reason=error.message)
        return connection_id

    async def resume_unfinished(self) -> None:
        """Go on with set-ups that were cut off, each by itself; what can't go on says why on its connection."""
        for connection in await self._connections.list_in_state(State.SETTING_UP):
            try:
                await self._set_up(connection.id)
            except TransientError as error:
                get_logger().warning("set_up_delayed", connection=connection.id, reason=error.message)
            except AppError as error:
                others = [state for state in State if state is not State.SETTING_UP]
                await self._connections.set_state(
                    connection.id, State.ACTION_REQUIRED, unless=others, cause_code=error.code, cause=error.message
                )

    async def sync_now(
        self,
        connection_id: str,
        *,
        resources: Sequence[str] | None = None,
        sought: tuple[str, str] | None = None,
        by: Actor,
    ) -> str:
        """Queue a comparison with Stripe, a new reading of `resources`, or of the object `sought` (resource and id).

        Returns the sync's id, or that of a queued one that does the same. Raises `ConflictError` unless the connection
        is active, and `PayloadError` for a resource that it does not sync.
        """
        async with transaction(self._pool) as db:
            await db.execute(LOCK, connection_id)  # of those who ask at once, each finds what the one before has queued
            connection = await self._connections.get(connection_id, db=db)
            if connection.state is not State.ACTIVE:
                raise ConflictError("Only an active connection can be synced. Resume it, or update its key first.")
            if sought:
                sync_id = await self._syncs.resync_object(connection, *sought, db=db)
            elif resources:
                sync_id = await self._syncs.resync(connection, resources, db=db)
            else:
                sync_id = await self._syncs.reconcile(
                    connection, trigger="requested", now=self._now(), joins=True, db=db
                )
            await append(db, by, "connection.sync_requested", connection_id, sync=sync_id)
        await self._wake(connection_id, sync_id)
        return sync_id

    async def pause(self, connection_id: str, *, by: Actor) -> bool:
        """Stop calling Stripe for this connection; what Stripe delivers is still written.

        Tells whether that is new: a paused connection stays as it is. Raises `NotFoundError`, `ConflictError`.
        """
        async with transaction(self._pool) as db:
            is_new = await self._move(db, connection_id, State.PAUSED, State.ACTIVE)
            if is_new:
                await append(db, by, "connection.paused", connection_id)
        return is_new

    async def resume(self, connection_id: str, *, by: Actor) -> bool:
        """Go on after a pause, from the checkpoint, with the gap filled.

        Tells whether that is new: an active connection stays as it is. Raises `NotFoundError`, `ConflictError`.
        """
        async with transaction(self._pool) as db:
            is_new = await self._move(db, connection_id, State.ACTIVE, State.PAUSED)
            if is_new:
                connection = await self._connections.get(connection_id, db=db)
                await self._syncs.reconcile(connection, trigger="resumed", now=self._now(), db=db)
                await append(db, by, "connection.resumed", connection_id)
        return is_new

    async def _move(self, db: Database, connection_id: str, to: State, wanted: State) -> bool:
        if await db.execute(MOVE, connection_id, to, wanted) == "UPDATE 1":
            return True
        connection = await self._connections.get(connection_id, db=db)
        if connection.state is not to:
            raise ConflictError(f"The connection is {connection.state.replace('_', ' ')}, not {wanted}.")
        return False

    async def _insert(
        self,
        connection_id: str,
        wanted: NewConnection,
        key: ApiKey,
        check: KeyCheck,
        resources: Sequence[Resource],
        names: Iterable[str],
        by: Actor,
    ) -> None:
        await self._connections.insert(
            connection_id,
            account=(check.account_id, check.account_name),
            key=key,
            destination_ids=wanted.destination_ids,
            start_date=wanted.start_date,
            # One that can't be read would fail the whole backfill.
            resources=[resource.name for resource in resources if resource.name not in check.unreadable],
            live_by=LiveBy.WEBHOOKS if self._settings.public_url else LiveBy.POLLING,
            by=by,
            omitted_fields=wanted.omitted_fields,
            names=names,
        )

    async def _default_names(self, wanted: NewConnection, check: KeyCheck) -> Iterable[str]:
        with database_errors():
            destination = await self._pool.fetchval(DESTINATION_NAME, wanted.destination_ids[0])
        return default_names(check.account_name, check.account_id, destination or wanted.destination_ids[0])

    async def _set_up(self, connection_id: str) -> None:
        with database_errors():
            if not await self._pool.fetchval(TAKE_LEASE, connection_id, self._owner, LEASE):
                return  # somebody else is at it
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                await self._finish_set_up(connection_id)
        except TimeoutError as error:
            raise StripeUnavailableError("Stripe takes long to answer.") from error
        finally:
            with database_errors():
                await self._pool.execute(GIVE_LEASE, connection_id, self._owner)

    async def _finish_set_up(self, connection_id: str) -> None:
        connection = await self._connections.get(connection_id)
        complete_to = await self._ensure_endpoint(connection)
        with database_errors():
            sync_id = await self._pool.fetchval(ACTIVATE, connection_id, complete_to, make_id("syn"))
        if sync_id:
            await self._wake(connection_id, sync_id)

    async def _ensure_endpoint(self, connection: Connection) -> int:
        """Return the second of Stripe's clock from which on every event reaches us."""
        if not self._at_stripe.has_endpoint(connection):
            return int(self._now())
        api = self._at_stripe.client(await self._connections.api_key(connection.id))
        return await self._at_stripe.ensure_endpoint(connection, api)

    async def _forget(self, connection_id: str, by: Actor) -> None:
        """Take back a connection that could not be set up, so that the person can simply try again."""
        async with transaction(self._pool) as db:
            await db.execute("DELETE FROM connections WHERE id = $1 AND state = 'setting_up'", connection_id)
            await append(db, by, "connection.set_up_refused", connection_id)

    async def _wake(self, connection_id: str, sync_id: str) -> None:
        command = RequestSync(connection_id=connection_id, sync_id=sync_id)
        record = Outgoing(connection_id.encode(), command.model_dump_json().encode(), [])
        try:
            await self._producer.publish(COMMANDS, record)
        except KafkaUnavailableError as error:
            # The sync worker finds queued syncs by itself, only a moment later.
            get_logger().warning("wake_failed", sync=sync_id, reason=error.message)
