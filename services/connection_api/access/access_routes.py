"""Answers what is asked about tokens and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.access.tokens import TokenStore
from services.connection_api.rest import models
from services.connection_api.rest.requests import (
    read_body,
    read_cursor,
    read_id,
    read_number,
    read_query,
    write,
    write_page,
)
from services.connection_api.state import State
from shared.errors import PayloadError
from shared.http import Access, Handler


class Tokens:
    """The routes about tokens."""

    def __init__(self, state: State, now: Callable[[], datetime]) -> None:
        """`now` gives the time with its zone."""
        self._state = state
        self._now = now

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"create_token": self.create, "list_tokens": self.list, "revoke_token": self.revoke}

    async def create(self, request: web.Request) -> web.Response:
        """Make a token and show its secret, this once."""
        wanted = await read_body(request, models.NewToken)
        if wanted.expires_at and wanted.expires_at <= self._now():
            raise PayloadError("The token would have expired already. Choose a later time.", field="expires_at")
        token, secret = await self._store.create(
            wanted.name, Access(wanted.scope), expires_at=wanted.expires_at, by=actor_of(request)
        )
        answer = models.TokenAnswer.model_validate(token)
        return write(models.NewTokenAnswer(**answer.model_dump(), token=secret), status=201)

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of tokens."""
        query = read_query(request, models.PageQuery)
        [after] = read_cursor(query.cursor, parts=1) or [""]
        found = await self._store.list_page(after=after, limit=query.limit + 1)
        return write_page(models.Page[models.TokenAnswer], found, limit=query.limit, place=lambda last: [last.id])

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a token."""
        await self._store.revoke(read_id(request), by=actor_of(request))
        return web.Response(status=204)

    @property
    def _store(self) -> TokenStore:
        return TokenStore(self._state.pool)


class Audit:
    """The routes about the audit log."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"list_audit_log": self.list, "verify_audit_log": self.verify}

    async def list(self, request: web.Request) -> web.Response:
        """Show a page of entries."""
        query = read_query(request, models.AuditQuery)
        place = read_cursor(query.cursor, parts=1)
        found = await self._state.audit_log.list_newest(
            subject=query.subject, before=read_number(place[0]) if place else None, limit=query.limit + 1
        )
        return write_page(
            models.Page[models.AuditEntryAnswer], found, limit=query.limit, place=lambda last: [str(last.id)]
        )

    async def verify(self, _request: web.Request) -> web.Response:
        """Tell whether the chain holds."""
        return write(models.VerificationAnswer.model_validate(await self._state.audit_log.verify()))
