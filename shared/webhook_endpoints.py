"""Our webhook endpoint at Stripe: made once per connection, found again after a crash, never left behind.

The row is made before the call, and its id is the last part of the URL. So an endpoint of ours is known by its URL,
although the answer that told of it was lost. Stripe tells the secret only once, when an endpoint is created.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from pydantic import SecretStr

from shared.crypto import KeyRing, make_id
from shared.db import Pool, Row, database_errors, transaction
from shared.errors import ConflictError, StripeRefusedError
from shared.stripe_api import API_VERSION, Params, StripeApi

PATH = "/v1/webhook_endpoints"
DESCRIPTION = "Tillstream: keeps your destination up to date. Managed automatically."
EVERY_EVENT = "*"
# Stripe has no code for it, and the number differs between accounts.
FULL = re.compile(r"maximum of \d+ .*webhook endpoints")


class EndpointsFullError(ConflictError):
    """This Stripe account has as many webhook endpoints as Stripe allows. Delete one that is not used any more."""

    code = "webhook_endpoints_full"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the gateway needs of an endpoint: whose it is, and what may have signed its webhooks."""

    id: str
    connection_id: str
    account_id: str
    livemode: bool
    secrets: tuple[SecretStr, ...]  # newest first; several while one is replaced by another


class StripeEndpoint(msgspec.Struct):
    """An endpoint as Stripe tells it. https://docs.stripe.com/api/webhook_endpoints/object"""

    id: str
    url: str
    created: int
    enabled_events: list[str] = []
    status: str = "enabled"
    api_version: str | None = None
    secret: str | None = None


_ENDPOINT = msgspec.json.Decoder(StripeEndpoint)

FIND = """
SELECT e.id, e.connection_id, c.account_id, c.livemode,
       ARRAY(SELECT s.secret FROM webhook_secrets s
             WHERE s.endpoint_id = e.id AND (s.expires_at IS NULL OR s.expires_at > now())
             ORDER BY s.id DESC) AS secrets
FROM webhook_endpoints e JOIN connections c ON c.id = e.connection_id
WHERE e.id = $1
"""
RESERVE = """
INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ($1, $2, $3) ON CONFLICT (connection_id) DO NOTHING
"""
OURS = """
SELECT e.id, e.stripe_id, EXISTS (
    SELECT FROM webhook_secrets s WHERE s.endpoint_id = e.id AND s.expires_at IS NULL) AS has_secret
FROM webhook_endpoints e WHERE e.connection_id = $1
"""
NOTE = "UPDATE webhook_endpoints SET stripe_id = $2, url = $3, enabled_events = $4 WHERE id = $1"


async def find_endpoint(pool: Pool, keys: KeyRing, endpoint_id: str) -> Endpoint | None:
    """Return the endpoint with its active secrets, or `None`; raise `DatabaseUnavailableError`."""
    with database_errors():
        row = await pool.fetchrow(FIND, endpoint_id)
    if row is None:
        return None
    secrets = tuple(SecretStr(keys.decrypt(s, owner=endpoint_id, name="secret")) for s in row["secrets"])
    return Endpoint(row["id"], row["connection_id"], row["account_id"], row["livemode"], secrets)


class WebhookEndpoints:
    """Makes and removes our endpoints at Stripe.

    One process at a time may work on a connection: the caller holds a lease.
    """

    def __init__(self, pool: Pool, keys: KeyRing, *, public_url: str) -> None:
        """`public_url` is where Stripe reaches the gateway."""
        self._pool = pool
        self._keys = keys
        self._public_url = public_url.rstrip("/")

    async def ensure(self, api: StripeApi, connection_id: str, events: Sequence[str]) -> int:
        """See to it that Stripe sends `events` to us, and return when the endpoint was created (Stripe's clock, s).

        Repeating it is harmless. An endpoint whose secret is not known, after a crash, is replaced.
        Raises `EndpointsFullError`, `PermissionMissingError` or another `StripeRefusedError`.
        """
        ours = await self._reserve(connection_id)
        url = self._url(ours["id"])
        usable, others = _choose(await _list_ours(api, ours["id"]), ours)
        for other in others:
            await api.delete(f"{PATH}/{other.id}")
        if usable is None:
            return await self._create(api, ours["id"], url, events)
        return await self._update(api, ours["id"], url, usable, events)

    async def remove(self, api: StripeApi, connection_id: str) -> bool:
        """Delete the connection's endpoint at Stripe and here; tell whether there was one."""
        with database_errors():
            ours = await self._pool.fetchrow(OURS, connection_id)
        if ours is None:
            return False
        for endpoint in await _list_ours(api, ours["id"]):
            await api.delete(f"{PATH}/{endpoint.id}")
        with database_errors():
            await self._pool.execute("DELETE FROM webhook_endpoints WHERE id = $1", ours["id"])
        return True

    async def _reserve(self, connection_id: str) -> Row:
        endpoint_id = make_id("whe")
        with database_errors():
            await self._pool.execute(RESERVE, endpoint_id, connection_id, self._url(endpoint_id))
            return await self._pool.fetchrow(OURS, connection_id)

    def _url(self, endpoint_id: str) -> str:
        return f"{self._public_url}{_tail(endpoint_id)}"

    async def _create(self, api: StripeApi, endpoint_id: str, url: str, events: Sequence[str]) -> int:
        parameters = [("url", url), ("api_version", API_VERSION), ("description", DESCRIPTION), *_event_list(events)]
        try:
            # A key per attempt: with the same one Stripe would answer with an endpoint that we have deleted since.
            answer = await api.post(PATH, parameters, idempotency_key=make_id("idk"))
        except StripeRefusedError as error:
            if FULL.search(error.message):
                raise EndpointsFullError(f"{EndpointsFullError.__doc__} (Stripe: {error.message})") from error
            raise
        created = _ENDPOINT.decode(answer.body)
        sealed = self._keys.encrypt(created.secret or "", owner=endpoint_id, name="secret")
        async with transaction(self._pool) as db:
            await db.execute(NOTE, endpoint_id, created.id, url, created.enabled_events)
            await db.execute("DELETE FROM webhook_secrets WHERE endpoint_id = $1", endpoint_id)
            await db.execute("INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ($1, $2)", endpoint_id, sealed)
        return created.created

    async def _update(
        self, api: StripeApi, endpoint_id: str, url: str, known: StripeEndpoint, events: Sequence[str]
    ) -> int:
        wanted = merge_events(known.enabled_events, events)
        changes: list[tuple[str, str]] = []
        if set(wanted) != set(known.enabled_events):
            changes += _event_list(wanted)
        if known.url != url:
            changes.append(("url", url))
        if known.status != "enabled":
            changes.append(("disabled", "false"))
        if changes:
            await api.post(f"{PATH}/{known.id}", changes)
        with database_errors():
            await self._pool.execute(NOTE, endpoint_id, known.id, url, wanted)
        return known.created


def merge_events(existing: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return both, sorted: what a person has added at Stripe is never taken away."""
    return [EVERY_EVENT] if EVERY_EVENT in (existing := set(existing)) else sorted({*existing, *wanted})


def _choose(found: Sequence[StripeEndpoint], ours: Row) -> tuple[StripeEndpoint | None, list[StripeEndpoint]]:
    """Return the endpoint that can stay, if one can, and those that can't: nobody knows their secret."""
    stays = next(
        (e for e in found if e.id == ours["stripe_id"] and ours["has_secret"] and e.api_version == API_VERSION), None
    )
    return stays, [endpoint for endpoint in found if endpoint is not stays]


async def _list_ours(api: StripeApi, endpoint_id: str) -> list[StripeEndpoint]:
    """Return Stripe's endpoints that lead to ours; the id is random, so the host in front may have changed."""
    found: list[StripeEndpoint] = []
    cursor: Params = ()
    while True:
        page = await api.list_page(PATH, [*cursor])
        endpoints = [_ENDPOINT.decode(body) for body in page.objects]
        found += [endpoint for endpoint in endpoints if endpoint.url.endswith(_tail(endpoint_id))]
        if not page.has_more or not endpoints:
            return found
        cursor = [("starting_after", endpoints[-1].id)]


def _tail(endpoint_id: str) -> str:
    return f"/webhooks/stripe/{endpoint_id}"


def _event_list(events: Iterable[str]) -> list[tuple[str, str]]:
    return [("enabled_events[]", event) for event in events]
