"""Stripe's REST API, thin and asynchronous: the only module that knows the `stripe` package.

Answers stay bytes: a list page is split into its objects without parsing them, since `stripe`'s own objects cost
hundreds of times more. Every call waits for its turn in the budget and carries the pinned API version.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar

import aiohttp
import msgspec
import stripe
from pydantic import SecretStr

from shared.errors import StripeNotFoundError, StripeRateLimitedError, StripeUnavailableError, TransientError
from shared.heartbeat import beat
from shared.log import mask
from shared.metrics import STRIPE_CALLS, STRIPE_SECONDS
from shared.retries import pause_seconds
from shared.stripe_refusals import as_error

API_VERSION: str = stripe.api_version
PAGE_LIMIT = 100  # Stripe's largest. https://docs.stripe.com/api/pagination
STAMP_MARGIN = 5  # seconds a stamp lies before the request: must exceed the skew between Stripe's own clocks
ATTEMPTS = 5
T = TypeVar("T")
Params = Sequence[tuple[str, str]]

# No name of Stripe's has a digit or a capital after the version, and hardly an id is without one.
OBJECT_ID = re.compile(r"(?<!^)/[^/]*[A-Z0-9][^/]*")


class Item(msgspec.Struct):
    """The identity of an object in a list."""

    id: str | None = None
    object: str = ""
    created: int | None = None
    date: int | None = None  # what an invoice item has instead of `created`
    deleted: bool = False

    @property
    def created_at(self) -> int | None:
        """When it was created, in Unix seconds, if the object tells."""
        return self.created if self.created is not None else self.date


class _ListBody(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False


class _ErrorDetail(msgspec.Struct):
    message: str = ""
    code: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorDetail


_ITEM = msgspec.json.Decoder(Item)
_LIST = msgspec.json.Decoder(_ListBody)
_ERROR = msgspec.json.Decoder(_ErrorBody)


def parse_item(body: bytes | msgspec.Raw) -> Item:
    """Return id, type and creation time of an object without parsing the rest."""
    return _ITEM.decode(body)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: the objects' bytes, and the stamp of everything on it."""

    objects: tuple[bytes, ...]
    has_more: bool
    stamp: int  # Stripe's clock, in seconds: a low watermark of the state that the page shows


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object's bytes and their stamp."""

    body: bytes
    stamp: int


class Budget(Protocol):
    """Decides when the next call may start."""

    def turn(self, endpoint: str) -> AbstractAsyncContextManager[None]:
        """Return a block that begins when one call of `endpoint` may be made, and lasts as long as the call."""


class Unlimited:
    """The budget of a key check, which may use all of Stripe's limit for its few calls."""

    def turn(self, endpoint: str) -> AbstractAsyncContextManager[None]:
        """Return a block that begins at once."""
        return nullcontext()


@dataclass(slots=True)
class Calls:
    """What a piece of work has cost."""

    made: int = 0
    rate_limited: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    stamp: int
    retry_after: float | None


class StripeApi:
    """Calls Stripe with one restricted key.

    Every method raises `StripeUnavailableError` after its retries, or a `StripeRefusedError` that says why.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        base: str,
        key: SecretStr,
        budget: Budget,
        timeout_seconds: float = 30.0,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._base = base.rstrip("/")
        self._key = key
        self._budget = budget
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._attempts = attempts
        self._sleep = sleep
        self.calls = Calls()

    async def list_page(self, path: str, params: Params = ()) -> Page:
        """Return one page of the list at `path`; 100 objects unless `params` says otherwise."""
        if not any(name == "limit" for name, _ in params):
            params = [*params, ("limit", str(PAGE_LIMIT))]
        return await self._call("GET", path, params, parse=_parse_page)

    async def retrieve(self, path: str, params: Params = ()) -> Fetched:
        """Return the object at `path`; raise `StripeNotFoundError` when Stripe has none."""
        return await self._call("GET", path, params, parse=lambda a: Fetched(_require_object(a.body), a.stamp))

    async def post(self, path: str, params: Params, *, idempotency_key: str | None = None) -> Fetched:
        """Create or update; `idempotency_key` makes a repeated creation harmless for 24 hours."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self._call(
            "POST", path, params, headers, parse=lambda a: Fetched(_require_object(a.body), a.stamp)
        )

    async def delete(self, path: str) -> None:
        """Delete the object at `path`; one that is gone already is fine."""
        try:
            await self._call("DELETE", path, (), parse=lambda _: None)
        except StripeNotFoundError:
            return

    async def _call(
        self,
        method: str,
        path: str,
        params: Params,
        headers: Mapping[str, str] | None = None,
        *,
        parse: Callable[[_Answer], T],
    ) -> T:
        endpoint = f"{method} {OBJECT_ID.sub('/{id}', path)}"
        for attempt in range(self._attempts):
            try:
                async with self._budget.turn(endpoint):
                    answer = await self._send(method, path, params, headers or {})
                _raise_for_answer(answer)
                return parse(answer)
            except TransientError as error:
                if attempt + 1 == self._attempts:
                    raise
                await self._sleep(pause_seconds(attempt, base=0.5, cap=8.0, at_least=error.retry_after_seconds))
        raise StripeUnavailableError

    async def _send(self, method: str, path: str, params: Params, headers: Mapping[str, str]) -> _Answer:
        sent = {"params": params} if method != "POST" else {"data": aiohttp.FormData(list(params))}
        authorization = f"Bearer {self._key.get_secret_value()}"
        started = time.monotonic()
        self.calls.made += 1
        beat()
        try:
            async with self._session.request(
                method,
                self._base + path,
                headers={"Authorization": authorization, "Stripe-Version": API_VERSION, **headers},
                timeout=self._timeout,
                allow_redirects=False,
                **sent,
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            STRIPE_CALLS.labels("none").inc()
            raise StripeUnavailableError(f"Stripe did not answer ({type(error).__name__}).") from error
        duration = time.monotonic() - started
        STRIPE_CALLS.labels(str(response.status)).inc()
        STRIPE_SECONDS.observe(duration)
        self.calls.rate_limited += response.status == 429
        return _Answer(
            response.status,
            body,
            stamp_of(response.headers.get("Date"), duration),
            _seconds(response.headers.get("Retry-After")),
        )


def stamp_of(date_header: str | None, duration_seconds: float, *, now: Callable[[], float] = time.time) -> int:
    """Return the low watermark of a read, in seconds of Stripe's clock.

    The request started at the response's `Date` less what it took; the margin makes the stamp surely older than
    any change that the read may have missed. Too low is harmless: the event wins.
    """
    try:
        date = parsedate_to_datetime(date_header or "").timestamp()
    except ValueError:
        date = now()
    return math.floor(date - duration_seconds - STAMP_MARGIN)


def raise_for_status(status: int, body: bytes, retry_after: float | None) -> None:
    """Raise the error that Stripe's answer means; return when it is a success. https://docs.stripe.com/error-codes"""
    if status < 300:
        return
    try:
        error = _ERROR.decode(body).error
    except msgspec.DecodeError:
        error = _ErrorDetail()
    message = mask(error.message)[:500] or f"Stripe answered {status}."
    if status == 429:
        raise StripeRateLimitedError(message, retry_after_seconds=retry_after)
    if status >= 500 or status in (408, 409):
        raise StripeUnavailableError(message, retry_after_seconds=retry_after)
    raise as_error(status, error.code, message)


def _raise_for_answer(answer: _Answer) -> None:
    try:
        raise_for_status(answer.status, answer.body, answer.retry_after)
    except StripeNotFoundError as error:
        error.stamp = answer.stamp
        raise


def _parse_page(answer: _Answer) -> Page:
    try:
        body = _LIST.decode(answer.body)
    except msgspec.DecodeError as error:  # long pages can be cut in the middle
        raise StripeUnavailableError("Stripe's answer was cut off.") from error
    return Page(tuple(bytes(raw) for raw in body.data), body.has_more, answer.stamp)


def _require_object(body: bytes) -> bytes:
    try:
        _ITEM.decode(body)
    except msgspec.DecodeError as error:
        raise StripeUnavailableError("Stripe's answer was cut off.") from error
    return body


def _seconds(header: str | None) -> float | None:
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return min(seconds, 60.0) if seconds > 0 else None
