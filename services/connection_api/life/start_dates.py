"""From when on objects are kept: what a date would cost, and what follows when it is moved."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr

from services.connection_api.life.at_stripe import AtStripe
from services.connection_api.life.estimates import NOTHING, Range, Span, in_words, largest, sample, seconds_for
from services.connection_api.life.setups import Setups
from services.connection_api.settings import ApiSettings
from shared.audit import Actor, append
from shared.catalogue import BY_NAME, DEFAULT_RESOURCES, RESOURCES, TABLES
from shared.cleanups import request_cleanup
from shared.connections import Connection, ConnectionStore, State
from shared.db import Connection as Database
from shared.db import Pool, database_errors, transaction
from shared.destinations import DestinationStore
from shared.errors import ConflictError, DestinationUnavailableError, PayloadError
from shared.postgres_rows import count_rows
from shared.syncs import Kind, SyncStore

SINGLETONS = {row.table for row in RESOURCES if row.is_singleton}  # kept whatever their age
READ_BEFORE = """
SELECT s.resource, sum(s.records)::bigint AS records FROM slices s JOIN syncs y ON y.id = s.sync_id
WHERE s.connection_id = $1 AND y.kind = 'backfill' GROUP BY s.resource
"""
# Another connection that has all of this account from then on, at a destination that holds it.
READ_ELSEWHERE = """
SELECT c.resources, l.destination_id FROM connections c JOIN connection_destinations l ON l.connection_id = c.id
WHERE c.account_id = $1 AND c.livemode = $2 AND c.state <> 'removing'
  AND (c.start_date IS NULL OR c.start_date <= $3)
  AND EXISTS (SELECT FROM syncs y WHERE y.connection_id = c.id AND y.kind = 'backfill' AND y.status = 'succeeded')
  AND NOT EXISTS (SELECT FROM syncs y WHERE y.connection_id = c.id AND y.kind = 'backfill'
                  AND y.status IN ('queued', 'running', 'paused'))
ORDER BY c.created_at LIMIT 1
"""
LOCK = "SELECT start_date FROM connections WHERE id = $1 FOR NO KEY UPDATE"
STORE = "UPDATE connections SET start_date = $2 WHERE id = $1"
# What is still to be read of the past ends at the new date too.
SHORTEN = """
UPDATE slices SET range_start = greatest(range_start, $2)
WHERE connection_id = $1 AND status = 'planned' AND range_end IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a start date would cost."""

    objects: int | None  # about so many
    objects_least: int | None
    objects_most: int | None
    seconds: float | None
    is_known: bool  # counted where this account was read before, not estimated
    calls: int
    older_rows: int | None
    sentence: str
    by_resource: Mapping[str, int | None]


def _nothing(sentence: str, *, older_rows: int | None = 0) -> Estimate:
    return Estimate(0, 0, 0, 0.0, True, 0, older_rows, sentence, {})


class StartDates:
    """The use cases of a connection's start date."""

    def __init__(
        self,
        pool: Pool,
        settings: ApiSettings,
        at_stripe: AtStripe,
        setups: Setups,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._at_stripe = at_stripe
        self._setups = setups
        self._now = now
        self._connections = ConnectionStore(pool, settings.key_ring)
        self._destinations = DestinationStore(pool, settings.key_ring)
        self._syncs = SyncStore(pool)

    async def estimate(self, connection_id: str, start_date: datetime | None) -> Estimate:
        """Return about what has to be fetched for an earlier date, and how many rows are older than a later one.

        It costs at most twelve calls, and none where another connection has read this account already. Raises
        `PayloadError` for a date in the future, `NotFoundError`, and `StripeUnavailableError`.
        """
        self._require_past(start_date)
        connection = await self._connections.get(connection_id)
        if is_later(start_date, connection.start_date):
            return await self._estimate_later(connection, start_date)
        if start_date == connection.start_date:
            return _nothing("This is the start date as it is.")
        known = await self._read_before(connection_id)
        key = await self._connections.api_key(connection_id)
        span = (start_date, connection.start_date)
        account = (connection.account_id, connection.livemode)
        if counted := await self._count_elsewhere(account, connection.resources, *span):
            return self._told(counted, calls=0, livemode=connection.livemode, is_known=True)
        end = connection.start_seconds or int(self._now())
        return await self._sample(key, connection.resources, known, start_date, end, livemode=connection.livemode)

    async def estimate_for_setup(self, setup_id: str, start_date: datetime | None) -> Estimate:
        """Return about what has to be fetched when a set-up is finished with this date; raises what `estimate` does."""
        self._require_past(start_date)
        setup = await self._setups.get(setup_id)
        key = await self._setups.api_key(setup_id)
        names = [row.name for row in DEFAULT_RESOURCES]
        livemode = bool(setup.key_check["livemode"])
        account = (str(setup.key_check["account_id"]), livemode)
        if counted := await self._count_elsewhere(account, names, start_date, None):
            return self._told(counted, calls=0, livemode=livemode, is_known=True)
        return await self._sample(key, names, {}, start_date, int(self._now()), livemode=livemode)

    async def set(
        self, connection_id: str, start_date: datetime | None, *, delete_older: bool = False, by: Actor
    ) -> None:
        """Move the start date: an earlier one has the new range fetched, a later one drops what comes of older objects.

        Rows of older objects stay unless `delete_older`. Raises `PayloadError` for a date in the future and
        `ConflictError` while the connection is being made or removed.
        """
        self._require_past(start_date)
        connection = await self._connections.get(connection_id)
        if connection.state in (State.SETTING_UP, State.REMOVING):
            raise ConflictError(f"The connection is {connection.state.replace('_', ' ')}. Try again later.")
        async with transaction(self._pool) as db:
            before = await db.fetchval(LOCK, connection_id)
            await db.execute(STORE, connection_id, start_date)
            if is_later(start_date, before):
                await self._follow_later(db, connection, start_date, delete_older=delete_older)
            elif start_date != before:
                await self._follow_earlier(db, connection, start_date, before)
            moved = {"before": _text(before), "after": _text(start_date), "delete_older": delete_older}
            await append(db, by, "connection.start_date_set", connection_id, **moved)

    async def _follow_later(
        self, db: Database, connection: Connection, start_date: datetime | None, *, delete_older: bool
    ) -> None:
        await db.execute(SHORTEN, connection.id, int(start_date.timestamp()) if start_date else None)
        for destination_id in connection.destination_ids if delete_older else ():
            await request_cleanup(
                db,
                connection.id,
                destination_id,
                (connection.account_id, connection.livemode),
                resources=[row.name for row in RESOURCES if not row.is_singleton],
                created_before=start_date,
            )

    async def _follow_earlier(
        self, db: Database, connection: Connection, start_date: datetime | None, before: datetime | None
    ) -> None:
        """Have the new range fetched; lists that can't be cut by date are read whole, and the rule cuts them."""
        await self._syncs.create(
            connection.id,
            Kind.BACKFILL,
            trigger="start date moved",
            resources=[name for name in connection.resources if BY_NAME[name].has_id],
            range_start=start_date,
            range_end=before,
            db=db,
        )

    async def _estimate_later(self, connection: Connection, start_date: datetime | None) -> Estimate:
        older = await self._count_older(connection, start_date)
        what = "some rows" if older is None else "1 row" if older == 1 else f"{older:,} rows"
        if older == 0:
            return _nothing("Nothing has to be fetched, and no row is of an older object.")
        sentence = f"Nothing has to be fetched. The destination has {what} of older objects."
        return _nothing(sentence, older_rows=older)

    async def _count_older(self, connection: Connection, start_date: datetime | None) -> int | None:
        async def count(destination_id: str) -> int:
            destination = await self._destinations.get(destination_id)
            counts = await count_rows(
                destination.address,
                await self._destinations.password(destination_id),
                connection.account_id,
                connection.livemode,
                [table for table in TABLES if table not in SINGLETONS],
                created_before=start_date,
                networks=self._settings.networks,
            )
            return sum(counts.values())

        try:
            return sum(await asyncio.gather(*map(count, connection.destination_ids)))
        except DestinationUnavailableError:
            return None

    async def _sample(
        self,
        key: SecretStr,
        resources: Sequence[str],
        known: Mapping[str, int],
        start_date: datetime | None,
        end: int,
        *,
        livemode: bool,
    ) -> Estimate:
        wanted = Range(int(start_date.timestamp()) if start_date else None, end)
        found = await sample(self._at_stripe.client(key), largest(resources, known), wanted)
        return self._told(found.by_resource, calls=found.calls, livemode=livemode, is_known=False)

    def _told(self, by_resource: Mapping[str, Span | None], *, calls: int, livemode: bool, is_known: bool) -> Estimate:
        """Say what was counted or sampled, and how long it takes to fetch."""
        about = {name: None if span is None else round(span.about) for name, span in by_resource.items()}
        spans = {name: span for name, span in by_resource.items() if span is not None}
        if not spans:
            return Estimate(None, None, None, None, False, calls, 0, in_words(None, None), about)

        def seconds(end: str) -> float:
            counts = {name: getattr(span, end) for name, span in spans.items()}
            return seconds_for(counts, livemode=livemode, share=self._settings.stripe_budget_share)

        total = sum(spans.values(), NOTHING)
        sentence = in_words((total.least, total.most), (seconds("least"), seconds("most")))
        if is_known and total.most:
            sentence = f"{sentence} Counted where this account was read before."
        elif total.most:
            sentence = f"{sentence} Estimated from a sample of the largest lists; the smaller ones come on top."
        sizes = (round(total.about), round(total.least), round(total.most))
        return Estimate(*sizes, seconds("about"), is_known, calls, 0, sentence, about)

    async def _count_elsewhere(
        self, account: tuple[str, bool], resources: Sequence[str], start: datetime | None, end: datetime | None
    ) -> dict[str, Span | None] | None:
        """Return how many rows another connection of this account has of the range; `None` where there is none."""
        with database_errors():
            row = await self._pool.fetchrow(READ_ELSEWHERE, *account, start)
        if row is None:
            return None
        named = {name: BY_NAME[name].table for name in resources if name in row["resources"]}
        destination = await self._destinations.get(row["destination_id"])
        password = await self._destinations.password(destination.id)
        place = (destination.address, password, *account, list(named.values()))
        try:
            before_end = await count_rows(*place, created_before=end)
            before_start = await count_rows(*place, created_before=start) if start else {}
        except DestinationUnavailableError:
            return None
        counts = {name: before_end.get(table, 0) - before_start.get(table, 0) for name, table in named.items()}
        return {name: Span(*[counts[name]] * 3) if name in counts else None for name in resources}

    async def _read_before(self, connection_id: str) -> dict[str, int]:
        with database_errors():
            rows = await self._pool.fetch(READ_BEFORE, connection_id)
        return {row["resource"]: row["records"] for row in rows}

    def _require_past(self, start_date: datetime | None) -> None:
        if start_date and start_date.timestamp() > self._now():
            raise PayloadError("The start date lies in the future. Choose today or an earlier day.", field="start_date")


def is_later(one: datetime | None, other: datetime | None) -> bool:
    """Tell whether `one` keeps less than `other`; no date keeps everything."""
    return one is not None and (other is None or one > other)


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
