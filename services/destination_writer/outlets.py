"""The open destinations, each behind a deadline: one that fails is left alone for a while.

A batch holds records for many destinations, and waits for the slowest. So one that keeps missing the deadline of live
events is not tried with live events any more: what waits for it is tried instead, where nobody else waits, and it is
well again once that is quick enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import SecretStr

from services.destination_writer.comparison import Compared
from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import Account, Cleaned, Destination, Older, Span, Written
from services.destination_writer.records import ChildPart, Record
from shared.catalogue import Resource
from shared.crypto import SecretUnreadableError
from shared.destinations import Destination as DestinationRow
from shared.destinations import DestinationStore, DestinationUnreadableError
from shared.errors import AppError, DestinationUnavailableError, TransientError
from shared.log import get_logger
from shared.retries import pause_seconds

LONGEST_REST = 60.0  # seconds; longer than the pauses between two tries of what is parked
OPEN_AFTER = 3  # failures in a row
NOTE_INTERVAL = 30.0  # seconds between two notes that a destination can't be opened; what waits is tried that often
LOOK_INTERVAL = 1.0  # seconds between two looks for a destination that is new
PREPARE_DEADLINE = 10.0  # seconds; no record waits for it
T = TypeVar("T")
CleaningStep = Callable[[Destination, str | None], Awaitable[Cleaned]]
Open = Callable[[DestinationRow, SecretStr], Destination]


@dataclass(slots=True)
class Rest:
    """What is known of calls with one deadline."""

    failures: int = 0  # in a row
    rest_until: float = float("-inf")

    def note_failure(self, now: float) -> None:
        """Rest a moment, and after a few failures in a row until something else shows that the destination is well."""
        rest = pause_seconds(self.failures, base=0.5) if self.failures + 1 < OPEN_AFTER else LONGEST_REST
        self.rest_until = now + rest
        self.failures += 1

    def note_success(self) -> None:
        """Let calls through."""
        self.failures, self.rest_until = 0, float("-inf")


class Outlet:
    """One destination, with a rest for each deadline that its callers have."""

    def __init__(
        self, destination: Destination, *, version: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`version` is that of the address and password by which the destination was opened."""
        self._destination = destination
        self.version = version
        self._clock = clock
        self._rests: dict[float, Rest] = {}  # by deadline in seconds

    @property
    def is_resting(self) -> bool:
        """Whether the destination failed a moment ago and is not tried yet by all of its callers."""
        return any(self._clock() < rest.rest_until for rest in self._rests.values())

    async def write(
        self, account: Account, winners: Sequence[Winner], deadline_seconds: float, *, is_try: bool = False
    ) -> list[Written]:
        """Write within the deadline, also to a destination that rests if it `is_try` to see whether it is well.

        Raises `DestinationUnavailableError` or `DestinationRejectedError`.
        """
        if not winners:
            return []
        return await self._guarded(lambda: self._destination.write(account, winners), deadline_seconds, is_try=is_try)

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

    async def _guarded(self, call: Callable[[], Awaitable[T]], deadline_seconds: float, *, is_try: bool = False) -> T:
        own = self._rests.setdefault(deadline_seconds, Rest())
        started = self._clock()
        if started < own.rest_until and not is_try:
            raise DestinationUnavailableError("The destination failed a moment ago.")
        try:
            async with asyncio.timeout(deadline_seconds):
                answer = await call()
        except TimeoutError as error:
            self._note_failure(deadline_seconds)
            raise DestinationUnavailableError(f"The destination took longer than {deadline_seconds:g} s.") from error
        except DestinationUnavailableError:
            self._note_failure(float("inf"))
            raise
        took = self._clock() - started
        for deadline, rest in self._rests.items():
            if took <= deadline:
                rest.note_success()
        return answer

    def _note_failure(self, longest: float) -> None:
        """Note it for all who would not have waited longer."""
        for deadline, rest in self._rests.items():
            if deadline <= longest:
                rest.note_failure(self._clock())


class DestinationUnopenedError(DestinationUnavailableError):
    """What is stored of the destination can't be read: its records wait until a person has done something."""


class Outlets:
    """The outlets by destination, opened when they are first needed."""

    def __init__(self, store: DestinationStore, open_destination: Open) -> None:
        self._store = store
        self._open = open_destination
        self._outlets: dict[str, Outlet] = {}
        self._noted_at: dict[str, float] = {}  # when was last noted that a destination can't be opened

    async def get(self, destination_id: str) -> Outlet:
        """Return the outlet.

        Raises `NotFoundError`, `DatabaseUnavailableError`, or `DestinationUnopenedError` where its secret or its
        address can't be read: then it is away like one that does not answer, and hurts no other.
        """
        if destination_id not in self._outlets:
            try:
                row = await self._store.get(destination_id)
                opened = self._open(row, await self._store.password(destination_id))
            except (SecretUnreadableError, DestinationUnreadableError) as error:
                await self._note(destination_id, error)
                raise DestinationUnopenedError(error.message) from error
            await self._store.forget_unopened(destination_id)
            self._outlets.setdefault(destination_id, Outlet(opened, version=row.version))
        return self._outlets[destination_id]

    async def _note(self, destination_id: str, error: SecretUnreadableError | DestinationUnreadableError) -> None:
        """Tell people why nothing is written there, now and then."""
        now = time.monotonic()
        if now - self._noted_at.get(destination_id, float("-inf")) < NOTE_INTERVAL:
            return
        self._noted_at[destination_id] = now
        get_logger().warning("destination_unopened", destination=destination_id, reason=error.message)
        await self._store.note_unopened(destination_id, error, again_in=timedelta(seconds=NOTE_INTERVAL))

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
