"""What the REST API tells of connections: their row, the status that the dashboard shows, the newest backfill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.connection_api.account_filter import AccountFilter
from services.connection_api.freshness import Freshness, FreshnessReader
from services.connection_api.overview import Card, Overview
from services.connection_api.rest.models import (
    BackfillAnswer,
    ConnectionAnswer,
    FreshnessAnswer,
    OwedAnswer,
    Page,
    StatusAnswer,
)
from shared.connections import Connection, ConnectionStore
from shared.db import Pool, database_errors
from shared.syncs import SyncStore

NEWEST_BACKFILLS = """
SELECT DISTINCT ON (connection_id) connection_id, id FROM syncs
WHERE connection_id = ANY ($1::text[]) AND kind = 'backfill' ORDER BY connection_id, created_at DESC, id DESC
"""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Reads:
    """Every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool, freshness: FreshnessReader, *, now: Callable[[], datetime] = utc_now) -> None:
        """`now` gives the time with its zone."""
        self._pool = pool
        self._freshness = freshness
        self._now = now
        self._overview = Overview()

    async def describe(self, connection: Connection) -> ConnectionAnswer:
        """Return the connection; raise `NotFoundError` when it is gone meanwhile."""
        card = await self._overview.one(self._pool, connection.id, now=self._now())
        return (await self._answers([connection], [card]))[0]

    async def page(self, store: ConnectionStore, wanted: AccountFilter, *, limit: int) -> Page[ConnectionAnswer]:
        """Return the connections that are wanted, by the account's name."""
        accounts = await self._overview.read(self._pool, wanted, now=self._now(), limit=limit)
        connections = await store.list_by_id([card.id for card in accounts.cards])
        return Page[ConnectionAnswer](
            data=tuple(await self._answers(connections, accounts.cards)), next_cursor=accounts.next_cursor
        )

    async def _answers(self, connections: Sequence[Connection], cards: Sequence[Card]) -> list[ConnectionAnswer]:
        by_id = {connection.id: connection for connection in connections}
        with database_errors():
            rows = await self._pool.fetch(NEWEST_BACKFILLS, list(by_id))
        backfills = {row["connection_id"]: row["id"] for row in rows}
        fresh = await self._freshness.read(connections, now=self._now())
        shown = [card for card in cards if card.id in by_id and card.id in fresh]  # one can be removed in between
        return [
            _answer(by_id[card.id], card, await self._backfill(backfills.get(card.id)), fresh[card.id])
            for card in shown
        ]

    async def _backfill(self, sync_id: str | None) -> BackfillAnswer | None:
        if sync_id is None:
            return None
        return BackfillAnswer.model_validate(await SyncStore(self._pool).get(sync_id))


def _answer(
    connection: Connection, card: Card, backfill: BackfillAnswer | None, freshness: Freshness
) -> ConnectionAnswer:
    known = {name: getattr(connection, name) for name in Connection.__dataclass_fields__}
    told = {
        "status": StatusAnswer.model_validate(card.status),
        "owed": tuple(OwedAnswer.model_validate(one) for one in card.owed),
        "rows_today": card.rows_today,
        "rows": card.rows,
        "backfill": backfill,
        "freshness": FreshnessAnswer.model_validate(freshness),
    }
    return ConnectionAnswer.model_validate(known | told)
