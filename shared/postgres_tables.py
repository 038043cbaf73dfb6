"""The tables of a Postgres destination, derived from the catalogue: what is made, and what has to be there.

Every identifier is quoted. A typed column is a guarded expression over `data`, so that a value of another type
gives NULL instead of failing the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from shared.catalogue import CHILDREN, TABLES, Child, Column, Kind, Resource

# How a column is read from the object: type in SQL, JSON type that it must have, expression over the JSON value.
_EXPRESSIONS = {
    Kind.TEXT: ("text", "string", "{value} #>> '{{}}'"),
    Kind.NUMBER: ("numeric", "number", "({value})::numeric"),
    Kind.BOOLEAN: ("boolean", "boolean", "({value})::boolean"),
    Kind.TIMESTAMP: ("timestamp with time zone", "number", "to_timestamp(({value})::double precision)"),
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


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as it is made, and as it has to be found."""

    name: str
    type: str  # in the words of Postgres' `format_type`
    rest: str = ""  # of its definition, behind the type
    #: The same where rows are there already. `None`: a table without this column is not ours.
    rest_if_added: str | None = None
    is_generated: bool = False

    def definition(self, rest: str | None = None) -> str:
        """Return the definition, as `CREATE TABLE` and `ADD COLUMN` take it."""
        return f"{quote(self.name)} {self.type} {self.rest if rest is None else rest}".rstrip()


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a destination."""

    name: str
    columns: tuple[TableColumn, ...]
    key: tuple[str, ...]
    index: tuple[str, ...] = ()  # columns by which rows are found besides

    @property
    def index_name(self) -> str:
        """The name of the index over `index`."""
        return f"{self.name}{self.index[-1]}"


_ROW = (
    TableColumn("_account", "text", "NOT NULL"),
    TableColumn("_livemode", "boolean", "NOT NULL"),
    TableColumn("id", "text", "NOT NULL"),
)
_PARENT = TableColumn("_parent", "text", "NOT NULL")
_DATA = TableColumn("data", "jsonb", "NOT NULL")
# Of a row from before `_listed` it is not known whether an event told it, so it counts as listed: Stripe is asked.
_STATE = (
    TableColumn("_stamp", "bigint", "NOT NULL"),
    TableColumn("_listed", "boolean", "NOT NULL", "NOT NULL DEFAULT true"),
    *(
        TableColumn(name, sql_type, rest, rest)
        for name, sql_type, rest in (
            ("_trail", "jsonb", "NOT NULL DEFAULT '[]'"),
            ("_deleted", "boolean", "NOT NULL DEFAULT false"),
            ("_deleted_at", "timestamp with time zone", ""),
            ("_synced_at", "timestamp with time zone", "NOT NULL DEFAULT now()"),
        )
    ),
)
_KEY = ("_account", "_livemode", "id")


def typed_column(column: Column) -> TableColumn:
    """Return a typed column of the catalogue."""
    value = "data" + "".join(f" -> {literal(step)}" for step in column.path)
    sql_type, json_type, expression = _EXPRESSIONS[column.kind]
    guard = f"jsonb_typeof({value}) = {literal(json_type)}"
    if column.kind is Kind.TIMESTAMP:
        guard += _TIMESTAMP_GUARD.format(value=value)
    expression = expression.format(value=f"({value})")
    rest = f"GENERATED ALWAYS AS (CASE WHEN {guard} THEN {expression} END) STORED"
    return TableColumn(column.name, sql_type, rest, rest, is_generated=True)


def _table(row: Resource | Child) -> Table:
    is_child = isinstance(row, Child)
    columns = (*_ROW, *([_PARENT] if is_child else []), *map(typed_column, row.columns), _DATA, *_STATE)
    return Table(row.table, columns, _KEY, ("_account", "_livemode", "_parent") if is_child else ())


#: The table of each resource and child, by name.
ROW_TABLES: Mapping[str, Table] = MappingProxyType({name: _table(row) for name, row in TABLES.items()})
#: The table of the resource whose writes fill a table: its own, or that of its parent.
WRITTEN_WITH: Mapping[str, str] = MappingProxyType(
    {name: name for name in TABLES} | {child.table: parent.table for parent, child in CHILDREN}
)
#: Objects of which no row is left: when they were deleted.
TOMBSTONES = Table(
    "_tombstones",
    (
        TableColumn("_account", "text", "NOT NULL"),
        TableColumn("_livemode", "boolean", "NOT NULL"),
        TableColumn("_table", "text", "NOT NULL"),
        TableColumn("id", "text", "NOT NULL"),
        TableColumn("_stamp", "bigint", "NOT NULL"),
        TableColumn("_listed", "boolean", "NOT NULL"),
        TableColumn("_deleted_at", "timestamp with time zone", "NOT NULL DEFAULT now()"),
    ),
    ("_account", "_livemode", "_table", "id"),
    ("_deleted_at",),
)
#: Whose schema it is: one row.
MARK = Table(
    "_tillstream",
    (
        TableColumn("is_only", "boolean", "NOT NULL DEFAULT true CHECK (is_only)"),
        TableColumn("installation_id", "text", "NOT NULL"),
        TableColumn("destination_id", "text", "NOT NULL"),
        TableColumn("place", "text"),
        TableColumn("since", "timestamp with time zone", "NOT NULL DEFAULT now()"),
    ),
    ("is_only",),
)


def create_sql(schema: str, table: Table, *, compression: str | None = None) -> Iterator[str]:
    """Yield the statements that make the table."""
    name = f"{quote(schema)}.{quote(table.name)}"
    packed = f"COMPRESSION {compression} " if compression else ""
    lines = [one.definition(packed + one.rest) if one is _DATA else one.definition() for one in table.columns]
    lines.append(f"PRIMARY KEY ({', '.join(map(quote, table.key))})")
    yield f"CREATE TABLE {name} (\n  " + ",\n  ".join(lines) + "\n)"
    if table.index:
        yield index_sql(schema, table)


def index_sql(schema: str, table: Table, *, how: str = "") -> str:
    """Return the statement that makes the index of `index`; `how` stands before its name."""
    columns = ", ".join(map(quote, table.index))
    return f"CREATE INDEX {how} {quote(table.index_name)} ON {quote(schema)}.{quote(table.name)} ({columns})"


def add_sql(schema: str, table: str, columns: Sequence[TableColumn]) -> str:
    """Return the one statement that adds the columns: a table is rewritten once, however many they are."""
    added = ", ".join(f"ADD COLUMN {one.definition(one.rest_if_added)}" for one in columns)
    return f"ALTER TABLE {quote(schema)}.{quote(table)} {added}"
