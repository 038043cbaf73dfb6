"""The open destinations, each behind a deadline: one that fails is left alone for a while.

A batch holds records for many destinations, and waits for the slowest. So one that keeps missing the deadline of live
events is not tried with live events any more: what waits for it is tried instead, where nobody else waits, and it is
well again once that is quick enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import SecretStr

from services.destination_writer.comparison import Compared
from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import NEW_COLUMNS, Account, Cleaned, Destination, Older, Span, Written
from services.destination_writer.records import ChildPart, Record
from services.destination_writer.troubles import Troubles
from shared.catalogue import Resource
from shared.crypto import SecretUnreadableError
from shared.destinations import Destination as DestinationRow
from shared.destinations import DestinationStore, DestinationUnreadableError
from shared.errors import AppError, DestinationBlockedError, DestinationUnavailableError, TransientError
from shared.log import get_logger
from shared.retries import pause_seconds

LONGEST_REST = 60.0  # seconds; longer than the pauses between two tries of what is parked
OPEN_AFTER = 3  # failures in a row
NOTE_INTERVAL = 30.0  # seconds between two notes that a destination can't be opened; what waits is tried that often
LOOK_INTERVAL = 1.0  # seconds between two looks for a destination that is new
LOOK_AGAIN_INTERVAL = 5.0  # seconds between two looks at destinations in trouble
FULL_LOOK = 6  # every so many of these, all are looked at: somebody may have taken one over
EXTEND_INTERVAL = 60.0  # seconds between two tries to add what a destination lacks
EXTENDED_INTERVAL = 600.0  # seconds: somebody may have dropped a view or a column meanwhile
PREPARE_DEADLINE = 10.0  # seconds; no record waits for it
T = TypeVar("T")
CleaningStep = Callable[[Destination, str | None], Awaitable[Cleaned]]
Open = Callable[[DestinationRow, SecretStr], Destination]


@dataclass(slots=True)
class Rest:
    """What is known of calls with one deadline."""

    failures: int = 0  # in a row
    rest_until: float = float("-inf")
    reason: str = ""  # of the last failure

    def note_failure(self, now: float, reason: str) -> None:
        """Rest a moment, and after a few failures in a row until something else shows that the destination is well."""
        self.reason = reason
        rest = pause_seconds(self.failures, base=0.5) if self.failures + 1 < OPEN_AFTER else LONGEST_REST
        self.rest_until = now + rest
        self.failures += 1

    def note_success(self) -> None:
        """Let calls through."""
        self.failures, self.rest_until = 0, float("-inf")


class Outlet:
    """One destination, with a rest for each deadline that its callers have."""

    def __init__(
        self,
        destination: Destination,
        *,
        version: int = 1,
        destination_id: str = "",
        troubles: Troubles | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`version` is that of the address and password by which the destination was opened."""
        self._destination = destination
        self._destination_id = destination_id
        self._troubles = troubles or Troubles(None)
        self._extends_at = float("-inf")
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
        parts = {winner.record.resource.table for winner in winners}
        return await self._guarded(
            lambda: self._destination.write(account, winners), deadline_seconds, is_try=is_try, parts=parts
        )

    async def prepare(self) -> None:
        """Let the destination look whose it is and make its tables; raise `DestinationUnavailableError`."""
        await self._guarded(self._destination.prepare, PREPARE_DEADLINE, is_try=True)

    async def extend(self) -> None:
        """Let the destination take in what the catalogue has gained, however long it takes; else try again later."""
        if self._clock() < self._extends_at:
            return
        self._extends_at = self._clock() + EXTEND_INTERVAL
        try:
            await self._destination.extend()
        except DestinationUnavailableError as error:
            if isinstance(error, DestinationBlockedError):
                await self._troubles.failed(self._destination_id, error)
            return
        self._extends_at = self._clock() + EXTENDED_INTERVAL
        await self._troubles.succeeded(self._destination_id, [NEW_COLUMNS])

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

    async def _guarded(
        self,
        call: Callable[[], Awaitable[T]],
        deadline_seconds: float,
        *,
        is_try: bool = False,
        parts: Collection[str] = (),
    ) -> T:
        own = self._rests.setdefault(deadline_seconds, Rest())
        started = self._clock()
        if started < own.rest_until and not is_try:
            raise DestinationUnavailableError(own.reason)
        try:
            async with asyncio.timeout(deadline_seconds):
                answer = await call()
        except TimeoutError as error:
            late = DestinationUnavailableError(f"The destination took longer than {deadline_seconds:g} s.")
            self._note_failure(deadline_seconds, late.message)
            await self._troubles.failed(self._destination_id, late)
            raise late from error
        except DestinationUnavailableError as error:
            if not (isinstance(error, DestinationBlockedError) and error.tables):
                self._note_failure(float("inf"), error.message)  # else all other tables can be written
            await self._troubles.failed(self._destination_id, error)
            raise
        took = self._clock() - started
        for deadline, rest in self._rests.items():
            if took <= deadline:
                rest.note_success()
        await self._troubles.succeeded(self._destination_id, parts)
        return answer

    def _note_failure(self, longest: float, reason: str) -> None:
        """Note it for all who would not have waited longer."""
        for deadline, rest in self._rests.items():
            if deadline <= longest:
                rest.note_failure(self._clock(), reason)


class DestinationUnopenedError(DestinationUnavailableError):
    """What is stored of the destination can't be read: its records wait until a person has done something."""


class Outlets:
    """The outlets by destination, opened when they are first needed."""

    def __init__(self, store: DestinationStore, open_destination: Open, troubles: Troubles | None = None) -> None:
        self._store = store
        self._troubles = troubles or Troubles(None)
        self._open = open_destination
        self._outlets: dict[str, Outlet] = {}
        self._noted_at: dict[str, float] = {}  # when was last noted that a destination can't be opened
        self._looks = 0

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
            outlet = Outlet(opened, version=row.version, destination_id=row.id, troubles=self._troubles)
            self._outlets.setdefault(destination_id, outlet)
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
            tasks.create_task(_repeat(self.look_again, LOOK_AGAIN_INTERVAL))
            tasks.create_task(_repeat(self.extend))

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

    async def look_again(self) -> None:
        """Look whether those that are in trouble are well again, and now and then whether others are still ours."""
        await self._troubles.refresh()
        self._looks += 1
        is_full = self._looks % FULL_LOOK == 0
        known = [one for one, outlet in self._outlets.items() if is_full or self._troubles.is_noted(one)]
        for answer in await asyncio.gather(*map(self._prepare, known), return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, AppError):
                raise answer

    async def extend(self) -> None:
        """Bring the destinations that were opened up to the catalogue; no record waits for it."""
        await asyncio.gather(*(outlet.extend() for outlet in list(self._outlets.values())))

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


async def _repeat(look: Callable[[], Awaitable[None]], interval_seconds: float = LOOK_INTERVAL) -> None:
    while True:
        try:
            await look()
        except TransientError as error:
            get_logger().warning("look_at_destinations_delayed", reason=error.message)
        await asyncio.sleep(interval_seconds)
