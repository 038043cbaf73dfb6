"""Which log a broker keeps: offsets mean something only within one.

A broker that lost records has another log, whether its cluster id is a new one or not: its life is the next number.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.db import Pool, database_errors

LIFE = "SELECT life FROM broker_logs WHERE cluster_id = $1"


@dataclass(frozen=True, slots=True)
class Log:
    """What a broker keeps, from one loss to the next."""

    cluster_id: str
    life: int = 1

    @property
    def id(self) -> str:
        """What names the log beside offsets in the state database."""
        return self.cluster_id if self.life == 1 else f"{self.cluster_id}/{self.life}"


class CurrentLog:
    """The log that is published to; another one when the broker has lost records.

    Whoever publishes takes the id before it does: what lies on a log that was lost must not count as of the next.
    """

    def __init__(self, log_id: str) -> None:
        self.id = log_id


async def find_log(pool: Pool, cluster_id: str) -> Log:
    """Return the log that a cluster keeps now; raise `DatabaseUnavailableError`."""
    with database_errors():
        life = await pool.fetchval(LIFE, cluster_id)
    return Log(cluster_id, life or 1)
