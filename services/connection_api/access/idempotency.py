"""Answers a repeated POST as the first time: `Idempotency-Key` makes it safe to try again.

A key belongs to its caller and to one request. The first answer is kept for a day; one that says "try again later" is
not, so that trying again is worth it. An answer that shows a secret is never stored, so its operation takes no key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from services.connection_api.access.auth import actor_of
from services.connection_api.rest.operations import Operation
from shared.crypto import KeyRing
from shared.db import Pool, Row, database_errors
from shared.errors import PayloadError, TransientError
from shared.http import Handler, declared_route, translate_errors
from shared.log import get_logger

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY = re.compile(r"[\x20-\x7e]{1,255}\Z")
LIFE = timedelta(days=1)
LONGEST_REQUEST = timedelta(minutes=5)  # after it the process that answered the first request is taken for dead

TAKE = """
INSERT INTO idempotency_keys AS k (caller, key, request_hash) VALUES ($1, $2, $3)
ON CONFLICT (caller, key) DO UPDATE
SET request_hash = excluded.request_hash, status = NULL, content_type = NULL, body = NULL, created_at = now()
WHERE k.created_at < now() - $4::interval
   OR (k.status IS NULL AND k.request_hash = excluded.request_hash AND k.created_at < now() - $5::interval)
RETURNING created_at
"""
FIND = "SELECT request_hash, status, content_type, body FROM idempotency_keys WHERE caller = $1 AND key = $2"
KEEP = """
UPDATE idempotency_keys SET status = $4, content_type = $5, body = $6
WHERE caller = $1 AND key = $2 AND created_at = $3
"""
GIVE_BACK = "DELETE FROM idempotency_keys WHERE caller = $1 AND key = $2 AND created_at = $3"


class KeyReusedError(PayloadError):
    """This Idempotency-Key was used for another request. Take a new one for each request."""

    code = "idempotency_key_reused"


class SecretAnswerError(PayloadError):
    """The answer shows a secret, which is never stored. Send this request without Idempotency-Key."""

    code = "idempotency_unsupported"


class UnderWayError(TransientError):
    """The first request with this Idempotency-Key is still being answered."""

    code = "idempotency_under_way"
    status = 409


class Replays:
    """Keeps answers by caller and key; raises `DatabaseUnavailableError` when the database is away."""

    def __init__(self, pool_of: Callable[[], Pool], keys: KeyRing) -> None:
        self._pool_of = pool_of
        self._keys = keys

    async def answer(self, request: web.Request, handler: Handler, key: str) -> web.StreamResponse:
        """Return the first answer to this request and key, which `handler` gives if there is none yet."""
        name = (actor_of(request).name, key)
        request_hash = await self._hash(request)
        with database_errors():
            started = await self._pool_of().fetchval(TAKE, *name, request_hash, LIFE, LONGEST_REQUEST)
            known = None if started else await self._pool_of().fetchrow(FIND, *name)
        if not started:
            return _replay(known, request_hash)
        response = await translate_errors(request, handler)
        await self._finish(name, started, response)
        return response

    async def _finish(self, name: tuple[str, str], started: datetime, response: web.StreamResponse) -> None:
        try:
            with database_errors():
                if isinstance(response, web.Response) and is_final(response):
                    content_type = response.headers.get(hdrs.CONTENT_TYPE)
                    await self._pool_of().execute(KEEP, *name, started, response.status, content_type, response.body)
                else:
                    await self._pool_of().execute(GIVE_BACK, *name, started)
        except TransientError as error:
            # What was asked for is done: the caller learns it now, though a repetition will not.
            get_logger().warning("answer_not_kept", reason=error.message)

    async def _hash(self, request: web.Request) -> bytes:
        """Return what tells requests apart; keyed, since a body can hold a password that somebody could guess."""
        content = (request.method.encode(), request.raw_path.encode(), await request.read())
        return self._keys.digest(b"\x00".join(content))


def is_final(response: web.Response) -> bool:
    """Tell whether the same request would be answered the same again."""
    return response.status < 500 and hdrs.RETRY_AFTER not in response.headers


def _replay(known: Row | None, request_hash: bytes) -> web.Response:
    if known and known["request_hash"] != request_hash:
        raise KeyReusedError(field=HEADER)
    if known is None or known["status"] is None:
        raise UnderWayError(retry_after_seconds=1)
    headers = {REPLAYED: "true", hdrs.CACHE_CONTROL: "no-store"}
    if known["content_type"]:
        headers[hdrs.CONTENT_TYPE] = known["content_type"]
    return web.Response(body=known["body"], status=known["status"], headers=headers)


def idempotent(replays: Replays, operations: Iterable[Operation]) -> Middleware:
    """Return the middleware that honours the header on the POST operations; it has to lie within the gate."""
    posts: Mapping[str, Operation] = {o.path: o for o in operations if o.method == hdrs.METH_POST}

    @web.middleware
    async def replay(request: web.Request, handler: Handler) -> web.StreamResponse:
        key = request.headers.get(HEADER)
        operation = posts.get(declared_route(request) or "") if request.method == hdrs.METH_POST else None
        if key is None or operation is None:
            return await handler(request)
        if operation.shows_secret:
            raise SecretAnswerError(field=HEADER)
        if not KEY.match(key):
            raise PayloadError("An Idempotency-Key has 1 to 255 printable ASCII characters.", field=HEADER)
        return await replays.answer(request, handler, key)

    return replay
