"""The open destinations, each behind a deadline and a breaker: one that fails is left alone for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import SecretStr

from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import Account, Destination, Written
from services.destination_writer.records import ChildPart
from shared.destinations import Destination as DestinationRow
from shared.destinations import DestinationStore
from shared.errors import AppError, DestinationUnavailableError, TransientError
from shared.log import get_logger
from shared.retries import pause_seconds

LONGEST_REST = 30.0  # seconds between two tries of a destination that fails
LOOK_INTERVAL = 1.0  # seconds between two looks for a destination that is new
PREPARE_DEADLINE = 10.0  # seconds; no record waits for it
T = TypeVar("T")
Open = Callable[[DestinationRow, SecretStr], Destination]


class Outlet:
    """One destination, with its breaker."""

    def __init__(self, destination: Destination, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._destination = destination
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

    async def write_children(self, account: Account, part: ChildPart, deadline_seconds: float) -> None:
        """Write a part of a child set within the deadline."""
        await self._guarded(lambda: self._destination.write_children(account, part), deadline_seconds)

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
            self._outlets.setdefault(destination_id, Outlet(self._open(row, password)))
        return self._outlets[destination_id]

    async def run(self) -> None:
        """Prepare destinations as they are added, for ever: a connection's first record finds its table there."""
        while True:
            try:
                await self.prepare_new()
            except TransientError as error:
                get_logger().warning("preparation_delayed", reason=error.message)
            await asyncio.sleep(LOOK_INTERVAL)

    async def prepare_new(self) -> None:
        """Open and prepare the destinations that are not open yet; one that can't be is left to its first record."""
        new = [row.id for row in await self._store.list_page() if row.id not in self._outlets]
        for answer in await asyncio.gather(*map(self._prepare, new), return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, AppError):
                raise answer

    async def _prepare(self, destination_id: str) -> None:
        await (await self.get(destination_id)).prepare()

    async def close(self) -> None:
        """Close every destination."""
        outlets, self._outlets = self._outlets, {}
        await asyncio.gather(*(outlet.close() for outlet in outlets.values()))
