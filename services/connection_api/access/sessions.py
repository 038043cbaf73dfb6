"""Tokens, sign-in links and sessions in the state database; only their hashes are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.audit import Actor, append
from shared.crypto import hash_token, is_token, make_token
from shared.db import Pool, database_errors, transaction
from shared.errors import AuthError
from shared.http import Access

COOKIE = "tillstream_session"
TOKEN_PREFIX = "tls"  # noqa: S105
LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)

FIND_HOLDER = """
SELECT id, scope, last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS is_stale
FROM api_tokens WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
NOTE_USE = "UPDATE api_tokens SET last_used_at = now() WHERE hash = $1"
ADD_LINK = """
WITH expired AS (DELETE FROM sign_in_links WHERE expires_at < now())
INSERT INTO sign_in_links (hash, expires_at) VALUES ($1, now() + $2::interval) RETURNING expires_at
"""
# The link goes as the session comes, so it opens one session, however often it is followed.
REDEEM = """
WITH used AS (DELETE FROM sign_in_links WHERE hash = $1 AND expires_at > now() RETURNING 1),
     expired AS (DELETE FROM sessions WHERE expires_at < now())
INSERT INTO sessions (hash, expires_at) SELECT $2, now() + $3::interval FROM used RETURNING 1
"""
FIND_SESSION = "SELECT EXISTS (SELECT FROM sessions WHERE hash = $1 AND expires_at > now())"
END_SESSION = "DELETE FROM sessions WHERE hash = $1"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, and what they may do."""

    name: str  # as the audit log calls them
    scope: Access


class Credentials:
    """Checks and makes credentials; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool_of: Callable[[], Pool]) -> None:
        self._pool_of = pool_of

    async def token_holder(self, token: str) -> Caller | None:
        """Return who a bearer token stands for; `None` when it is unknown, was revoked or has expired."""
        if not is_token(token, TOKEN_PREFIX):
            return None
        pool, hashed = self._pool_of(), _hash(token)
        with database_errors():
            row = await pool.fetchrow(FIND_HOLDER, hashed)
            if row and row["is_stale"]:
                await pool.execute(NOTE_USE, hashed)
        return Caller(f"token {row['id']}", Access(row["scope"])) if row else None

    async def make_link(self, *, by: Actor) -> tuple[str, datetime]:
        """Return the secret of a new sign-in link, and when it expires."""
        secret = make_token("link")
        async with transaction(self._pool_of()) as db:
            expires_at: datetime = await db.fetchval(ADD_LINK, _hash(secret), LINK_LIFE)
            await append(db, by, "sign_in_link.created", _name(secret), expires_at=expires_at.isoformat())
        return secret, expires_at

    async def redeem(self, link: str, *, request_id: str) -> str:
        """Return the secret of the session that the link opens; raise `AuthError` when it opens none."""
        session = make_token("ses")
        async with transaction(self._pool_of()) as db:
            if not await db.fetchval(REDEEM, _hash(link), _hash(session), SESSION_LIFE):
                raise AuthError("This link was used already or has expired. Make a new one with `tillstream sign-in`.")
            await append(db, Actor("session", request_id), "session.opened", _name(session), link=_name(link))
        return session

    async def has_session(self, session: str) -> bool:
        """Tell whether the session is open."""
        with database_errors():
            return bool(await self._pool_of().fetchval(FIND_SESSION, _hash(session)))

    async def end_session(self, session: str) -> None:
        """Close the session; one that is closed already is fine."""
        with database_errors():
            await self._pool_of().execute(END_SESSION, _hash(session))


def _hash(secret: str) -> bytes:
    """Return the hash of a secret as it came; what no secret can hold counts as a question mark."""
    return hash_token(secret.encode("ascii", "replace").decode())


def _name(secret: str) -> str:
    """Return what the audit log calls a link or a session, which have no other name."""
    return f"{secret.partition('_')[0]}_{_hash(secret).hex()[:16]}"
