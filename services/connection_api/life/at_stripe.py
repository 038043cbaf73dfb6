"""What the API does at Stripe while a person waits: clients without our share's pace, and our webhook endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aiohttp
from pydantic import SecretStr

from services.connection_api.settings import ApiSettings
from shared.catalogue import BY_NAME, webhook_events
from shared.connections import Connection, LiveBy
from shared.db import Pool
from shared.errors import AppError, KeyInvalidError, PayloadError, PermissionMissingError, StripeRefusedError
from shared.key_check import KeyPermissionsError, describe_missing_webhooks, explain_invalid
from shared.log import get_logger
from shared.stripe_api import StripeApi, Unlimited
from shared.webhook_endpoints import WebhookEndpoints

ATTEMPTS = 3  # of a call, while a person waits


class AtStripe:
    """Makes clients, and keeps our endpoints as they have to be."""

    def __init__(self, pool: Pool, settings: ApiSettings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self.endpoints = WebhookEndpoints(pool, settings.key_ring, public_url=settings.public_url or "")

    def client(self, key: SecretStr) -> StripeApi:
        """Return a client that may use all of Stripe's limit for its few calls."""
        settings = self._settings
        return StripeApi(
            self._session,
            base=settings.stripe_api_base,
            key=key,
            budget=Unlimited(),
            timeout_seconds=settings.stripe_timeout_seconds,
            attempts=ATTEMPTS,
        )

    def has_endpoint(self, connection: Connection) -> bool:
        """Tell whether Stripe delivers the connection's changes to us."""
        return connection.live_by is LiveBy.WEBHOOKS and bool(self._settings.public_url)

    async def ensure_endpoint(
        self,
        connection: Connection,
        api: StripeApi,
        *,
        resources: Sequence[str] | None = None,
        proves_key: bool = False,
    ) -> int:
        """Let Stripe deliver the events of `resources`, by default the connection's.

        Returns the second of Stripe's clock from which on every event reaches us. Raises `KeyRefusedError`,
        `ConflictError` and `PayloadError`, each with what a person can do.
        """
        with refusals():
            events = events_of(resources or connection.resources)
            return await self.endpoints.ensure(connection, api, events, proves_key=proves_key)

    async def rotate_secret(self, connection: Connection, api: StripeApi) -> None:
        """Give our endpoint a new secret; raise what `ensure_endpoint` raises."""
        with refusals():
            await self.endpoints.rotate(connection, api, events_of(connection.resources))

    async def sweep_probes(self) -> None:
        """Delete what a key check that was cut off by a crash has left at Stripe, each by itself."""
        if not self._settings.public_url:
            return
        for probe_id, key in await self.endpoints.left_probes():
            try:
                await self.endpoints.remove_probe(probe_id, self.client(key))
            except AppError as error:
                get_logger().warning("probe_left", endpoint=probe_id, code=error.code, reason=error.message)


def events_of(resources: Sequence[str]) -> tuple[str, ...]:
    """Return the event types of the resources."""
    return webhook_events(BY_NAME[name] for name in resources)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn Stripe's refusals of our endpoint into what the person who waits is told."""
    try:
        yield
    except KeyInvalidError as error:
        raise explain_invalid(error) from error
    except PermissionMissingError as error:
        raise KeyPermissionsError(describe_missing_webhooks(), field="api_key") from error
    except StripeRefusedError as error:
        raise PayloadError(f"Stripe does not take our webhook endpoint: {error.message}") from error
