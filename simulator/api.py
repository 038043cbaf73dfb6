"""The `/v1` surface: who asks, whether they may, how fast, and then what."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from simulator import errors
from simulator.event_reads import EventReads
from simulator.keys import Key
from simulator.oddities import Request, distort, refuse
from simulator.reads import Reads, find_read
from simulator.resources import Nested, Resource
from simulator.shapes import State
from simulator.simulation import Simulation
from simulator.world import World

Pairs = Sequence[tuple[str, str]]

_LOG_SIZE = 100_000


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in."""

    key: Key
    world: World
    version: str
    method: str
    path: str
    pairs: Pairs


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request as the simulator remembers it; `at` is in Unix seconds."""

    at: float
    method: str
    path: str
    query: str
    status: int
    key: str


class StripeApi:
    """Answers `/v1/…` as Stripe would."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.log: deque[LogEntry] = deque(maxlen=_LOG_SIZE)
        self._written: dict[str, tuple[Call, State]] = {}  # by idempotency key

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, successful or not."""
        faults, chance = self.simulation.faults, self.simulation.chance.random
        if faults.latency_before_ms:
            await asyncio.sleep(faults.latency_before_ms / 1000)
        try:
            status, content, headers = 200, self._content(await self._admit(request), request), {}
        except errors.ApiError as error:
            status, content, headers = error.status, msgspec.json.encode({"error": error.error}), error.headers
        if not faults.odd_kind:
            content = msgspec.json.format(content)
        if faults.latency_after_ms:
            await asyncio.sleep(faults.latency_after_ms / 1000)
        if faults.http_slow and chance() < faults.http_slow:
            await asyncio.sleep(chance() * faults.http_slow_seconds)
        headers = self._headers(request) | headers
        self._remember(request, status)
        if faults.http_cut and chance() < faults.http_cut:
            return await self._cut(request, status, headers, content)
        return web.Response(body=content, status=status, content_type="application/json", headers=headers)

    def _content(self, call: Call, request: web.Request) -> bytes:
        faults = self.simulation.faults
        refuse(faults, call.path)
        body = self._answer_once(call, request)
        if body.get("object") != "list":
            return msgspec.json.encode(body)
        limits = [value for name, value in call.pairs if name == "limit"]
        return distort(faults, Request(call.path, int(limits[-1]) if limits else 10), body)

    async def _cut(
        self, request: web.Request, status: int, headers: dict[str, str], content: bytes
    ) -> web.StreamResponse:
        """Answer with half of the content: as if it were all, or with a connection that breaks."""
        half = content[: len(content) // 2]
        if self.simulation.chance.random() < 0.5:
            return web.Response(body=half, status=status, content_type="application/json", headers=headers)
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = "application/json"
        response.content_length = len(content)
        await response.prepare(request)
        await response.write(half)
        if request.transport is not None:
            request.transport.close()
        return response

    async def refuse(self, request: web.Request) -> web.Response:
        """Answer an address that Stripe does not have."""
        error = errors.unknown_url(request.method, request.path)
        return web.json_response({"error": error.error}, status=error.status, headers=self._headers(request))

    def _headers(self, request: web.Request) -> dict[str, str]:
        skew, chance = self.simulation.faults.date_skew_seconds, self.simulation.chance
        off = chance.uniform(-skew, skew) if skew else 0.0
        headers = {
            "Date": formatdate(self.simulation.now() + off, usegmt=True),
            "Request-Id": f"req_{self.simulation.chance.getrandbits(80):020x}",
            "Stripe-Version": request.headers.get("Stripe-Version", self.simulation.config.account_version),
        }
        if account := request.headers.get("Stripe-Account"):
            headers["Stripe-Account"] = account
        return headers

    def _remember(self, request: web.Request, status: int) -> None:
        secret = _secret(request) or ""
        entry = LogEntry(
            self.simulation.now(), request.method, request.path, request.query_string, status, errors.masked(secret)
        )
        self.log.append(entry)

    async def _admit(self, request: web.Request) -> Call:
        simulation = self.simulation
        key = simulation.keys.authenticate(_secret(request), request.remote)
        path = request.match_info["path"]
        world = self._world(request, key)
        simulation.limits.take(world.account_id, f"{request.method} {_endpoint(path)}", time.monotonic())
        self._fail_on_demand()
        version = request.headers.get("Stripe-Version", simulation.config.account_version)
        if version not in world.shapes.api_versions:
            raise errors.ApiError(400, f"Invalid Stripe API version: {version}")
        text = request.rel_url.raw_query_string
        if request.method == "POST":
            text = (await request.read()).decode()
        pairs = [(name, value) for name, value in parse_qsl(text, keep_blank_values=True)]
        return Call(key, world, version, request.method, path, pairs)

    def _world(self, request: web.Request, key: Key) -> World:
        account = request.headers.get("Stripe-Account")
        if account is None:
            return self.simulation.platform
        world = self.simulation.worlds.get(account)
        if world is None:
            raise errors.no_access_to_account(key.secret, account)
        return world

    def _fail_on_demand(self) -> None:
        faults, chance = self.simulation.faults, self.simulation.chance.random
        if chance() < faults.http_429:
            raise errors.rate_limited("global-concurrency")
        if chance() < faults.lock_timeout:
            raise errors.lock_timeout()
        if chance() < faults.http_402:
            raise errors.request_failed()
        for status, rate in ((500, faults.http_500), (503, faults.http_503)):
            if chance() < rate:
                raise errors.server_error(status)

    def _answer_once(self, call: Call, request: web.Request) -> State:
        """A write with an idempotency key that was used before gets the first answer again."""
        token = request.headers.get("Idempotency-Key") if call.method == "POST" else None
        if token is None:
            return self._answer(call)
        if token not in self._written:
            self._written[token] = (call, self._answer(call))
        first, answer = self._written[token]
        if (first.path, first.pairs) != (call.path, call.pairs):
            raise errors.idempotency_key_used()
        return answer

    def _answer(self, call: Call) -> State:
        root = call.path.partition("/")[0]
        if root == "webhook_endpoints":
            return self._webhook_endpoints(call)
        if call.method != "GET":
            raise errors.unknown_url(call.method, f"/v1/{call.path}")
        if root == "events":
            return self._events(call)
        if root in ("account", "balance", "balance_settings"):
            return self._own(call)
        if root == "subscription_items":
            return self._subscription_items(call)
        return self._read(call)

    def _webhook_endpoints(self, call: Call) -> State:
        endpoints = self.simulation.endpoints
        self._require(call, "webhook_read" if call.method == "GET" else "webhook_write")
        endpoint_id = call.path.partition("/")[2]
        match call.method, bool(endpoint_id):
            case "GET", False:
                return endpoints.list_endpoints(call.pairs)
            case "GET", True:
                return endpoints.render(endpoints.get(endpoint_id))
            case "POST", False:
                return endpoints.create(call.pairs, now=self.simulation.now())
            case "POST", True:
                return endpoints.update(endpoint_id, call.pairs)
            case "DELETE", True:
                return endpoints.delete(endpoint_id)
        raise errors.unknown_url(call.method, f"/v1/{call.path}")

    def _events(self, call: Call) -> State:
        self._require(call, "event_read")
        reads = EventReads(
            call.world,
            version=self.simulation.config.account_version,
            now=self.simulation.now(),
            omitted=self.simulation.faults.events_omitted,
            delay=self.simulation.faults.events_delay_seconds,
        )
        event_id = call.path.partition("/")[2]
        return reads.retrieve(event_id) if event_id else reads.list_events(call.pairs)

    def _own(self, call: Call) -> State:
        permission = "accounts_kyc_basic_read" if call.path == "account" else f"{call.path}_read"
        self._require(call, permission)
        return call.world.render_own(call.path)

    def _subscription_items(self, call: Call) -> State:
        self._require(call, "subscription_read")
        reads = Reads(call.world, call.version)
        item_id = call.path.partition("/")[2]
        if item_id:
            return reads.retrieve_subscription_item(item_id, call.pairs)
        return reads.list_subscription_items(call.pairs)

    def _read(self, call: Call) -> State:
        found = find_read(call.path)
        if found is None:
            raise errors.unknown_url(call.method, f"/v1/{call.path}")
        permission, row, ids = found
        self._require(call, f"{permission}_read")
        reads = Reads(call.world, call.version)
        if isinstance(row, Nested):
            if len(ids) == 1:
                return reads.list_nested(row, ids[0], call.pairs)
            return reads.retrieve_nested(row, ids[0], ids[1], call.pairs)
        return self._read_resource(call, reads, row, ids)

    def _read_resource(self, call: Call, reads: Reads, row: Resource, ids: tuple[str, ...]) -> State:
        if not ids:
            return reads.list_resource(row, call.pairs)
        if row.name == "account" and ids[0] == call.world.account_id:
            return call.world.render_own("account")
        return reads.retrieve(row, ids[0], call.pairs)

    def _require(self, call: Call, permission: str) -> None:
        slug = f"rak_{permission}"
        if not call.key.has(slug):
            raise errors.missing_permission(call.key.secret, call.world.account_id, slug)


def _secret(request: web.Request) -> str | None:
    """Stripe takes the key as a bearer token, or as the user name of basic authentication."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(credentials).decode().partition(":")[0]
    except ValueError:
        return None


def _endpoint(path: str) -> str:
    """Ids don't count: each named operation has a limit of its own."""
    found = find_read(path)
    if found is None:
        root, slash, _ = path.partition("/")
        return root + slash
    _, row, ids = found
    name = f"{row.parent}/{row.tail}" if isinstance(row, Nested) else row.path
    return f"{name}#{len(ids)}"
