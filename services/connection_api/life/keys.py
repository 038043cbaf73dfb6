"""Checks keys and replaces them: the old key works until the new one has passed, and then one statement swaps them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from pydantic import SecretStr

from services.connection_api.life.at_stripe import AtStripe
from services.connection_api.life.choices import choose_resources
from services.connection_api.life.connect import Connect
from services.connection_api.life.key_report import KeyReport, make_report
from services.connection_api.settings import ApiSettings
from shared.api_keys import ApiKey, parse_api_key
from shared.audit import Actor, append
from shared.catalogue import BY_NAME, RESOURCES
from shared.connections import Connection, ConnectionStore, LiveBy, State
from shared.crypto import fingerprint
from shared.db import Pool, transaction
from shared.errors import AppError, ConflictError, KeyInvalidError, KeyRefusedError, PermissionMissingError
from shared.key_check import Grant, KeyAccountError, KeyCheck, KeyPermissionsError, explain_invalid, probe_key
from shared.stripe_api import StripeApi
from shared.syncs import SyncStore

NOBODY = Actor("connection_api")


class KeyModeError(KeyRefusedError):
    """This key is of the other mode (live or test) than the connection."""

    code = "api_key_other_mode"


class Keys:
    """The use cases of a connection's key."""

    def __init__(
        self,
        pool: Pool,
        settings: ApiSettings,
        at_stripe: AtStripe,
        connect: Connect,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._at_stripe = at_stripe
        self._connect = connect
        self._now = now
        self._connections = ConnectionStore(pool, settings.key_ring)
        self._syncs = SyncStore(pool)

    async def check(
        self,
        api_key: SecretStr,
        *,
        connection_id: str | None = None,
        account_id: str | None = None,
        resources: Sequence[str] | None = None,
        by: Actor = NOBODY,
    ) -> KeyReport:
        """Tell what the key may do; a missing permission is reported, not raised.

        With `connection_id` it is checked as that connection's next key, and the audit log notes it. Nothing
        else is kept, neither here nor at Stripe.
        Raises `KeyRefusedError`, `PayloadError`, `ConflictError` and `StripeUnavailableError`.
        """
        if connection_id:
            connection = await self._connections.get(connection_id)
            key = self._parse(api_key)
            report, _ = await self._check_next(connection, key, by)
            if report.passed:
                await self._note_check(connection, key, by, None)
            return report
        key = self._parse(api_key)
        wanted = choose_resources(resources)
        check, webhooks = await self._probe(key, self._at_stripe.client(key.secret), account_id)
        return make_report(key, check, webhooks=webhooks, wanted=[row.name for row in wanted])

    async def update(self, connection_id: str, api_key: SecretStr, *, by: Actor) -> None:
        """Replace the connection's key; syncing goes on from where it stopped, and the gap since then is filled.

        Raises what `check` raises, and `KeyPermissionsError` when something required is missing: then the old key
        stays.
        """
        connection = await self._connections.get(connection_id)
        if connection.state is State.REMOVING:
            raise ConflictError("This connection is being removed.")
        key = self._parse(api_key)
        report, api = await self._check_next(connection, key, by)
        if not report.passed:
            raise KeyPermissionsError(report.sentence, field="api_key")
        if self._at_stripe.has_endpoint(connection):
            await self._at_stripe.ensure_endpoint(connection, api, proves_key=True)
        async with transaction(self._pool) as db:
            state = await self._connections.replace_key(db, connection_id, key)
            if state is State.ACTIVE:
                await self._syncs.reconcile(connection, trigger="key updated", now=self._now(), db=db)
            hashed = fingerprint(key.secret.get_secret_value())
            await append(db, by, "connection.key_updated", connection_id, key=hashed)
        if state is State.SETTING_UP:
            await self._connect.resume_unfinished()

    async def rotate_webhook_secret(self, connection_id: str, *, by: Actor) -> None:
        """Give our endpoint at Stripe a new secret; raise `ConflictError` where there is none."""
        connection = await self._connections.get(connection_id)
        if connection.state not in (State.ACTIVE, State.PAUSED) or not self._at_stripe.has_endpoint(connection):
            raise ConflictError(
                "This connection has no webhook secret: its changes are found by polling."
                if connection.live_by is LiveBy.POLLING
                else "The webhook secret can be rotated once the connection is live."
            )
        api = self._at_stripe.client(await self._connections.api_key(connection_id))
        await self._at_stripe.rotate_secret(connection, api)
        async with transaction(self._pool) as db:
            if connection.state is State.ACTIVE:
                await self._syncs.reconcile(connection, trigger="webhook secret rotated", now=self._now(), db=db)
            await append(db, by, "connection.webhook_secret_rotated", connection_id)

    def _parse(self, api_key: SecretStr) -> ApiKey:
        return parse_api_key(api_key.get_secret_value(), allow_test=self._settings.allow_test_keys)

    async def _check_next(self, connection: Connection, key: ApiKey, by: Actor) -> tuple[KeyReport, StripeApi]:
        """Check a key that shall replace the connection's; return the report and the client that was used.

        The audit log tells of one that did not pass: it is no sync, and says nothing of the key in use.
        """
        self._require_mode(connection, key)
        api = self._at_stripe.client(key.secret)
        try:
            report = await self._probe_next(connection, key, api)
        except AppError as error:
            await self._note_check(connection, key, by, error.code)
            raise
        if not report.passed:
            await self._note_check(connection, key, by, KeyPermissionsError.code)
        return report, api

    async def _note_check(self, connection: Connection, key: ApiKey, by: Actor, code: str | None) -> None:
        hashed = fingerprint(key.secret.get_secret_value())
        result = code or "passed"
        async with transaction(self._pool) as db:
            await append(db, by, "connection.key_checked", connection.id, key=hashed, result=result)

    def _require_mode(self, connection: Connection, key: ApiKey) -> None:
        if key.livemode != connection.livemode:
            ours, theirs = ("live", "test") if connection.livemode else ("test", "live")
            raise KeyModeError(
                f"This is a {theirs} mode key, and {connection.account_name} is connected in {ours} mode. "
                f"Create a restricted key in {ours} mode.",
                field="api_key",
            )

    async def _probe_next(self, connection: Connection, key: ApiKey, api: StripeApi) -> KeyReport:
        wanted = [name for name in connection.resources if BY_NAME[name].is_default]
        if not self._at_stripe.has_endpoint(connection):
            check = await probe_key(api, RESOURCES, account_id=connection.account_id)
            return make_report(key, check, webhooks=None, wanted=wanted)
        check, webhooks = await self._probe(key, api, connection.account_id)
        if not check.is_account_certain and webhooks is Grant.GRANTED:
            await self._require_same_account(connection, api)
        return make_report(key, check, webhooks=webhooks, wanted=wanted)

    async def _require_same_account(self, connection: Connection, api: StripeApi) -> None:
        """Raise `KeyAccountError` when Stripe shows the key another account's webhook endpoints."""
        if await self._at_stripe.endpoints.is_known(connection, api) is False:
            raise KeyAccountError(
                f"This key does not see the webhook endpoint of {connection.account_name} ({connection.account_id}), "
                "so it seems to belong to another Stripe account.",
                field="api_key",
            )

    async def _probe(self, key: ApiKey, api: StripeApi, account_id: str | None) -> tuple[KeyCheck, Grant | None]:
        """Probe reading and, with a public URL, writing endpoints, at the same time."""
        if not self._settings.public_url:
            return await probe_key(api, RESOURCES, account_id=account_id), None
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(probe_key(api, RESOURCES, account_id=account_id))
                writing = tasks.create_task(self._probe_webhooks(key, api))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return reading.result(), writing.result()

    async def _probe_webhooks(self, key: ApiKey, api: StripeApi) -> Grant:
        try:
            await self._at_stripe.endpoints.prove(key.secret, api)
        except PermissionMissingError:
            return Grant.MISSING
        except KeyInvalidError as error:
            raise explain_invalid(error) from error
        return Grant.GRANTED
