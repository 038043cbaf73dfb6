"""What the page says of the views in a destination: which are there, and what a person does about the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.connection_api.data.sources import Source
from shared.postgres_tables import quote
from shared.postgres_views import Condition, FoundView

MADE_SOON = "It is made within ten minutes after that."


@dataclass(frozen=True, slots=True)
class Lacking:
    """Views that are not as they should be, why, and what mends it."""

    names: Sequence[str]
    why: str
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class MoneyViews:
    """The views of a destination."""

    names: Sequence[str] = ()  # those that are there
    lacking: Sequence[Lacking] = ()
    example: str = ""
    problem: str | None = None


def describe_views(source: Source, found: Sequence[FoundView]) -> MoneyViews:
    """Return what the page says of the views that were found at the source."""
    by: dict[Condition, list[str]] = {condition: [] for condition in Condition}
    for one in found:
        by[one.condition].append(one.view.name)
    address = source.destination.address
    schema, user = quote(source.schema), quote(address.user)
    lacking = (
        Lacking(
            by[Condition.MISSING],
            f"Not there yet. The writer makes it within ten minutes, if its user {address.user} may:",
            f"GRANT CREATE, USAGE ON SCHEMA {schema} TO {user};",
        ),
        Lacking(by[Condition.OLD], f"Of an older release, since something depends on it. Drop that. {MADE_SOON}"),
        Lacking(by[Condition.FOREIGN], f"Something else has this name. Give it another name. {MADE_SOON}"),
    )
    there = by[Condition.WHOLE]
    first = "v_charges" if "v_charges" in there else (there or ["v_charges"])[0]
    example = f"SELECT * FROM {schema}.{quote(first)} ORDER BY created DESC LIMIT 20;"
    return MoneyViews(there, [one for one in lacking if one.names], example)
