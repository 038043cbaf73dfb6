"""Views beside the tables of a Postgres destination: amounts in major units, without what is deleted at Stripe.

`v_charges` lies beside `charges`. It has the typed columns under their own names, so that a statement for the one
reads the other, and leaves out `data`, whose amounts are in the smallest unit. The first `SELECT` of a person is right.

A view of ours carries a comment with a digest of its statement. By that it is known, and seen to be of an older
release; what does not carry it is somebody else's, and stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from shared.catalogue import CHILDREN, TABLES, Child, Column, Kind, Resource
from shared.postgres_money import unit_sql
from shared.postgres_tables import literal, quote

PREFIX = "v_"
OURS = "Made by Tillstream"
PARENT = "_parent"
# Who asks a view reads with rights of their own, and policies hold for them; older servers have no such views.
INVOKER_SINCE = 150_000
_KEYS = ("_account", "_livemode", "id")
DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"

#: What is known of the views of a schema: a row for each. Takes the schema, names of views, and those of their tables.
LOOK = f"""
SELECT w.view, current_setting('server_version_num')::int >= {INVOKER_SINCE} AS has_invoker,
       c.relkind::text AS kind, obj_description(c.oid, 'pg_class') AS comment,
       EXISTS (SELECT FROM pg_rewrite r
               JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                               AND d.refclassid = 'pg_class'::regclass
               WHERE r.ev_class = c.oid AND d.refobjid = t.oid) AS reads_table,
       t.relkind IN ('r', 'p') AS has_table, coalesce(t.relrowsecurity, false) AS has_policies
FROM unnest($2::text[], $3::text[]) AS w (view, "table")
LEFT JOIN pg_namespace n ON n.nspname = $1
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.view
LEFT JOIN pg_class t ON t.relnamespace = n.oid AND t.relname = w."table"
ORDER BY w.view
"""


class Condition(StrEnum):
    """How a view is found."""

    WHOLE = "whole"
    MISSING = "missing"
    OLD = "old"  # of another release, or of a table that is not there any more
    FOREIGN = "foreign"  # something else has its name
    IMPOSSIBLE = "impossible"  # its table is missing, or has policies that the server would not heed


@dataclass(frozen=True, slots=True)
class View:
    """A view of a table."""

    name: str
    table: str
    parent: str | None  # table of the parents whose currency it needs
    columns: tuple[Column, ...]

    def create_sql(self, schema: str, *, has_invoker: bool) -> str:
        """Return the statement that makes the view."""
        known = {column.path: f"t.{quote(column.name)}" for column in self.columns}
        currencies = list(dict.fromkeys(column.currency for column in self.columns if column.currency))
        found = {path: known.get(path) or _currency(path) for path in currencies}
        units = {path: f"u{number}" for number, path in enumerate(currencies)}
        keys = (*_KEYS, PARENT) if self.table in _PARENTS else _KEYS
        shown = [f"t.{quote(name)}" for name in keys]
        shown += [_shown(column, units) for column in self.columns]
        shown += [f"{found[path]} AS {quote(_label(path))}" for path in currencies if path not in known]
        lines = [
            f"CREATE VIEW {_name(schema, self.name)}{' WITH (security_invoker = true)' if has_invoker else ''} AS",
            "SELECT " + ",\n       ".join(shown),
            f"FROM {_name(schema, self.table)} AS t",
        ]
        if self.parent:
            same = " AND ".join(f"p.{quote(name)} = t.{quote(name)}" for name in _KEYS[:2])
            lines.append(f"LEFT JOIN {_name(schema, self.parent)} AS p ON {same} AND p.id = t.{quote(PARENT)}")
        for path, unit in units.items():
            lines.append(f"CROSS JOIN LATERAL (SELECT {unit_sql(found[path])} AS unit) AS {unit}")
        return "\n".join([*lines, "WHERE NOT t._deleted"])

    def comment(self, schema: str, *, has_invoker: bool) -> str:
        """Return the comment by which the view is known."""
        digest = hashlib.sha256(self.create_sql(schema, has_invoker=has_invoker).encode()).hexdigest()[:12]
        return f"{OURS} ({digest}): amounts in major units, without what is deleted at Stripe."

    def statements(self, schema: str, *, has_invoker: bool, is_there: bool) -> Iterator[str]:
        """Yield what makes the view, in place of an older one that nothing depends on."""
        name = _name(schema, self.name)
        if is_there:
            yield f"DROP VIEW {name}"  # never CASCADE: what depends on it is somebody's
        yield self.create_sql(schema, has_invoker=has_invoker)
        yield f"COMMENT ON VIEW {name} IS {literal(self.comment(schema, has_invoker=has_invoker))}"


@dataclass(frozen=True, slots=True)
class FoundView:
    """A view, and how it is found in a schema."""

    view: View
    condition: Condition
    has_invoker: bool


def _name(schema: str, relation: str) -> str:
    return f"{quote(schema)}.{quote(relation)}"


def _label(path: tuple[str, ...]) -> str:
    return "_".join(path[1:] if path[0] == PARENT else path)


def _currency(path: tuple[str, ...]) -> str:
    """Return the expression for a currency that has no typed column."""
    row, steps = ("p", path[1:]) if path[0] == PARENT else ("t", path)
    return f"({row}.data #>> {literal('{' + ','.join(steps) + '}')})"


def _shown(column: Column, units: Mapping[tuple[str, ...], str]) -> str:
    value = f"t.{quote(column.name)}"
    if not column.currency:
        return value
    if column.kind is Kind.TEXT:
        value = f"CASE WHEN {value} ~ {literal(DECIMAL)} THEN {value}::numeric END"
    return f"{value} * {units[column.currency]}.unit AS {quote(column.name)}"


_PARENTS = {child.table: parent.table for parent, child in CHILDREN}


def _view(row: Resource | Child) -> View:
    needs_parent = any(column.currency[:1] == (PARENT,) for column in row.columns)
    return View(PREFIX + row.table, row.table, _PARENTS[row.table] if needs_parent else None, row.columns)


#: The view of each table with amounts, by the table's name.
VIEWS: Mapping[str, View] = MappingProxyType(
    {name: _view(row) for name, row in TABLES.items() if any(column.currency for column in row.columns)}
)


def look_arguments(schema: str) -> tuple[str, list[str], list[str]]:
    """Return what `LOOK` takes."""
    return schema, [view.name for view in VIEWS.values()], list(VIEWS)


def judge(schema: str, rows: Iterable[Mapping[str, Any]]) -> list[FoundView]:
    """Take the rows of `LOOK`, and return how each view is found."""
    by_name = {view.name: view for view in VIEWS.values()}
    pairs = ((by_name[row["view"]], row) for row in rows)
    return [FoundView(view, _condition(schema, view, row), row["has_invoker"]) for view, row in pairs]


def _condition(schema: str, view: View, row: Mapping[str, Any]) -> Condition:
    comment = row["comment"] or ""
    if row["kind"] is not None and (row["kind"] != "v" or not comment.startswith(OURS)):
        return Condition.FOREIGN
    if not row["has_table"] or (row["has_policies"] and not row["has_invoker"]):
        return Condition.IMPOSSIBLE
    if row["kind"] is None:
        return Condition.MISSING
    is_whole = row["reads_table"] and comment == view.comment(schema, has_invoker=row["has_invoker"])
    return Condition.WHOLE if is_whole else Condition.OLD
