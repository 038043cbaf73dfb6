"""What a person sees of a table: which columns stand in a list, and by which moment its rows are sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.connection_api.labels import label_of
from shared.catalogue import RESOURCES, Column, Kind, Resource
from shared.errors import NotFoundError

MOST_SHOWN = 4  # columns beside the id and the moments
# The first of these that a table has says how much; `currency` says of what.
AMOUNTS = ("amount", "total", "amount_total", "amount_paid", "unit_amount", "amount_off", "net")
TELLING = ("status", "number", "name", "email", "display_name", "code", "type", "customer", "description", "nickname")
MOMENTS = ("created", "date")
SYNCED_AT = "_synced_at"


@dataclass(frozen=True, slots=True)
class TableView:
    """A table of a resource as people look at it."""

    resource: Resource
    columns: tuple[Column, ...]  # that stand in the list, in its order
    moment: str  # the column by which rows are sorted, the newest first

    @property
    def name(self) -> str:
        """The table's name at the destination."""
        return self.resource.table

    @property
    def label(self) -> str:
        """The table's name for people."""
        return label_of(self.resource.name)

    @property
    def money(self) -> str | None:
        """The column that says how much, where the table also says of which currency."""
        names = {column.name for column in self.resource.columns}
        shown = (column.name for column in self.columns if column.name in AMOUNTS)
        return next(shown, None) if "currency" in names else None

    def has(self, column: str) -> bool:
        """Tell whether the table has a typed column of text of this name."""
        return any(one.name == column and one.kind is Kind.TEXT for one in self.resource.columns)


def _view(resource: Resource) -> TableView:
    known = {column.name: column for column in resource.columns}
    amount = [name for name in AMOUNTS if name in known][:1]
    telling = [name for name in TELLING if name in known]
    others = [name for name, column in known.items() if column.kind is Kind.TEXT and name not in telling]
    chosen = [*amount, *telling, *others][:MOST_SHOWN]
    moment = next((name for name in MOMENTS if name in known), SYNCED_AT)
    return TableView(resource, tuple(known[name] for name in chosen), moment)


TABLE_VIEWS = {resource.table: _view(resource) for resource in RESOURCES}


def find_table(name: str) -> TableView:
    """Return the view of a table; raise `NotFoundError` for one that no resource has."""
    if name not in TABLE_VIEWS:
        raise NotFoundError(f"There is no table {name[:80]}. docs/resources.md lists them all.")
    return TABLE_VIEWS[name]


def tables_of(resources: Sequence[str]) -> tuple[TableView, ...]:
    """Return the views of the resources, in the catalogue's order."""
    return tuple(TABLE_VIEWS[row.table] for row in RESOURCES if row.name in resources)
