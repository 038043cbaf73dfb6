"""Endpoints as the gateway knows them: whose they are, and which secrets sign what comes to them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from shared.crypto import KeyRing, SecretUnreadableError
from shared.db import Pool, database_errors
from shared.metrics import SECRETS_UNREADABLE

FIND = """
SELECT e.id, e.connection_id, c.account_id, c.livemode,
       ARRAY(SELECT s.secret FROM webhook_secrets s WHERE s.endpoint_id = e.id
             AND (s.expires_at IS NULL OR s.expires_at > now()) ORDER BY s.id DESC) AS secrets
FROM webhook_endpoints e JOIN connections c ON c.id = e.connection_id
WHERE e.id = $1 AND c.state <> 'removing'
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the gateway has to know of an endpoint."""

    id: str
    connection_id: str
    account_id: str
    livemode: bool
    secrets: tuple[SecretStr, ...]
    is_unreadable: bool = False  # it has secrets, and none of them can be decrypted


async def find_endpoint(pool: Pool, keys: KeyRing, endpoint_id: str) -> Endpoint | None:
    """Return the endpoint with its active secrets, newest first; `None` for an unknown or removed one.

    A secret that can't be decrypted is left out: one that was retired must not stand in the way of the new one.
    """
    with database_errors():
        row = await pool.fetchrow(FIND, endpoint_id)
    if row is None:
        return None
    secrets = []
    for sealed in row["secrets"]:
        try:
            secrets.append(SecretStr(keys.decrypt(sealed, owner=endpoint_id, name="secret")))
        except SecretUnreadableError:
            SECRETS_UNREADABLE.inc()
    return Endpoint(
        row["id"],
        row["connection_id"],
        row["account_id"],
        row["livemode"],
        tuple(secrets),
        is_unreadable=bool(row["secrets"]) and not secrets,
    )
