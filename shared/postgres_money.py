"""Amounts in major units, as SQL: the rule of `shared.money`, for whoever reads rows rather than objects.

An amount is multiplied, never divided: a product of numerics is exact, and has as many digits as the currency.
"""

from __future__ import annotations

from shared.money import NO_DIGITS, THREE_DIGITS


def unit_sql(currency: str) -> str:
    """Take an expression for a currency; return one for what a unit of Stripe's amounts is worth: 1, 0.01 or 0.001.

    It is NULL where the currency is not known: nobody can say what such an amount means. Its scale is the number of
    digits that the currency has behind the point.
    """
    return (
        f"CASE WHEN lower({currency}) = ANY ({_codes(NO_DIGITS)}) THEN 1"
        f" WHEN lower({currency}) = ANY ({_codes(THREE_DIGITS)}) THEN 0.001"
        f" WHEN {currency} IS NOT NULL THEN 0.01 END"
    )


def _codes(codes: frozenset[str]) -> str:
    return f"'{{{','.join(sorted(codes))}}}'"
