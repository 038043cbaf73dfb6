"""Answers that no client expects: lists that are too long, in no form, or with one object that nobody can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from simulator import errors
from simulator.config import Faults

_HTML = b"<html><body><h1>Please sign in</h1></body></html>"
_MARK = "\x00odd\x00"  # no text of the simulator has it
_LARGE = 4_600_000  # letters
_NESTED = 2_000  # lists
# What stands in the place of a text of one object.
_VALUES: dict[str, Callable[[], bytes]] = {
    "surrogate": lambda: b'"\\ud83d"',
    "nan": lambda: b"NaN",
    "nested": lambda: b"[" * _NESTED + b"]" * _NESTED,
    "large": lambda: b'"' + b"x" * _LARGE + b'"',
}
_WHOLES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "html": lambda _: _HTML,
    "null": lambda body: msgspec.json.encode(body | {"data": None}),
    "object": lambda body: msgspec.json.encode(body["data"][0]),
    "empty": lambda body: msgspec.json.encode(body | {"data": [], "has_more": True}),
    "cut": lambda body: msgspec.json.encode(body)[:-40],
}
KINDS = ("504", *_WHOLES, *_VALUES)


@dataclass(frozen=True, slots=True)
class Request:
    """A list that is asked for."""

    path: str  # below /v1
    limit: int


def refuse(faults: Faults, path: str) -> None:
    """Raise the refusal of a path, if one is wanted."""
    if faults.refused_path and path == faults.refused_path:
        raise errors.ApiError(faults.refused_status, faults.refused_message, code=faults.refused_code or None)


def distort(faults: Faults, request: Request, body: dict[str, Any]) -> bytes:
    """Return the answer as it is sent; raise `ApiError` where none can be given."""
    if not faults.odd_kind or request.path != faults.odd_path or request.limit <= faults.odd_above:
        return msgspec.json.encode(body)
    if faults.odd_kind == "504":
        raise errors.server_error(504)
    if faults.odd_kind in _WHOLES:
        return _WHOLES[faults.odd_kind](body) if body["data"] else msgspec.json.encode(body)
    odd = [one | {"description": _MARK} if one["id"] == faults.odd_id else one for one in body["data"]]
    mark = msgspec.json.encode(_MARK)
    return msgspec.json.encode(body | {"data": odd}).replace(mark, _VALUES[faults.odd_kind]())
