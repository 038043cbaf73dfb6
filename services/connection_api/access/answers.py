"""The answers that are kept for requests which may be repeated: sealed, and found by whom they name."""

from __future__ import annotations

import json
import re

from aiohttp import hdrs, web

from shared.crypto import KeyRing, SecretUnreadableError
from shared.errors import ConflictError

REPLAYED = "Idempotent-Replayed"
# What tells a program how to read the answer, and a browser where to go or what to say.
KEPT_HEADERS = (
    hdrs.CONTENT_TYPE,
    hdrs.LOCATION,
    "HX-Redirect",
    "HX-Trigger",
    "HX-Retarget",
    "HX-Reswap",
)
NAMED = re.compile(rb"\b(?:con_[a-z0-9]{1,64}|acct_[A-Za-z0-9]{1,64})\b")


class AnswerLostError(ConflictError):
    """The first answer can't be read any more. See whether the request was carried out before you send it anew."""

    code = "idempotency_answer_lost"


def seal(response: web.Response, *, owner: str, keys: KeyRing) -> bytes:
    """Return the answer encrypted, bound to whose it is."""
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    content = {"headers": headers, "body": (_body(response)).decode("utf-8", "surrogateescape")}
    return keys.encrypt(json.dumps(content), owner=owner, name="answer")


def unseal(sealed: bytes, *, status: int, owner: str, keys: KeyRing) -> web.Response:
    """Return the answer as it was given; raise `AnswerLostError` when it can't be decrypted."""
    try:
        content = json.loads(keys.decrypt(sealed, owner=owner, name="answer"))
    except SecretUnreadableError as error:
        raise AnswerLostError from error
    headers = {REPLAYED: "true", hdrs.CACHE_CONTROL: "no-store", **content["headers"]}
    return web.Response(body=content["body"].encode("utf-8", "surrogateescape"), status=status, headers=headers)


def named_in(request: web.Request, response: web.Response) -> list[str]:
    """Return the ids of connections and accounts that the request's path or its answer names."""
    texts = (request.raw_path.encode(), _body(response), response.headers.get(hdrs.LOCATION, "").encode())
    return sorted({found.decode() for text in texts for found in NAMED.findall(text)})


def _body(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""
