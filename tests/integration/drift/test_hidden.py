"""What Stripe's plain lists hide is there all the same, or a comparison says that it is missing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from shared.comparisons import ComparisonStore
from tests.eventually import eventually
from tests.integration.drift.pipeline import Pipeline, pipeline

CHOSEN = ("billing_credit_balance_transaction", "coupon", "customer", "invoice", "plan", "price", "tax_id")
DAY = 86_400
TIERS = [
    {"unit_amount": 500, "unit_amount_decimal": "500", "up_to": 10},
    {"unit_amount": 300, "unit_amount_decimal": "300", "up_to": None},
]


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def here(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pipeline]:
    for where in ("destination_writer.findings", "sync_worker.absences"):
        monkeypatch.setattr(f"services.{where}.SECOND_LOOK", timedelta(seconds=1))
    servers = (database_url, kafka_bootstrap_servers, topic_prefix)
    async with pipeline(*servers, resources=CHOSEN, objects=300) as made:
        await made.searched()
        await made.answered()
        yield made


async def document(here: Pipeline, table: str, object_id: str) -> dict[str, Any]:
    body = await here.pool.fetchval(f"SELECT data::text FROM copy.{table} WHERE id = $1", object_id)
    return json.loads(body) if body else {}


async def test_tax_ids_of_customers_are_rows_beside_the_accounts_own(here: Pipeline) -> None:
    platform = here.simulation.platform
    [customer] = await here.ids("customer")
    owners = ({"type": "customer", "customer": customer}, {"type": "self", "customer": None})
    added = [
        platform.add("tax_id", customer=owner["customer"], owner=owner, country="DE", type="eu_vat", value=f"DE{n}")
        for owner in owners
        for n in range(12)  # more than a customer carries inline
    ]
    await here.backfilled("tax_id")
    rows = {row["id"]: row["customer"] for row in await here.pool.fetch("SELECT id, customer FROM copy.tax_ids")}
    assert {object_id: rows.get(object_id, "no row") for object_id in added} == {
        object_id: customer if n < 12 else None for n, object_id in enumerate(added)
    }
    assert await here.wrong(["tax_id"]) == {}
    assert await here.searched() == 0


async def test_transactions_of_credits_are_listed_grant_by_grant(here: Pipeline) -> None:
    platform = here.simulation.platform
    [customer] = await here.ids("customer")
    credit = {"monetary": {"currency": "usd", "value": 500}, "type": "monetary"}
    grant = platform.add("billing.credit_grant", customer=customer, amount=credit, name="Welcome")
    added = platform.add(
        "billing.credit_balance_transaction", credit_grant=grant, credit={"amount": credit}, _customer=customer
    )
    await here.backfilled("billing_credit_balance_transaction")
    assert added in await here.ids("billing_credit_balance_transaction", 1000)
    assert await here.wrong(["billing_credit_balance_transaction"]) == {}


async def test_fields_that_stripe_gives_only_when_asked_are_there_and_stay_after_an_event(here: Pipeline) -> None:
    platform = here.simulation.platform
    options = {"eur": {"unit_amount": 450}}
    price = platform.add(
        "price", billing_scheme="tiered", tiers_mode="graduated", tiers=TIERS, currency_options=options, currency="usd"
    )
    coupon = platform.add("coupon", object_id="forone", percent_off=10.0, applies_to={"products": ["prod_x"]})
    await here.backfilled("price", "coupon")
    platform.change("price", price, "price.updated", nickname="By seats")
    platform.change("coupon", coupon, "coupon.updated", name="For one")

    async def has_both() -> bool:
        rows = [await document(here, "prices", price), await document(here, "coupons", coupon)]
        return [rows[0].get("nickname"), rows[1].get("name")] == ["By seats", "For one"]

    await eventually(has_both, within=120)
    row = await document(here, "prices", price)
    assert (row["tiers"], row["currency_options"]) == (TIERS, options)
    assert (await document(here, "coupons", coupon))["applies_to"] == {"products": ["prod_x"]}
    assert await here.wrong(["price", "coupon", "plan"]) == {}


async def test_an_invoice_that_a_test_clock_has_dated_ahead_is_a_row(here: Pipeline) -> None:
    later = int(time.time()) + 90 * DAY
    state = {"id": "in_future", "created": later, "total": 7, "status": "open", "number": None}
    here.simulation.platform.store.tables["invoice"].insert("in_future", state, later)
    sync = await here.verify()
    found = await ComparisonStore(here.pool).differences(sync.id, limit=10)
    assert [(one.kind, one.object_id) for one in found] == [("missing", "in_future")]
    await here.backfilled("invoice")
    assert (await document(here, "invoices", "in_future"))["total"] == 7
    assert await here.searched() == 0


async def test_a_comparison_retrieves_what_events_have_named_and_no_list_shows(here: Pipeline) -> None:
    """Customers of a test clock are in no list: their rows come by events, and so does their check."""
    customer = here.simulation.platform.add("customer", "customer.created", test_clock="clock_1", name="Clocked")
    await eventually(here.holds("SELECT count(*) = 1 FROM copy.customers WHERE id = $1", customer), within=120)
    whole = await here.verify()
    assert await ComparisonStore(here.pool).differences(whole.id, limit=10) == []
    assert await here.damage("DELETE FROM {}.customers WHERE id = $1", customer) == 1
    sync = await here.verify()
    found = await ComparisonStore(here.pool).differences(sync.id, limit=10)
    assert [(one.kind, one.object_id) for one in found] == [("missing", customer)]
