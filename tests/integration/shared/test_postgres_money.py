"""Amounts in major units by SQL are those of the rule in Python, digit by digit, in every currency that differs."""

from __future__ import annotations

from decimal import Decimal

import asyncpg
import pytest

from shared.money import NO_DIGITS, THREE_DIGITS, in_major
from shared.postgres_money import unit_sql

OTHERS = ("usd", "eur", "isk", "ugx", "huf", "twd", "xyz")
AMOUNTS = (0, 1, -1, 5, 1234, -99, 10**12 + 1, 123456789012345678901234567)


@pytest.mark.parametrize("currency", [*sorted(NO_DIGITS | THREE_DIGITS), *OTHERS])
async def test_amounts_are_exact(database_url: str, currency: str) -> None:
    db = await asyncpg.connect(database_url)
    try:
        for code in (currency, currency.upper()):
            unit = f"SELECT {unit_sql('$2::text')} AS unit"
            sql = f"SELECT amount * unit FROM unnest($1::numeric[]) AS amount, ({unit}) AS worth"
            found = [row[0] for row in await db.fetch(sql, list(map(Decimal, AMOUNTS)), code)]
            assert list(map(str, found)) == [str(in_major(amount, code)) for amount in AMOUNTS]
    finally:
        await db.close()


async def test_amount_without_a_currency_is_unknown(database_url: str) -> None:
    db = await asyncpg.connect(database_url)
    try:
        assert await db.fetchval(f"SELECT 100 * {unit_sql('NULL::text')}") is None
    finally:
        await db.close()
