"""Looks at suspected differences once more: a record that was on its way has arrived by then.

What still differs from the same state of Stripe's is confirmed. A row that has become newer than it is right: its
events arrive. A row whose object Stripe is being asked for waits for the answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta

from services.destination_writer.asked import asked_about
from services.destination_writer.comparison import Compared
from services.destination_writer.findings import count
from services.destination_writer.outlets import Outlets
from services.destination_writer.records import Position, Record
from services.destination_writer.routing import Route, Routes
from shared.catalogue import BY_NAME
from shared.comparisons import KEPT
from shared.connections import hold
from shared.db import Connection, Pool, Row, database_errors, in_transaction
from shared.errors import DestinationRejectedError, DestinationUnavailableError, NotFoundError, TransientError
from shared.log import get_logger
from shared.messages import Origin

POLL_INTERVAL = 0.5  # seconds
BATCH = 500  # differences
DEADLINE = 10.0  # seconds
PAUSE = timedelta(seconds=20)  # until one is tried again: no answer of its destination or of Stripe, a killed writer

CLAIM = """
UPDATE differences d SET due_at = now() + $2::interval
FROM (SELECT id FROM differences WHERE status = 'suspected' AND due_at <= now()
      ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
WHERE d.id = due.id RETURNING d.*
"""
# Another writer may have looked meanwhile: what it has settled is not counted again.
SETTLE = """
DELETE FROM differences d USING (
    SELECT id FROM differences WHERE id = ANY ($1::bigint[]) AND status = 'suspected' ORDER BY id FOR UPDATE) looked
WHERE d.id = looked.id RETURNING d.id
"""
ROOM = "SELECT count(*) FROM differences WHERE sync_id = $1 AND status = 'confirmed'"
CONFIRM = """
INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, kind, fields, stamp, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'confirmed')
"""


class SecondLook:
    """The loop over suspected differences."""

    def __init__(self, pool: Pool, routes: Routes, outlets: Outlets) -> None:
        self._pool = pool
        self._routes = routes
        self._outlets = outlets

    async def run(self) -> None:
        """Look at what is due, for ever."""
        while True:
            try:
                while await self.look():
                    pass
            except TransientError as error:
                get_logger().warning("second_look_delayed", reason=error.message)
            await asyncio.sleep(POLL_INTERVAL)

    async def look(self) -> int:
        """Look once at what is due; return how many there were."""
        with database_errors():
            rows = await self._pool.fetch(CLAIM, BATCH, PAUSE)
        by_place: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            by_place[row["connection_id"], row["destination_id"]].append(row)
        routes = await self._routes.read({connection_id for connection_id, _ in by_place})
        for (connection_id, destination_id), some in by_place.items():
            await self._look_at(routes.get(connection_id), destination_id, some)
        return len(rows)

    async def _look_at(self, route: Route | None, destination_id: str, rows: Sequence[Row]) -> None:
        if route is None or destination_id not in route.destination_ids:
            await self._settle([(row, None) for row in rows])
            return
        waiting = await asked_about(self._pool, [row["id"] for row in rows])  # read first: an answer is compared then
        looked = [row for row in rows if row["id"] not in waiting]
        records = [record for row in looked for record in route.admit([_record(row)])]
        by_object = {(record.resource.name, record.object_id): record for record in records}
        try:
            outlet = await self._outlets.get(destination_id)
            found = await outlet.compare(route.account, list(by_object.values()), DEADLINE)
        except (DestinationUnavailableError, DestinationRejectedError, NotFoundError) as error:
            get_logger().warning("second_look_delayed", destination=destination_id, reason=error.message)
            return
        compared = dict(zip(by_object, found, strict=True))
        await self._settle([(row, compared.get((row["resource"], row["object_id"]))) for row in looked])

    async def _settle(self, looked: Sequence[tuple[Row, Compared | None]]) -> None:
        """Note what came of the second look; what is not wanted any more (`None`) is forgotten."""

        async def work(db: Connection) -> None:
            words: Counter[tuple[str, str, str, str]] = Counter()
            await hold(db, (row["connection_id"] for row, _ in looked))
            mine = {row["id"] for row in await db.fetch(SETTLE, sorted(row["id"] for row, _ in looked))}
            room: dict[str, int] = {}
            for row, compared in looked:
                if row["id"] not in mine or compared is None:
                    continue
                words[row["sync_id"], row["destination_id"], row["resource"], str(compared.finding)] += 1
                if not compared.finding.is_difference:
                    continue
                if row["sync_id"] not in room:
                    room[row["sync_id"]] = KEPT - await db.fetchval(ROOM, row["sync_id"])
                if room[row["sync_id"]] > 0:
                    room[row["sync_id"]] -= 1
                    where = [row[n] for n in ("sync_id", "connection_id", "destination_id", "resource", "object_id")]
                    await db.execute(CONFIRM, *where, compared.finding, list(compared.fields), row["stamp"])
            await count(db, words)

        await in_transaction(self._pool, work)


def _record(row: Row) -> Record:
    return Record(
        row["connection_id"],
        BY_NAME[row["resource"]],
        row["object_id"],
        row["stamp"],
        row["body"],
        Origin.LISTED,
        Position("", 0, 0),
        is_deleted=row["is_deleted"],
        is_compared=True,
    )
