"""Values for tests, each with defaults that a test overrides where it matters."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord

from services.destination_writer.delivery import Winner
from services.destination_writer.records import ChildPart, Position, Record
from shared.catalogue import BY_NAME, CHILDREN
from shared.messages import Origin

CONNECTION = "con_test"
_offsets = itertools.count()


def make_record(
    object_id: str = "cus_1",
    stamp: int = 100,
    *,
    resource: str = "customer",
    origin: Origin = Origin.EVENT,
    event_type: str | None = None,
    previous: dict[str, Any] | None = None,
    is_deleted: bool = False,
    slice_id: int | None = None,
    **fields: Any,
) -> Record:
    """Return a record of an object with `fields`."""
    body = {"id": object_id, "object": BY_NAME[resource].object, **fields}
    return Record(
        CONNECTION,
        BY_NAME[resource],
        object_id,
        stamp,
        json.dumps(body).encode(),
        origin,
        Position("events", 0, next(_offsets)),
        is_deleted=is_deleted,
        slice_id=slice_id,
        event_type=event_type,
        previous=json.dumps(previous).encode() if previous is not None else None,
    )


def make_winner(*args: Any, **kwargs: Any) -> Winner:
    """Return a record that is alone in its batch."""
    record = make_record(*args, **kwargs)
    return Winner(record, (record,))


def make_part(
    parent_id: str, ids: list[str], *, stamp: int, is_complete: bool, child: str = "invoice_line_item"
) -> ChildPart:
    """Return a part of a child set."""
    parent, row = next((parent, row) for parent, row in CHILDREN if row.name == child)
    bodies = tuple(json.dumps({"id": i, "object": "line_item", "amount": 1}).encode() for i in ids)
    return ChildPart(
        CONNECTION, row, parent.name, parent_id, stamp, bodies, is_complete, Position("s", 0, next(_offsets))
    )


def lines(*ids: str, has_more: bool = False, amount: int = 1) -> dict[str, Any]:
    """Return the list object of an invoice's lines."""
    data = [{"id": line_id, "object": "line_item", "amount": amount} for line_id in ids]
    return {"object": "list", "data": data, "has_more": has_more}


def make_message(
    value: bytes | None = b"{}",
    *,
    key: bytes = b"con_test:cus_1",
    headers: Sequence[tuple[str, bytes]] = (),
    topic: str = "events",
    partition: int = 0,
    offset: int = 0,
) -> ConsumerRecord:
    """Return a record as Kafka hands it to a consumer."""
    size = len(value or b"")
    return ConsumerRecord(topic, partition, offset, 0, 0, key, value, None, len(key), size, tuple(headers))
