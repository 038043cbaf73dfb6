"""Brings a batch to every destination that wants it, so that a bad destination hurts no other.

A write has a deadline. A destination that can't take records has them parked, the newest of each object; a record
that it refuses for good becomes a dead letter, and the rest of the batch goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from services.destination_writer.breaker import Breaker, DeliveryStoppedError
from services.destination_writer.delivery import Outcome, Reason, Report, Winner, fold
from services.destination_writer.destinations import Written
from services.destination_writer.findings import ComparisonReport
from services.destination_writer.outlets import Outlets
from services.destination_writer.parking import Parking
from services.destination_writer.records import ChildPart, Parsed, Position, Record, Refetch, has_nul
from services.destination_writer.routing import Route, Routes
from shared.changes import Changes, changes_between
from shared.consumers import settle
from shared.errors import (
    DestinationBlockedError,
    DestinationRejectedError,
    DestinationUnavailableError,
    TerminalError,
)
from shared.messages import Origin
from shared.metrics import RECORDS_WRITTEN

Reject = Callable[[Record, str, Exception], Awaitable[None]]


@dataclass(slots=True)
class Result:
    """What came of a batch; `is_late` of records that were parked."""

    is_late: bool = False
    reports: list[Report] = field(default_factory=list)
    refetches: list[Refetch] = field(default_factory=list)
    comparisons: list[ComparisonReport] = field(default_factory=list)
    changes: dict[Position, Changes] = field(default_factory=dict)  # what events changed, without what is left out
    refused_parts: dict[Position, TerminalError] = field(default_factory=dict)  # parts of child sets
    now: Callable[[], float] = time.time

    def add(self, destination_id: str, winner: Winner, written: Written) -> None:
        """Note what became of a winner, and what Stripe has to be asked for it."""
        record = winner.record
        self.note(destination_id, record, written.outcome, written.reason)
        if written.ask_stripe:
            self.ask(record, "tie")
        elif written.is_cut and (self.is_late or record.origin is not Origin.REFETCHED):
            # The parts follow an answer of Stripe at once, and find no parent as long as that is parked.
            self.ask(record, "cut list")

    def refuse(self, destination_id: str, refused: Iterable[tuple[Record, Reason]]) -> None:
        """Note records that are not wanted."""
        for record, reason in refused:
            self.note(destination_id, record, Outcome.NOT_SYNCED, reason)

    def leave_out(self, destination_id: str, record: Record) -> None:
        """Note a record for which there was no room; an answer of Stripe is asked for again when there is."""
        self.note(destination_id, record, Outcome.LEFT_OUT)
        if record.slice_id is None and record.origin is not Origin.EVENT:
            self.refetches.append(
                Refetch(
                    record.connection_id,
                    record.resource.name,
                    record.object_id,
                    "destination behind",
                    record.stamp,
                    is_held=True,
                )
            )

    def note(self, destination_id: str, record: Record, outcome: Outcome, reason: Reason | None = None) -> None:
        """Note what became of a record."""
        RECORDS_WRITTEN.labels(outcome).inc()
        self.reports.append(
            Report(
                record.connection_id,
                destination_id,
                record.resource.name,
                outcome,
                record.position,
                record.slice_id,
                record.origin,
                record.object_id,
                record.stamp,
                reason,
                self.now(),
            )
        )

    def ask(self, record: Record, reason: str) -> None:
        """Note that Stripe has to be asked for the object."""
        self.refetches.append(
            Refetch(record.connection_id, record.resource.name, record.object_id, reason, record.stamp)
        )


class Dispatch:
    """Delivers batches; raises `DatabaseUnavailableError` or `KafkaUnavailableError`, after which all comes again."""

    def __init__(self, routes: Routes, outlets: Outlets, parking: Parking, reject: Reject, *, breaker: Breaker) -> None:
        self._breaker = breaker
        self._routes = routes
        self._outlets = outlets
        self._parking = parking
        self._reject = reject

    async def deliver(self, batch: Sequence[Parsed], *, deadline_seconds: float) -> Result:
        """Write the batch everywhere; what a destination can't take within `deadline_seconds` is parked."""
        result = Result()
        by_connection: dict[str, list[Parsed]] = defaultdict(list)
        for item in batch:
            by_connection[item.connection_id].append(item)
        work = []
        routes = await self._routes.read(by_connection)
        for connection_id, items in sorted(by_connection.items()):
            route = routes.get(connection_id)
            if route is None:
                continue  # removed: its records are never delivered
            self.heed(route)
            records, refused = route.sort(i.record for i in items if i.record)
            for destination_id in route.destination_ids:
                result.refuse(destination_id, [one for one in refused if not one[0].is_compared])
            result.changes |= _changes_of(records)
            parts = route.admit_parts(i.part for i in items if i.part)
            result.refetches += [r for i in items for r in i.refetches]
            work += [
                self._deliver_to(
                    destination_id, route, _meant_for(destination_id, records), parts, result, deadline_seconds
                )
                for destination_id in route.destination_ids
            ]
        # All of them come to their end before one's failure lets the batch come again: batches never overlap.
        for failure in await asyncio.gather(*work, return_exceptions=True):
            if failure is not None:
                raise failure
        return result

    def heed(self, route: Route) -> None:
        """Take over where delivery is stopped, and where it goes on."""
        self._breaker.heed(route.connection_id, route.destination_ids, route.stopped)

    async def _deliver_to(
        self,
        destination_id: str,
        route: Route,
        records: Sequence[Record],
        parts: Sequence[ChildPart],
        result: Result,
        deadline_seconds: float,
    ) -> None:
        written = [record for record in records if not record.is_compared]
        is_stopped = False
        try:
            if destination_id in route.stopped:
                raise DeliveryStoppedError
            await self.write(destination_id, route, written, result, deadline_seconds)
        except DestinationUnavailableError as error:
            await self._park(destination_id, written, error, result)
            is_stopped = isinstance(error, DeliveryStoppedError)
        if not is_stopped:  # else a parent that waits asks for its parts when it is written
            await self._write_parts(destination_id, route, parts, result, deadline_seconds)
        # Last, so that what the same batch has brought is there.
        compared = [record for record in records if record.is_compared]
        await self._compare(destination_id, route, compared, result, deadline_seconds)

    async def write(
        self, destination_id: str, route: Route, records: Sequence[Record], result: Result, deadline_seconds: float
    ) -> None:
        """Write the newest of each object; what is refused for good becomes a dead letter.

        Raises `DestinationUnavailableError`; `result` then holds what was written before.
        """
        outlet = await self._outlets.get(destination_id)
        winners = fold(records)

        async def write(some: Sequence[Winner]) -> None:
            answers = await outlet.write(route.account, some, deadline_seconds, is_try=result.is_late)
            for winner, written in zip(some, answers, strict=True):
                result.add(destination_id, winner, written)
            self._breaker.passed((destination_id, route.connection_id), len(some))

        async def reject(winner: Winner, error: Exception) -> None:
            await self.reject(destination_id, winner.record, error, result)

        blocked = None
        for part in _apart(winners):
            blocked = await self._settle_around(destination_id, part, write, reject, result) or blocked
        if blocked:
            raise blocked
        for loser, reason in _losers(records, winners):
            result.note(destination_id, loser, Outcome.IGNORED, reason)

    @staticmethod
    async def _settle_around(
        destination_id: str,
        winners: Sequence[Winner],
        write: Callable[[Sequence[Winner]], Awaitable[None]],
        reject: Callable[[Winner, Exception], Awaitable[None]],
        result: Result,
    ) -> DestinationBlockedError | None:
        """Write what goes to tables that take it; return what blocks the others. One table keeps no other waiting."""
        blocked = None
        while winners:
            try:
                await settle(winners, write, reject)
                break
            except DestinationBlockedError as error:
                if not error.tables:
                    raise
                blocked = error
                done = {report.position for report in result.reports if report.destination_id == destination_id}
                winners = [
                    winner
                    for winner in winners
                    if winner.record.resource.table not in error.tables and winner.record.position not in done
                ]
        return blocked

    async def reject(self, destination_id: str, record: Record, error: Exception, result: Result) -> None:
        """Let the record end as a dead letter; raise `DeliveryStoppedError` when there were too many."""
        await self._breaker.failed((destination_id, record.connection_id), error)
        await self._reject(record, destination_id, error)
        result.note(destination_id, record, Outcome.FAILED)

    async def _park(
        self, destination_id: str, records: Sequence[Record], error: DestinationUnavailableError, result: Result
    ) -> None:
        written = {report.position for report in result.reports if report.destination_id == destination_id}
        left = [record for record in records if record.position not in written]
        waiting = fold(left)
        parked = await self._parking.park(
            destination_id,
            [winner.record for winner in waiting],
            reason=error.message,
        )
        left_out = {record.position for record in parked.left_out}
        for winner in waiting:
            record = winner.record
            if record.position in left_out:
                result.leave_out(destination_id, record)
                continue
            result.note(destination_id, record, Outcome.PARKED)
            if winner.ask_stripe or (record.resource.name, record.object_id) in parked.tied:
                result.ask(record, "tie")
        for loser, reason in _losers(left, waiting):
            result.note(destination_id, loser, Outcome.IGNORED, reason)

    async def _compare(
        self,
        destination_id: str,
        route: Route,
        records: Sequence[Record],
        result: Result,
        deadline_seconds: float,
    ) -> None:
        """Compare records with their rows; what can't be compared, or not now, is skipped."""
        if not records:
            return

        async def compare(some: Sequence[Record]) -> None:
            outlet = await self._outlets.get(destination_id)
            found = await outlet.compare(route.account, some, deadline_seconds)
            pairs = zip(some, found, strict=True)
            result.comparisons += [ComparisonReport(destination_id, record, one) for record, one in pairs]

        async def skip(record: Record, _error: Exception | None = None) -> None:
            result.comparisons.append(ComparisonReport(destination_id, record, None))

        try:
            await settle(records, compare, skip)
        except DestinationUnavailableError:
            done = {id(report.record) for report in result.comparisons if report.destination_id == destination_id}
            for record in records:
                if id(record) not in done:
                    await skip(record)

    async def _write_parts(
        self, destination_id: str, route: Route, parts: Sequence[ChildPart], result: Result, deadline_seconds: float
    ) -> None:
        """Write parts of child sets; a set that can't be written now is asked for again later.

        One whose parent is not there is not written: the parent was refused, or is parked and asks for it itself.
        """
        for part in parts:
            try:
                outlet = await self._outlets.get(destination_id)
                await outlet.write_children(route.account, part, deadline_seconds)
            except DestinationUnavailableError:
                result.refetches.append(
                    Refetch(part.connection_id, part.parent_resource, part.parent_id, "cut list", part.stamp)
                )
            except DestinationRejectedError as error:
                result.refused_parts[part.position] = error


def _apart(winners: Sequence[Winner]) -> Sequence[Sequence[Winner]]:
    """Return those that are likely refused each alone behind the others, so that many good ones are written at once."""
    suspects = [winner for winner in winners if has_nul(winner.record.body)]
    if not suspects:
        return [winners]
    named = {id(winner) for winner in suspects}
    return [[winner for winner in winners if id(winner) not in named], *([winner] for winner in suspects)]


def _meant_for(destination_id: str, records: Sequence[Record]) -> list[Record]:
    """Return the records without replays that are another destination's."""
    return [one for one in records if one.replay is None or one.replay.destination_id in ("", destination_id)]


def _losers(records: Sequence[Record], winners: Sequence[Winner]) -> Iterator[tuple[Record, Reason]]:
    """Yield the records that others of their batch have beaten, and why."""
    if len(records) == len(winners):
        return
    won = {(winner.record.resource.name, winner.record.object_id): winner for winner in winners}
    for record in records:
        winner = won[record.resource.name, record.object_id]
        if winner.record is not record:
            yield record, winner.reason_against(record)


def _changes_of(records: Iterable[Record]) -> dict[Position, Changes]:
    """Return what events have changed; one that can't be read has its reason told by its destination."""
    found = {}
    for record in records:
        if record.previous:
            with suppress(msgspec.DecodeError, RecursionError):
                found[record.position] = changes_between(record.previous, record.body)
    return found
