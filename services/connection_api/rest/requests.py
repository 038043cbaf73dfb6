"""Reads what a request brings, and writes answers: the models decide, and a refusal names the field."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from services.connection_api.rest.models import Page
from services.connection_api.rest.models.base import check_stripe_id
from shared.errors import NotFoundError, PayloadError

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")
ID = re.compile(r"[a-z]{2,8}_[a-z0-9]{1,64}\Z")
LARGEST_NUMBER = 2**63 - 1  # Postgres' bigint
LONGEST_FIELD = 100  # characters of a caller's own field name that an error repeats
SENTENCES = {
    "missing": "This field is missing.",
    "extra_forbidden": "There is no such field.",
    "json_invalid": "The body is not JSON.",
    "model_type": "The body has to be a JSON object.",
}


class BadCursorError(PayloadError):
    """This is no cursor of this list. Begin without one."""

    def __init__(self) -> None:
        """Blame the cursor."""
        super().__init__(field="cursor")


async def read_body(request: web.Request, model: type[M]) -> M:
    """Return the body as `model`; raise `PayloadError` naming the field."""
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        raise refusal(error) from None  # the cause holds what was sent, secrets too


def read_query(request: web.Request, model: type[M]) -> M:
    """Return the query as `model`; raise `PayloadError` naming the parameter."""
    return read_values(dict(request.query), model)


def read_values(values: Mapping[str, object], model: type[M]) -> M:
    """Return what a query or a form brings as `model`; raise `PayloadError` naming the field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise refusal(error) from None


def read_id(request: web.Request, *, name: str = "id") -> str:
    """Return the id in the path; raise `NotFoundError` for what can't be one."""
    text = request.match_info[name]
    if not ID.match(text):
        raise NotFoundError
    return text


def read_stripe_id(request: web.Request, *, name: str = "id") -> str:
    """Return the id of Stripe's in the path; raise `NotFoundError` for what can't be one."""
    try:
        return check_stripe_id(request.match_info[name])
    except ValueError as error:
        raise NotFoundError from error


def refusal(error: ValidationError) -> PayloadError:
    """Return the first fault as a sentence; what was sent is not repeated."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in fault["loc"])[:LONGEST_FIELD] or None
    reason = SENTENCES.get(fault["type"], f"{fault['msg'].removeprefix('Value error, ')}.")
    return PayloadError(f"`{field}`: {reason}" if field else reason, field=field)


def write(answer: BaseModel, *, status: int = 200) -> web.Response:
    """Return the answer as JSON."""
    return web.Response(
        text=answer.model_dump_json(by_alias=True),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def write_page(
    page: type[Page[Any]], found: Sequence[R], *, limit: int, place: Callable[[R], Sequence[str]]
) -> web.Response:
    """Return the first `limit` rows as a page in JSON; one that was found beyond them tells that another page follows.

    The cursor of that is the `place` of the last row that is shown.
    """
    shown = found[:limit]
    cursor = make_cursor(*place(shown[-1])) if len(found) > limit else None
    return write(page.model_validate({"data": shown, "next_cursor": cursor}))


def make_cursor(*position: str) -> str:
    """Return the place in a list after the row at `position`, opaque to the caller."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, *, parts: int) -> Sequence[str] | None:
    """Return the position in the cursor; raise `PayloadError` for one that `make_cursor` did not make."""
    if cursor is None:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        position = None
    if not _is_position(position, parts):
        raise BadCursorError
    return list(position)


def read_time(text: str) -> datetime:
    """Return the time in a cursor; raise `PayloadError`."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadCursorError from error


def read_number(text: str) -> int:
    """Return the number in a cursor; raise `PayloadError`."""
    if not text.isdecimal() or len(text) > len(str(LARGEST_NUMBER)) or int(text) > LARGEST_NUMBER:
        raise BadCursorError
    return int(text)


def _is_position(position: Any, parts: int) -> bool:
    return (
        isinstance(position, list)
        and len(position) == parts
        and all(isinstance(part, str) and part.isascii() and part.isprintable() for part in position)
    )
