"""Who may come in, as people read it: tokens of programs, and browsers that are signed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from services.connection_api.access.sessions import Session
from services.connection_api.access.tokens import Token, may_give
from services.connection_api.status import Tone
from shared.http import Access

SCOPES: Mapping[Access, str] = MappingProxyType(
    {Access.READ: "Read", Access.MANAGE: "Read and change", Access.ADMIN: "Everything, tokens too"}
)


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token, without its secret."""

    id: str
    name: str
    access: str
    state: str
    tone: Tone
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    may_be_revoked: bool


@dataclass(frozen=True, slots=True)
class SessionView:
    """A browser that is signed in."""

    id: str
    person: str
    address: str
    opened_at: datetime
    used_at: datetime
    expires_at: datetime
    is_this: bool


def token_view(token: Token, *, scope: Access, now: datetime) -> TokenView:
    """Return a token at the time `now`, as somebody with a scope sees it."""
    state, tone = "Valid", Tone.GOOD
    if token.revoked_at:
        state, tone = "Revoked", Tone.QUIET
    elif token.expires_at and token.expires_at <= now:
        state, tone = "Expired", Tone.QUIET
    return TokenView(
        id=token.id,
        name=token.name,
        access=SCOPES[token.scope],
        state=state,
        tone=tone,
        created_at=token.created_at,
        last_used_at=token.last_used_at,
        expires_at=token.expires_at,
        may_be_revoked=token.revoked_at is None and may_give(scope, token.scope),
    )


def session_views(sessions: Sequence[Session], *, this: str) -> Sequence[SessionView]:
    """Return sessions, the one with the id `this` first, then those that were used last."""
    views = [
        SessionView(
            id=one.id,
            person=one.person or "No name given",
            address=one.address or "unknown",
            opened_at=one.opened_at,
            used_at=one.used_at,
            expires_at=one.expires_at,
            is_this=one.id == this,
        )
        for one in sessions
    ]
    return sorted(views, key=lambda one: (not one.is_this, -one.used_at.timestamp()))
