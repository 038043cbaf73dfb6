"""Our webhook endpoint at Stripe: made once for a connection, found again by its URL, its secrets kept encrypted.

Its id is the random last part of the URL, so ours are known although an answer was lost or the gateway has moved.
Stripe tells an endpoint's secret only when it creates it (https://docs.stripe.com/api/webhook_endpoints/create), so
one of ours whose secret was lost is replaced by a new one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from enum import StrEnum

import msgspec
from pydantic import SecretStr

from shared.connections import Connection
from shared.crypto import KeyRing, SecretUnreadableError, make_id
from shared.db import Pool, database_errors, transaction
from shared.errors import ConflictError, PermissionMissingError, StripeRefusedError, TransientError
from shared.log import get_logger
from shared.stripe_api import API_VERSION, StripeApi

PATH = "/v1/webhook_endpoints"
EVERY_EVENT = "*"
LIMIT_REACHED = re.compile(r"maximum of \d+ .*webhook endpoints", re.IGNORECASE)

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
PRESENT_SIGNING = """
SELECT secret FROM webhook_secrets WHERE endpoint_id = $1 AND expires_at IS NULL ORDER BY id DESC LIMIT 1
"""
VOID_SIGNING = "DELETE FROM webhook_secrets WHERE endpoint_id = $1"
ADD_SIGNING = "INSERT INTO webhook_secrets (endpoint_id, secret) VALUES ($1, $2)"
OLD_SECRET_LIVES = timedelta(hours=1)  # what Stripe sent before a rotation may still be under way, or be tried again
PROBE_EVENT = "account.updated"  # any rare event will do: the endpoint is gone, or known, before one comes
SETTLED = 3.0  # seconds after which every gateway knows a new secret: they ask for it every two
RESERVE_PROBE = "INSERT INTO endpoint_probes (id, api_key) VALUES ($1, $2)"
FORGET_PROBE = "DELETE FROM endpoint_probes WHERE id = $1"
LEFT_PROBES = "SELECT id, api_key FROM endpoint_probes WHERE created_at < now() - $1::interval"
PROBE_TAKES = timedelta(minutes=2)  # at most; an older one was left by a crash

# Who changes an endpoint is alone at it: what another has just made would look like one that a crash has left.
TAKE_TURN = """
INSERT INTO leases AS l (name, owner, until) VALUES ('endpoint:' || $1, $2, now() + $3::interval)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE l.until < now() RETURNING 1
"""
GIVE_TURN = "DELETE FROM leases WHERE name = 'endpoint:' || $1 AND owner = $2"
TURN = timedelta(minutes=3)
LOOK_INTERVAL = 0.2  # seconds between two looks whether it is one's turn
PATIENCE = 20.0  # seconds that one waits for it


class Repair(StrEnum):
    """What was wrong with our endpoint at Stripe and is right again, in words for people."""

    MADE = "The webhook endpoint was missing at Stripe and has been made again"
    REPLACED = "The webhook endpoint's secret or API version was not ours and it has been replaced"
    MOVED = "The webhook endpoint had another address at Stripe and has ours again"
    ENABLED = "The webhook endpoint was disabled at Stripe and has been enabled again"
    SUBSCRIBED = "The webhook endpoint lacked events at Stripe and gets them again"


class EndpointsFullError(ConflictError):
    """Stripe has no room for one more webhook endpoint."""

    code = "webhook_endpoints_full"


class _AtStripe(msgspec.Struct):
    id: str
    url: str = ""
    created: int = 0
    status: str = ""
    api_version: str | None = None
    enabled_events: list[str] = []
    secret: str | None = None


class WebhookEndpoints:
    """Makes, repairs and removes our endpoints; every method is safe to repeat after a crash."""

    def __init__(
        self,
        pool: Pool,
        keys: KeyRing,
        *,
        public_url: str,
        patience_seconds: float = PATIENCE,
        settled_seconds: float = SETTLED,
    ) -> None:
        """`public_url` is where Stripe reaches the gateway.

        `patience_seconds` is how long one waits for another who changes the endpoint, `settled_seconds` how long until
        every gateway knows a new secret.
        """
        self._pool = pool
        self._keys = keys
        self._public_url = public_url.rstrip("/")
        self._patience = patience_seconds
        self._settled = settled_seconds

    async def ensure(
        self, connection: Connection, api: StripeApi, events: Sequence[str], *, proves_key: bool = False
    ) -> int:
        """Let Stripe deliver `events` to us; return when the endpoint was made, in seconds of Stripe's clock.

        With `proves_key` it is written although it is right already, so that the key is known to be allowed to.

        Raises `PermissionMissingError` without write access, `ConflictError` when the account has no room for one
        more endpoint, and what the client raises.
        """
        async with self._turn(connection.id):
            return (await self._ensure(connection, api, events, proves_key=proves_key))[0]

    async def check(self, connection: Connection, api: StripeApi, events: Sequence[str]) -> list[Repair]:
        """Do what `ensure` does, with one call when all is right; return what had to be repaired."""
        async with self._turn(connection.id):
            return (await self._ensure(connection, api, events))[1]

    async def is_known(self, connection: Connection, api: StripeApi) -> bool | None:
        """Tell whether the key of `api` sees the connection's endpoint, so is of its account; `None` without one."""
        with database_errors():
            row = await self._pool.fetchrow(FIND_OURS, connection.id)
        if row is None or row["stripe_id"] is None:
            return None
        return any(endpoint.id == row["stripe_id"] for endpoint in await _list_ours(api, row["id"], row["stripe_id"]))

    async def rotate(self, connection: Connection, api: StripeApi, events: Sequence[str]) -> None:
        """Replace our endpoint by one with a new secret; the old secret is good for another hour.

        Stripe has no way to change an endpoint's secret. Both endpoints deliver for a moment, which changes no row;
        what the old one had not delivered yet is found in the event feed. Raises what `ensure` raises.
        """
        async with self._turn(connection.id):
            endpoint_id, stripe_id = await self._reserve(connection.id)
            await self._replace(endpoint_id, api, events, stripe_id, keeps_old_secret=True)

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
        """Return the probes that a crash left behind, with the key of each.

        One whose key can't be read any more is of no use to anybody, and is forgotten.
        """
        with database_errors():
            rows = await self._pool.fetch(LEFT_PROBES, PROBE_TAKES)
        found = []
        for row in rows:
            try:
                key = self._keys.decrypt(row["api_key"], owner=row["id"], name="api_key")
            except SecretUnreadableError:
                get_logger().warning("probe_forgotten", endpoint=row["id"], reason="Its key can't be decrypted.")
                await self._forget_probe(row["id"])
            else:
                found.append((row["id"], SecretStr(key)))
        return found

    async def remove_probe(self, probe_id: str, api: StripeApi) -> None:
        """Delete what a probe may have left at Stripe; where Stripe refuses for good, it is forgotten all the same."""
        with suppress(StripeRefusedError):
            await _delete(api, await _list_ours(api, probe_id))
        await self._forget_probe(probe_id)

    async def _forget_probe(self, probe_id: str) -> None:
        with database_errors():
            await self._pool.execute(FORGET_PROBE, probe_id)

    async def remove(self, connection_id: str, api: StripeApi) -> None:
        """Delete every endpoint of ours at Stripe; one that is gone already is fine."""
        with database_errors():
            row = await self._pool.fetchrow(FIND_OURS, connection_id)
        if row:
            await _delete(api, await _list_ours(api, row["id"], row["stripe_id"]))

    @asynccontextmanager
    async def _turn(self, connection_id: str) -> AsyncIterator[None]:
        """Be the only one who changes the connection's endpoint; raise `TransientError` when others are long at it."""
        owner = make_id("trn")
        for _ in range(1 + int(self._patience / LOOK_INTERVAL)):
            if await self._take_turn(connection_id, owner):
                break
            await asyncio.sleep(LOOK_INTERVAL)
        else:
            raise TransientError("The webhook endpoint is being changed by another process.")
        try:
            yield
        finally:
            with database_errors():
                await self._pool.execute(GIVE_TURN, connection_id, owner)

    async def _take_turn(self, connection_id: str, owner: str) -> bool:
        with database_errors():
            return bool(await self._pool.fetchval(TAKE_TURN, connection_id, owner, TURN))

    async def _ensure(
        self, connection: Connection, api: StripeApi, events: Sequence[str], *, proves_key: bool = False
    ) -> tuple[int, list[Repair]]:
        endpoint_id, stripe_id = await self._reserve(connection.id)
        ours = await _list_ours(api, endpoint_id, stripe_id)
        # The id at Stripe is stored together with the secret: one that is not stored has a secret that nobody knows.
        known = next((endpoint for endpoint in ours if endpoint.id == stripe_id), None)
        others = [endpoint for endpoint in ours if endpoint is not known]
        if known is None:
            await _delete(api, others)
            return (await self._create(endpoint_id, api, events)).created, [Repair.MADE]
        has_secret = await self._has_secret(endpoint_id)
        if known.api_version == API_VERSION and has_secret:
            created = known.created
            repairs = await self._repair(endpoint_id, api, known, events, proves_key=proves_key)
        else:
            wanted = sorted(merge_events(known.enabled_events, events))
            created = await self._replace(endpoint_id, api, wanted, known.id, keeps_old_secret=has_secret)
            repairs = [Repair.REPLACED]
        await _delete(api, others)  # last: one that is about to be replaced may deliver yet
        return created, repairs

    async def _has_secret(self, endpoint_id: str) -> bool:
        """Tell whether we can verify what the endpoint sends."""
        with database_errors():
            sealed = await self._pool.fetchval(PRESENT_SIGNING, endpoint_id)
        try:
            return sealed is not None and bool(self._keys.decrypt(sealed, owner=endpoint_id, name="secret"))
        except SecretUnreadableError:
            return False

    async def _replace(
        self, endpoint_id: str, api: StripeApi, events: Sequence[str], old: str | None, *, keeps_old_secret: bool
    ) -> int:
        """Make a new endpoint that takes over once every gateway knows its secret; then delete the old one.

        So one of the two always delivers, and nothing is refused. A full account has no room for two.
        """
        try:
            made = await self._create(endpoint_id, api, [PROBE_EVENT], keeps_old_secret=keeps_old_secret)
        except EndpointsFullError:
            if old is None:
                raise
            await api.delete(f"{PATH}/{old}")
            return (await self._create(endpoint_id, api, events, keeps_old_secret=keeps_old_secret)).created
        await asyncio.sleep(self._settled)
        await self._repair(endpoint_id, api, made, events, proves_key=False)
        if old:
            await api.delete(f"{PATH}/{old}")
        return made.created

    async def _reserve(self, connection_id: str) -> tuple[str, str | None]:
        """Return our id, and Stripe's where it is known."""
        endpoint_id = make_id("whe")
        with database_errors():
            row = await self._pool.fetchrow(RESERVE, endpoint_id, connection_id, self._url(endpoint_id))
        return row["id"], row["stripe_id"]

    async def _create(
        self, endpoint_id: str, api: StripeApi, events: Sequence[str], *, keeps_old_secret: bool = False
    ) -> _AtStripe:
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
        return made

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
    ) -> list[Repair]:
        """Bring address, state and events of our endpoint up to date; what is right already costs no call."""
        url, wanted = self._url(endpoint_id), merge_events(known.enabled_events, events)
        changes: dict[Repair, list[tuple[str, str]]] = {}
        if known.url != url:
            changes[Repair.MOVED] = [("url", url)]
        if known.status != "enabled":
            changes[Repair.ENABLED] = [("disabled", "false")]
        if wanted != set(known.enabled_events):
            changes[Repair.SUBSCRIBED] = [("enabled_events[]", event) for event in sorted(wanted)]
        parameters = [one for changed in changes.values() for one in changed]
        if parameters or proves_key:
            await api.post(f"{PATH}/{known.id}", parameters or [("url", url)])
        with database_errors():
            await self._pool.execute(STORE, endpoint_id, known.id, url, sorted(wanted))
        return list(changes)

    def _url(self, endpoint_id: str) -> str:
        return self._public_url + _path(endpoint_id)


def merge_events(existing: Iterable[str], wanted: Iterable[str]) -> set[str]:
    """Return both: what a person has added at Stripe is never taken away."""
    present = set(existing)
    return {EVERY_EVENT} if EVERY_EVENT in present else present | set(wanted)


def _path(endpoint_id: str) -> str:
    return f"/webhooks/stripe/{endpoint_id}"


async def _delete(api: StripeApi, endpoints: Iterable[_AtStripe]) -> None:
    for endpoint in endpoints:
        await api.delete(f"{PATH}/{endpoint.id}")


async def _list_ours(api: StripeApi, endpoint_id: str, stripe_id: str | None = None) -> list[_AtStripe]:
    """Return those with our URL, and the one that is known by its id although somebody gave it another URL."""
    found: list[_AtStripe] = []
    while True:
        page = await api.list_page(PATH, [("starting_after", found[-1].id)] if found else [])
        found += [msgspec.json.decode(body, type=_AtStripe) for body in page.objects]
        if not page.has_more or not page.objects:
            return [one for one in found if one.id == stripe_id or one.url.endswith(_path(endpoint_id))]
