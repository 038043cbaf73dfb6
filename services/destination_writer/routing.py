"""Where a connection's records go and what of them is wanted, as the state database says at the moment.

A batch is judged by routes that were read after it came. So whoever changes what a connection wants and then has
Stripe's lists read again misses nothing: what an older route refused had come before, and the lists show it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from services.destination_writer.delivery import Reason, overlay
from services.destination_writer.destinations import Account
from services.destination_writer.omission import NONE, Omission, make_omissions, strip
from services.destination_writer.records import ChildPart, Record
from shared.db import Pool, database_errors


class _Made(msgspec.Struct):
    created: Any = None
    date: Any = None  # what an invoice item has instead of `created`


_MADE = msgspec.json.Decoder(_Made)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a connection's records go, and what of them is wanted."""

    connection_id: str
    account: Account
    resources: frozenset[str]
    destination_ids: tuple[str, ...]
    stopped: frozenset[str] = frozenset()  # destinations to which nothing is delivered for now
    start: int | None = None  # Unix seconds: what was made before is not wanted
    omissions: Mapping[str, Omission] = field(default_factory=dict)

    def admit(self, records: Iterable[Record]) -> list[Record]:
        """Return what is to be written of the records; raise `MessageError` for one that nothing can be left out of."""
        return self.sort(records)[0]

    def sort(self, records: Iterable[Record]) -> tuple[list[Record], list[tuple[Record, Reason]]]:
        """Return what is to be written of the records, and which are not wanted and why; raise `MessageError`."""
        wanted, refused = [], []
        for record in records:
            reason = self._objection(record)
            if reason:
                refused.append((record, reason))
            else:
                wanted.append(record)
        return [self._show(record) for record in wanted] if self.omissions else wanted, refused

    def admit_parts(self, parts: Iterable[ChildPart]) -> list[ChildPart]:
        """Return what is to be written of parts of child sets. Their parents have the last word, where they lie."""
        shown = (self._show_part(part) for part in parts if part.parent_resource in self.resources)
        return [part for part in shown if part]

    def _objection(self, record: Record) -> Reason | None:
        if record.resource.name not in self.resources:
            return Reason.RESOURCE
        if self.start is None or record.resource.is_singleton:
            return None  # of a singleton there is one, whatever its age
        made = made_at(record.body)
        return None if made is None or made >= self.start else Reason.START_DATE

    def _show(self, record: Record) -> Record:
        omission = self.omissions.get(record.resource.name, NONE)
        body = strip(record.body, omission.tree)
        previous = record.previous and strip(record.previous, omission.tree)
        if body is record.body and previous is record.previous:
            return record
        if previous and previous is not record.previous and _tells_nothing(previous, body):
            previous = None
        return replace(record, body=body, previous=previous)

    def _show_part(self, part: ChildPart) -> ChildPart | None:
        tree = self.omissions.get(part.parent_resource, NONE).children.get(part.child.table, NONE.tree)
        if tree is None:
            return None
        bodies = tuple(strip(body, tree) for body in part.bodies) if tree else part.bodies
        return replace(part, bodies=bodies, parent_from=self.start)


def made_at(body: bytes) -> float | None:
    """Return when the object was made, in Unix seconds; `None` if it does not tell."""
    try:
        made = _MADE.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None  # its destination refuses it, with the reason
    told = (one for one in (made.created, made.date) if isinstance(one, int | float) and not isinstance(one, bool))
    return next(told, None)


def _tells_nothing(previous: bytes, body: bytes) -> bool:
    """Tell whether nothing but omitted fields had changed: such a patch leads from a document back to itself."""
    document = msgspec.json.decode(body)
    return bool(overlay(document, msgspec.json.decode(previous)) == document)


SELECT = """
SELECT c.id, c.account_id, c.livemode, c.resources, c.start_date, c.omitted_fields,
       ARRAY(SELECT d.destination_id FROM connection_destinations d WHERE d.connection_id = c.id ORDER BY 1)
         AS destinations,
       ARRAY(SELECT s.destination_id FROM delivery_stops s WHERE s.connection_id = c.id) AS stopped
FROM connections c WHERE c.id = ANY ($1::text[]) AND c.state <> 'removing'
"""


class Routes:
    """Reads routes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, connection_ids: Collection[str]) -> dict[str, Route]:
        """Return the routes of the connections that are not gone, as of now; raise `DatabaseUnavailableError`."""
        with database_errors():
            rows = await self._pool.fetch(SELECT, list(connection_ids))
        return {
            row["id"]: Route(
                row["id"],
                Account(row["account_id"], row["livemode"]),
                frozenset(row["resources"]),
                tuple(row["destinations"]),
                frozenset(row["stopped"]),
                start=int(row["start_date"].timestamp()) if row["start_date"] else None,
                omissions=make_omissions(row["omitted_fields"]),
            )
            for row in rows
        }
