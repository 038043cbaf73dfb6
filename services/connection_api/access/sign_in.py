"""Signing in and out: a one-time link leads to a button, and that to a cookie.

Only the button redeems the link: programs that look at links (mail scanners, chats) would use it up.
"""

from __future__ import annotations

import re
from contextlib import suppress

from aiohttp import hdrs, web

from services.connection_api.access.attempts import Attempts
from services.connection_api.access.auth import actor_of, caller_of, is_https, require_same_origin, session_of
from services.connection_api.access.sessions import COOKIE, HOST_COOKIE, SESSION_LIFE, Credentials
from services.connection_api.rest import models
from services.connection_api.rest.requests import read_cursor, read_id, read_query, write, write_page
from shared.audit import Actor
from shared.errors import NotFoundError, PayloadError
from shared.http import REQUEST_ID, Handler

LINK_PATH = "/sign-in/{token}"
SIGN_OUT_PATH = "/sign-out"
#: Where a person was going who had to sign in first; only the page with the button reads it.
NEXT_COOKIE = "tillstream_next"
LONGEST_NAME = 80  # letters of a person's name
NAME = re.compile(rf"[^\x00-\x1f\x7f-\x9f]{{0,{LONGEST_NAME}}}")
# A path of this site: after `//` or `/\\` a browser would go to another.
PATH = re.compile(r"/(?![/\\])[\x21-\x7e]{0,500}")


class SignIn:
    """Answers the routes about sessions."""

    def __init__(self, credentials: Credentials, attempts: Attempts) -> None:
        self._credentials = credentials
        self._attempts = attempts

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {
            "create_sign_in_link": self.create_link,
            "list_sessions": self.list_sessions,
            "end_session": self.end_session,
        }

    async def create_link(self, request: web.Request) -> web.Response:
        """Make a link to the address at which the caller reached us."""
        token, expires_at = await self._credentials.make_link(
            by=actor_of(request), credential=caller_of(request).credential
        )
        scheme = "https" if is_https(request) else "http"
        url = f"{scheme}://{request.host}{LINK_PATH.format(token=token)}"
        return write(models.SignInLinkAnswer(url=url, expires_at=expires_at), status=201)

    async def list_sessions(self, request: web.Request) -> web.Response:
        """Show a page of the open sessions."""
        query = read_query(request, models.PageQuery)
        [after] = read_cursor(query.cursor, parts=1) or [""]
        found = await self._credentials.list_sessions(after=after, limit=query.limit + 1)
        return write_page(models.Page[models.SessionAnswer], found, limit=query.limit, place=lambda last: [last.id])

    async def end_session(self, request: web.Request) -> web.Response:
        """Sign a browser out."""
        await self._credentials.end_session(read_id(request), by=actor_of(request))
        return web.Response(status=204)

    async def require_link(self, request: web.Request) -> None:
        """Raise `AuthError` for a link that opens nothing."""
        async with self._attempts.counted(request):
            await self._credentials.require_link(request.match_info["token"])

    async def redeem(self, request: web.Request) -> web.Response:
        """Open a session and go to the page that was wanted, or to the first one."""
        require_same_origin(request)
        person = str((await request.post()).get("person", "")).strip()
        if not NAME.fullmatch(person):
            raise PayloadError(f"Give a name of at most {LONGEST_NAME} letters, on one line.", field="person")
        link, address = request.match_info["token"], self._attempts.address_of(request)
        async with self._attempts.counted(request):
            session = await self._credentials.redeem(
                link, request_id=request[REQUEST_ID], person=person, address=address
            )
        wanted = request.cookies.get(NEXT_COOKIE, "")
        goes_to = wanted if PATH.fullmatch(wanted) else "/"
        response = web.Response(status=303, headers={hdrs.LOCATION: goes_to, hdrs.CACHE_CONTROL: "no-store"})
        response.set_cookie(
            HOST_COOKIE if is_https(request) else COOKIE,
            session,
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            httponly=True,
            samesite="Lax",
            secure=is_https(request),
        )
        response.del_cookie(NEXT_COOKIE, path="/sign-in")
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """Close the session."""
        require_same_origin(request)
        session = session_of(request)
        holder = await self._credentials.session_holder(session) if session else None
        if holder is not None:
            by = Actor(holder.name, request[REQUEST_ID], holder.person, self._attempts.address_of(request))
            with suppress(NotFoundError):  # it was ended meanwhile
                await self._credentials.end_session(holder.name.partition(" ")[2], by=by)
        response = web.Response(status=303, headers={hdrs.LOCATION: "/sign-in"})
        for name in (COOKIE, HOST_COOKIE):
            response.del_cookie(name, path="/", secure=name == HOST_COOKIE)
        return response
