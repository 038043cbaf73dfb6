"""What an id, a type, a moment and a body may be. Stripe's own lie far within; what lies beyond is refused by itself.

Whatever passes fits a Kafka key, a header, and an index of Postgres (2,704 bytes). So one record that does not can't
fail a batch later on, where others would have to come again with it.
"""

from __future__ import annotations

import re

import msgspec

from shared.errors import MessageError

LONGEST_ID = 255  # characters
LONGEST_TYPE = 100  # characters
DEEPEST = 100  # levels; no object of Stripe's has twenty
# Seconds by which a moment may lie beyond our clock where it comes in. So much that a clock that is set badly loses
# nothing: webhooks are refused from 300 s of skew on, but what is read from Stripe is not.
AHEAD = 3600
SKEW = 300  # seconds by which the stamp of a row that is there may lie beyond Stripe's clock, as far as we know it
LAST_SECOND = 253_402_300_799  # of the year 9999
LAST_NUMBER = 2**63 - 1  # of a bigint

_EVENT_ID = re.compile(rf"[A-Za-z0-9_.\-]{{1,{LONGEST_ID}}}")
_CONNECTION_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_TYPE = re.compile(rf"[A-Za-z0-9_.\-]{{1,{LONGEST_TYPE}}}")
# Merchants choose the ids of coupons, plans and products: any text, but for control characters and half characters.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class OutOfBoundsError(MessageError):
    """An id, a type, a time or the depth of the body lies beyond what Stripe sends."""

    code = "out_of_bounds"


def require_event_id(text: str) -> str:
    """Return an event's id; raise `OutOfBoundsError`."""
    if not _EVENT_ID.fullmatch(text):
        raise OutOfBoundsError(
            f"The event's id is longer than {LONGEST_ID} characters, or has other than `A-Za-z0-9_.-`."
        )
    return text


def require_type(text: str) -> str:
    """Return an event's type; raise `OutOfBoundsError`."""
    if not _TYPE.fullmatch(text):
        raise OutOfBoundsError(
            f"The event's type is longer than {LONGEST_TYPE} characters, or has other than `A-Za-z0-9_.-`."
        )
    return text


def require_connection_id(text: str) -> str:
    """Return a connection's id; raise `OutOfBoundsError`."""
    if not _CONNECTION_ID.fullmatch(text):
        raise OutOfBoundsError("The connection's id is none of Tillstream's.")
    return text


def is_object_id(text: str) -> bool:
    """Tell whether the text can be the id of an object."""
    return 0 < len(text) <= LONGEST_ID and not _UNFIT.search(text)


def require_object_id(text: str) -> str:
    """Return an object's id; raise `OutOfBoundsError`."""
    if not is_object_id(text):
        raise OutOfBoundsError(
            f"The object's id is empty, longer than {LONGEST_ID} characters, or has control characters."
        )
    return text


def require_moment(second: int) -> int:
    """Return a moment in Unix seconds; raise `OutOfBoundsError`."""
    if not 0 <= second <= LAST_SECOND:
        raise OutOfBoundsError(f"{str(second)[:30]} is no moment in Unix seconds.")
    return second


def is_ahead(second: int, now: float) -> bool:
    """Tell whether a moment lies so far ahead of `now`, both in Unix seconds, that no clock of Stripe's told it."""
    return second > now + AHEAD


def last_true(now: float, *told: int) -> int:
    """Return the last stamp, in Unix seconds, that a row can truly have.

    The reference is Stripe's clock at present: ours (`now`), or a later second that Stripe itself `told` in an answer,
    where ours is slow. An answer that has lain for long may be older than true rows, so its stamp alone is none.
    """
    return max(int(now), *told, 0) + SKEW


def require_past(second: int, now: float) -> int:
    """Return a moment of Stripe's clock that is not beyond `now`, both in Unix seconds; raise `OutOfBoundsError`.

    Newest wins: what came from the future would win over all that Stripe tells until then.
    """
    if is_ahead(require_moment(second), now):
        raise OutOfBoundsError("Its time lies more than an hour ahead of the clock.")
    return second


def require_number(number: int) -> int:
    """Return a number that a bigint holds; raise `OutOfBoundsError`."""
    if not 0 <= number <= LAST_NUMBER:
        raise OutOfBoundsError("A number of the record's headers is out of range.")
    return number


def require_shallow(body: bytes) -> bytes:
    """Return a text that is known to be JSON, if every later step can follow its depth; raise `OutOfBoundsError`."""
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return body
    brackets = _TEXT.sub(b"", body).translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST):  # each round takes out the innermost level
        if not brackets:
            return body
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    raise OutOfBoundsError(f"The body is nested deeper than {DEEPEST} levels.")


def require_json(body: bytes) -> bytes:
    """Return the JSON text, if it can be read whole: later steps need not doubt it. Raises `MessageError`."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"The body can't be read as JSON: {error}.") from error
    return require_shallow(body)
