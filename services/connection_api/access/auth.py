"""Who is calling: bearer tokens for programs, sessions for browsers, and one middleware that enforces access."""

from __future__ import annotations

import hmac
import math
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from pydantic import SecretStr

from services.connection_api.access.sessions import COOKIE, Caller, Credentials
from shared.audit import Actor
from shared.errors import AuthError, ForbiddenError, TransientError
from shared.http import REQUEST_ID, Access, Handler, access_of

OPEN = frozenset({Access.PROBE, Access.SIGNED, Access.PUBLIC})
RANK = {Access.READ: 1, Access.MANAGE: 2, Access.ADMIN: 3}
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)
FIRST_TOKEN = Caller("first token", Access.ADMIN)
SESSION = Caller("session", Access.MANAGE)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BAD_TOKENS = 10  # from one address within the window
WINDOW = 60.0  # seconds
ADDRESSES_KEPT = 10_000
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a form that is sent without TLS could not prove its origin
}


class TooManyAttemptsError(TransientError):
    """Too many wrong tokens came from this address; try again later."""

    code = "too_many_attempts"
    status = 429


class Attempts:
    """Counts wrong tokens by address, in a sliding window."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` counts seconds, from any beginning."""
        self._now = now
        self._failed: dict[str, deque[float]] = {}

    def require_room(self, address: str) -> None:
        """Raise `TooManyAttemptsError` while the address has used up its attempts."""
        failed = self._recent(address)
        if len(failed) >= BAD_TOKENS:
            raise TooManyAttemptsError(retry_after_seconds=math.ceil(failed[0] + WINDOW - self._now()))

    def note(self, address: str) -> None:
        """Count a wrong token."""
        failed = self._recent(address)
        failed.append(self._now())
        self._failed[address] = failed
        while len(self._failed) > ADDRESSES_KEPT:
            self._failed.pop(next(iter(self._failed)))

    def _recent(self, address: str) -> deque[float]:
        failed = self._failed.pop(address, None) or deque(maxlen=BAD_TOKENS)
        while failed and failed[0] <= self._now() - WINDOW:
            failed.popleft()
        if failed:
            self._failed[address] = failed
        return failed


class Gate:
    """Lets a request through to its route, or refuses it."""

    def __init__(self, credentials: Credentials, api_token: SecretStr | None, attempts: Attempts) -> None:
        """`api_token` is the first token, from the settings; it has every right."""
        self._credentials = credentials
        self._api_token = api_token
        self._attempts = attempts

    async def require(self, request: web.Request) -> None:
        """Note who is calling; raise `AuthError` or `ForbiddenError` unless they may use the matched route."""
        access = access_of(request)
        if request.match_info.http_exception or access in OPEN:
            return
        caller = await self._caller(request)
        if access is None:
            raise ForbiddenError("This address does not declare who may use it, so nobody may.")
        if RANK[caller.scope] < RANK[access]:
            raise ForbiddenError(f"This needs the scope {access}; yours is {caller.scope}.")
        request[ACTOR] = Actor(caller.name, request[REQUEST_ID])

    async def _caller(self, request: web.Request) -> Caller:
        kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if kind:
            return await self._token_holder(request, token.strip() if kind.lower() == "bearer" else "")
        session = request.cookies.get(COOKIE)
        if not session or not await self._credentials.has_session(session):
            raise AuthError
        require_same_origin(request)
        return SESSION

    async def _token_holder(self, request: web.Request, token: str) -> Caller:
        address = request.remote or ""
        self._attempts.require_room(address)
        if self._is_first_token(token):
            return FIRST_TOKEN
        holder = await self._credentials.token_holder(token) if token else None
        if holder is None:
            self._attempts.note(address)
            raise AuthError("This token is unknown, was revoked or has expired.")
        return holder

    def _is_first_token(self, token: str) -> bool:
        first = self._api_token.get_secret_value() if self._api_token else ""
        same = hmac.compare_digest(token.encode("utf-8", "surrogateescape"), first.encode())
        return bool(first) and same


def actor_of(request: web.Request) -> Actor:
    """Return who is calling a route that the gate guards."""
    return request[ACTOR]


def guarded_by(gate: Gate) -> Middleware:
    """Return the middleware that asks the gate before every route."""

    @web.middleware
    async def enforce(request: web.Request, handler: Handler) -> web.StreamResponse:
        await gate.require(request)
        return await handler(request)

    return enforce


def require_same_origin(request: web.Request) -> None:
    """Raise `ForbiddenError` for a change that another site made the browser ask for.

    https://developer.mozilla.org/docs/Web/HTTP/Headers/Sec-Fetch-Site; browsers that lack it send `Origin`.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get(hdrs.ORIGIN, "")
    is_ours = site == "same-origin" if site else bool(origin) and urlsplit(origin).netloc == request.host
    if not is_ours:
        raise ForbiddenError("This request came from another site, so it was not carried out.")


async def add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Complete every response, streams and problems too; what a page has set stays."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
