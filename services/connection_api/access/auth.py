"""Who is calling: bearer tokens for programs, sessions for browsers, and one middleware that enforces access."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from pydantic import SecretStr

from services.connection_api.access.attempts import Attempts, forwarded_proto
from services.connection_api.access.sessions import COOKIE, HOST_COOKIE, Caller, Credentials
from shared.audit import Actor
from shared.crypto import hash_token
from shared.errors import AuthError, ForbiddenError, TransientError
from shared.http import REQUEST_ID, Access, Handler, access_of

OPEN = frozenset({Access.PROBE, Access.SIGNED, Access.PUBLIC})
RANK = {Access.READ: 1, Access.MANAGE: 2, Access.ADMIN: 3}
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)
CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ONE_YEAR = "max-age=31536000"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with `no-referrer` a form that is sent without TLS could not prove its origin
}


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
        request[CALLER] = caller
        request[ACTOR] = Actor(caller.name, request[REQUEST_ID], caller.person, self._attempts.address_of(request))

    async def still_lets(self, request: web.Request) -> bool:
        """Tell whether a request that was let through would be now: its session may have ended meanwhile."""
        try:
            await self._caller(request)
        except AuthError:
            return False
        except TransientError:
            return True  # nobody can tell
        return True

    async def _caller(self, request: web.Request) -> Caller:
        kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if kind:
            return await self._token_holder(request, token.strip() if kind.lower() == "bearer" else "")
        session = session_of(request)
        holder = await self._credentials.session_holder(session) if session else None
        if holder is None:
            raise AuthError
        require_same_origin(request)
        return holder

    async def _token_holder(self, request: web.Request, token: str) -> Caller:
        if self._is_first_token(token):
            return Caller("first token", Access.ADMIN, hash_token(token))
        async with self._attempts.counted(request):
            holder = await self._credentials.token_holder(token) if token else None
            if holder is None:
                raise AuthError("This token is unknown, was revoked or has expired.")
            return holder

    def _is_first_token(self, token: str) -> bool:
        first = self._api_token.get_secret_value() if self._api_token else ""
        same = hmac.compare_digest(token.encode("utf-8", "surrogateescape"), first.encode())
        return bool(first) and same


def actor_of(request: web.Request) -> Actor:
    """Return who is calling a route that the gate guards."""
    return request[ACTOR]


def caller_of(request: web.Request) -> Caller:
    """Return who is calling a route that the gate guards, with the hash of their token."""
    return request[CALLER]


def session_of(request: web.Request) -> str:
    """Return the secret of the session that a browser shows; empty without one."""
    return request.cookies.get(HOST_COOKIE) or request.cookies.get(COOKIE) or ""


def is_https(request: web.Request) -> bool:
    """Tell whether the browser speaks TLS, to us or to the proxy before us."""
    return request.secure or forwarded_proto(request) == "https"


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


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete every response, streams and problems too; what a page has set stays."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if is_https(request):
        response.headers.setdefault(hdrs.STRICT_TRANSPORT_SECURITY, ONE_YEAR)
