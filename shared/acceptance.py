"""Decides what becomes of a signed webhook: a pure function of its body and the endpoint that it came to.

A signed body that can't be used must get a 2xx: a 4xx would make Stripe send it again for days and, in the end, disable
the endpoint. So each kind of it is an error with a code of its own, under which it is kept as a dead letter. A replay
of that asks the same rule again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from shared.bounds import OutOfBoundsError, require_moment, require_past
from shared.catalogue import dependents, resource_for_event
from shared.catalogue.lookups import WITHOUT_ID
from shared.errors import MessageError
from shared.messages import Event, parse_event
from shared.topics import record_key


class Owner(Protocol):
    """What has to be known of the connection that a webhook is for; an endpoint has it."""

    @property
    def connection_id(self) -> str:
        """The connection."""

    @property
    def account_id(self) -> str:
        """Its account at Stripe."""

    @property
    def livemode(self) -> bool:
        """Whether that is live or a test."""


@dataclass(frozen=True, slots=True)
class KnownOwner:
    """A connection as far as an `Owner` is asked about."""

    connection_id: str
    account_id: str
    livemode: bool


class NotJsonError(MessageError):
    """The body is not JSON."""

    code = "not_json"


class NotAnEventError(MessageError):
    """The body is no Stripe event."""

    code = "not_an_event"


class ThinEventError(MessageError):
    """This is a thin event, which carries no object. Set the endpoint's payload style to snapshot in Stripe."""

    code = "thin_event"


class ObjectIdMissingError(MessageError):
    """The event's object has no id."""

    code = "object_id_missing"


class WrongModeError(MessageError):
    """The event is of the other mode (live or test) than its connection."""

    code = "wrong_mode"


class WrongAccountError(MessageError):
    """The event is of another Stripe account than its connection."""

    code = "wrong_account"


class _Kind(msgspec.Struct):
    object: str = ""


_KIND = msgspec.json.Decoder(_Kind)


def find_key(body: bytes, owner: Owner, *, now: float) -> bytes | None:
    """Return the key under which the event is to be published, or `None` where there is nothing to keep.

    `now` is in Unix seconds. Raises the kind of `MessageError` that says why the body can't be used.
    """
    event = _parse(body)
    if event.livemode != owner.livemode:
        raise WrongModeError
    if event.livemode:  # a test clock is set ahead, and so are its events
        require_past(event.created, now)
    require_moment(event.created)
    if event.account not in (None, owner.account_id):
        raise WrongAccountError
    if event.type in WITHOUT_ID:
        return None
    return record_key(owner.connection_id, _object_id(event))


def _parse(body: bytes) -> Event:
    try:
        return parse_event(body)
    except OutOfBoundsError:
        raise
    except MessageError as error:
        if _kind(body).startswith("v2."):
            raise ThinEventError from error
        raise NotAnEventError(error.message) from error


def _kind(body: bytes) -> str:
    try:
        return _KIND.decode(body).object
    except msgspec.ValidationError:
        return ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJsonError(f"The body is not JSON: {error}.") from error


def _object_id(event: Event) -> str:
    """Return the id of the event's object; the event's own one where it only hints that something changed.

    So too where such objects are not kept: the event log tells that the event came.
    """
    subject = event.subject
    if subject.id:
        return subject.id
    resource = resource_for_event(event.type, subject.object)
    if resource is None or not resource.has_id or dependents(event.type):
        return event.id
    raise ObjectIdMissingError
