"""Signing in and out: a one-time link becomes a cookie."""

from __future__ import annotations

from aiohttp import hdrs, web

from services.connection_api.access.auth import Attempts, actor_of, require_same_origin
from services.connection_api.access.sessions import COOKIE, SESSION_LIFE, Credentials
from services.connection_api.rest.models import SignInLinkAnswer
from services.connection_api.rest.requests import write
from shared.errors import AuthError
from shared.http import REQUEST_ID, Handler

REDEEM_PATH = "/sign-in/{token}"
SIGN_OUT_PATH = "/sign-out"


class SignIn:
    """Answers the routes about sessions."""

    def __init__(self, credentials: Credentials, attempts: Attempts) -> None:
        self._credentials = credentials
        self._attempts = attempts

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"create_sign_in_link": self.create_link}

    async def create_link(self, request: web.Request) -> web.Response:
        """Make a link to the address at which the caller reached us."""
        token, expires_at = await self._credentials.make_link(by=actor_of(request))
        scheme = "https" if is_https(request) else "http"
        url = f"{scheme}://{request.host}{REDEEM_PATH.format(token=token)}"
        return write(SignInLinkAnswer(url=url, expires_at=expires_at), status=201)

    async def redeem(self, request: web.Request) -> web.Response:
        """Open a session and go to the first page."""
        address = request.remote or ""
        self._attempts.require_room(address)
        try:
            session = await self._credentials.redeem(request.match_info["token"], request_id=request[REQUEST_ID])
        except AuthError:
            self._attempts.note(address)
            raise
        response = web.Response(status=303, headers={hdrs.LOCATION: "/", hdrs.CACHE_CONTROL: "no-store"})
        response.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            httponly=True,
            samesite="Lax",
            secure=is_https(request),
        )
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """Close the session."""
        require_same_origin(request)
        if session := request.cookies.get(COOKIE):
            await self._credentials.end_session(session)
        response = web.Response(status=303, headers={hdrs.LOCATION: "/sign-in"})
        response.del_cookie(COOKIE, path="/")
        return response


def is_https(request: web.Request) -> bool:
    """Tell whether the browser speaks TLS, to us or to the proxy before us."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
