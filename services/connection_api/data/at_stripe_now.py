"""Asks Stripe for one object as it is now, to compare it with its row."""

from __future__ import annotations

from services.connection_api.life.at_stripe import AtStripe
from shared.catalogue import Resource
from shared.connections import ConnectionStore
from shared.stripe_api import object_path


class AtStripeNow:
    """Asks with the key of a connection."""

    def __init__(self, connections: ConnectionStore, at_stripe: AtStripe) -> None:
        self._connections = connections
        self._at_stripe = at_stripe

    async def read(self, connection_id: str, resource: Resource, object_id: str) -> bytes:
        """Return an object as Stripe has it now; raises what `StripeApi.retrieve` raises, and what the store raises."""
        api = self._at_stripe.client(await self._connections.api_key(connection_id))
        path = object_path(resource.retrieve_path, object_id)
        return (await api.retrieve(path, [("expand[]", field) for field in resource.expand])).body
