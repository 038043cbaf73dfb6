"""Ready questions: each answer is what the simulated Stripe says, and pages and REST ask them."""

from __future__ import annotations

import random
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.connection_api.questions.asking import QUESTIONS
from services.connection_api.questions.question import Whose
from services.destination_writer.destinations import Account
from shared.catalogue import BY_NAME
from shared.money import in_major, minor_digits
from simulator.config import Config
from simulator.simulation import Simulation
from simulator.truth import iter_truth
from tests.contracts import ACCOUNT
from tests.factories import make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres

SCHEMA = "Select"  # an identifier that has to be quoted
CURRENCIES = ("usd", "jpy", "kwd", "eur")
ZONES = ("UTC", "America/Los_Angeles")
RESOURCES = ("charge", "refund", "invoice", "subscription", "customer", "payout", "balance_transaction")
STRANGERS = (Account("acct_2", livemode=True), Account("acct_1", livemode=False))
Row = dict[str, Any]


@cache
def simulation() -> Simulation:
    return Simulation(Config(objects=2500, livemode=True), now=time.time)


@cache
def truth(resource: str) -> tuple[Row, ...]:
    """Return Stripe's objects, in several currencies and periods: those of the simulator are all in dollars."""
    found = (one["object"] for _, one in iter_truth(simulation().platform, resource) if not one["deleted"])
    return tuple(varied(one) for one in found)


def varied(one: Row) -> Row:
    if "payout" in one["object"] or one["object"] == "balance_transaction" or "customer" not in one:
        return one
    currency = CURRENCIES[zlib.crc32((one["customer"] or "").encode()) % len(CURRENCIES)]
    for item in one["items"]["data"] if one["object"] == "subscription" else ():
        rng = random.Random(item["id"])
        interval, count = rng.choice([("month", 1), ("month", 3), ("year", 1), ("week", 2), ("day", 10)])
        item["price"] |= {"currency": currency}
        item["price"]["recurring"] |= {"interval": interval, "interval_count": count}
        match rng.randrange(6):
            case 0:  # a price that is billed by usage
                item["price"]["recurring"]["usage_type"] = "metered"
            case 1:  # tiers: the price has no amount of its own
                item["price"] |= {"unit_amount": None, "unit_amount_decimal": None}
            case 2:  # less than the smallest unit
                item["price"] |= {"unit_amount": None, "unit_amount_decimal": "1250.5"}
    return one | {"currency": currency}


def day_of(seconds: int, zone: str) -> date:
    return datetime.fromtimestamp(seconds, ZoneInfo(zone)).date()


def moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def emails() -> dict[str, str]:
    return {one["id"]: one["email"] for one in truth("customer")}


def revenue_by_day(zone: str) -> Iterator[tuple[Any, ...]]:
    paid: Counter[tuple[date, str]] = Counter()
    refunded: Counter[tuple[date, str]] = Counter()
    payments: Counter[tuple[date, str]] = Counter()
    for one in truth("charge"):
        if one["paid"] and one["amount_captured"]:
            key = day_of(one["created"], zone), one["currency"]
            paid[key] += one["amount_captured"]
            payments[key] += 1
    for one in truth("refund"):
        if one["status"] not in ("failed", "canceled"):
            refunded[day_of(one["created"], zone), one["currency"]] += one["amount"]
    for key in paid.keys() | refunded.keys():
        day, currency = key
        amounts = (paid[key], refunded[key], paid[key] - refunded[key])
        yield day, currency.upper(), *(in_major(amount, currency) for amount in amounts), payments[key]


def failed_payments(_zone: str) -> Iterator[tuple[Any, ...]]:
    for one in truth("charge"):
        if not one["paid"]:
            email = emails().get(one["customer"]) or one["receipt_email"]
            currency = one["currency"]
            yield (
                moment(one["created"]), one["id"], in_major(one["amount"], currency), currency.upper(),
                one["customer"], email, one["failure_code"], one["failure_message"],
            )  # fmt: skip


def open_invoices(_zone: str) -> Iterator[tuple[Any, ...]]:
    for one in truth("invoice"):
        if one["status"] == "open":
            owed = (in_major(one[name], one["currency"]) for name in ("amount_due", "amount_remaining"))
            yield (
                one["id"], one["number"], one["customer"], one["customer_email"], moment(one["created"]),
                moment(one["due_date"]), *owed, one["currency"].upper(), one["attempt_count"],
            )  # fmt: skip


def mrr(_zone: str) -> Iterator[tuple[Any, ...]]:
    months = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}
    monthly: dict[str, Fraction] = defaultdict(Fraction)
    subscriptions: dict[str, set[str]] = defaultdict(set)
    uncounted: Counter[str] = Counter()
    for one in truth("subscription"):
        if one["status"] not in ("active", "past_due"):
            continue
        for item in one["items"]["data"]:
            price, currency = item["price"], one["currency"]
            recurring, amount = price["recurring"], price["unit_amount"] or price["unit_amount_decimal"]
            subscriptions[currency].add(one["id"])
            if amount is None or recurring["usage_type"] == "metered":
                uncounted[currency] += 1
                continue
            share = months[recurring["interval"]] / recurring["interval_count"]
            monthly[currency] += Fraction(str(amount)) * item["quantity"] * share
    for currency, found in subscriptions.items():
        whole = Fraction(monthly[currency]) / 10 ** minor_digits(currency)
        exact = Decimal(whole.numerator) / whole.denominator
        rounded = exact.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)
        yield currency.upper(), rounded, len(found), uncounted[currency]


def who_cancelled(_zone: str) -> Iterator[tuple[Any, ...]]:
    for one in truth("subscription"):
        if one["canceled_at"]:
            yield (
                moment(one["canceled_at"]), one["id"], one["customer"], emails().get(one["customer"]), one["status"],
                moment(one["ended_at"] or one["cancel_at"]), one["cancellation_details"]["reason"],
            )  # fmt: skip


def fees_and_net_by_payout(_zone: str) -> Iterator[tuple[Any, ...]]:
    """The simulator knows which payout has paid a transaction out; what a failed one held goes with the next."""
    table = simulation().platform.store.tables["balance_transaction"]
    paid_by = {one["id"]: (table.find(one["id"]) or {}).get("_payout") for one in truth("balance_transaction")}
    payouts = sorted((one for one in truth("payout") if one["automatic"]), key=lambda one: one["created"])
    sums = {one["id"]: [0, 0, 0] for one in payouts}
    for one in truth("balance_transaction"):
        payout = paid_by[one["id"]]
        if payout in sums and one["reporting_category"] not in ("payout", "payout_reversal"):
            sums[payout] = [a + one[b] for a, b in zip(sums[payout], ("amount", "fee", "net"), strict=True)]
    held = [0, 0, 0]
    for one in payouts:
        held = [a + b for a, b in zip(held, sums[one["id"]], strict=True)]
        if one["status"] == "failed":
            continue
        amounts = (in_major(amount, "usd") for amount in (*held, one["amount"]))
        created, arrives = moment(one["created"]), moment(one["arrival_date"])
        yield one["id"], created, arrives, one["status"], "USD", *amounts
        held = [0, 0, 0]


TRUTHS = (revenue_by_day, failed_payments, open_invoices, mrr, who_cancelled, fees_and_net_by_payout)


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, SCHEMA)
    await write(destination, ACCOUNT, 1.0)
    for account in STRANGERS:
        await write(destination, account, 0.2)
    gone = [make_winner(f"gone_{name}", 200, resource=name, is_deleted=True) for name in RESOURCES]
    sample = [truth(name)[0] | {"id": f"gone_{name}"} for name in RESOURCES]
    await destination.write(ACCOUNT, winners(sample))
    await destination.write(ACCOUNT, gone)
    yield destination
    await destination.close()


async def write(destination: InspectedPostgres, account: Account, share: float) -> None:
    for name in RESOURCES:
        found = truth(name)
        await destination.write(account, winners(found[: max(1, int(len(found) * share))]))


def winners(objects: Iterable[Row]) -> list[Any]:
    names = {BY_NAME[name].object: name for name in RESOURCES}
    fields = ({key: value for key, value in one.items() if key not in ("id", "object")} for one in objects)
    return [
        make_winner(one["id"], 100, resource=names[one["object"]], **rest)
        for one, rest in zip(objects, fields, strict=True)
    ]


@pytest.mark.parametrize("zone", ZONES)
async def test_answers_are_what_stripe_says(destination: InspectedPostgres, zone: str) -> None:
    assert [one.__name__ for one in TRUTHS] == list(QUESTIONS)
    whose = Whose(SCHEMA, ACCOUNT.id, ACCOUNT.livemode, zone)
    for expect in TRUTHS:
        question = QUESTIONS[expect.__name__]
        rows = await destination.query(question.sql(whose))
        assert len(rows) > 2, question.name
        assert list(rows[0].keys()) == [column.name for column in question.columns]
        found = [tuple(row.values()) for row in rows]
        assert sorted(map(repr, found)) == sorted(map(repr, expect(zone))), question.name
        if question.columns[0].kind in ("time", "date"):
            assert [row[0] for row in found] == sorted((row[0] for row in found), reverse=True), question.name


async def test_amounts_of_all_currencies_are_told_apart(destination: InspectedPostgres) -> None:
    rows = await destination.query(QUESTIONS["mrr"].sql(Whose(SCHEMA, ACCOUNT.id, ACCOUNT.livemode)))
    assert {row["currency"] for row in rows} == {currency.upper() for currency in CURRENCIES}
    digits = {row["currency"].lower(): -row["mrr"].as_tuple().exponent for row in rows}
    assert digits == {currency: minor_digits(currency) for currency in CURRENCIES}
