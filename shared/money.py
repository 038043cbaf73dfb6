"""How many digits of an amount of Stripe's lie behind the point.

Stripe tells amounts in a currency's smallest unit: 1000 is 10.00 USD, 1000 JPY and 1.000 KWD. The source is
https://docs.stripe.com/currencies, sections "Zero-decimal currencies", "Three-decimal currencies" and "Special cases":

- ISK and UGX have no smaller unit any more, but Stripe's API still takes and tells them with two digits, always 00:
  500 is 5 UGX. UGX stands in the page's list of zero-decimal currencies all the same; the special case holds.
- HUF and TWD have two digits; only a payout of them must be whole.
- Every currency that is not named has two digits.

This differs from ISO 4217 (ISK, UGX: 0; MGA: 2), so a list of that standard is no substitute.
"""

from __future__ import annotations

from decimal import Decimal

USUAL_DIGITS = 2
NO_DIGITS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DIGITS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))


def minor_digits(currency: str) -> int:
    """Take a currency's code in any case, and return how many digits of its amounts lie behind the point."""
    code = currency.lower()
    if code in NO_DIGITS:
        return 0
    return 3 if code in THREE_DIGITS else USUAL_DIGITS


def in_major(amount: int | Decimal, currency: str) -> Decimal:
    """Take an amount as Stripe tells it, and return it in the currency's major unit, exactly."""
    return Decimal(amount).scaleb(-minor_digits(currency))


def format_money(amount: int | Decimal, currency: str) -> str:
    """Take an amount as Stripe tells it, and return what a person reads: `1,234.50 USD`, `500 JPY`."""
    value = in_major(amount, currency)
    shown = max(minor_digits(currency), -int(value.as_tuple().exponent))
    return f"{value:,.{shown}f} {currency.upper()}"
