"""The pages about tokens and sessions, and their dialogs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from aiohttp import web

from services.connection_api.access.auth import actor_of, caller_of
from services.connection_api.access.sessions import Credentials
from services.connection_api.access.tokens import Token, TokenStore, require_within
from services.connection_api.dashboard.dialogs import Dialogs, go
from services.connection_api.dashboard.filters import ListFilter, address, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.settings.alarms import show_once
from services.connection_api.rest import models
from services.connection_api.rest.requests import make_cursor, read_cursor, read_id, read_values
from services.connection_api.state import State
from services.connection_api.views.access import SCOPES, session_views, token_view
from shared.errors import AppError, PayloadError
from shared.http import Access, add_route

TOKENS, SESSIONS = "/settings/tokens", "/settings/sessions"
PAGE_SIZE = 50
MOST_SESSIONS = 100  # that are shown
NOTICES: Mapping[str, str] = MappingProxyType(
    {
        "made": "The token was made.",
        "revoked": "The token is revoked.",
        "ended": "The browser is signed out.",
        "others_ended": "All other browsers are signed out.",
    }
)
HINTS: Mapping[Access, str] = MappingProxyType(
    {
        Access.READ: "Sees everything, and changes nothing.",
        Access.MANAGE: "Also connects, changes and removes.",
        Access.ADMIN: "Also makes and revokes tokens.",
    }
)
LIVES: Mapping[str, tuple[str, int | None]] = MappingProxyType(
    {"30": ("In 30 days", 30), "90": ("In 90 days", 90), "365": ("In a year", 365), "never": ("Never", None)}
)
FIRST_LIFE = "90"


class AccessPages:
    """Answers the routes about tokens and sessions that are no dialog."""

    def __init__(self, state: State, credentials: Credentials, pages: Pages, now: Callable[[], datetime]) -> None:
        self._state = state
        self._credentials = credentials
        self._pages = pages
        self._now = now

    async def tokens(self, request: web.Request) -> web.Response:
        """All tokens, revoked and expired ones too."""
        wanted = read_filter(request, ListFilter, also=("notice",))
        [after] = read_cursor(wanted.cursor, parts=1) or [""]
        found = await TokenStore(self._state.pool).list_page(after=after, limit=PAGE_SIZE + 1)
        page, now, scope = found[:PAGE_SIZE], self._now(), caller_of(request).scope
        cursor = make_cursor(page[-1].id) if len(found) > PAGE_SIZE else None
        return self._pages.response(
            "settings/tokens.html",
            tokens=[token_view(one, scope=scope, now=now) for one in page],
            is_first=not after,
            next_address=address(TOKENS, {"cursor": cursor}) if cursor else None,
            notice=NOTICES.get(request.query.get("notice", "")),
        )

    async def sessions(self, request: web.Request) -> web.Response:
        """Who is signed in."""
        found = await self._credentials.list_sessions(limit=MOST_SESSIONS)
        return self._pages.response(
            "settings/sessions.html",
            sessions=session_views(found, this=this_session(request)),
            notice=NOTICES.get(request.query.get("notice", "")),
        )


def this_session(request: web.Request) -> str:
    """Return the id of the session that asks; empty for a program's token."""
    kind, _, session_id = caller_of(request).name.partition(" ")
    return session_id if kind == "session" else ""


class NewToken:
    """The dialog that makes a token; its secret is shown this once."""

    def __init__(self, state: State, dialogs: Dialogs, now: Callable[[], datetime]) -> None:
        self._state = state
        self._dialogs = dialogs
        self._now = now

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """The form as it was sent or as it begins; more than somebody may themselves can't be chosen."""
        form, own = await request.post(), caller_of(request).scope
        return self._dialogs.show(
            request,
            "settings/token_new.html",
            problem,
            scopes=[(scope, words, HINTS[scope]) for scope, words in SCOPES.items()],
            own=own,
            lives=[(value, words) for value, (words, _) in LIVES.items()],
            name=str(form.get("name", "")),
            scope=str(form.get("scope", Access.READ)),
            life=str(form.get("life", FIRST_LIFE)),
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Make the token."""
        form = await request.post()
        name, life = str(form.get("name", "")).strip(), str(form.get("life", ""))
        if not name:
            raise PayloadError("Say what the token is for.", field="name")
        if life not in LIVES:
            raise PayloadError("Choose when the token ends.", field="life")
        wanted = read_values({"name": name, "scope": form.get("scope")}, models.NewToken)
        scope, days = Access(wanted.scope), LIVES[life][1]
        require_within(caller_of(request).scope, scope)
        expires_at = self._now() + timedelta(days=days) if days else None
        store = TokenStore(self._state.pool)
        token, secret = await store.create(wanted.name, scope, expires_at=expires_at, by=actor_of(request))
        return show_once(
            self._dialogs,
            request,
            name=token.name,
            label="Token",
            hint="A program shows it as `Authorization: Bearer …`.",
            secret=secret,
            back=f"{TOKENS}?notice=made",
        )


class TokenRevocation:
    """The dialog that asks before a token is revoked."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        return self._dialogs.show(request, "settings/token_revoke.html", problem, token=await self._token(request))

    async def submit(self, request: web.Request) -> web.Response:
        """Revoke it."""
        token = await self._token(request)
        require_within(caller_of(request).scope, token.scope)
        await TokenStore(self._state.pool).revoke(token.id, by=actor_of(request))
        return go(request, f"{TOKENS}?notice=revoked")

    async def _token(self, request: web.Request) -> Token:
        return await TokenStore(self._state.pool).get(read_id(request))


class SessionEnd:
    """The dialog that asks before a browser is signed out: one, or all others."""

    def __init__(self, credentials: Credentials, dialogs: Dialogs, *, all_others: bool) -> None:
        self._credentials = credentials
        self._dialogs = dialogs
        self._all_others = all_others

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        where = f"{SESSIONS}/others" if self._all_others else f"{SESSIONS}/{read_id(request)}"
        return self._dialogs.show(
            request, "settings/session_end.html", problem, where=f"{where}/end", all_others=self._all_others
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Sign them out."""
        if self._all_others:
            await self._credentials.end_others(this_session(request), by=actor_of(request))
            return go(request, f"{SESSIONS}?notice=others_ended")
        await self._credentials.end_session(read_id(request), by=actor_of(request))
        return go(request, f"{SESSIONS}?notice=ended")


def add_access_pages(
    app: web.Application,
    state: State,
    credentials: Credentials,
    pages: Pages,
    dialogs: Dialogs,
    now: Callable[[], datetime],
) -> None:
    """Add the routes about tokens and sessions."""
    access = AccessPages(state, credentials, pages, now)
    add_route(app, "GET", TOKENS, access.tokens, Access.MANAGE)
    add_route(app, "GET", SESSIONS, access.sessions, Access.MANAGE)
    dialogs.add(app, f"{TOKENS}/new", NewToken(state, dialogs, now), shown_to=Access.MANAGE)
    dialogs.add(app, f"{TOKENS}/{{id}}/revoke", TokenRevocation(state, dialogs), shown_to=Access.MANAGE)
    others = SessionEnd(credentials, dialogs, all_others=True)
    dialogs.add(app, f"{SESSIONS}/others/end", others, shown_to=Access.MANAGE)
    one = SessionEnd(credentials, dialogs, all_others=False)
    dialogs.add(app, f"{SESSIONS}/{{id}}/end", one, shown_to=Access.MANAGE)
