"""The one route: read the bytes, verify them, publish them, answer.

A stranger costs as little as can be, and learns nothing: what can't be signed by Stripe is refused before its body is
read, the body for an endpoint that does not exist is read like any other and thrown away, and such bodies take little
room in memory, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from aiohttp import web
from pydantic import SecretStr

from services.webhook_gateway.bodies import BODY_TIMEOUT, read_body, size_of
from services.webhook_gateway.endpoints import EndpointCache, is_well_formed
from services.webhook_gateway.refusing import Counts
from services.webhook_gateway.room import Room
from services.webhook_gateway.signature import Claim, Proof, UnverifiedError, read_claim
from shared.acceptance import find_key
from shared.consumers import publish_dead_letter
from shared.dead_letters import DeadLetter, describe
from shared.endpoint_secrets import Endpoint
from shared.errors import AppError, MessageError, SignatureError, TransientError
from shared.kafka import Outgoing, Producer
from shared.log import Ration, get_logger
from shared.messages import EventHeaders
from shared.metrics import WEBHOOK_SECONDS, WEBHOOKS
from shared.topics import EVENTS

PATH = "/webhooks/stripe/{endpoint}"
SIGNATURE_HEADER = "Stripe-Signature"
ROOM = 64 * 1024 * 1024  # bytes of bodies that are under way
ROOM_ASIDE = 8 * 1024 * 1024  # bytes of bodies for endpoints that don't exist
NOBODYS_SECRET = SecretStr("whsec_of_nobody")


class SecretsUnreadableError(TransientError):
    """The signing secret can't be read at the moment."""

    code = "secrets_unreadable"


class Intake:
    """Takes webhooks in: an answer of 200 means that Kafka has the event."""

    def __init__(
        self,
        endpoints: EndpointCache,
        producer: Producer,
        counts: Counts,
        now: Callable[[], float],
        *,
        room_bytes: int = ROOM,
        body_timeout_seconds: float = BODY_TIMEOUT,
    ) -> None:
        """`now` gives the time in seconds since 1970; `room_bytes` is what all bodies together may take."""
        self._endpoints = endpoints
        self._producer = producer
        self._now = now
        self._counts = counts
        self._room = Room(room_bytes)
        self._room_aside = Room(ROOM_ASIDE)
        self._ration = Ration()
        self._body_timeout = body_timeout_seconds

    async def receive(self, request: web.Request) -> web.Response:
        """Answer a webhook, and count what became of it."""
        started = time.perf_counter()
        try:
            outcome = await self._take(request)
        except AppError as error:
            WEBHOOKS.labels(error.code).inc()
            raise
        finally:
            WEBHOOK_SECONDS.observe(time.perf_counter() - started)
        WEBHOOKS.labels(outcome).inc()
        return web.Response()

    async def _take(self, request: web.Request) -> str:
        received_at = self._now()
        endpoint_id, size = request.match_info["endpoint"], size_of(request)
        if not is_well_formed(endpoint_id):
            raise SignatureError  # of no endpoint, so its body is of no use
        endpoint = await self._endpoints.find(endpoint_id)
        if endpoint.is_unreadable if endpoint else self._endpoints.has_unreadable:
            if endpoint:
                self._counts.refuse_unreadable(endpoint.id)
            raise SecretsUnreadableError
        try:
            claim = read_claim(request.headers.get(SIGNATURE_HEADER, ""), received_at)
            if endpoint is None:
                await self._read_for_nobody(request, claim, size)
                raise SignatureError
            with self._room.taken(size):
                body = await self._read_signed(request, claim, endpoint.secrets)
                self._counts.accept(endpoint.id)
                return await self._pass_on(body, endpoint, received_at)
        except UnverifiedError as error:
            if endpoint:
                self._counts.refuse(endpoint.id, error)
                self._log_refusal(endpoint.id, error)
            # Always the same, so that nobody learns which endpoints exist.
            raise SignatureError from error

    async def _read_signed(self, request: web.Request, claim: Claim, secrets: Iterable[SecretStr]) -> bytes:
        """Return the body, if one of the secrets signed it; raise `UnverifiedError`."""
        proof, parts = Proof(claim, secrets), list[bytes]()

        def take(part: bytes) -> None:
            proof.feed(part)
            parts.append(part)

        await read_body(request, self._body_timeout, take)
        proof.require()
        return b"".join(parts)

    async def _read_for_nobody(self, request: web.Request, claim: Claim, size: int) -> None:
        """Do as for an endpoint that exists, so that no time tells that there is none; where many do, keep nothing."""
        self._room.require(size)
        if self._room_aside.has(size):
            with self._room_aside.taken(size):
                await self._read_signed(request, claim, [NOBODYS_SECRET])
        else:
            await read_body(request, self._body_timeout, Proof(claim, [NOBODYS_SECRET]).feed)

    async def _pass_on(self, body: bytes, endpoint: Endpoint, received_at: float) -> str:
        """Publish what Stripe has signed; return what became of it."""
        headers = EventHeaders(
            endpoint.connection_id,
            int(received_at * 1000),
            account_id=endpoint.account_id,
            livemode=endpoint.livemode,
        )
        try:
            key = find_key(body, endpoint, now=received_at)
        except MessageError as error:
            await self._quarantine(body, headers, error)
            return "quarantined"
        if key is None:
            return "ignored"
        await self._producer.publish(EVENTS, Outgoing(key, body, headers.encode()))
        return "published"

    def _log_refusal(self, endpoint_id: str, error: UnverifiedError) -> None:
        unlogged = self._ration.take(endpoint_id)
        if unlogged is not None:
            get_logger().warning(
                "webhook_refused", endpoint=endpoint_id, reason=error.message, code=error.cause, unlogged=unlogged
            )

    async def _quarantine(self, body: bytes, headers: EventHeaders, error: MessageError) -> None:
        code, reason = describe(error)
        letter = DeadLetter(
            stage="gateway",
            code=code,
            reason=reason,
            body=body,
            connection_id=headers.connection_id,
            headers=tuple(headers.encode()),
        )
        await publish_dead_letter(self._producer, letter, cause=error)
