"""Amounts are told as Stripe's page on currencies says, also where that differs from ISO 4217."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.money import format_money, in_major, minor_digits

WHOLE = ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]


@pytest.mark.parametrize("code", WHOLE)
def test_a_currency_without_a_smaller_unit_is_told_whole(code: str) -> None:
    assert in_major(500, code) == Decimal(500)
    assert minor_digits(code.upper()) == 0


@pytest.mark.parametrize("code", ["bhd", "jod", "kwd", "omr", "tnd"])
def test_a_currency_of_thousandths_has_three_digits(code: str) -> None:
    assert in_major(5_120, code) == Decimal("5.12")
    assert format_money(5_120, code) == f"5.120 {code.upper()}"


@pytest.mark.parametrize("code", ["isk", "ugx", "huf", "twd", "usd", "eur", "zzz"])
def test_special_cases_and_all_others_have_two_digits(code: str) -> None:
    assert in_major(500, code) == Decimal(5)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123_450, "usd", "1,234.50 USD"),
        (-5, "eur", "-0.05 EUR"),
        (0, "jpy", "0 JPY"),
        (1_234_567, "JPY", "1,234,567 JPY"),
        (Decimal("0.5"), "usd", "0.005 USD"),
        (2**63, "usd", "92,233,720,368,547,758.08 USD"),
    ],
)
def test_money_reads_as_a_person_writes_it(amount: int | Decimal, currency: str, text: str) -> None:
    assert format_money(amount, currency) == text
