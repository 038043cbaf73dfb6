"""Dispatch, retry and cleaning over a real state database, with two destinations in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from services.destination_writer.breaker import Breaker
from services.destination_writer.cleaning import Cleaning
from services.destination_writer.destinations import Destination
from services.destination_writer.dispatch import Dispatch, Result
from services.destination_writer.ledger import Ledger
from services.destination_writer.outlets import Outlets
from services.destination_writer.parking import Parking
from services.destination_writer.records import Parsed, Record
from services.destination_writer.retry import Retry
from services.destination_writer.routing import Routes
from shared.cleanups import CleanupStore
from tests.eventually import eventually
from tests.fakes import MemoryDestination
from tests.integration.destination_writer.state import State


class Office:
    """The parts of a writer, without Kafka; nothing may be rejected unless `may_reject`."""

    def __init__(self, state: State, bad: str, good: str, outlets: Outlets | None = None) -> None:
        self.state, self.bad_id, self.good_id = state, bad, good
        self.destinations: dict[str, Destination] = {bad: MemoryDestination(), good: MemoryDestination()}
        self.may_reject = False
        self.rejected: list[tuple[str, str]] = []
        self.parking = Parking(state.pool, cap=1000)
        self.cleanups = CleanupStore(state.pool)
        self.routes = Routes(state.pool)
        self.outlets = outlets or Outlets(state.destinations, lambda row, password: self.destinations[row.id])
        self.dispatch = Dispatch(self.routes, self.outlets, self.parking, self.reject, breaker=Breaker(state.pool))
        self.ledger = Ledger(state.pool, "cluster")
        self.retry = Retry(self.parking, self.routes, self.dispatch, self.ledger)
        self.cleaning = self.cleaning_by(self.cleanups)

    def cleaning_by(self, cleanups: CleanupStore) -> Cleaning:
        return Cleaning(cleanups, self.routes, self.outlets, self.parking, self.state.pool)

    async def reject(self, record: Record, destination_id: str, error: Exception) -> None:
        if not self.may_reject:
            raise AssertionError(f"{record.object_id} was rejected") from error
        self.rejected.append((record.object_id, type(error).__name__))

    async def deliver(self, *records: Record, deadline_seconds: float = 0.1) -> Result:
        batch = [Parsed(record.connection_id, record.position, record=record) for record in records]
        return await self.dispatch.deliver(batch, deadline_seconds=deadline_seconds)

    async def make_due(self) -> None:
        await self.state.pool.execute("UPDATE parked_records SET next_try_at = now()")
        await self.state.pool.execute("UPDATE cleanups SET not_before = now()")

    async def rested(self) -> None:
        """Wait until the bad destination may be tried again, and make what waits for it due."""
        outlet = await self.outlets.get(self.bad_id)
        await eventually(lambda: not outlet.is_resting)
        await self.make_due()

    def has(self, sql: str, wanted: Any, *values: Any) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return bool(await self.state.value(sql, *values) == wanted)

        return check

    async def parked(self) -> list[tuple[Any, ...]]:
        return await self.state.rows("SELECT object_id, stamp FROM parked_records ORDER BY 1")
