"""Reads the rows of a table at a destination, the newest first: those of one account, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.connection_api.data.sources import Source
from services.connection_api.data.tables import SYNCED_AT, TableView
from services.connection_api.rest.requests import make_cursor, read_time
from shared.catalogue import Column, Kind
from shared.errors import PayloadError
from shared.money import format_money
from shared.postgres_reading import MOST_ROWS, Read
from shared.postgres_rows import OF_ACCOUNT
from shared.postgres_tables import quote

LONGEST_TEXT = 200  # characters of a value in a list
SAMPLED = 5_000  # rows in which the values of `status` are looked for
NO_MOMENT = "-"  # in a cursor: the last row told no time


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are wanted; what is `None` is not asked for."""

    q: str | None = None  # an id, a customer's id or an e-mail address; with `by` a value of that column
    by: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: Sequence[str] | None = None  # moment and id of the last row of the page before


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list; `cells` are texts in the order of the view's columns, `None` where nothing is told."""

    id: str
    cells: tuple[str | None, ...]
    moment: datetime | None
    synced_at: datetime
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class RowPage:
    """A page of rows; `cursor` is where the next one begins, `None` on the last."""

    rows: tuple[Row, ...]
    cursor: str | None


async def read_rows(read: Read, source: Source, table: TableView, wanted: Wanted) -> RowPage:
    """Return a page of rows; raise `PayloadError` for a column that is none, and what `read` raises."""
    shown = {column.name: column for column in table.columns}
    if table.money:
        shown["currency"] = next(one for one in table.resource.columns if one.name == "currency")
    picked = [*map(_picked, shown.values()), f"{quote(table.moment)} AS _moment", quote(SYNCED_AT), quote("_deleted")]
    sql, values = _statement(source, table, wanted, picked)
    found = await read(sql, *values)
    rows = tuple(_row(one, table) for one in found[:MOST_ROWS])
    return RowPage(rows, _cursor(rows[-1]) if len(found) > MOST_ROWS else None)


async def read_values(
    read: Read, source: Source, table: TableView, wanted: Wanted
) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
    """Return the names of all typed columns, and the same rows with them: what a file of the page holds."""
    columns = [column.name for column in table.resource.columns if column.name != table.moment]
    names = ["id", *([table.moment] if table.moment != SYNCED_AT else []), *columns, "_deleted", SYNCED_AT]
    sql, values = _statement(source, table, wanted, [quote(name) for name in names[1:]])
    return names, (await read(sql, *values))[:MOST_ROWS]


async def read_statuses(read: Read, source: Source, table: TableView) -> Sequence[str]:
    """Return which statuses there are among some rows of the table; none where it has no such column."""
    if not table.has("status"):
        return ()
    sample = f"SELECT status FROM {source.name_of(table.name)} WHERE {OF_ACCOUNT} LIMIT {SAMPLED}"
    found = await read(f"SELECT DISTINCT status FROM ({sample}) s WHERE status IS NOT NULL ORDER BY 1", *source.account)
    return [row["status"] for row in found]


class _Conditions:
    """Conditions of a statement with their values, each bound."""

    def __init__(self, source: Source) -> None:
        self.clauses = [OF_ACCOUNT]
        self.values: list[object] = list(source.account)

    def add(self, clause: str, *given: object) -> None:
        """Add a condition, in which `{}` stands for a value."""
        numbers = [f"${len(self.values) + position}" for position in range(1, len(given) + 1)]
        self.clauses.append(clause.format(*numbers))
        self.values.extend(given)


def _statement(
    source: Source, table: TableView, wanted: Wanted, picked: Sequence[str]
) -> tuple[str, tuple[object, ...]]:
    moment, where = quote(table.moment), _Conditions(source)
    if wanted.q:
        where.add(_search(table, wanted.q, wanted.by), wanted.q)
    if wanted.status is not None:
        _require_column(table, "status", field="status")
        where.add('"status" = {}', wanted.status)
    if wanted.since:
        where.add(f"{moment} >= {{}}", wanted.since)
    if wanted.until:
        where.add(f"{moment} < {{}}", wanted.until)
    if wanted.after:
        _add_place(where, moment, *wanted.after)
    sql = f"""
    SELECT {", ".join([quote("id"), *picked])} FROM {source.name_of(table.name)} WHERE {" AND ".join(where.clauses)}
    ORDER BY {moment} DESC NULLS LAST, "id" DESC LIMIT {MOST_ROWS + 1}
    """
    return sql, tuple(where.values)


def _add_place(where: _Conditions, moment: str, at: str, row_id: str) -> None:
    """Begin behind a row; those that tell no time come last."""
    if at == NO_MOMENT:
        where.add(f'{moment} IS NULL AND "id" < {{}}', row_id)
    else:
        following = f'({moment} < {{0}} OR ({moment} = {{0}} AND "id" < {{1}}) OR {moment} IS NULL)'
        where.add(following, read_time(at), row_id)


def _require_column(table: TableView, column: str, *, field: str) -> None:
    if not table.has(column):
        raise PayloadError(f"{table.label} have no column {column[:63]}.", field=field)


def _search(table: TableView, q: str, by: str | None) -> str:
    """Return the condition; one column alone is looked at, so that an index of it can be used."""
    if by is not None:
        _require_column(table, by, field="by")
        return f"{quote(by)} = {{}}"
    if "@" in q and table.has("email"):
        return 'lower("email") = lower({})'
    if q.startswith("cus_") and table.has("customer"):
        return '"customer" = {}'
    return '"id" = {}'


def _picked(column: Column) -> str:
    name = quote(column.name)
    return f"left({name}, {LONGEST_TEXT}) AS {name}" if column.kind is Kind.TEXT else name


def _row(found: Mapping[str, Any], table: TableView) -> Row:
    return Row(
        found["id"],
        tuple(cell_of(column.name, found, table) for column in table.columns),
        found["_moment"],
        found[SYNCED_AT],
        found["_deleted"],
    )


def cell_of(name: str, found: Mapping[str, Any], table: TableView) -> str | None:
    """Return the value of a column as people read it, money with its currency; `None` where nothing is told."""
    value = found[name]
    if value is None:
        return None
    if name == table.money and found["currency"] and value == value.to_integral_value():
        return format_money(int(value), found["currency"])
    return text_of(value)


def text_of(value: object) -> str:
    """Return a value of a row as people read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)


def _cursor(row: Row) -> str:
    return make_cursor(row.moment.isoformat() if row.moment else NO_MOMENT, row.id)
