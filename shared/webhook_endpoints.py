"""Our webhook endpoint at Stripe: made once for a connection, found again by its URL, its secrets kept encrypted.

Stripe tells an endpoint's secret only when it creates it (https://docs.stripe.com/api/webhook_endpoints/create), so
one of ours whose secret was lost by a crash is deleted and made anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from pydantic import SecretStr

from shared.connections import Connection
from shared.crypto import KeyRing, make_id
from shared.db import Pool, Row, database_errors, transaction
from shared.errors import ConflictError, PermissionMissingError, StripeRefusedError
from shared.stripe_api import API_VERSION, StripeApi

PATH = "/v1/webhook_endpoints"
LIMIT_REACHED = re.compile(r"maximum of \d+ .*webhook endpoints", re.IGNORECASE)

FIND = """
SELECT e.id, e.connection_id, c.account_id, c.livemode,
       ARRAY(SELECT s.secret FROM webhook_secrets s WHERE s.endpoint_id = e.id
             AND (s.expires_at IS NULL OR s.expires_at > now()) ORDER BY s.id DESC) AS secrets
FROM webhook_endpoints e JOIN connections c ON c.id = e.connection_id
WHERE e.id = $1 AND c.state <> 'removing'
"""
# The row comes before the call to Stripe, so that a crash in between leaves a URL by which ours is found.
RESERVE = """
INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ($1, $2, $3)
ON CONFLICT (connection_id) DO UPDATE SET connection_id = excluded.connection_id
RETURNING id, url, stripe_id
"""
MOVE = "UPDATE webhook_endpoints SET url = $2 WHERE id = $1"
STORE = "UPDATE webhook_endpoints SET stripe_id = $2, enabled_events = $3 WHERE id = $1"
ADD_SIGNING = "INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ($1, $2)"
HAS_SIGNING = "SELECT EXISTS (SELECT FROM webhook_secrets WHERE endpoint_id = $1)"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the gateway has to know of an endpoint."""

    id: str
    connection_id: str
    account_id: str
    livemode: bool
    secrets: tuple[SecretStr, ...]


class _AtStripe(msgspec.Struct):
    id: str
    url: str = ""
    created: int = 0
    status: str = ""
    api_version: str | None = None
    enabled_events: list[str] = []
    secret: str | None = None


async def find_endpoint(pool: Pool, keys: KeyRing, endpoint_id: str) -> Endpoint | None:
    """Return the endpoint with its active secrets, newest first; `None` for an unknown or removed one."""
    with database_errors():
        row = await pool.fetchrow(FIND, endpoint_id)
    if row is None:
        return None
    secrets = tuple(SecretStr(keys.decrypt(sealed, owner=endpoint_id, name="secret")) for sealed in row["secrets"])
    return Endpoint(row["id"], row["connection_id"], row["account_id"], row["livemode"], secrets)


class WebhookEndpoints:
    """Makes, repairs and removes our endpoints; every method is safe to repeat after a crash."""

    def __init__(self, pool: Pool, keys: KeyRing, *, public_url: str) -> None:
        """`public_url` is where Stripe reaches the gateway."""
        self._pool = pool
        self._keys = keys
        self._public_url = public_url.rstrip("/")

    async def ensure(self, connection: Connection, api: StripeApi, events: Sequence[str]) -> int:
        """Let Stripe deliver `events` to us; return when the endpoint was made, in seconds of Stripe's clock.

        Raises `PermissionMissingError` without write access, `ConflictError` when the account has no room for one
        more endpoint, and what the client raises.
        """
        row = await self._reserve(connection.id)
        ours = [endpoint for endpoint in await _list_all(api) if endpoint.url == row["url"]]
        with database_errors():
            has_secret = await self._pool.fetchval(HAS_SIGNING, row["id"])
        known = next((e for e in ours if has_secret and e.id == row["stripe_id"] and _is_usable(e)), None)
        for stranger in (endpoint for endpoint in ours if endpoint is not known):
            await api.delete(f"{PATH}/{stranger.id}")
        if known is None:
            return await self._create(row, api, events)
        wanted = sorted({*events, *known.enabled_events})
        if wanted != sorted(known.enabled_events):
            await api.post(f"{PATH}/{known.id}", [("enabled_events[]", event) for event in wanted])
        return known.created

    async def remove(self, connection_id: str, api: StripeApi) -> None:
        """Delete our endpoint at Stripe; one that is gone already is fine."""
        with database_errors():
            stripe_id = await self._pool.fetchval(
                "SELECT stripe_id FROM webhook_endpoints WHERE connection_id = $1", connection_id
            )
        if stripe_id:
            await api.delete(f"{PATH}/{stripe_id}")

    async def _reserve(self, connection_id: str) -> Row:
        endpoint_id = make_id("whe")
        async with transaction(self._pool) as db:
            row = dict(await db.fetchrow(RESERVE, endpoint_id, connection_id, self._url(endpoint_id)))
            if row["url"] != self._url(row["id"]):  # the gateway has moved
                row |= {"url": self._url(row["id"]), "stripe_id": None}
                await db.execute(MOVE, row["id"], row["url"])
        return row

    async def _create(self, row: Row, api: StripeApi, events: Sequence[str]) -> int:
        parameters = [
            ("url", row["url"]),
            ("api_version", API_VERSION),
            ("description", "Tillstream"),
            *(("enabled_events[]", event) for event in events),
        ]
        try:
            fetched = await api.post(PATH, parameters)
        except PermissionMissingError:
            raise
        except StripeRefusedError as error:
            if not LIMIT_REACHED.search(error.message):
                raise
            raise ConflictError(
                f"Stripe has no room for one more webhook endpoint: {error.message} Delete one that is not used "
                "under Developers, Webhooks in the Stripe Dashboard."
            ) from error
        made = msgspec.json.decode(fetched.body, type=_AtStripe)
        sealed = self._keys.encrypt(made.secret or "", owner=row["id"], name="secret")
        async with transaction(self._pool) as db:
            await db.execute(STORE, row["id"], made.id, list(events))
            await db.execute(ADD_SIGNING, row["id"], sealed)
        return made.created

    def _url(self, endpoint_id: str) -> str:
        return f"{self._public_url}/webhooks/stripe/{endpoint_id}"


def _is_usable(endpoint: _AtStripe) -> bool:
    return endpoint.status == "enabled" and endpoint.api_version == API_VERSION


async def _list_all(api: StripeApi) -> list[_AtStripe]:
    found: list[_AtStripe] = []
    while True:
        page = await api.list_page(PATH, [("starting_after", found[-1].id)] if found else [])
        found += [msgspec.json.decode(body, type=_AtStripe) for body in page.objects]
        if not page.has_more or not page.objects:
            return found
