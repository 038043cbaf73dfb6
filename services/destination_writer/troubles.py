"""Notes why destinations are not written, for people, and that they are written again.

What only a person can mend is noted at once; what may pass by itself, once it has lasted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from shared.db import Pool, database_errors
from shared.delays import Work, end_delays, note_delay
from shared.errors import Block, DestinationBlockedError, DestinationUnavailableError, TransientError
from shared.log import get_logger

PATIENCE = 10.0  # seconds that a destination may fail before a person is told
AGAIN = 5.0  # seconds between two notes of the same
NEXT_TRY = timedelta(seconds=30)  # at the latest: what is parked is tried that often
AWAY = "destination_unavailable"

# What nothing waits for any more: its records were delivered by another writer, or their connection is gone.
FORGET = """
DELETE FROM delays d
WHERE d.work = 'destination' AND d.work_id <> d.destination_id AND NOT d.work_id LIKE '%:new columns'
  AND d.since < now() - interval '10 s'
  AND NOT EXISTS (SELECT FROM parked_records p WHERE p.destination_id = d.destination_id)
"""
NOTED = "SELECT work_id FROM delays WHERE work = 'destination'"


class Troubles:
    """What is noted of all destinations. A state database that is away keeps nobody from writing."""

    def __init__(self, pool: Pool | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a `pool` nothing is noted."""
        self._pool = pool
        self._clock = clock
        self._noted: set[str] = set()  # by any writer, as of the last look
        self._noted_at: dict[str, float] = {}  # by this one
        self._failing_since: dict[str, float] = {}  # destinations

    def is_noted(self, destination_id: str) -> bool:
        """Tell whether all of the destination is in trouble."""
        return destination_id in self._noted

    async def refresh(self) -> None:
        """Read what is noted, and forget what nothing waits for; raise `DatabaseUnavailableError`."""
        if self._pool is None:
            return
        with database_errors():
            await self._pool.execute(FORGET)
            self._noted = {row["work_id"] for row in await self._pool.fetch(NOTED)}

    async def failed(self, destination_id: str, error: DestinationUnavailableError) -> None:
        """Note why the destination, or a part of it, is not written."""
        if isinstance(error, DestinationBlockedError):
            blocks: Collection[Block] = error.blocks
        else:
            since = self._failing_since.setdefault(destination_id, self._clock())
            blocks = [Block(AWAY, error.message, None)] if self._clock() - since >= PATIENCE else []
        for block in blocks:
            await self._note(destination_id, block)

    async def succeeded(self, destination_id: str, parts: Collection[str] = ()) -> None:
        """Note that the destination is written again, and these parts of it."""
        self._failing_since.pop(destination_id, None)
        ended = [one for one in (destination_id, *(f"{destination_id}:{part}" for part in parts)) if one in self._noted]
        if not ended or self._pool is None:
            return
        with suppress(TransientError):
            await end_delays(self._pool, Work.DESTINATION, ended)
            self._noted.difference_update(ended)
            for one in ended:
                self._noted_at.pop(one, None)
            get_logger().info("destination_written_again", destination_id=destination_id)

    async def _note(self, destination_id: str, block: Block) -> None:
        work_id = f"{destination_id}:{block.part}" if block.part else destination_id
        if self._pool is None or self._clock() - self._noted_at.get(work_id, float("-inf")) < AGAIN:
            return
        self._noted_at[work_id] = self._clock()
        get_logger().warning("destination_refuses", destination_id=destination_id, code=block.code, part=block.part)
        with suppress(TransientError):
            await note_delay(
                self._pool,
                Work.DESTINATION,
                work_id,
                code=block.code,
                cause=block.cause,
                fix=block.fix,
                destination_id=destination_id,
                next_try_at=datetime.now(UTC) + NEXT_TRY,
            )
            self._noted.add(work_id)
