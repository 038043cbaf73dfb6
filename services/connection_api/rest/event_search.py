"""What a list of events is asked for, as conditions on the event log."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from shared.catalogue import BY_NAME

EVENT_PREFIX = "evt_"
TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*\.?\Z")
TYPES = frozenset(name for one in BY_NAME.values() for name in (*one.events, *one.hinted_by))
GROUP = ".*"  # at the end of a type: all that begin with what stands before, as in Stripe's own list of events
# https://docs.stripe.com/api/events/list#list_events-type
# Bytes are compared, so that an index of `text_pattern_ops` finds what begins with a text in every collation.
_BEGINS = "({column} ~>=~ ${first} AND {column} ~<~ (${first} || U&'\\+10FFFF'))"
CONDITIONS = {
    "connection_id": "connection_id = ${first}",
    "event_id": "event_id = ${first}",
    "object_id": "object_id = ${first}",
    "type": "type = ${first}",
    "resource": "resource = ${first}",
    "outcome": "outcome = ${first}",
    "since": "written_at >= ${first}",
    "until": "written_at < ${first}",
    "event_prefix": _BEGINS.replace("{column}", "event_id"),
    "object_prefix": _BEGINS.replace("{column}", "object_id"),
    "type_prefix": _BEGINS.replace("{column}", "type"),
}


@dataclass(frozen=True, slots=True)
class EventSearch:
    """Which events are wanted: all that is given has to hold."""

    connection_id: str | None = None
    event_id: str | None = None
    object_id: str | None = None
    type: str | None = None
    resource: str | None = None
    outcome: str | None = None
    since: datetime | None = None  # written then or later
    until: datetime | None = None  # written before
    event_prefix: str | None = None
    object_prefix: str | None = None
    type_prefix: str | None = None

    def conditions(self, *, first: int) -> tuple[list[str], list[Any]]:
        """Return conditions in SQL, whose parameters are numbered from `first` on, and their values."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        numbered = enumerate(given, start=first)
        return [CONDITIONS[name].replace("{first}", str(number)) for number, name in numbered], list(given.values())


def of_type(text: str) -> dict[str, str]:
    """Return the field of a search for a type, such as `invoice.paid`, or for a group, such as `invoice.*`."""
    return {"type_prefix": text.removesuffix("*")} if text.endswith(GROUP) else {"type": text}


def begins_with(text: str) -> dict[str, str]:
    """Return the field of a search for what begins with a text: an event's id, a type, or else an object's id."""
    if text.startswith(EVENT_PREFIX):
        return {"event_prefix": text}
    if text.endswith(GROUP):
        return of_type(text)
    is_type = TYPE.match(text) and ("." in text or any(name.startswith(text) for name in TYPES))
    return {"type_prefix": text} if is_type else {"object_prefix": text}
