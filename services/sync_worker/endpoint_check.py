"""Looks whether our webhook endpoint at Stripe is as it has to be, and mends it: Stripe disables one that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.audit import Actor, append
from shared.catalogue import BY_NAME, webhook_events
from shared.connections import Connection
from shared.db import Pool, transaction
from shared.errors import (
    ConflictError,
    ConnectionDisabledError,
    KeyInvalidError,
    PermissionMissingError,
    StripeNotFoundError,
    StripeRefusedError,
    StripeUnavailableError,
    TerminalError,
)
from shared.log import get_logger
from shared.stripe_api import StripeApi
from shared.syncs import EVENT_FEED, Kind, SyncStore
from shared.webhook_endpoints import EndpointsFullError, Repair, WebhookEndpoints

US = Actor("sync_worker")


class EndpointRefusedError(TerminalError):
    """Stripe does not take our webhook endpoint."""

    code = "webhook_missing"


class EndpointCheck:
    """Checks and repairs the endpoint of one connection."""

    def __init__(self, pool: Pool, endpoints: WebhookEndpoints, syncs: SyncStore, *, has_public_url: bool) -> None:
        """Without a public URL nobody knows where the endpoint ought to lead, so it is left as it is."""
        self._pool = pool
        self._endpoints = endpoints
        self._syncs = syncs
        self._has_public_url = has_public_url

    async def check(self, connection: Connection, api: StripeApi) -> None:
        """Repair what is wrong, and queue a gap fill then: Stripe never sends again what it could not deliver.

        Raises `PermissionMissingError` and `EndpointRefusedError` when it can't be repaired, and what the client
        raises.
        """
        if not self._has_public_url:
            get_logger().warning("endpoint_unchecked", connection=connection.id, reason="no public URL is set")
            return
        events = webhook_events(BY_NAME[name] for name in connection.resources)
        with _refusals():
            repairs = await self._endpoints.check(connection, api, events)
        for repair in repairs:
            get_logger().warning("endpoint_repaired", connection=connection.id, repair=repair.name.lower())
        if repairs:
            await self._tell(connection, repairs)

    async def _tell(self, connection: Connection, repairs: list[Repair]) -> None:
        async with transaction(self._pool) as db:
            trigger = ". ".join(repairs)
            await self._syncs.create(connection.id, Kind.GAP_FILL, trigger=trigger, resources=[EVENT_FEED], db=db)
            done = [repair.name.lower() for repair in repairs]
            await append(db, US, "connection.webhook_endpoint_repaired", connection.id, repairs=done)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn Stripe's refusals of our endpoint into what the fault says, and the end of a connection into ours."""
    try:
        yield
    except EndpointsFullError as error:
        raise EndpointRefusedError(error.message) from error
    except ConflictError as error:
        raise ConnectionDisabledError(error.message) from error
    except (KeyInvalidError, PermissionMissingError):
        raise
    except StripeNotFoundError as error:
        raise StripeUnavailableError("The webhook endpoint was deleted while it was being repaired.") from error
    except StripeRefusedError as error:
        raise EndpointRefusedError(f"Stripe does not take our webhook endpoint: {error.message}") from error
