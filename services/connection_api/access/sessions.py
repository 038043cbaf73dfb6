"""Tokens, sign-in links and sessions in the state database; only their hashes are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from shared.audit import Actor, append
from shared.crypto import hash_token, is_token, make_token
from shared.db import Pool, database_errors, transaction
from shared.errors import AuthError, NotFoundError
from shared.http import Access

COOKIE = "tillstream_session"
# A browser takes a cookie of this name only over TLS, for this host alone and for all of it.
# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
HOST_COOKIE = f"__Host-{COOKIE}"
TOKEN_PREFIX = "tls"  # noqa: S105
LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)

FIND_HOLDER = """
SELECT id, scope, last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS is_stale
FROM api_tokens WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
NOTE_USE = "UPDATE api_tokens SET last_used_at = now() WHERE hash = $1"
# A session ends with the token that made its link; $2 is the hash of the first token, which stands in the settings.
_IS_OPEN = """
s.expires_at > now() AND (s.credential IS NULL OR s.credential = $2 OR EXISTS (
    SELECT FROM api_tokens t WHERE t.hash = s.credential AND t.revoked_at IS NULL
                               AND (t.expires_at IS NULL OR t.expires_at > now())))
"""
ADD_LINK = """
INSERT INTO sign_in_links (hash, expires_at, credential) VALUES ($1, now() + $2::interval, $3) RETURNING expires_at
"""
FIND_LINK = "SELECT used_at FROM sign_in_links WHERE hash = $1 AND expires_at > now()"
# The link is used as the session comes, so it opens one session, however often it is followed.
REDEEM = """
WITH used AS (
    UPDATE sign_in_links SET used_at = now() WHERE hash = $1 AND expires_at > now() AND used_at IS NULL
    RETURNING credential
)
INSERT INTO sessions (hash, expires_at, id, person, address, credential)
SELECT $2, now() + $3::interval, $4, $5, $6, credential FROM used RETURNING 1
"""
FIND_SESSION = f"""
SELECT s.id, s.person, s.used_at < now() - interval '1 minute' AS is_stale FROM sessions s
WHERE s.hash = $1 AND {_IS_OPEN}
"""
NOTE_SESSION = "UPDATE sessions SET used_at = now() WHERE hash = $1"
LIST_SESSIONS = f"""
SELECT s.id, s.person, s.address, s.opened_at, s.used_at, s.expires_at FROM sessions s
WHERE s.id > $1 AND {_IS_OPEN} ORDER BY s.id LIMIT $3
"""
END_OTHERS = "DELETE FROM sessions WHERE id <> $1 RETURNING id"
END_SESSION = "DELETE FROM sessions WHERE id = $1 RETURNING id"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, and what they may do."""

    name: str  # as the audit log calls them
    scope: Access
    credential: bytes | None = None  # hash of the token that was shown
    person: str = ""  # the name that was given at sign-in


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in."""

    id: str
    person: str
    address: str
    opened_at: datetime
    used_at: datetime  # to the minute
    expires_at: datetime


class Credentials:
    """Checks and makes credentials; every method raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool_of: Callable[[], Pool], first_token: SecretStr | None = None) -> None:
        """`first_token` stands in the settings."""
        self._pool_of = pool_of
        self._first = hash_token(first_token.get_secret_value()) if first_token else None

    async def token_holder(self, token: str) -> Caller | None:
        """Return who a bearer token stands for; `None` when it is unknown, was revoked or has expired."""
        if not is_token(token, TOKEN_PREFIX):
            return None
        pool, hashed = self._pool_of(), _hash(token)
        with database_errors():
            row = await pool.fetchrow(FIND_HOLDER, hashed)
            if row and row["is_stale"]:
                await pool.execute(NOTE_USE, hashed)
        return Caller(f"token {row['id']}", Access(row["scope"]), hashed) if row else None

    async def note_stranger(self, stranger: Actor) -> None:
        """Note in the audit log that an address has used up its attempts."""
        async with transaction(self._pool_of()) as db:
            await append(db, stranger, "access.refused", "sign-in")

    async def make_link(self, *, by: Actor, credential: bytes | None = None) -> tuple[str, datetime]:
        """Return the secret of a new sign-in link, and when it expires.

        Sessions that it opens end with the token whose hash is `credential`.
        """
        secret = make_token("link")
        async with transaction(self._pool_of()) as db:
            expires_at: datetime = await db.fetchval(ADD_LINK, _hash(secret), LINK_LIFE, credential)
            await append(db, by, "sign_in_link.created", _name(secret), expires_at=expires_at.isoformat())
        return secret, expires_at

    async def require_link(self, link: str) -> None:
        """Raise `AuthError` for a link that opens no session: it was used, has expired, or never was."""
        with database_errors():
            row = await self._pool_of().fetchrow(FIND_LINK, _hash(link))
        if row is None or row["used_at"]:
            raise _link_refused(row["used_at"] if row else None)

    async def redeem(self, link: str, *, request_id: str, person: str = "", address: str = "") -> str:
        """Return the secret of the session that the link opens; raise `AuthError` when it opens none.

        `person` is the name that was given, `address` the browser's.
        """
        session = make_token("ses")
        name = _name(session)
        async with transaction(self._pool_of()) as db:
            opened = await db.fetchval(REDEEM, _hash(link), _hash(session), SESSION_LIFE, name, person, address)
            if opened:
                actor = Actor(f"session {name}", request_id, person, address)
                await append(db, actor, "session.opened", name, link=_name(link))
        if not opened:
            await self.require_link(link)
            raise _link_refused(None)
        return session

    async def session_holder(self, session: str) -> Caller | None:
        """Return who a session stands for; `None` when it has ended."""
        pool, hashed = self._pool_of(), _hash(session)
        with database_errors():
            row = await pool.fetchrow(FIND_SESSION, hashed, self._first)
            if row and row["is_stale"]:
                await pool.execute(NOTE_SESSION, hashed)
        return Caller(f"session {row['id']}", Access.MANAGE, person=row["person"]) if row else None

    async def list_sessions(self, *, after: str = "", limit: int) -> Sequence[Session]:
        """Return the open sessions by id, those after `after`."""
        with database_errors():
            rows = await self._pool_of().fetch(LIST_SESSIONS, after, self._first, limit)
        return [Session(**dict(row)) for row in rows]

    async def end_session(self, session_id: str, *, by: Actor) -> None:
        """Close a session; raise `NotFoundError` for one that is not open."""
        async with transaction(self._pool_of()) as db:
            if not await db.fetchval(END_SESSION, session_id):
                raise NotFoundError(f"There is no session {session_id}. It may have ended already.")
            await append(db, by, "session.ended", session_id)

    async def end_others(self, session_id: str, *, by: Actor) -> int:
        """Close all sessions but one; return how many were closed."""
        async with transaction(self._pool_of()) as db:
            ended = sorted(row["id"] for row in await db.fetch(END_OTHERS, session_id))
            for one in ended:
                await append(db, by, "session.ended", one)
        return len(ended)


def _hash(secret: str) -> bytes:
    """Return the hash of a secret as it came; what no secret can hold counts as a question mark."""
    return hash_token(secret.encode("ascii", "replace").decode())


def _name(secret: str) -> str:
    """Return what a link or a session is called: it tells nothing of its secret."""
    return f"{secret.partition('_')[0]}_{_hash(secret).hex()[:16]}"


def _link_refused(used_at: datetime | None) -> AuthError:
    when = f"was used at {used_at:%H:%M} UTC" if used_at else "has expired, or is not whole"
    return AuthError(f"This link {when}. Make a new one with `tillstream sign-in`.")
