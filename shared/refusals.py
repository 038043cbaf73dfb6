"""Webhooks that a gateway refused at one of our endpoints, since one was last accepted there.

A gateway counts, and notes here twice a minute; an acceptance at any gateway ends it. Connections with refusals are
polled meanwhile, and say why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.db import Connection, Pool, database_errors, transaction

# Rows are taken in the order of their ids: several gateways note at once.
END = """
DELETE FROM webhook_refusals WHERE endpoint_id IN (
    SELECT endpoint_id FROM webhook_refusals WHERE endpoint_id = ANY ($1::text[]) ORDER BY endpoint_id FOR UPDATE)
"""
NOTE = """
INSERT INTO webhook_refusals AS r (endpoint_id, code, refused, skew_seconds)
SELECT n.endpoint_id, n.code, n.refused, n.skew
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[]) AS n (endpoint_id, code, refused, skew)
JOIN webhook_endpoints e ON e.id = n.endpoint_id
ORDER BY n.endpoint_id
ON CONFLICT (endpoint_id) DO UPDATE
SET code = excluded.code, refused = r.refused + excluded.refused, skew_seconds = excluded.skew_seconds, last_at = now()
"""
FIND = """
SELECT e.connection_id, r.code, r.refused, r.skew_seconds, r.since, r.last_at
FROM webhook_refusals r JOIN webhook_endpoints e ON e.id = r.endpoint_id
"""


class Cause(StrEnum):
    """Why a webhook was refused."""

    CLOCK = "clock_differs"  # it was signed more than five minutes from now, by the gateway's clock
    SECRET = "secret_differs"  # noqa: S105 - no active secret of ours has signed it
    UNSIGNED = "signature_missing"  # the header has no time or no signature
    UNREADABLE = "secret_unreadable"  # no secret of the endpoint can be decrypted


@dataclass(frozen=True, slots=True)
class Refused:
    """What one gateway has refused at one endpoint since it last noted."""

    cause: Cause  # of the newest
    count: int
    skew_seconds: int | None  # the newest signature's time less our clock; `None`: it had no time


@dataclass(frozen=True, slots=True)
class Refusals:
    """What all gateways have refused at a connection's endpoint since one accepted a webhook there."""

    connection_id: str
    code: Cause
    refused: int
    skew_seconds: int | None
    since: datetime
    last_at: datetime


async def note_refusals(pool: Pool, refused: Mapping[str, Refused], accepted: Collection[str]) -> None:
    """Note what was refused, by endpoint, after forgetting the refusals of endpoints that have `accepted` since.

    Raises `DatabaseUnavailableError`.
    """
    noted = sorted(refused.items())
    columns = (
        [endpoint_id for endpoint_id, _ in noted],
        [one.cause for _, one in noted],
        [one.count for _, one in noted],
        [one.skew_seconds for _, one in noted],
    )
    async with transaction(pool) as db:
        await db.execute(END, sorted(accepted))
        await db.execute(NOTE, *columns)


async def find_refusals(db: Connection | Pool) -> dict[str, Refusals]:
    """Return the refusals by connection. Raises `DatabaseUnavailableError`."""
    with database_errors():
        rows = await db.fetch(FIND)
    found = (Refusals(**{**row, "code": Cause(row["code"])}) for row in rows)
    return {refusals.connection_id: refusals for refusals in found}
