"""The one route: read the bytes, verify them, publish them, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from services.webhook_gateway.endpoints import EndpointCache
from services.webhook_gateway.signature import verify
from shared.acceptance import find_key
from shared.consumers import publish_dead_letter
from shared.dead_letters import DeadLetter, describe
from shared.errors import AppError, MessageError, RejectedError, SignatureError, TooLargeError
from shared.kafka import Outgoing, Producer
from shared.log import get_logger
from shared.messages import EventHeaders
from shared.metrics import WEBHOOK_SECONDS, WEBHOOKS
from shared.topics import EVENTS
from shared.webhook_endpoints import Endpoint

PATH = "/webhooks/stripe/{endpoint}"
SIGNATURE_HEADER = "Stripe-Signature"
MAX_BODY = 1024 * 1024  # bytes
BODY_TIMEOUT = 12.0  # seconds; closing the connection of a client that goes on sending takes a few more


class SlowBodyError(RejectedError):
    """The body did not arrive in time."""

    code = "too_slow"
    status = 408


class BrokenBodyError(RejectedError):
    """The body ended early or can't be decoded."""

    code = "body_broken"


class Intake:
    """Takes webhooks in: an answer of 200 means that Kafka has the event."""

    def __init__(
        self,
        endpoints: EndpointCache,
        producer: Producer,
        now: Callable[[], float],
        *,
        body_timeout_seconds: float = BODY_TIMEOUT,
    ) -> None:
        """`now` gives the time in seconds since 1970."""
        self._endpoints = endpoints
        self._producer = producer
        self._now = now
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
        body = await read_body(request, self._body_timeout)
        endpoint = await self._authenticate(request, body, received_at)
        headers = EventHeaders(endpoint.connection_id, int(received_at * 1000))
        try:
            key = find_key(body, endpoint)
        except MessageError as error:
            await self._quarantine(body, headers, error)
            return "quarantined"
        if key is None:
            return "ignored"
        await self._producer.publish(EVENTS, Outgoing(key, body, headers.encode()))
        return "published"

    async def _authenticate(self, request: web.Request, body: bytes, received_at: float) -> Endpoint:
        """Return the endpoint whose secret signed `body`.

        Raises `SignatureError`: always the same, so that nobody learns which endpoints exist.
        """
        endpoint_id = request.match_info["endpoint"]
        endpoint = await self._endpoints.find(endpoint_id)
        try:
            if endpoint is None:
                raise SignatureError("There is no such endpoint.")
            verify(body, request.headers.get(SIGNATURE_HEADER, ""), endpoint.secrets, received_at)
        except SignatureError as error:
            get_logger().info("webhook_refused", endpoint=endpoint_id[:64], reason=error.message)
            raise SignatureError from error
        return endpoint

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


async def read_body(request: web.Request, timeout_seconds: float) -> bytes:
    """Return the body's bytes; raise `TooLargeError`, `SlowBodyError` or `BrokenBodyError`."""
    if (request.content_length or 0) > MAX_BODY:
        raise TooLargeError
    try:
        if request.content.is_eof():  # most bodies come together with their headers: no need of a timer
            return await request.read()
        async with asyncio.timeout(timeout_seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLargeError from error
    except TimeoutError as error:
        raise SlowBodyError from error
    except (ConnectionError, web.RequestPayloadError) as error:
        raise BrokenBodyError from error
