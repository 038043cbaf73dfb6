"""Answers a repeated POST as the first time: `Idempotency-Key` makes it safe to try again, and a form acts once.

A key belongs to its caller and to one request. The first answer is kept for a day, sealed; one that says "try again
later" is not, so that trying again is worth it. An answer that shows a secret is never stored, so its operation takes
no key.

A form of the dashboard brings a key of its own, made when it was shown. A double click sends it twice: the second
waits for the first one's answer, which is kept for a minute, and a refusal not at all, since a person who presses again
after it wants to try again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from services.connection_api.access.answers import named_in, seal, unseal
from services.connection_api.access.auth import ACTOR, actor_of
from services.connection_api.rest.operations import Operation
from shared.crypto import KeyRing
from shared.db import Pool, Row, database_errors
from shared.errors import PayloadError, TransientError
from shared.http import Handler, declared_route, translate_errors
from shared.log import get_logger

HEADER = "Idempotency-Key"
FIELD = "once"  # of a form
STAND_IN: web.ResponseKey[web.Response] = web.ResponseKey("stand_in", web.Response)
FORM = "application/x-www-form-urlencoded"
KEY = re.compile(r"[\x20-\x7e]{1,255}\Z")
LIFE = timedelta(days=1)
FORM_LIFE = timedelta(minutes=1)  # after it a form that is sent once more is meant once more
FORM_PATIENCE = 60  # looks at whether the first one is answered
FORM_INTERVAL = 1.0  # seconds between two looks
LONGEST_REQUEST = timedelta(minutes=5)  # after it the process that answered the first request is taken for dead

TAKE = """
INSERT INTO idempotency_keys AS k (caller, key, request_hash) VALUES ($1, $2, $3)
ON CONFLICT (caller, key) DO UPDATE
SET request_hash = excluded.request_hash, status = NULL, answer = NULL, names = '{}', created_at = now()
WHERE k.created_at < now() - $4::interval AND (k.status IS NOT NULL OR k.created_at < now() - $5::interval)
   OR (k.status IS NULL AND k.request_hash = excluded.request_hash AND k.created_at < now() - $5::interval)
RETURNING created_at
"""
FIND = "SELECT request_hash, status, answer FROM idempotency_keys WHERE caller = $1 AND key = $2"
KEEP = """
UPDATE idempotency_keys SET status = $4, answer = $5, names = $6
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
        return await self._answer(request, handler, name, await self._hash(request), LIFE, is_final)

    async def answer_form(self, request: web.Request, handler: Handler, key: str) -> web.StreamResponse:
        """Return the first answer to this form, which `handler` gives if there is none yet; wait for one under way.

        A form that was filled in anew is another request.
        """
        request_hash = await self._hash(request)
        name = (actor_of(request).name, f"form {key} {request_hash.hex()}")
        for _ in range(FORM_PATIENCE):
            try:
                return await self._answer(request, handler, name, request_hash, FORM_LIFE, is_done)
            except UnderWayError:
                await asyncio.sleep(FORM_INTERVAL)
        raise UnderWayError(retry_after_seconds=FORM_INTERVAL)

    async def _answer(
        self,
        request: web.Request,
        handler: Handler,
        name: tuple[str, str],
        request_hash: bytes,
        life: timedelta,
        is_kept: Callable[[web.Response], bool],
    ) -> web.StreamResponse:
        with database_errors():
            started = await self._pool_of().fetchval(TAKE, *name, request_hash, life, LONGEST_REQUEST)
            known = None if started else await self._pool_of().fetchrow(FIND, *name)
        if not started:
            return self._replay(known, name, request_hash)
        response = await translate_errors(request, handler)
        answer = response.get(STAND_IN, response)
        kept = answer if isinstance(answer, web.Response) and is_kept(answer) else None
        try:
            with database_errors():
                if kept is None:
                    await self._pool_of().execute(GIVE_BACK, *name, started)
                else:
                    sealed = seal(kept, owner=_owner(name), keys=self._keys)
                    await self._pool_of().execute(KEEP, *name, started, kept.status, sealed, named_in(request, kept))
        except TransientError as error:
            # What was asked for is done: the caller learns it now, though a repetition will not.
            get_logger().warning("answer_not_kept", reason=error.message)
        return response

    def _replay(self, known: Row | None, name: tuple[str, str], request_hash: bytes) -> web.Response:
        if known and known["request_hash"] != request_hash:
            raise KeyReusedError(field=HEADER)
        if known is None or known["status"] is None:
            raise UnderWayError(retry_after_seconds=1)
        return unseal(known["answer"], status=known["status"], owner=_owner(name), keys=self._keys)

    async def _hash(self, request: web.Request) -> bytes:
        """Return what tells requests apart; keyed, since a body can hold a password that somebody could guess."""
        content = (request.method.encode(), request.raw_path.encode(), await request.read())
        return self._keys.digest(b"\x00".join(content))


def answered_once(response: web.Response, again: web.Response) -> web.Response:
    """Return the answer to a form that shows a secret: it is never stored, and `again` answers the form sent twice."""
    response[STAND_IN] = again
    return response


def is_final(response: web.Response) -> bool:
    """Tell whether the same request would be answered the same again."""
    return response.status < 500 and hdrs.RETRY_AFTER not in response.headers


def is_done(response: web.Response) -> bool:
    """Tell whether a form has had its effect: the browser is sent on, or the dialog ends. What is shown changes."""
    return response.status in (204, 303)


def _owner(name: tuple[str, str]) -> str:
    return " ".join(name)


async def _form_key(request: web.Request) -> str | None:
    """Return the key that a form brings from a caller whom the gate knows."""
    if ACTOR not in request or request.content_type != FORM:
        return None
    key = (await request.post()).get(FIELD)
    return key if isinstance(key, str) and KEY.match(key) else None


def idempotent(replays: Replays, operations: Iterable[Operation]) -> Middleware:
    """Return the middleware that honours the header on the POST operations, and the field of forms.

    It has to lie within the gate.
    """
    posts: Mapping[str, Operation] = {o.path: o for o in operations if o.method == hdrs.METH_POST}

    @web.middleware
    async def replay(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != hdrs.METH_POST:
            return await handler(request)
        key, operation = request.headers.get(HEADER), posts.get(declared_route(request) or "")
        if operation is None and (form_key := await _form_key(request)):
            return await replays.answer_form(request, handler, form_key)
        if key is None or operation is None:
            return await handler(request)
        if operation.shows_secret:
            raise SecretAnswerError(field=HEADER)
        if not KEY.match(key):
            raise PayloadError("An Idempotency-Key has 1 to 255 printable ASCII characters.", field=HEADER)
        return await replays.answer(request, handler, key)

    return replay
