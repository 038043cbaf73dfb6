"""The tables of a destination, derived from the catalogue: pure functions from rows to SQL.

Every identifier is quoted. A typed column is a guarded expression over `data`, so that a value of another type
gives NULL instead of failing the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.catalogue import Child, Column, Kind, Resource

# How a column is read from the object: type in SQL, JSON type that it must have, expression over the JSON value.
_EXPRESSIONS = {
    Kind.TEXT: ("text", "string", "{value} #>> '{{}}'"),
    Kind.NUMBER: ("numeric", "number", "({value})::numeric"),
    Kind.BOOLEAN: ("boolean", "boolean", "({value})::boolean"),
    Kind.TIMESTAMP: ("timestamptz", "number", "to_timestamp(({value})::double precision)"),
}
# Postgres' own limits of a timestamptz, in Unix seconds; beyond them to_timestamp fails the row.
_TIMESTAMP_GUARD = " AND ({value})::numeric BETWEEN -210866803200 AND 9224318015999"


def quote(identifier: str) -> str:
    """Return the identifier quoted; raise `ValueError` for one that Postgres can't hold."""
    if not identifier or "\x00" in identifier or len(identifier.encode()) > 63:
        raise ValueError("An identifier has 1 to 63 bytes and no NUL.")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string; for constants of the catalogue only, values are bound."""
    return "'" + text.replace("'", "''") + "'"


def column_ddl(column: Column) -> str:
    """Return the definition of a typed column."""
    value = "data" + "".join(f" -> {literal(step)}" for step in column.path)
    sql_type, json_type, expression = _EXPRESSIONS[column.kind]
    guard = f"jsonb_typeof({value}) = {literal(json_type)}"
    if column.kind is Kind.TIMESTAMP:
        guard += _TIMESTAMP_GUARD.format(value=value)
    expression = expression.format(value=f"({value})")
    return f"{quote(column.name)} {sql_type} GENERATED ALWAYS AS (CASE WHEN {guard} THEN {expression} END) STORED"


def table_ddl(schema: str, row: Resource | Child, *, compression: str | None) -> Iterator[str]:
    """Yield the statements that make the table of a resource or child."""
    table = f"{quote(schema)}.{quote(row.table)}"
    columns = [
        "_account text NOT NULL",
        "_livemode boolean NOT NULL",
        "id text NOT NULL",
        *(["_parent text NOT NULL"] if isinstance(row, Child) else []),
        *(column_ddl(column) for column in row.columns),
        f"data jsonb{f' COMPRESSION {compression}' if compression else ''} NOT NULL",
        "_stamp bigint NOT NULL",
        "_listed boolean NOT NULL",
        "_trail jsonb NOT NULL DEFAULT '[]'",
        "_deleted boolean NOT NULL DEFAULT false",
        "_deleted_at timestamptz",
        "_synced_at timestamptz NOT NULL DEFAULT now()",
        "PRIMARY KEY (_account, _livemode, id)",
    ]
    yield f"CREATE TABLE IF NOT EXISTS {table} (\n  " + ",\n  ".join(columns) + "\n)"
    if isinstance(row, Child):
        yield f"CREATE INDEX IF NOT EXISTS {quote(row.table + '_parent')} ON {table} (_account, _livemode, _parent)"


def schema_ddl(schema: str, rows: Iterable[Resource], *, compression: str | None) -> Iterator[str]:
    """Yield the statements that make the tables of `rows` and of their children."""
    for row in rows:
        yield from table_ddl(schema, row, compression=compression)
        for child in row.children:
            yield from table_ddl(schema, child, compression=compression)
