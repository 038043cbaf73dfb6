"""The catalogue as a page to read: `python -m shared.catalogue.render > docs/resources.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from shared.catalogue.lookups import RESOURCES, permissions
from shared.catalogue.resource import Child, Column, Group, Kind, Permission, Resource

INTRODUCTION = """\
# Resources

What Tillstream copies from Stripe, and what it needs to do so.
This page is made from `shared/catalogue`; change the rows there, then run
`python -m shared.catalogue.render > docs/resources.md`.

Every table has the full object as JSON in `data`, beside the typed columns that are listed here.
Rows are keyed by account, live or test mode, and id.
Timestamps are Stripe's unix seconds; amounts are in the currency's smallest unit, as Stripe gives them.
Beside each table with amounts lies a view with them in major units, such as `v_charges`: see [views](ask.md#views).

Stripe's lists do not show everything that Stripe has, and a comparison reads the same lists.
So each resource says under *Not there* what they hide and nothing else brings.
A whole comparison (`verify --full`) also retrieves up to 50 objects that events have named and no list shows.
Not copied at all: checkout sessions and payment links, which need a permission beyond the three groups; and what Stripe
lists only below one customer, source or account, such as balance and cash transactions of customers, payment sources,
active entitlements, persons and capabilities.
"""

GROUP_TITLES = {Group.CORE: "Core", Group.BILLING: "Billing", Group.CONNECT: "Connect"}


def render_page(resources: Sequence[Resource]) -> str:
    """The page about `resources` in Markdown, ending in a newline."""
    lines = [INTRODUCTION, "## Permissions of the restricted key", ""]
    lines += _permission_table(permissions(resources))
    for group in Group:
        rows = [row for row in resources if row.group is group]
        lines += ["", f"## {GROUP_TITLES[group]}", "", *_overview(rows)]
        for row in rows:
            lines += ["", *_section(row)]
    return "\n".join(lines) + "\n"


def _permission_table(rows: Iterable[Permission]) -> Iterator[str]:
    yield "| group | row in Stripe | access | permission | for | needed |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        group = GROUP_TITLES[row.group] if row.group else "Webhook"
        access = "Write" if row.slug.endswith("_write") else "Read"
        slug = f"`{row.slug}`" if row.is_certain else f"`{row.slug}` (not confirmed)"
        used_by = ", ".join(row.resources) or "Tillstream itself"
        needed = "yes" if row.required else "if chosen"
        yield f"| {group} | {row.toggle} | {access} | {slug} | {used_by} | {needed} |"


def _overview(rows: Iterable[Resource]) -> Iterator[str]:
    yield "| resource | table | by default | since a date | live |"
    yield "|---|---|---|---|---|"
    for row in rows:
        default = "yes" if row.is_default else "no"
        since = "yes" if row.has_created_filter else "no"
        yield f"| [{row.name}](#{row.name}) | `{row.table}` | {default} | {since} | {_liveness(row)} |"


def _liveness(row: Resource) -> str:
    if not row.events:
        return "read again" if not row.hinted_by else "read again after related events"
    return "by events, and read again" if row.changes_silently or not row.is_in_event_feed else "by events"


def _section(row: Resource) -> Iterator[str]:
    yield f"### {row.name}"
    yield ""
    yield f"- **Stripe:** `{row.object}`, read from {_walks(row)}"
    yield f"- **Permission:** `{row.read_permission}`{'' if row.permission_is_certain else ' (not confirmed)'}"
    if row.events:
        yield f"- **Events:** {_codes(row.events)}"
    if row.deleted_by:
        yield f"- **Deleted by:** {_codes(row.deleted_by)}"
    if row.hinted_by:
        yield f"- **Read again after:** {_codes(row.hinted_by)}"
    for hint, event in row.told_by:
        yield f"- **Not read again after** `{hint}` **once** `{event}` **has come**"
    if row.expand:
        yield f"- **Asked for:** {_codes(row.expand)}. No event has them: each event has the object read again."
    yield from _notes(row)
    for sentence in row.hidden:
        yield f"- **Not there:** {sentence}"
    yield f"- **Columns:** {_columns(row.columns)}"
    for child in row.children:
        yield _child(child)


def _walks(row: Resource) -> str:
    walks = ["&".join(f"{name}={value}" for name, value in walk) for walk in row.walks]
    own = [f"`{row.list_path}{'?' if walk else ''}{walk}`" for walk in walks]
    return " and ".join([*own, *(f"`{one.rest_path}` for each of `{one.list_path}`" for one in row.within)])


def _notes(row: Resource) -> Iterator[str]:
    if row.is_singleton:
        yield "- There is one per account."
    if row.is_test_only:
        yield "- Exists in test mode alone."
    if row.changes_silently:
        yield "- May change without an event."
    if row.events and not row.is_in_event_feed:
        yield "- Stripe's event feed is known to omit it, so gaps are filled from the list."


def _child(child: Child) -> str:
    where = ".".join(child.path)
    return (
        f"- **Child table `{child.table}`:** from `{where}`, and from `{child.list_path}` when that is cut."
        f" Columns: {_columns(child.columns)}"
    )


def _columns(columns: Iterable[Column]) -> str:
    return ", ".join(f"`{column.name}` {_kind(column)}" for column in columns) or "none beside `data`"


def _kind(column: Column) -> str:
    if not column.currency:
        return str(column.kind)
    return "amount" if column.kind is Kind.NUMBER else "amount as text"


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    sys.stdout.write(render_page(RESOURCES))
