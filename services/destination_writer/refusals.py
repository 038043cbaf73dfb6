"""Rows that the state database refuses of a report: they are found and left out, and the others are written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.consumers import settle
from shared.db import Connection, database_errors

SUSPECTED_FOR = 60.0  # seconds

T = TypeVar("T")
Write = Callable[[Connection, Sequence[T]], Awaitable[None]]


class Suspects:
    """Connections of which a part of a report has refused rows lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}  # part and connection → moment

    def add(self, part: str, connection_id: str) -> None:
        """Suspect a connection for a minute."""
        self._until[part, connection_id] = self._clock() + SUSPECTED_FOR

    def of(self, part: str) -> set[str]:
        """Return the connections that a part suspects."""
        now = self._clock()
        self._until = {one: until for one, until in self._until.items() if until > now}
        return {connection_id for name, connection_id in self._until if name == part}


class Attempt:
    """One try to write a report, each part by one call; of connections that are suspected it costs more calls.

    The parts that are `careful` suspect everyone.
    """

    def __init__(self, careful: frozenset[str], suspects: Suspects) -> None:
        self.careful = careful
        self.part = ""  # the one that was begun last
        self.refused: list[tuple[str, Exception]] = []  # of each row that was left out its connection, and why
        self._suspects = suspects

    async def __call__(self, db: Connection, write: Write[T], rows: Sequence[T]) -> None:
        """Write the rows of a part within the caller's transaction."""
        self.part = part = getattr(write, "func", write).__name__
        suspected = {_owner(row) for row in rows} if part in self.careful else self._suspects.of(part)
        trusted = [row for row in rows if _owner(row) not in suspected]
        if trusted:
            await write(db, trusted)
        for connection_id in sorted(suspected):
            own = [row for row in rows if _owner(row) == connection_id]
            if refused := await write_but_refused(db, write, own):
                self._suspects.add(part, connection_id)
                self.refused += [(connection_id, error) for error in refused]


async def write_but_refused(db: Connection, write: Write[T], rows: Sequence[T]) -> list[Exception]:
    """Write the rows but for those that the database refuses; return why it refused each of them."""
    refused: list[Exception] = []
    mark = "SAVEPOINT part"

    async def attempt(some: Sequence[T]) -> None:
        nonlocal mark
        await db.execute(mark)
        mark = "ROLLBACK TO SAVEPOINT part"
        with database_errors():
            await write(db, some)
        mark = "RELEASE SAVEPOINT part; SAVEPOINT part"

    async def leave_out(_: T, error: Exception) -> None:
        refused.append(error)

    if rows:
        await settle(rows, attempt, leave_out)
        await db.execute(f"{mark}; RELEASE SAVEPOINT part")
    return refused


def _owner(row: object) -> str:
    """Return the connection that a row of a part belongs to."""
    return str(getattr(row[0] if isinstance(row, list) else row, "connection_id", ""))
