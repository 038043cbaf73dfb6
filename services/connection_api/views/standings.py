"""How every connection stands, for what looks at all of them: one rule, and a number of queries that does not grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.connection_api.account_filter import IS_BACKFILLING
from services.connection_api.debts import MAY_OWE, read_owed
from services.connection_api.standing import Standing, standing_of
from services.connection_api.status import Owed, Status, Word
from shared.connections import CALLED
from shared.db import Pool, database_errors

KEPT = 2.0  # seconds for which an answer is good
# Of each of `connections`: what a standing is made of. Only of those that may owe something is it read what they owe.
SITUATION = f"""
connections.id, {CALLED.format("connections")} AS name, connections.account_id, connections.account_name,
connections.livemode, connections.state, connections.live_by, connections.events_complete_to,
CASE connections.state
  WHEN 'removing' THEN (SELECT r.cause FROM removals r WHERE r.connection_id = connections.id
                        AND r.finished_at IS NULL LIMIT 1)
  ELSE connections.cause END AS cause,
{MAY_OWE} AS may_owe, {IS_BACKFILLING} AS is_backfilling
"""
EVERY = f"SELECT {SITUATION} FROM connections"
# What needs attention comes first.
ATTENTION = (
    Word.ACTION_REQUIRED,
    Word.DELAYED,
    Word.SETTING_UP,
    Word.BACKFILLING,
    Word.PAUSED,
    Word.REMOVING,
    Word.LIVE,
)
RANKS: Mapping[Word, int] = {word: rank for rank, word in enumerate(ATTENTION)}
STOPS_ALL = ("key_refused", "delivery_stopped")  # the worst first


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """A connection and how it stands."""

    id: str
    name: str
    account_id: str
    account_name: str
    livemode: bool
    standing: Standing

    @property
    def status(self) -> Status:
        """Its status."""
        return self.standing.status

    @property
    def since(self) -> datetime | None:
        """Since when something has been owed, if anything is and that is known."""
        return min((one.since for one in self.standing.owed if one.since), default=None)

    @property
    def urgency(self) -> tuple[int, int, float, str, str]:
        """Where it comes where what needs attention comes first: the word, what stops all, then the oldest."""
        worst = self.status.worst
        stop = STOPS_ALL.index(worst.code) if worst and worst.code in STOPS_ALL else len(STOPS_ALL)
        since = worst.since.timestamp() if worst and worst.since else 0.0
        return RANKS[self.status.word], stop, since, self.name.lower(), self.id


class Standings:
    """Keeps how every connection stands for a moment, so that many looks cost one."""

    def __init__(self, *, kept_seconds: float = KEPT) -> None:
        self._kept_seconds = kept_seconds
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._kept: tuple[AccountStanding, ...] = ()

    def forget(self) -> None:
        """Let what was just done show in the next look."""
        self._read_at = float("-inf")

    async def get(self, pool: Pool, *, now: datetime) -> tuple[AccountStanding, ...]:
        """Return how every connection stands; raise `DatabaseUnavailableError`."""
        async with self._lock:
            if time.monotonic() - self._read_at >= self._kept_seconds:
                self._kept = await read_standings(pool, now=now)
                self._read_at = time.monotonic()
            return self._kept


async def read_standings(pool: Pool, *, now: datetime) -> tuple[AccountStanding, ...]:
    """Return how every connection stands, in two queries; raise `DatabaseUnavailableError`."""
    with database_errors():
        rows = await pool.fetch(EVERY)
    owing = [row["id"] for row in rows if row["may_owe"]]
    owed = await read_owed(pool, owing, now=now) if owing else {}
    return tuple(
        AccountStanding(
            id=row["id"],
            name=row["name"],
            account_id=row["account_id"],
            account_name=row["account_name"],
            livemode=row["livemode"],
            standing=stand(row, owed.get(row["id"], ()), now=now),
        )
        for row in rows
    )


def stand(row: Mapping[str, Any], owed: Sequence[Owed], *, now: datetime) -> Standing:
    """Return how a connection stands whose row has the columns of `SITUATION`; how far a backfill is stays open."""
    return standing_of(row, owed, backfill_share=0.0 if row["is_backfilling"] else None, now=now)
