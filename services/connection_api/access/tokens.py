"""Tokens for programs in the state database: a scope, perhaps an end, and only the hash of the secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.connection_api.access.auth import RANK
from services.connection_api.access.sessions import TOKEN_PREFIX
from shared.audit import Actor, append
from shared.crypto import hash_token, make_id, make_token
from shared.db import Pool, Row, database_errors, transaction
from shared.errors import ForbiddenError, NotFoundError
from shared.http import Access

COLUMNS = "id, name, scope, created_at, last_used_at, expires_at, revoked_at"
INSERT = f"""
INSERT INTO api_tokens (id, name, hash, scope, expires_at) VALUES ($1, $2, $3, $4, $5) RETURNING {COLUMNS}
"""
LIST = f"SELECT {COLUMNS} FROM api_tokens WHERE id > $1 ORDER BY id LIMIT $2"
REVOKE = "UPDATE api_tokens SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id"
ONE = f"SELECT {COLUMNS} FROM api_tokens WHERE id = $1"
EXISTS = "SELECT EXISTS (SELECT FROM api_tokens WHERE id = $1)"


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; its secret is not."""

    id: str
    name: str
    scope: Access
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class TokenStore:
    """Makes, lists and revokes; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, name: str, scope: Access, *, expires_at: datetime | None, by: Actor) -> tuple[Token, str]:
        """Make a token; return it with its secret, which is not kept."""
        token_id, secret = make_id("tok"), make_token(TOKEN_PREFIX)
        ends = expires_at.isoformat() if expires_at else None
        async with transaction(self._pool) as db:
            row = await db.fetchrow(INSERT, token_id, name, hash_token(secret), scope, expires_at)
            await append(db, by, "token.created", token_id, scope=scope, expires_at=ends)
        return _token(row), secret

    async def list_page(self, *, after: str = "", limit: int) -> Sequence[Token]:
        """Return tokens by id, those after `after`; revoked and expired ones too."""
        with database_errors():
            rows = await self._pool.fetch(LIST, after, limit)
        return [_token(row) for row in rows]

    async def get(self, token_id: str) -> Token:
        """Return a token; raise `NotFoundError`."""
        with database_errors():
            row = await self._pool.fetchrow(ONE, token_id)
        if row is None:
            raise NotFoundError(f"There is no token {token_id}.")
        return _token(row)

    async def revoke(self, token_id: str, *, by: Actor) -> None:
        """Let the token open nothing any more; one that was revoked is fine. Raise `NotFoundError`."""
        async with transaction(self._pool) as db:
            if await db.fetchval(REVOKE, token_id):
                await append(db, by, "token.revoked", token_id)
            elif not await db.fetchval(EXISTS, token_id):
                raise NotFoundError(f"There is no token {token_id}.")


def may_give(own: Access, scope: Access) -> bool:
    """Tell whether somebody may make or revoke a token: nobody gives or takes more than they have."""
    return RANK[scope] <= RANK[own]


def require_within(own: Access, scope: Access) -> None:
    """Raise `ForbiddenError` for a token with more access than somebody has."""
    if not may_give(own, scope):
        raise ForbiddenError(f"This token has the access {scope}, and yours is {own}. Use `tillstream tokens`.")


def _token(row: Row) -> Token:
    return Token(**dict(row) | {"scope": Access(row["scope"])})
