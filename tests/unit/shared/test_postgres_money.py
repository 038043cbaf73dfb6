"""The rule of money, as SQL."""

from __future__ import annotations

from shared.money import NO_DIGITS, THREE_DIGITS
from shared.postgres_money import unit_sql


def test_every_currency_without_two_digits_is_named_once() -> None:
    sql = unit_sql("c.currency")
    assert all(sql.count(code) == 1 for code in NO_DIGITS | THREE_DIGITS)
