"""Stand-ins that tests can look into; small classes, no mocks."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from aiokafka.structs import RecordMetadata, TopicPartition

from services.destination_writer.comparison import Compared, Finding, RowState, compare
from services.destination_writer.delivery import Outcome, Verdict, Version, Winner, is_doubtful, settle_chain
from services.destination_writer.destinations import Account, Cleaned, Older, Span, Written, reason_of
from services.destination_writer.omission import Tree, strip
from services.destination_writer.records import ChildPart, Record
from services.destination_writer.routing import made_at
from shared.bounds import last_true
from shared.catalogue import BY_NAME, Child, Resource
from shared.errors import AppError, DestinationRejectedError, DestinationUnavailableError
from shared.kafka import MAX_RECORD_BYTES, Outgoing, OversizeError
from shared.messages import Origin
from shared.topics import Topic


class FakeProducer:
    """Keeps what is published, each topic with offsets of its own; raises `error` instead while it is set."""

    def __init__(self) -> None:
        self.published: list[tuple[Topic, Outgoing]] = []
        self.error: AppError | None = None
        self.is_stopped = False

    async def publish(self, topic: Topic, record: Outgoing) -> RecordMetadata:
        return (await self.publish_all(topic, [record]))[0]

    async def publish_all(self, topic: Topic, records: Sequence[Outgoing]) -> list[RecordMetadata]:
        if self.error:
            raise self.error
        placed: list[RecordMetadata | None] = []
        for record in records:
            if len(record.value) > MAX_RECORD_BYTES:
                placed.append(None)
            else:
                placed.append(_metadata(topic, len(self.records(topic))))
                self.published.append((topic, record))
        if None in placed:
            raise OversizeError(placed)
        return [place for place in placed if place]

    async def stop(self) -> None:
        self.is_stopped = True

    def records(self, topic: Topic) -> list[Outgoing]:
        return [record for where, record in self.published if where is topic]


def _metadata(topic: Topic, offset: int) -> RecordMetadata:
    name = topic.name("tillstream")
    return RecordMetadata(name, 0, TopicPartition(name, 0), offset, -1, 0, 0)


Key = tuple[str, bool, str]


class MemoryDestination:
    """Rows in dictionaries, by the rule of `delivery`; `is_down` makes it a bad destination."""

    span = 2  # rows that one step of a cleanup looks at

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, dict[str, Any]]] = {}
        self.is_down = False
        self.is_closed = False
        self.writes = 0
        self.extended = 0

    async def prepare(self) -> None:
        self._require_up()

    async def extend(self) -> None:
        self._require_up()
        self.extended += 1

    async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
        self._require_up()
        self.writes += 1
        if any(b"\\u0000" in winner.record.body for winner in winners):
            raise DestinationRejectedError
        return [self._write(account, winner) for winner in winners]

    async def write_children(self, account: Account, part: ChildPart) -> bool:
        self._require_up()
        parents = self.tables.get(BY_NAME[part.parent_resource].table, {})
        parent = parents.get((account.id, account.livemode, part.parent_id))
        if parent is None or parent["deleted"] or _is_older(parent, part.parent_from):
            return False
        for body in part.bodies:
            self._put_child(account, part.child.table, part.parent_id, json.loads(body), part.stamp)
        if part.is_complete:
            self._sweep(account, part.child.table, part.parent_id, part.stamp, kept=None)
        return True

    async def delete_rows(
        self, account: Account, source: Resource | Child, *, created_before: int | None = None, after: str | None = None
    ) -> Cleaned:
        keys, last_id = self._span(account, source.table, after)
        rows = self.tables.get(source.table, {})
        gone = [key for key in keys if created_before is None or _is_older(rows[key], created_before)]
        counts = {source.table: len(gone)}
        for child in getattr(source, "children", ()):
            found = self.tables.get(child.table, {})
            of_gone = [key for key, row in found.items() if (*key[:2], row["parent"]) in gone]
            counts[child.table] = len([found.pop(key) for key in of_gone])
        for key in gone:
            del rows[key]
        return Cleaned(counts, last_id)

    async def omit_fields(
        self, account: Account, source: Resource | Child, tree: Tree, *, after: str | None = None
    ) -> Cleaned:
        keys, last_id = self._span(account, source.table, after)
        count = 0
        for row in (self.tables[source.table][key] for key in keys):
            before = row["data"], list(row["trail"])
            data, trail = (json.loads(strip(json.dumps(value).encode(), tree)) for value in before)
            count += (data, trail) != before
            row |= {"data": data, "trail": tuple(trail)}
        return Cleaned({source.table: count}, last_id)

    async def compare(self, account: Account, records: Sequence[Record]) -> list[Compared]:
        self._require_up()
        return [self._compare(account, record) for record in records]

    def _compare(self, account: Account, record: Record) -> Compared:
        table = self.tables.get(record.resource.table, {})
        row = table.get((account.id, account.livemode, record.object_id))
        body = json.loads(record.body)
        state = row and RowState(row["stamp"], row["deleted"], row["data"] == body, json.dumps(row["data"]))
        found = compare(record, state or None, now=time.time())
        if found.finding not in (Finding.EQUAL, Finding.DIFFERENT) or record.is_deleted:
            return found
        wrong = [child for child in record.resource.children if self._has_other_children(account, child, record, body)]
        fields = (f"{'.'.join(child.path)} ({child.table})" for child in wrong)
        return Compared(Finding.DIFFERENT, (*found.fields, *fields)) if wrong else found

    def _has_other_children(self, account: Account, child: Child, record: Record, body: dict[str, Any]) -> bool:
        shown = body.get(child.path[0])
        if shown is None or shown.get("has_more"):
            return False
        kept = {
            key[2]: row["data"]
            for key, row in self.tables.get(child.table, {}).items()
            if key[:2] == (account.id, account.livemode) and row["parent"] == record.object_id and not row["deleted"]
        }
        return bool(kept != {one["id"]: one for one in shown["data"]})

    async def find_older(self, account: Account, resource: Resource, older: Older, *, after: str | None = None) -> Span:
        keys, last_id = self._span(account, resource.table, after)
        rows = self.tables.get(resource.table, {})
        return Span(tuple(key[2] for key in keys if _is_among(rows[key], older)), last_id)

    async def bury_deleted(self, account: Account, source: Resource | Child, *, after: str | None = None) -> Cleaned:
        self._require_up()
        return Cleaned({}, None)  # it marks deleted rows

    async def close(self) -> None:
        self.is_closed = True

    async def rows(self, table: str) -> dict[Key, dict[str, Any]]:
        return {key: dict(row) for key, row in self.tables.get(table, {}).items()}

    def _require_up(self) -> None:
        if self.is_down or self.is_closed:
            raise DestinationUnavailableError

    def _span(self, account: Account, table: str, after: str | None) -> tuple[list[Key], str | None]:
        self._require_up()
        own = (key for key in self.tables.get(table, {}) if key[:2] == (account.id, account.livemode))
        keys = sorted(key for key in own if after is None or key[2] > after)[: self.span]
        return keys, keys[-1][2] if len(keys) == self.span else None

    def _write(self, account: Account, winner: Winner) -> Written:
        record = winner.record
        table = self.tables.setdefault(record.resource.table, {})
        key = (account.id, account.livemode, record.object_id)
        old = table.get(key)
        trail, ask = winner.trail, winner.ask_stripe
        told = 0 if record.origin is Origin.EVENT else record.stamp
        is_false = old is not None and old["stamp"] > last_true(time.time(), told)
        if old is None or old["stamp"] < record.stamp or (is_false and record.origin is not Origin.EVENT):
            verdict = Verdict.WRITE
        elif old["stamp"] > record.stamp:
            verdict = Verdict.OLDER
        else:
            result = settle_chain(_version(old), winner.chain)
            verdict = Verdict.WRITE if result.record else result.verdict
            record, trail, ask = result.record or record, result.trail, ask or result.ask_stripe
            old["trail"] = trail
        outcome = _outcome(old, record, verdict)
        if verdict is Verdict.WRITE:
            keeps_data = record.is_deleted and old is not None
            table[key] = {
                "stamp": record.stamp,
                "deleted": record.is_deleted,
                "listed": record.origin != "event",
                "data": old["data"] if old and keeps_data else json.loads(record.body),
                "parent": None,
                "trail": trail,
            }
        is_cut = outcome is not Outcome.IGNORED and self._replace_children(account, record)
        doubtful = old is not None and is_doubtful(
            is_silent=record.resource.changes_silently,
            current_is_listed=old["listed"],
            current_stamp=old["stamp"],
            incoming=record,
        )
        ask |= is_false and verdict is not Verdict.WRITE
        ask |= doubtful and old is not None and old["data"] != json.loads(record.body)
        reason = reason_of(outcome, ask=ask, is_buried=old is not None and old["deleted"])
        return Written(outcome, ask, is_cut, reason)

    def _replace_children(self, account: Account, record: Record) -> bool:
        is_cut = False
        for child in record.resource.children:
            found = json.loads(record.body).get(child.path[0], None) if not record.is_deleted else {"data": []}
            if found is None:
                continue
            for one in found["data"]:
                self._put_child(account, child.table, record.object_id, one, record.stamp)
            is_cut = bool(found.get("has_more"))
            if not is_cut:
                kept = {one["id"] for one in found["data"]}
                self._sweep(account, child.table, record.object_id, record.stamp, kept=kept)
        return is_cut

    def _put_child(self, account: Account, table: str, parent: str, body: dict[str, Any], stamp: int) -> None:
        rows = self.tables.setdefault(table, {})
        key = (account.id, account.livemode, body["id"])
        if key not in rows or rows[key]["stamp"] <= stamp or rows[key]["stamp"] > last_true(time.time()):
            rows[key] = {"stamp": stamp, "deleted": False, "listed": False, "data": body, "parent": parent, "trail": ()}

    def _sweep(self, account: Account, table: str, parent: str, stamp: int, *, kept: set[str] | None) -> None:
        for key, row in self.tables.get(table, {}).items():
            is_older = row["stamp"] <= stamp if kept is not None else row["stamp"] < stamp
            is_older |= row["stamp"] > last_true(time.time())
            is_gone = kept is None or key[2] not in kept
            if key[:2] == (account.id, account.livemode) and row["parent"] == parent and is_older and is_gone:
                row |= {"deleted": True, "stamp": stamp}


def _is_older(row: dict[str, Any], second: int | None) -> bool:
    made = made_at(json.dumps(row["data"]).encode())
    return second is not None and made is not None and made < second


def _is_among(row: dict[str, Any], older: Older) -> bool:
    made = made_at(json.dumps(row["data"]).encode())
    is_after = made is None or older.made_until is None or made < older.made_until
    is_old = row["stamp"] < older.stamp or row["stamp"] > last_true(time.time(), older.stamp)
    is_old = is_old and not row["deleted"] and row["data"].get("test_clock") is None
    return is_old and is_after and not _is_older(row, older.made_from)


def _version(row: dict[str, Any]) -> Version:
    return Version(row["stamp"], row["data"], is_deleted=row["deleted"], trail=row["trail"])


def _outcome(old: dict[str, Any] | None, record: Record, verdict: Verdict) -> Outcome:
    if verdict is not Verdict.WRITE:
        return Outcome.UNCHANGED if verdict is Verdict.SAME else Outcome.IGNORED
    if record.is_deleted:
        return Outcome.UNCHANGED if old and old["deleted"] else Outcome.DELETED
    if old is None:
        return Outcome.INSERTED
    is_same = not old["deleted"] and old["data"] == json.loads(record.body)
    return Outcome.UNCHANGED if is_same else Outcome.UPDATED
