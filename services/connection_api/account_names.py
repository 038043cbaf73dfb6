"""What the pages about syncs, events and destinations read beside the stores: names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from services.connection_api.dashboard.sync_views import Account
from shared.db import Pool, database_errors

MOST_OFFERED = 200  # connections in a list to choose from; the address takes any of them

NAMED = "SELECT id, account_id, account_name, name AS given, livemode FROM connections WHERE id = ANY ($1::text[])"
OFFERED = """
SELECT id, account_id, account_name, name AS given, livemode FROM connections
ORDER BY lower(coalesce(name, account_name)), id LIMIT $1
"""
MATCHING = """
SELECT id, account_id, account_name, name AS given, livemode FROM connections
WHERE id = $1 OR strpos(lower(account_id), lower($1)) > 0 OR strpos(lower(account_name), lower($1)) > 0
   OR strpos(lower(name), lower($1)) > 0
ORDER BY lower(coalesce(name, account_name)), id LIMIT $2
"""
USERS = """
SELECT l.destination_id, c.id, c.account_id, c.account_name, c.name AS given, c.livemode
FROM connection_destinations l JOIN connections c ON c.id = l.connection_id
WHERE l.destination_id = ANY ($1::text[]) ORDER BY lower(coalesce(c.name, c.account_name)), c.id
"""


class AccountNames:
    """Names of connections; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def named(self, connection_ids: Iterable[str]) -> Mapping[str, Account]:
        """Return the connections with these ids; one that is gone is missing."""
        with database_errors():
            rows = await self._pool.fetch(NAMED, sorted(set(connection_ids)))
        return {row["id"]: Account(**row) for row in rows}

    async def matching(self, q: str, *, limit: int) -> Sequence[Account]:
        """Return connections whose id, account or names hold `q`, by name; case does not count."""
        with database_errors():
            return [Account(**row) for row in await self._pool.fetch(MATCHING, q, limit)]

    async def offered(self, chosen: str | None = None) -> Sequence[Account]:
        """Return connections to choose from, by name; `chosen` is among them if it exists."""
        with database_errors():
            offered = [Account(**row) for row in await self._pool.fetch(OFFERED, MOST_OFFERED)]
        if chosen is None or any(one.id == chosen for one in offered):
            return offered
        return [*(await self.named([chosen])).values(), *offered]

    async def by_destination(self, destination_ids: Iterable[str]) -> Mapping[str, Sequence[Account]]:
        """Return which connections deliver to each of the destinations."""
        users: dict[str, list[Account]] = {}
        with database_errors():
            rows = await self._pool.fetch(USERS, list(destination_ids))
        for row in rows:
            users.setdefault(row["destination_id"], []).append(Account(*list(row.values())[1:]))
        return users
