"""Notes what is tried again, so that people see it, and forgets it when the work goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.db import Pool, RowInUseError, database_errors
from shared.delays import Work, end_delays, note_delay
from shared.errors import StripeRateLimitedError, StripeUnavailableError, TransientError
from shared.log import get_logger

SOON = 5.0  # seconds: a call that fails this early for the first time is tried again before anybody would read of it
FEED = "feed:"  # begins the id of what polls for a connection's events
ABSENT = "absent:"  # begins the id of a sync's questions about what no list has shown

# What has ended, waits for a person, or was taken over by a removal is not tried again.
FORGET = (
    f"""
    DELETE FROM delays d WHERE d.work = 'slice' AND NOT starts_with(d.work_id, '{FEED}') AND NOT EXISTS (
        SELECT FROM slices s JOIN syncs y ON y.id = s.sync_id JOIN connections c ON c.id = s.connection_id
        WHERE s.id = CASE WHEN d.work_id ~ '^[0-9]+$' THEN d.work_id::bigint END
          AND s.status = 'planned' AND y.status = 'running' AND c.state = 'active')
    """,
    f"""
    DELETE FROM delays d WHERE d.work = 'slice' AND starts_with(d.work_id, '{FEED}') AND NOT EXISTS (
        SELECT FROM connections c WHERE c.id = d.connection_id AND c.state = 'active')
    """,
    f"""
    DELETE FROM delays d WHERE d.work = 'question' AND starts_with(d.work_id, '{ABSENT}') AND NOT EXISTS (
        SELECT FROM differences f JOIN connections c ON c.id = f.connection_id
        WHERE f.sync_id = d.sync_id AND f.status = 'absent' AND c.state = 'active')
    """,
    f"""
    DELETE FROM delays d WHERE d.work = 'question' AND NOT starts_with(d.work_id, '{ABSENT}') AND NOT EXISTS (
        SELECT FROM refetches f JOIN connections c ON c.id = f.connection_id
        WHERE f.connection_id = d.connection_id AND c.state = 'active'
          AND d.work_id = f.connection_id || ':' || f.resource || ':' || f.object_id)
    """,
)


class Retrying:
    """One piece of work that Stripe or a part of Tillstream delays."""

    def __init__(
        self,
        pool: Pool,
        work: Work,
        work_id: str,
        *,
        connection_id: str,
        sync_id: str | None = None,
        is_delayed: bool = False,
    ) -> None:
        """`is_delayed` tells whether it may have been noted before."""
        self._pool = pool
        self._work = work
        self._id = work_id
        self._connection_id = connection_id
        self._sync_id = sync_id
        self._is_delayed = is_delayed

    async def call_failed(self, error: TransientError, attempt: int, took_seconds: float, pause: float) -> None:
        """Note a call that is made again after `pause` seconds; `attempt` counts from 0."""
        if attempt or took_seconds > SOON:
            await self.failed(error, pause)

    async def failed(self, error: TransientError, pause: float) -> None:
        """Note that it is tried again after `pause` seconds; without a database nobody could read it."""
        try:
            await note_delay(
                self._pool,
                self._work,
                self._id,
                code=error.code,
                cause=f"{error.message} {_what_is_done(error)}",
                next_try_at=datetime.now(UTC) + timedelta(seconds=pause),
                connection_id=self._connection_id,
                sync_id=self._sync_id,
            )
            self._is_delayed = True
        except (TransientError, RowInUseError) as lost:
            get_logger().info("delay_unnoted", reason=lost.message)

    async def went_on(self) -> None:
        """Forget the delay, if there is one; raise `DatabaseUnavailableError`."""
        if self._is_delayed:
            await end_delays(self._pool, self._work, [self._id])
            self._is_delayed = False


def _what_is_done(error: TransientError) -> str:
    if isinstance(error, StripeRateLimitedError):
        return "Tillstream asks again, more slowly."
    if isinstance(error, StripeUnavailableError):
        return "Tillstream asks again, for fewer objects at a time where it is a list."
    return "Tillstream goes on by itself."


async def forget_ended(pool: Pool) -> None:
    """Forget the delays of what is not tried again; raise `DatabaseUnavailableError`."""
    with database_errors():
        for statement in FORGET:
            await pool.execute(statement)
