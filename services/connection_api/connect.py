"""Connects a Stripe account: the key is checked, our endpoint is made, then the backfill begins.

The order matters (the gap between endpoint and backfill is filled afterwards), and every step can be repeated:
a connection whose set-up was cut off by a crash is taken up again, and no endpoint is left behind at Stripe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
from pydantic import SecretStr

from services.connection_api.settings import ApiSettings
from shared.api_keys import ApiKey, parse_api_key
from shared.catalogue import BY_NAME, DEFAULT_RESOURCES, Resource, webhook_events
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.crypto import make_id
from shared.db import Pool, database_errors
from shared.errors import (
    AppError,
    ConflictError,
    KafkaUnavailableError,
    KeyInvalidError,
    PayloadError,
    PermissionMissingError,
    RejectedError,
    StripeRefusedError,
    StripeUnavailableError,
    TransientError,
)
from shared.kafka import Outgoing, Producer
from shared.key_check import (
    KeyCheck,
    KeyPermissionsError,
    check_key,
    describe_missing_webhooks,
    explain_invalid,
)
from shared.log import get_logger
from shared.messages import RequestSync
from shared.stripe_api import StripeApi, Unlimited
from shared.syncs import SyncStore
from shared.topics import COMMANDS
from shared.webhook_endpoints import WebhookEndpoints

RESUME_INTERVAL = 30.0  # seconds between two looks for a set-up that was cut off
TAKE_LEASE = """
INSERT INTO leases AS l (name, owner, until) VALUES ('set-up:' || $1, $2, now() + $3::interval)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE l.until < now() RETURNING 1
"""
GIVE_LEASE = "DELETE FROM leases WHERE name = 'set-up:' || $1 AND owner = $2"
LEASE = timedelta(seconds=60)
ATTEMPT_TIMEOUT = 50.0  # seconds: an attempt ends before its lease does
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


class Connect:
    """The use cases of a connection's beginning and of its syncs."""

    def __init__(
        self,
        *,
        pool: Pool,
        settings: ApiSettings,
        session: aiohttp.ClientSession,
        producer: Producer,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._session = session
        self._producer = producer
        self._now = now
        self._owner = make_id("api")
        self._connections = ConnectionStore(pool, settings.key_ring)
        self._syncs = SyncStore(pool)

    async def connect(self, wanted: NewConnection) -> str:
        """Connect the account and return the connection's id.

        Raises `KeyRefusedError`, `PayloadError` or `ConflictError`, after which nothing is kept, and a
        `TransientError` as long as nothing is. A set-up that is held up later goes on by itself.
        """
        key = parse_api_key(wanted.api_key.get_secret_value(), allow_test=self._settings.allow_test_keys)
        resources = choose_resources(wanted.resources)
        if not wanted.destination_ids:
            raise PayloadError("Choose at least one destination.", field="destination_ids")
        check = await check_key(self._client(key.secret), resources, account_id=wanted.account_id)
        connection_id = make_id("con")
        await self._insert(connection_id, wanted, key, check, resources)
        try:
            await self._set_up(connection_id)
        except RejectedError:
            await self._forget(connection_id)
            raise
        except TransientError as error:
            get_logger().warning("set_up_delayed", connection=connection_id, reason=error.message)
        return connection_id

    async def resume_unfinished(self) -> None:
        """Go on with set-ups that were cut off; what can't go on says why on its connection."""
        for connection in await self._connections.list_in_state(State.SETTING_UP):
            try:
                await self._set_up(connection.id)
            except TransientError:
                raise
            except AppError as error:
                others = [state for state in State if state is not State.SETTING_UP]
                await self._connections.set_state(
                    connection.id, State.ACTION_REQUIRED, unless=others, cause_code=error.code, cause=error.message
                )

    async def run(self) -> None:
        """Look for cut-off set-ups, for ever."""
        while True:
            try:
                await self.resume_unfinished()
            except TransientError as error:
                get_logger().warning("set_up_delayed", reason=error.message)
            await asyncio.sleep(RESUME_INTERVAL)

    async def sync_now(self, connection_id: str) -> str:
        """Queue a comparison with Stripe and return the sync's id; raise `ConflictError` unless it is active."""
        connection = await self._connections.get(connection_id)
        if connection.state is not State.ACTIVE:
            raise ConflictError("Only an active connection can be synced. Resume it, or update its key first.")
        sync_id = await self._syncs.reconcile(connection, trigger="requested", now=self._now())
        await self._wake(connection_id, sync_id)
        return sync_id

    async def pause(self, connection_id: str) -> None:
        """Stop calling Stripe for this connection; what Stripe delivers is still written."""
        await self._move(connection_id, State.PAUSED, State.ACTIVE)

    async def resume(self, connection_id: str) -> None:
        """Go on after a pause, from the checkpoint, with the gap filled."""
        await self._move(connection_id, State.ACTIVE, State.PAUSED)
        await self.sync_now(connection_id)

    async def _move(self, connection_id: str, to: State, wanted: State) -> None:
        connection = await self._connections.get(connection_id)
        if connection.state is not wanted:
            raise ConflictError(f"The connection is {connection.state.replace('_', ' ')}, not {wanted}.")
        await self._connections.set_state(connection_id, to, unless=[s for s in State if s is not wanted])

    async def _insert(
        self, connection_id: str, wanted: NewConnection, key: ApiKey, check: KeyCheck, resources: Sequence[Resource]
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
        )

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
        if connection.live_by is LiveBy.POLLING or not self._settings.public_url:
            return int(self._now())
        endpoints = WebhookEndpoints(self._pool, self._settings.key_ring, public_url=self._settings.public_url)
        api = self._client(await self._connections.api_key(connection.id))
        events = webhook_events(BY_NAME[name] for name in connection.resources)
        try:
            return await endpoints.ensure(connection, api, events)
        except KeyInvalidError as error:
            raise explain_invalid(error) from error
        except PermissionMissingError as error:
            raise KeyPermissionsError(describe_missing_webhooks(), field="api_key") from error
        except StripeRefusedError as error:
            raise PayloadError(f"Stripe does not take our webhook endpoint: {error.message}") from error

    async def _forget(self, connection_id: str) -> None:
        """Take back a connection that could not be set up, so that the person can simply try again."""
        with database_errors():
            await self._pool.execute("DELETE FROM connections WHERE id = $1 AND state = 'setting_up'", connection_id)

    async def _wake(self, connection_id: str, sync_id: str) -> None:
        command = RequestSync(connection_id=connection_id, sync_id=sync_id)
        record = Outgoing(connection_id.encode(), command.model_dump_json().encode(), [])
        try:
            await self._producer.publish(COMMANDS, record)
        except KafkaUnavailableError as error:
            # The sync worker finds queued syncs by itself, only a moment later.
            get_logger().warning("wake_failed", sync=sync_id, reason=error.message)

    def _client(self, key: SecretStr) -> StripeApi:
        settings = self._settings
        return StripeApi(
            self._session,
            base=settings.stripe_api_base,
            key=key,
            budget=Unlimited(),
            timeout_seconds=settings.stripe_timeout_seconds,
            attempts=3,
        )


def choose_resources(names: Sequence[str] | None) -> list[Resource]:
    """Return the resources by their names, in the catalogue's order; raise `PayloadError` for an unknown one."""
    if names is None:
        return list(DEFAULT_RESOURCES)
    unknown = [name for name in names if name not in BY_NAME]
    if unknown or not names:
        what = f"`{unknown[0][:80]}` is no resource" if unknown else "No resource is chosen"
        raise PayloadError(f"{what}. docs/resources.md lists them all.", field="resources")
    return [row for row in BY_NAME.values() if row.name in names]
