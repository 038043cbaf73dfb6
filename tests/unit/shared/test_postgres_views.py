"""Which columns are amounts, and how their views are known."""

from __future__ import annotations

import re

from shared.catalogue import TABLES, Kind
from shared.postgres_tables import quote
from shared.postgres_views import VIEWS

# Numbers that are no amounts, by what they are called in full or in their last words.
NO_AMOUNTS = re.compile(
    r"(^|_)(quantity|count|days?|priority|size|version|percent|percentage|exchange_rate|exp_month|exp_year|"
    r"percent_off|duration_in_months|max_redemptions|times_redeemed|days_until_due|usage_threshold_gte|delay_days)$"
)


def test_every_number_is_an_amount_or_known_not_to_be_one() -> None:
    for table, row in TABLES.items():
        for column in row.columns:
            if column.kind is Kind.NUMBER:
                assert bool(NO_AMOUNTS.search(column.name)) != bool(column.currency), (table, column.name)
            if column.name.endswith("_decimal"):
                assert column.currency, (table, column.name)


def test_views_names_fit_and_are_no_tables() -> None:
    assert not {view.name for view in VIEWS.values()} & TABLES.keys()
    assert all(quote(view.name) for view in VIEWS.values())


def test_another_schema_column_or_server_is_another_digest() -> None:
    view = VIEWS["charges"]
    said = {view.comment(schema, has_invoker=invoker) for schema in ("a", "b") for invoker in (True, False)}
    assert len(said) == 4
