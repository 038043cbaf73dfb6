"""Reads one object at a destination: its row, its JSON, and what it is related to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from services.connection_api.data.rows import cell_of
from services.connection_api.data.sources import Source
from services.connection_api.data.tables import TABLE_VIEWS, TableView, tables_of
from shared.bounds import is_object_id
from shared.catalogue import BY_OBJECT, Kind, Resource
from shared.postgres_reading import Read
from shared.postgres_rows import OF_ACCOUNT, tables_sql
from shared.postgres_tables import literal, quote

LONGEST_JSON = 200_000  # characters of an object that are shown
MOST_RELATED = 5  # objects of one table
# Where a field's name is not the object's.
NAMED: Mapping[str, str] = {"schedule": "subscription_schedule", "destination": "connected_account"}


@dataclass(frozen=True, slots=True)
class Found:
    """An object as its row has it."""

    id: str
    table: TableView
    values: tuple[tuple[str, str], ...]  # typed columns that tell something, as texts
    json: str  # indented, cut at `LONGEST_JSON`
    is_cut: bool
    body: bytes  # the object without indentation; empty where it is cut
    is_deleted: bool
    deleted_at: datetime | None
    synced_at: datetime


@dataclass(frozen=True, slots=True)
class Reference:
    """Another object that an object names."""

    field: str
    id: str
    table: TableView


@dataclass(frozen=True, slots=True)
class Related:
    """Objects of a table that name an object: the first few of them."""

    table: TableView
    column: str
    ids: tuple[str, ...]
    has_more: bool


async def read_object(read: Read, source: Source, table: TableView, object_id: str) -> Found | None:
    """Return the object with all that its row has, `None` where there is no row; raises what `read` raises."""
    typed = ", ".join(quote(column.name) for column in table.resource.columns)
    sql = f"""
    SELECT left(jsonb_pretty(data), {LONGEST_JSON + 1}) AS _json,
           CASE WHEN length(data::text) <= {LONGEST_JSON} THEN data::text END AS _body,
           _deleted, _deleted_at, _synced_at
           {f", {typed}" if typed else ""}
    FROM {source.name_of(table.name)} WHERE {OF_ACCOUNT} AND id = $3
    """
    rows = await read(sql, *source.account, object_id)
    if not rows:
        return None
    [row] = rows
    told = [(one.name, cell_of(one.name, row, table)) for one in table.resource.columns]
    return Found(
        object_id,
        table,
        tuple((name, value) for name, value in told if value),
        row["_json"][:LONGEST_JSON],
        len(row["_json"]) > LONGEST_JSON,
        (row["_body"] or "").encode(),
        row["_deleted"],
        row["_deleted_at"],
        row["_synced_at"],
    )


def references_in(body: bytes) -> Sequence[Reference]:
    """Return which objects an object names, each once: by an id in a field called like them, or whole."""
    if not body:
        return ()
    own = msgspec.json.decode(body)
    if not isinstance(own, dict):
        return ()
    found: dict[str, Reference] = {}
    for path, name, value in _named(own):
        resource, object_id = _resource(name, value)
        if resource and object_id and object_id != own.get("id"):
            found.setdefault(object_id, Reference(path, object_id, TABLE_VIEWS[resource.table]))
    return tuple(found.values())


def _named(own: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the fields of an object and those one level below, as path, name and value."""
    for name, value in own.items():
        yield name, name, value
        if isinstance(value, dict) and "object" not in value:
            for inner, below in value.items():
                yield f"{name}.{inner}", inner, below


def _resource(name: str, value: Any) -> tuple[Resource | None, str | None]:
    if isinstance(value, dict):
        object_id = value.get("id")
        known = BY_OBJECT.get(value["object"]) if isinstance(value.get("object"), str) else None
        return known, object_id if isinstance(object_id, str) and is_object_id(object_id) else None
    # `latest_charge` is a charge: the longest end of the name that is an object's decides.
    steps = name.split("_")
    ends = ("_".join(steps[start:]) for start in range(len(steps)))
    known = BY_OBJECT.get(NAMED.get(name, "")) or next((BY_OBJECT[end] for end in ends if end in BY_OBJECT), None)
    is_id = isinstance(value, str) and is_object_id(value) and "_" in value
    return known, value if is_id else None


def naming(resource: Resource, resources: Sequence[str]) -> Sequence[tuple[TableView, str]]:
    """Return tables whose rows name objects of a resource, each with the column, of what a connection syncs."""
    return tuple(
        (table, column.name)
        for table in tables_of(resources)
        if table.resource is not resource
        for column in table.resource.columns
        if column.kind is Kind.TEXT and column.path == (resource.object,)
    )


async def read_related(read: Read, source: Source, resource: Resource, object_id: str) -> Sequence[Related]:
    """Return the objects that name this one, a few of each table; raises what `read` raises."""
    wanted = naming(resource, source.connection.resources)
    names = [table.name for table, _ in wanted]
    there = {row["name"] for row in await read(tables_sql(), source.schema, names)}
    asked = [(table, column) for table, column in wanted if table.name in there]
    if not asked:
        return ()
    parts = (
        f"(SELECT {literal(table.name)} AS _of, id FROM {source.name_of(table.name)} "
        f"WHERE {OF_ACCOUNT} AND {quote(column)} = $3 LIMIT {MOST_RELATED + 1})"
        for table, column in asked
    )
    found = await read(" UNION ALL ".join(parts), *source.account, object_id)
    ids: dict[str, list[str]] = {}
    for row in found:
        ids.setdefault(row["_of"], []).append(row["id"])
    return tuple(
        Related(table, column, tuple(ids[table.name][:MOST_RELATED]), len(ids[table.name]) > MOST_RELATED)
        for table, column in asked
        if table.name in ids
    )


def select_sql(source: Source, table: TableView, object_id: str) -> str:
    """Return a statement that finds the row, as a person can run it elsewhere."""
    who = (
        f"_account = {literal(source.connection.account_id)} AND _livemode = {str(source.connection.livemode).lower()}"
    )
    return f"SELECT * FROM {source.name_of(table.name)}\nWHERE {who} AND id = {literal(object_id)};"
