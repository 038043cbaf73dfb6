"""Stripe's REST API, thin and asynchronous: the only module that knows the `stripe` package.

Answers stay bytes: a list page is split into its objects without parsing them, since `stripe`'s own objects cost
hundreds of times more. Every call waits for its turn in the budget and carries the pinned API version.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import stripe
from pydantic import SecretStr

from shared.errors import (
    StripeNotFoundError,
    StripeRateLimitedError,
    StripeRefusedError,
    StripeUnavailableError,
    TransientError,
)
from shared.heartbeat import beat
from shared.log import mask
from shared.metrics import STRIPE_CALLS, STRIPE_SECONDS
from shared.retries import pause_seconds
from shared.stripe_pages import Fetched, Page, PageSize, parse_object, parse_page
from shared.stripe_refusals import as_error

API_VERSION: str = stripe.api_version
STAMP_MARGIN = 5  # seconds a stamp lies before the request: must exceed the skew between Stripe's own clocks
ATTEMPTS = 5
T = TypeVar("T")
Params = Sequence[tuple[str, str]]
# Takes what failed, how many calls have failed before, and in seconds how long it took and the pause that follows.
OnFailure = Callable[[TransientError, int, float, float], Awaitable[None]]

# No name of Stripe's has a digit or a capital after the version, and hardly an id is without one.
OBJECT_ID = re.compile(r"(?<!^)/[^/]*[A-Z0-9][^/]*")


class _ErrorDetail(msgspec.Struct):
    message: str = ""
    code: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorDetail


_ERROR = msgspec.json.Decoder(_ErrorBody)


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


class _NoAnswerError(StripeUnavailableError):
    """Stripe did not answer."""


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
        on_failure: OnFailure | None = None,
    ) -> None:
        """`on_failure` is told of each call that is made again."""
        self._session = session
        self._base = base.rstrip("/")
        self._key = key
        self._budget = budget
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._attempts = attempts
        self._sleep = sleep
        self._on_failure = on_failure
        self.calls = Calls()

    async def list_page(self, path: str, params: Params = (), *, size: PageSize | None = None) -> Page:
        """Return one page of the list at `path`; `size` says how large it is, unless `params` has a `limit`.

        A page that could not be had is asked for with half of its objects, which the `size` that is given remembers.
        """
        if any(name == "limit" for name, _ in params):
            return await self._call("GET", path, lambda: params, parse=lambda a: parse_page(a.body, a.stamp))
        used = size or PageSize()
        page = await self._call(
            "GET",
            path,
            lambda: [*params, ("limit", str(used.limit))],
            parse=lambda a: parse_page(a.body, a.stamp),
            failed=used.shrink,
        )
        used.grow()
        return page

    async def retrieve(self, path: str, params: Params = ()) -> Fetched:
        """Return the object at `path`; raise `StripeNotFoundError` when Stripe has none.

        Raises `ObjectUnreadableError` for one that nobody can read.
        """
        return await self._call("GET", path, lambda: params, parse=lambda a: parse_object(a.body, a.stamp))

    async def post(self, path: str, params: Params, *, idempotency_key: str | None = None) -> Fetched:
        """Create or update; `idempotency_key` makes a repeated creation harmless for 24 hours."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self._call("POST", path, lambda: params, headers, parse=lambda a: parse_object(a.body, a.stamp))

    async def delete(self, path: str) -> None:
        """Delete the object at `path`; one that is gone already is fine."""
        try:
            await self._call("DELETE", path, tuple, parse=lambda _: None)
        except StripeNotFoundError:
            return

    async def _call(
        self,
        method: str,
        path: str,
        params: Callable[[], Params],
        headers: Mapping[str, str] | None = None,
        *,
        parse: Callable[[_Answer], T],
        failed: Callable[[], None] = lambda: None,
    ) -> T:
        """Call until there is an answer, a few times; `failed` is told of each that Stripe could not give."""
        endpoint = f"{method} {OBJECT_ID.sub('/{id}', path)}"
        is_broken = False  # a connection that is kept open may lead nowhere, and so may the others beside it
        for attempt in range(self._attempts):
            started = time.monotonic()
            try:
                async with self._budget.turn(endpoint), self._lend(is_new=is_broken) as session:
                    answer = await self._send(session, method, path, params(), headers or {})
                _raise_for_answer(answer)
                return parse(answer)
            except TransientError as error:
                is_broken = isinstance(error, _NoAnswerError)
                if isinstance(error, StripeUnavailableError) and not isinstance(error, StripeRateLimitedError):
                    failed()
                if attempt + 1 == self._attempts:
                    raise
                pause = pause_seconds(attempt, base=0.5, cap=8.0, at_least=error.retry_after_seconds)
                if self._on_failure:
                    await self._on_failure(error, attempt, time.monotonic() - started, pause)
                await self._sleep(pause)
        raise StripeUnavailableError

    @asynccontextmanager
    async def _lend(self, *, is_new: bool) -> AsyncIterator[aiohttp.ClientSession]:
        if not is_new:
            yield self._session
            return
        async with aiohttp.ClientSession() as session:
            yield session

    async def _send(
        self, session: aiohttp.ClientSession, method: str, path: str, params: Params, headers: Mapping[str, str]
    ) -> _Answer:
        sent = {"params": params} if method != "POST" else {"data": aiohttp.FormData(list(params))}
        authorization = f"Bearer {self._key.get_secret_value()}"
        started = time.monotonic()
        self.calls.made += 1
        beat()
        try:
            async with session.request(
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
            raise _NoAnswerError(f"Stripe did not answer ({type(error).__name__}).") from error
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


def _seconds(header: str | None) -> float | None:
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return min(seconds, 60.0) if seconds > 0 else None


def object_path(template: str, object_id: str) -> str:
    """Return the path of an object, of which a merchant may have chosen the id.

    Raises `StripeRefusedError` for an id that leads elsewhere: a dot is no part of a path, however it is written.
    """
    if "{id}" in template and object_id in ("", ".", ".."):
        raise StripeRefusedError(
            f"Stripe can't be asked for an object with the id “{object_id}”: no address leads to it."
        )
    return template.replace("{id}", quote(object_id, safe=""))
