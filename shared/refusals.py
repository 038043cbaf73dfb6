"""Webhooks that a gateway refused at one of our endpoints, since one was last accepted there.

A gateway counts, and notes here twice a minute; an acceptance at any gateway ends it. Anybody can send what no secret
of ours has signed, so such refusals prove nothing until the event feed has an event that no webhook told. Connections
whose refusals are proven are polled meanwhile, and say why.
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
SET code = CASE WHEN r.code = 'clock_differs' THEN r.code ELSE excluded.code END,
    skew_seconds = CASE WHEN r.code = 'clock_differs' AND excluded.code <> r.code THEN r.skew_seconds
                        ELSE excluded.skew_seconds END,
    refused = r.refused + excluded.refused, last_at = now()
"""
# Since when it is sure that what was refused came from Stripe; NULL: anybody may have sent it.
PROVEN_AT = "CASE WHEN r.code IN ('clock_differs', 'secret_unreadable') THEN r.since ELSE r.missed_at END"
# The first event whose webhook is refused is older than its refusal, and the clocks of two machines differ a little.
PROVE = """
UPDATE webhook_refusals r SET missed_at = now() FROM webhook_endpoints e
WHERE e.id = r.endpoint_id AND e.connection_id = $1 AND r.missed_at IS NULL
  AND to_timestamp($2::bigint) >= r.since - interval '10 minutes'
"""
FIND = f"""
SELECT e.connection_id, r.code, r.refused, r.skew_seconds, r.since, r.last_at, {PROVEN_AT} AS proven_at,
       r.last_at > now() - interval '10 minutes' AS is_recent
FROM webhook_refusals r JOIN webhook_endpoints e ON e.id = r.endpoint_id
"""


class Cause(StrEnum):
    """Why a webhook was refused."""

    CLOCK = "clock_differs"  # a secret of ours signed it, more than five minutes from now by the gateway's clock
    SECRET = "secret_differs"  # noqa: S105 - no active secret of ours has signed it
    UNSIGNED = "signature_missing"  # the header has no time or no signature
    UNREADABLE = "secret_unreadable"  # no secret of the endpoint can be decrypted


@dataclass(frozen=True, slots=True)
class Refused:
    """What one gateway has refused at one endpoint since it last noted."""

    cause: Cause  # of the newest; a clock that differs stays, since only Stripe can show it
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
    proven_at: datetime | None  # `None`: nothing shows yet that Stripe sent what was refused
    is_recent: bool  # the last one is a few minutes old at most, so the feed may still show its event


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


async def prove_refusals(db: Connection | Pool, connection_id: str, newest_missed: int) -> None:
    """Note that the feed has an event of this second (in Stripe's clock) that no webhook has told.

    Raises `DatabaseUnavailableError`.
    """
    with database_errors():
        await db.execute(PROVE, connection_id, newest_missed)


async def find_refusals(db: Connection | Pool) -> dict[str, Refusals]:
    """Return the refusals by connection. Raises `DatabaseUnavailableError`."""
    with database_errors():
        rows = await db.fetch(FIND)
    found = (Refusals(**{**row, "code": Cause(row["code"])}) for row in rows)
    return {refusals.connection_id: refusals for refusals in found}
