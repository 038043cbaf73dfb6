"""The open destinations, each behind a deadline and a breaker: one that fails is left alone for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import SecretStr

from services.destination_writer.comparison import Compared
from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import Account, Cleaned, Destination, Older, Span, Written
from services.destination_writer.records import ChildPart, Record
from shared.catalogue import Resource
from shared.destinations import Destination as DestinationRow
from shared.destinations import DestinationStore
from shared.errors import AppError, DestinationUnavailableError, TransientError
from shared.log import get_logger
from shared.retries import pause_seconds

LONGEST_REST = 30.0  # seconds between two tries of a destination that fails
LOOK_INTERVAL = 1.0  # seconds between two looks for a destination that is new
PREPARE_DEADLINE = 10.0  # seconds; no record waits for it
T = TypeVar("T")
CleaningStep = Callable[[Destination, str | None], Awaitable[Cleaned]]
Open = Callable[[DestinationRow, SecretStr], Destination]


class Outlet:
    """One destination, with its breaker."""

    def __init__(
        self, destination: Destination, *, version: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`version` is that of the address and password by which the destination was opened."""
        self._destination = destination
        self.version = version
        self._clock = clock
        self._failures = 0
        self._rest_until = float("-inf")

    @property
    def is_resting(self) -> bool:
        """Whether the destination failed a moment ago and is not tried yet."""
        return self._clock() < self._rest_until

    async def write(self, account: Account, winners: Sequence[Winner], deadline_seconds: float) -> list[Written]:
        """Write within the deadline; raise `DestinationUnavailableError` or `DestinationRejectedError`."""
        if not winners:
            return []
        return await self._guarded(lambda: self._destination.write(account, winners), deadline_seconds)

    async def prepare(self) -> None:
        """Let the destination make its tables; raise `DestinationUnavailableError`."""
        await self._guarded(self._destination.prepare, PREPARE_DEADLINE)

    async def write_children(self, account: Account, part: ChildPart, deadline_seconds: float) -> bool:
        """Write a part of a child set within the deadline, and tell whether its parent was there."""
        return await self._guarded(lambda: self._destination.write_children(account, part), deadline_seconds)

    async def clean(self, step: CleaningStep, after: str | None, deadline_seconds: float) -> Cleaned:
        """Let a cleanup work on the rows that follow the id `after`, within the deadline."""
        return await self._guarded(lambda: step(self._destination, after), deadline_seconds)

    async def compare(self, account: Account, records: Sequence[Record], deadline_seconds: float) -> list[Compared]:
        """Compare records with their rows within the deadline."""
        return await self._guarded(lambda: self._destination.compare(account, records), deadline_seconds)

    async def find_older(
        self, account: Account, resource: Resource, older: Older, after: str | None, deadline_seconds: float
    ) -> Span:
        """Return the live rows of a span that a list has not shown, within the deadline."""
        return await self._guarded(
            lambda: self._destination.find_older(account, resource, older, after=after), deadline_seconds
        )

    async def close(self) -> None:
        """Close the destination."""
        await self._destination.close()

    async def _guarded(self, call: Callable[[], Awaitable[T]], deadline_seconds: float) -> T:
        if self.is_resting:
            raise DestinationUnavailableError("The destination failed a moment ago.")
        try:
            async with asyncio.timeout(deadline_seconds):
                answer = await call()
        except TimeoutError as error:
            self._rest()
            raise DestinationUnavailableError(f"The destination took longer than {deadline_seconds:g} s.") from error
        except DestinationUnavailableError:
            self._rest()
            raise
        self._failures = 0
        return answer

    def _rest(self) -> None:
        self._rest_until = self._clock() + pause_seconds(self._failures, base=0.5, cap=LONGEST_REST)
        self._failures += 1


class Outlets:
    """The outlets by destination, opened when they are first needed."""

    def __init__(self, store: DestinationStore, open_destination: Open) -> None:
        self._store = store
        self._open = open_destination
        self._outlets: dict[str, Outlet] = {}

    async def get(self, destination_id: str) -> Outlet:
        """Return the outlet; raise `NotFoundError` or `DatabaseUnavailableError`."""
        if destination_id not in self._outlets:
            row = await self._store.get(destination_id)
            password = await self._store.password(destination_id)
            self._outlets.setdefault(destination_id, Outlet(self._open(row, password), version=row.version))
        return self._outlets[destination_id]

    async def run(self) -> None:
        """Follow what becomes of destinations, for ever: one that is new has its tables before its first record."""
        async with asyncio.TaskGroup() as tasks:
            # Apart, since preparing one that does not answer takes its time.
            tasks.create_task(_repeat(self.close_outdated))
            tasks.create_task(_repeat(self.prepare_new))

    async def close_outdated(self) -> None:
        """Close the destinations that were deleted, and those whose address or password is another one by now."""
        known = dict(self._outlets)
        versions = {row.id: row.version for row in await self._list()}
        outdated = [one for one, outlet in known.items() if versions.get(one) != outlet.version]
        await asyncio.gather(*(self._outlets.pop(destination_id).close() for destination_id in outdated))

    async def prepare_new(self) -> None:
        """Open and prepare the destinations that are not open yet; one that can't be is left to its first record."""
        new = [row.id for row in await self._list() if row.id not in self._outlets]
        for answer in await asyncio.gather(*map(self._prepare, new), return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, AppError):
                raise answer

    async def _prepare(self, destination_id: str) -> None:
        await (await self.get(destination_id)).prepare()

    async def _list(self) -> list[DestinationRow]:
        rows: list[DestinationRow] = []
        while page := await self._store.list_page(after=rows[-1].id if rows else ""):
            rows += page
        return rows

    async def close(self) -> None:
        """Close every destination."""
        outlets, self._outlets = self._outlets, {}
        await asyncio.gather(*(outlet.close() for outlet in outlets.values()))


async def _repeat(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await look()
        except TransientError as error:
            get_logger().warning("look_at_destinations_delayed", reason=error.message)
        await asyncio.sleep(LOOK_INTERVAL)
