"""From where the rows of a connection are read: one of its destinations, with its own login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.connections import Connection, ConnectionStore
from shared.destinations import Destination, DestinationStore
from shared.errors import NotFoundError
from shared.postgres_reading import Read, Reader
from shared.postgres_tables import quote


@dataclass(frozen=True, slots=True)
class Source:
    """A connection, the destination of it that is looked at, and those that could be."""

    connection: Connection
    destination: Destination
    others: Sequence[Destination]  # all of the connection's, by name, the chosen one among them

    @property
    def schema(self) -> str:
        """The schema in which the rows lie."""
        return self.destination.address.schema

    @property
    def account(self) -> tuple[str, bool]:
        """The values of `OF_ACCOUNT`: whose rows they are, and of which mode."""
        return self.connection.account_id, self.connection.livemode

    def name_of(self, table: str) -> str:
        """Return the table's name with its schema, quoted."""
        return f"{quote(self.schema)}.{quote(table)}"


class Sources:
    """Finds sources and opens them; every method raises `DatabaseUnavailableError`."""

    def __init__(self, connections: ConnectionStore, destinations: DestinationStore, reader: Reader) -> None:
        self._connections = connections
        self._destinations = destinations
        self._reader = reader

    async def find(self, connection_id: str, destination_id: str | None = None) -> Source:
        """Return the source at the destination, or at the connection's first one by name; raise `NotFoundError`."""
        connection = await self._connections.get(connection_id)
        found = [await self._destinations.get(one) for one in connection.destination_ids]
        found.sort(key=lambda one: (one.name.lower(), one.id))
        wanted = [one for one in found if destination_id in (None, one.id)]
        if not wanted:
            raise NotFoundError(
                f"{connection.name} does not deliver to the destination {destination_id}."
                if destination_id
                else f"{connection.name} delivers to no destination. Choose one under What is synced."
            )
        return Source(connection, wanted[0], found)

    @asynccontextmanager
    async def open(self, source: Source) -> AsyncIterator[Read]:
        """Yield what reads there, read-only; raises what `Reader.open` raises, and `SecretUnreadableError`."""
        password = await self._destinations.password(source.destination.id)
        async with self._reader.open(source.destination.address, password) as read:
            yield read
