"""Tries parked records again until their destination takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.destination_writer.breaker import DeliveryStoppedError
from services.destination_writer.delivery import Reason
from services.destination_writer.dispatch import Dispatch, Result
from services.destination_writer.ledger import Ledger
from services.destination_writer.parking import Parking, Queue, record_of
from services.destination_writer.routing import Routes
from shared.catalogue import RESOURCES
from shared.consumers import settle
from shared.db import Row
from shared.errors import DestinationBlockedError, DestinationUnavailableError, TransientError
from shared.log import get_logger
from shared.metrics import PARKED

POLL_INTERVAL = 0.5  # seconds
BATCH = 500  # records
WRITE_DEADLINE = 10.0  # seconds: nobody waits behind these


class Retry:
    """The loop over what is parked."""

    def __init__(self, parked: Parking, routes: Routes, dispatch: Dispatch, ledger: Ledger) -> None:
        self._parked = parked
        self._routes = routes
        self._dispatch = dispatch
        self._ledger = ledger

    async def run(self) -> None:
        """Try what is due, for ever; no destination waits for another."""
        busy: set[Queue] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    for queue in await self._parked.due():
                        if queue not in busy:
                            busy.add(queue)
                            tasks.create_task(self._drain(queue, busy))
                    PARKED.set(await self._parked.count())
                except TransientError as error:
                    get_logger().warning("parked_retry_delayed", reason=error.message)
                await asyncio.sleep(POLL_INTERVAL)

    async def _drain(self, queue: Queue, busy: set[Queue]) -> None:
        try:
            while await self._try(queue):
                pass
        except TransientError as error:
            get_logger().warning("parked_retry_delayed", reason=error.message)
        finally:
            busy.discard(queue)

    async def retry_due(self) -> int:
        """Try the records that are due, once; return how many left the parking."""
        return sum(await asyncio.gather(*(self._try(queue) for queue in await self._parked.due())))

    async def _try(self, queue: Queue) -> int:
        rows = await self._parked.claim(queue, BATCH)
        if not rows:
            return 0
        try:
            await self._deliver(queue, rows)
        except DestinationBlockedError as error:
            # The other tables' records go on at once.
            names = [row.name for row in RESOURCES if row.table in error.tables] or None
            await self._parked.postpone(queue, attempts=rows[0]["attempts"], reason=error.message, resources=names)
            return len(rows) if names else 0
        except DestinationUnavailableError as error:
            await self._parked.postpone(queue, attempts=rows[0]["attempts"], reason=error.message)
            return 0
        return await self._parked.remove(queue, rows)

    async def _deliver(self, queue: Queue, rows: Sequence[Row]) -> None:
        destination_id, connection_id = queue
        route = (await self._routes.read([connection_id])).get(connection_id)
        result = Result(is_late=True)
        if route is None:
            return  # the connection is gone
        if destination_id not in route.destination_ids:
            result.refuse(destination_id, ((record_of(row), Reason.UNLINKED) for row in rows))
            await self._ledger.record_late(result.reports, ())
            return
        self._dispatch.heed(route)
        if destination_id in route.stopped:
            raise DeliveryStoppedError

        async def write(some: Sequence[Row]) -> None:
            records, refused = route.sort(record_of(row) for row in some)
            result.refuse(destination_id, refused)
            await self._dispatch.write(destination_id, route, records, result, WRITE_DEADLINE)

        async def reject(row: Row, error: Exception) -> None:
            await self._dispatch.reject(destination_id, record_of(row), error, result)

        try:
            await settle(rows, write, reject)
        except (DeliveryStoppedError, DestinationBlockedError):
            # What was written or refused before is done; only the rest waits for a person.
            done = {report.position for report in result.reports}
            await self._ledger.record_late(result.reports, result.refetches)
            await self._parked.remove(queue, [row for row in rows if record_of(row).position in done])
            raise
        await self._ledger.record_late(result.reports, result.refetches)
