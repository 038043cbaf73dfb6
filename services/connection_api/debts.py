"""What a connection owes its destinations, read from where each thing is noted: the table in ARCHITECTURE.md.

One row of `SOURCES` for each kind, the worst first. All are read in one statement, and a pure function says each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.connection_api.debt_sentences import (
    MOST_COUNTED,
    Row,
    say_delay,
    say_differences,
    say_failed,
    say_faults,
    say_gap,
    say_parked,
    say_refusal,
    say_relist,
    say_stop,
    say_unread,
)
from services.connection_api.status import Owed, Severity
from shared.catalogue import WEBHOOK_ENDPOINT
from shared.db import Pool, database_errors
from shared.refusals import PROVEN_AT
from shared.syncs import EVENT_FEED

# What every branch of the statement has; one that has no such column says NULL.
COLUMNS: Mapping[str, str] = {
    "kind": "text",
    "code": "text",
    "name": "text",
    "about": "text",
    "letters": "text",
    "cause": "text",
    "fix": "text",
    "permission": "text",
    "since": "timestamptz",
    "attempts": "integer",
    "next_try_at": "timestamptz",
    "number": "bigint",
    "whole": "bigint",
}
# A read is made good by a later one of the same resource that reaches as far back and on.
COVERS = """
l.connection_id = y.connection_id AND l.created_at > y.created_at AND l.object_id IS NULL
AND l.kind IN ('backfill', 'manual', 'reconcile', 'gap_fill') AND s.resource = ANY (l.resources)
AND (s.resource = 'event'
     OR y.kind = 'reconcile' AND l.kind = 'reconcile'
        AND l.created_at - l.range_start > y.created_at - y.range_start - interval '1 minute'
     OR l.kind <> 'gap_fill'
        AND coalesce(l.range_start, '-infinity') <= coalesce(greatest(y.range_start, n.start_date), '-infinity')
        AND coalesce(l.range_end, 'infinity') >= coalesce(y.range_end, 'infinity'))
"""
IS_READ = """
l.status IN ('succeeded', 'failed') AND NOT EXISTS (
    SELECT FROM slices t WHERE t.sync_id = l.id AND t.resource = s.resource AND t.status = 'failed'
      AND t.cause_code NOT IN ('resource_unavailable', 'not_synced'))
"""


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of what can be owed: where it is noted, and how it is said.

    `columns` and `tail` make a SELECT over `wanted`, `$2` being the time; `may` is true of the `connections` that may
    owe it; `say` takes the rows of one connection.
    """

    name: str
    columns: Mapping[str, str]
    tail: str
    may: str
    say: Callable[[Sequence[Row]], Iterable[Owed]]

    @property
    def select(self) -> str:
        """The branch of the statement."""
        columns = (f"({self.columns.get(name, 'NULL')})::{kind} AS {name}" for name, kind in COLUMNS.items())
        return f"SELECT c.id AS connection_id, '{self.name}' AS source, {', '.join(columns)} {self.tail}"


def _each(say: Callable[[Row], Owed]) -> Callable[[Sequence[Row]], Iterable[Owed]]:
    return lambda rows: [say(row) for row in rows]


def _has(table: str) -> str:
    return f"EXISTS (SELECT FROM {table} o WHERE o.connection_id = connections.id)"


SOURCES = (
    Source(
        "stop",
        {
            "code": "'delivery_stopped'",
            "name": "d.name",
            "about": "o.destination_id",
            "letters": """SELECT g.id FROM dead_letter_groups g
                WHERE g.connection_id = c.id AND g.destination_id = o.destination_id
                ORDER BY g.summary = dead_letter_summary(o.reason) DESC, g.last_seen_at DESC LIMIT 1""",
            "cause": "o.reason",
            "since": "o.stopped_at",
            "number": "o.failed",
            "whole": "o.counted",
        },
        """FROM wanted c JOIN delivery_stops o ON o.connection_id = c.id
           JOIN destinations d ON d.id = o.destination_id""",
        _has("delivery_stops"),
        _each(say_stop),
    ),
    Source(
        "fault",
        {
            "code": "o.code",
            "about": "o.resource",
            "cause": "o.cause",
            "permission": "o.permission",
            "since": "o.since",
            "attempts": "o.tries",
            "next_try_at": "o.next_try_at",
        },
        "FROM wanted c JOIN resource_faults o ON o.connection_id = c.id",
        _has("resource_faults"),
        say_faults,
    ),
    # A webhook that comes after the last refusal takes the row away. What anybody may have sent is not owed.
    Source(
        "refusal",
        {"code": "r.code", "since": "r.since", "number": "r.refused", "whole": "r.skew_seconds"},
        f"""FROM wanted c JOIN webhook_endpoints e ON e.connection_id = c.id
            JOIN webhook_refusals r ON r.endpoint_id = e.id
              AND {PROVEN_AT} <= $2::timestamptz - interval '2 minutes'""",
        f"""EXISTS (SELECT FROM webhook_endpoints e JOIN webhook_refusals r ON r.endpoint_id = e.id
                    WHERE e.connection_id = connections.id AND {PROVEN_AT} IS NOT NULL)""",
        _each(say_refusal),
    ),
    # What succeeds at the second try was no delay that anybody has to hear of. A removal has a page of its own.
    Source(
        "delay",
        {
            "kind": "o.work",
            "code": "o.code",
            "name": "min(d.name)",
            "about": "coalesce(o.destination_id, min(o.sync_id))",
            "cause": "o.cause",
            "fix": "o.fix",
            "since": "min(o.since)",
            "attempts": "max(o.attempts)",
            "next_try_at": "min(o.next_try_at)",
            "number": "count(*)",
        },
        """FROM wanted c JOIN delays o
             ON o.work <> 'removal' AND o.since <= $2::timestamptz - interval '30 seconds' AND (
               o.connection_id = c.id OR o.connection_id IS NULL AND o.destination_id IN (
                   SELECT l.destination_id FROM connection_destinations l WHERE l.connection_id = c.id))
           LEFT JOIN destinations d ON d.id = o.destination_id
           GROUP BY c.id, o.work, o.destination_id, o.code, o.cause, o.fix""",
        f"""({_has("delays")} OR EXISTS (
               SELECT FROM connection_destinations l JOIN delays o ON o.destination_id = l.destination_id
               WHERE l.connection_id = connections.id AND o.connection_id IS NULL))""",
        _each(say_delay),
    ),
    Source(
        "unread",
        {
            "kind": "y.kind",
            "code": "s.cause_code",
            "name": "s.resource",
            "about": "max(y.id)",
            "cause": "max(s.cause)",
            "since": "min(y.finished_at)",
            "number": f"bool_or(EXISTS (SELECT FROM syncs l WHERE {COVERS} AND l.finished_at IS NULL))::int",
        },
        f"""FROM wanted c JOIN connections n ON n.id = c.id
            JOIN syncs y ON y.connection_id = c.id AND y.status = 'failed' AND y.object_id IS NULL
              AND y.kind IN ('backfill', 'manual', 'reconcile', 'gap_fill')
            JOIN slices s ON s.sync_id = y.id AND s.status = 'failed'
              AND s.cause_code NOT IN ('resource_unavailable', 'not_synced', 'cancelled', 'missing_permissions')
            WHERE (s.resource = ANY (n.resources) OR s.resource IN ('{EVENT_FEED}', '{WEBHOOK_ENDPOINT}'))
              AND NOT EXISTS (SELECT FROM syncs l WHERE {COVERS} AND ({IS_READ}
                              OR l.kind = 'backfill' AND l.finished_at IS NULL AND l.status <> 'cancelled'))
            GROUP BY c.id, y.kind, s.resource, s.cause_code""",
        "EXISTS (SELECT FROM syncs y WHERE y.connection_id = connections.id AND y.status = 'failed')",
        _each(say_unread),
    ),
    # A later comparison of everything has its own say, and so has what was read again since.
    Source(
        "difference",
        {"about": "y.id", "since": "min(y.finished_at)", "number": "count(*)"},
        """FROM wanted c JOIN differences o ON o.connection_id = c.id AND o.status = 'confirmed'
             AND o.repaired_at IS NULL
           JOIN syncs y ON y.id = o.sync_id AND y.finished_at IS NOT NULL
           WHERE NOT EXISTS (
             SELECT FROM syncs l WHERE l.connection_id = c.id AND l.created_at > y.created_at
               AND l.status = 'succeeded' AND l.object_id IS NULL AND o.resource = ANY (l.resources)
               AND (l.kind IN ('backfill', 'manual') AND coalesce(l.range_start <= y.range_start, l.range_start IS NULL)
                      AND l.range_end IS NULL
                    OR l.kind = 'verify' AND l.sample_pages IS NULL))
           GROUP BY c.id, y.id""",
        _has("differences") + " ",
        _each(say_differences),
    ),
    # Where delivery has stopped, the stop tells of them.
    Source(
        "failed",
        {"since": "min(o.first_seen_at)", "number": "sum(o.letters)"},
        """FROM wanted c JOIN dead_letter_groups o ON o.connection_id = c.id
             AND (o.destination_id = '' OR o.destination_id IN (
                  SELECT l.destination_id FROM connection_destinations l WHERE l.connection_id = c.id))
           WHERE NOT EXISTS (
             SELECT FROM delivery_stops s WHERE s.connection_id = c.id AND s.destination_id = o.destination_id)
           GROUP BY c.id""",
        _has("dead_letter_groups"),
        _each(say_failed),
    ),
    Source(
        "held",
        {
            "code": "'held'",
            "name": "d.name",
            "about": "l.destination_id",
            "since": "p.since",
            "number": "p.number",
        },
        f"""FROM wanted c JOIN connection_destinations l ON l.connection_id = c.id
            JOIN destinations d ON d.id = l.destination_id
            CROSS JOIN LATERAL (
              SELECT count(*) AS number, min(parked_at) AS since FROM (
                SELECT r.parked_at FROM parked_records r
                WHERE r.destination_id = l.destination_id AND r.connection_id = c.id
                  AND r.next_try_at > $2::timestamptz + interval '1 day' LIMIT {MOST_COUNTED}) r) p
            WHERE p.number > 0 AND NOT EXISTS (
              SELECT FROM delivery_stops s WHERE s.connection_id = c.id AND s.destination_id = l.destination_id)""",
        _has("parked_records"),
        _each(say_parked),
    ),
    Source(
        "gap",
        {
            "name": "d.name",
            "about": "o.destination_id",
            "since": "min(o.noted_at)",
            "number": "sum(o.records)",
        },
        """FROM wanted c JOIN delivery_gaps o ON o.connection_id = c.id
           JOIN connection_destinations l ON l.connection_id = c.id AND l.destination_id = o.destination_id
           JOIN destinations d ON d.id = o.destination_id GROUP BY c.id, d.name, o.destination_id""",
        _has("delivery_gaps"),
        _each(say_gap),
    ),
    Source(
        "relist",
        {"about": "y.id", "since": "y.created_at"},
        """FROM wanted c JOIN syncs y ON y.connection_id = c.id AND y.kind = 'manual' AND y.finished_at IS NULL
             AND y.status <> 'cancelled' AND y.trigger = 'destination caught up'""",
        """EXISTS (SELECT FROM syncs y WHERE y.connection_id = connections.id AND y.kind = 'manual'
                   AND y.status IN ('queued', 'running', 'paused'))""",
        _each(say_relist),
    ),
    Source(
        "parked",
        {
            "name": "d.name",
            "about": "l.destination_id",
            "cause": "p.reason",
            "since": "p.since",
            "attempts": "p.attempts",
            "next_try_at": "p.next_try_at",
            "number": "p.number",
            "whole": "extract(epoch FROM $2::timestamptz - p.since)",
        },
        f"""FROM wanted c JOIN connection_destinations l ON l.connection_id = c.id
            JOIN destinations d ON d.id = l.destination_id
            CROSS JOIN LATERAL (
              SELECT count(*) AS number, min(parked_at) AS since, max(attempts) AS attempts,
                     min(next_try_at) AS next_try_at, mode() WITHIN GROUP (ORDER BY reason) AS reason FROM (
                SELECT r.* FROM parked_records r
                WHERE r.destination_id = l.destination_id AND r.connection_id = c.id
                  AND r.next_try_at <= $2::timestamptz + interval '1 day' LIMIT {MOST_COUNTED}) r) p
            WHERE p.since <= $2::timestamptz - interval '30 seconds' AND NOT EXISTS (
              SELECT FROM delivery_stops s WHERE s.connection_id = c.id AND s.destination_id = l.destination_id)""",
        _has("parked_records"),
        _each(say_parked),
    ),
)
READ = "WITH wanted AS (SELECT id FROM unnest($1::text[]) AS u (id))\n" + "\nUNION ALL\n".join(
    source.select for source in SOURCES
)
# True of every connection that may owe something, and perhaps of others.
MAY_OWE = f"({' OR '.join(dict.fromkeys(source.may for source in SOURCES))})"


async def read_owed(pool: Pool, connection_ids: Sequence[str], *, now: datetime) -> dict[str, tuple[Owed, ...]]:
    """Return what each connection owes, the worst first; raise `DatabaseUnavailableError`."""
    with database_errors():
        rows = await pool.fetch(READ, list(connection_ids), now)
    by_connection: dict[str, list[Row]] = {one: [] for one in connection_ids}
    for row in rows:
        by_connection[row["connection_id"]].append(row)
    return {one: _say(some) if some else () for one, some in by_connection.items()}


def _say(rows: Sequence[Row]) -> tuple[Owed, ...]:
    """Say all of one connection: first what needs a person, each in the order of the table."""
    told = _with_waiting(rows)
    owed = [one for source in SOURCES for one in source.say([row for row in told if row["source"] == source.name])]
    return tuple(sorted(owed, key=lambda one: one.severity is not Severity.PERSON))


def _with_waiting(rows: Sequence[Row]) -> list[Row]:
    """Let what waits for a destination be told with the reason for which that can't be written, where it is known."""
    waiting = {row["about"]: row["number"] for row in rows if row["source"] == "parked"}
    known = {row["about"] for row in rows if row["source"] == "delay" and row["kind"] == "destination"}
    left = (row for row in rows if row["source"] != "parked" or row["about"] not in known)
    return [{**row, "whole": waiting.get(row["about"])} if row["source"] == "delay" else row for row in left]
