"""Our webhook endpoint at Stripe: made once for a connection, found again by its URL, its secrets kept encrypted.

Its id is the random last part of the URL, so ours are known although an answer was lost or the gateway has moved.
Stripe tells an endpoint's secret only when it creates it (https://docs.stripe.com/api/webhook_endpoints/create), so
one of ours whose secret was lost by a crash is deleted and made anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from pydantic import SecretStr

from shared.connections import Connection
from shared.crypto import KeyRing, make_id
from shared.db import Pool, database_errors, transaction
from shared.errors import ConflictError, KeyInvalidError, PermissionMissingError, StripeRefusedError
from shared.stripe_api import API_VERSION, StripeApi

PATH = "/v1/webhook_endpoints"
EVERY_EVENT = "*"
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
RETURNING id, stripe_id
"""
FIND_OURS = "SELECT id, stripe_id FROM webhook_endpoints WHERE connection_id = $1"
# A removal that is asked for meanwhile waits for the answer, so it either finds the endpoint or is found here.
IS_WANTED = """
SELECT c.state <> 'removing' FROM webhook_endpoints e JOIN connections c ON c.id = e.connection_id
WHERE e.id = $1 FOR SHARE OF c
"""
STORE = "UPDATE webhook_endpoints SET stripe_id = $2, url = $3, enabled_events = $4 WHERE id = $1"
RETIRE_SIGNING = """
UPDATE webhook_secrets SET expires_at = least(expires_at, now() + $2::interval) WHERE endpoint_id = $1
"""
VOID_SIGNING = "DELETE FROM webhook_secrets WHERE endpoint_id = $1"
ADD_SIGNING = "INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ($1, $2)"
OLD_SECRET_LIVES = timedelta(hours=1)  # what Stripe sent before a rotation may still be under way, or be tried again
PROBE_EVENT = "account.updated"  # any event will do: the endpoint is gone before one comes
RESERVE_PROBE = "INSERT INTO endpoint_probes (id, api_key) VALUES ($1, $2)"
FORGET_PROBE = "DELETE FROM endpoint_probes WHERE id = $1"
LEFT_PROBES = "SELECT id, api_key FROM endpoint_probes WHERE created_at < now() - $1::interval"
PROBE_TAKES = timedelta(minutes=2)  # at most; an older one was left by a crash


class EndpointsFullError(ConflictError):
    """Stripe has no room for one more webhook endpoint."""

    code = "webhook_endpoints_full"


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

    async def ensure(
        self, connection: Connection, api: StripeApi, events: Sequence[str], *, proves_key: bool = False
    ) -> int:
        """Let Stripe deliver `events` to us; return when the endpoint was made, in seconds of Stripe's clock.

        With `proves_key` it is written although it is right already, so that the key is known to be allowed to.

        Raises `PermissionMissingError` without write access, `ConflictError` when the account has no room for one
        more endpoint, and what the client raises.
        """
        endpoint_id, stripe_id = await self._reserve(connection.id)
        ours = await _list_ours(api, endpoint_id)
        # The id at Stripe is stored together with the secret: one that is not stored has a secret that nobody knows.
        known = next((e for e in ours if e.id == stripe_id and e.api_version == API_VERSION), None)
        for other in (endpoint for endpoint in ours if endpoint is not known):
            await api.delete(f"{PATH}/{other.id}")
        if known is None:
            return await self._create(endpoint_id, api, events)
        await self._repair(endpoint_id, api, known, events, proves_key=proves_key)
        return known.created

    async def is_known(self, connection: Connection, api: StripeApi) -> bool | None:
        """Tell whether the key of `api` sees the connection's endpoint, so is of its account; `None` without one."""
        with database_errors():
            row = await self._pool.fetchrow(FIND_OURS, connection.id)
        if row is None or row["stripe_id"] is None:
            return None
        return any(endpoint.id == row["stripe_id"] for endpoint in await _list_ours(api, row["id"]))

    async def rotate(self, connection: Connection, api: StripeApi, events: Sequence[str]) -> None:
        """Replace our endpoint by one with a new secret; the old secret is good for another hour.

        Stripe has no way to change an endpoint's secret. Both endpoints deliver for a moment, which changes no row;
        what the old one had not delivered yet is found in the event feed. Raises what `ensure` raises.
        """
        endpoint_id, stripe_id = await self._reserve(connection.id)
        await self._create(endpoint_id, api, events, keeps_old_secret=True)
        if stripe_id:
            await api.delete(f"{PATH}/{stripe_id}")

    async def prove(self, key: SecretStr, api: StripeApi) -> None:
        """Prove that the key may write endpoints, by making one and deleting it; raise what `ensure` raises."""
        probe_id = make_id("whe")
        with database_errors():
            sealed = self._keys.encrypt(key.get_secret_value(), owner=probe_id, name="api_key")
            await self._pool.execute(RESERVE_PROBE, probe_id, sealed)
        try:
            made = await self._make(probe_id, api, [PROBE_EVENT])
            await api.delete(f"{PATH}/{made.id}")
        except StripeRefusedError:
            await self._forget_probe(probe_id)
            raise
        await self._forget_probe(probe_id)

    async def left_probes(self) -> list[tuple[str, SecretStr]]:
        """Return the probes that a crash left behind, with the key of each."""
        with database_errors():
            rows = await self._pool.fetch(LEFT_PROBES, PROBE_TAKES)
        return [
            (row["id"], SecretStr(self._keys.decrypt(row["api_key"], owner=row["id"], name="api_key"))) for row in rows
        ]

    async def remove_probe(self, probe_id: str, api: StripeApi) -> None:
        """Delete what a probe may have left at Stripe; a key that is dead by now can't, and is forgotten too."""
        try:
            for endpoint in await _list_ours(api, probe_id):
                await api.delete(f"{PATH}/{endpoint.id}")
        except (KeyInvalidError, PermissionMissingError):
            pass
        await self._forget_probe(probe_id)

    async def _forget_probe(self, probe_id: str) -> None:
        with database_errors():
            await self._pool.execute(FORGET_PROBE, probe_id)

    async def remove(self, connection_id: str, api: StripeApi) -> None:
        """Delete every endpoint of ours at Stripe; one that is gone already is fine."""
        with database_errors():
            endpoint_id = await self._pool.fetchval(
                "SELECT id FROM webhook_endpoints WHERE connection_id = $1", connection_id
            )
        if endpoint_id:
            for endpoint in await _list_ours(api, endpoint_id):
                await api.delete(f"{PATH}/{endpoint.id}")

    async def _reserve(self, connection_id: str) -> tuple[str, str | None]:
        """Return our id, and Stripe's where it is known."""
        endpoint_id = make_id("whe")
        with database_errors():
            row = await self._pool.fetchrow(RESERVE, endpoint_id, connection_id, self._url(endpoint_id))
        return row["id"], row["stripe_id"]

    async def _create(
        self, endpoint_id: str, api: StripeApi, events: Sequence[str], *, keeps_old_secret: bool = False
    ) -> int:
        made = await self._make(endpoint_id, api, events)
        sealed = self._keys.encrypt(made.secret or "", owner=endpoint_id, name="secret")
        async with transaction(self._pool) as db:
            is_wanted = await db.fetchval(IS_WANTED, endpoint_id)
            await db.execute(STORE, endpoint_id, made.id, self._url(endpoint_id), list(events))
            if keeps_old_secret:
                await db.execute(RETIRE_SIGNING, endpoint_id, OLD_SECRET_LIVES)
            else:
                await db.execute(VOID_SIGNING, endpoint_id)
            if is_wanted:
                await db.execute(ADD_SIGNING, endpoint_id, sealed)
        if not is_wanted:
            await api.delete(f"{PATH}/{made.id}")
            raise ConflictError("This connection is being removed.")
        return made.created

    async def _make(self, endpoint_id: str, api: StripeApi, events: Sequence[str]) -> _AtStripe:
        parameters = [
            ("url", self._url(endpoint_id)),
            ("api_version", API_VERSION),
            ("description", "Tillstream"),
            *(("enabled_events[]", event) for event in events),
        ]
        try:
            # One key per creation: with an old one Stripe would answer with an endpoint that was deleted since.
            fetched = await api.post(PATH, parameters, idempotency_key=make_id("idk"))
        except PermissionMissingError:
            raise
        except StripeRefusedError as error:
            if not LIMIT_REACHED.search(error.message):
                raise
            raise EndpointsFullError(
                f"Stripe has no room for one more webhook endpoint: {error.message} Delete one that is not used "
                "under Developers, Webhooks in the Stripe Dashboard."
            ) from error
        return msgspec.json.decode(fetched.body, type=_AtStripe)

    async def _repair(
        self, endpoint_id: str, api: StripeApi, known: _AtStripe, events: Sequence[str], *, proves_key: bool
    ) -> None:
        """Bring address, state and events of our endpoint up to date; what is right already costs no call."""
        url, wanted = self._url(endpoint_id), merge_events(known.enabled_events, events)
        changes = [("url", url)] if proves_key or known.url != url else []
        if known.status != "enabled":
            changes.append(("disabled", "false"))
        if wanted != set(known.enabled_events):
            changes += [("enabled_events[]", event) for event in sorted(wanted)]
        if changes:
            await api.post(f"{PATH}/{known.id}", changes)
        with database_errors():
            await self._pool.execute(STORE, endpoint_id, known.id, url, sorted(wanted))

    def _url(self, endpoint_id: str) -> str:
        return self._public_url + _path(endpoint_id)


def merge_events(existing: Iterable[str], wanted: Iterable[str]) -> set[str]:
    """Return both: what a person has added at Stripe is never taken away."""
    present = set(existing)
    return {EVERY_EVENT} if EVERY_EVENT in present else present | set(wanted)


def _path(endpoint_id: str) -> str:
    return f"/webhooks/stripe/{endpoint_id}"


async def _list_ours(api: StripeApi, endpoint_id: str) -> list[_AtStripe]:
    found: list[_AtStripe] = []
    while True:
        page = await api.list_page(PATH, [("starting_after", found[-1].id)] if found else [])
        found += [msgspec.json.decode(body, type=_AtStripe) for body in page.objects]
        if not page.has_more or not page.objects:
            return [endpoint for endpoint in found if endpoint.url.endswith(_path(endpoint_id))]
