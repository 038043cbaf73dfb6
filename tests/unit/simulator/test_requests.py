from __future__ import annotations

import random

import pytest

from simulator.errors import ApiError
from simulator.expand import Expander
from simulator.keys import KeyRing
from simulator.limits import RateLimits
from simulator.parameters import parse_list
from simulator.reads import Reads
from simulator.render import previous_attributes
from simulator.resources import BY_PATH
from simulator.shapes import API_VERSION
from tests.unit.simulator.worlds import make_shop, old_shop


def _reads() -> Reads:
    return Reads(old_shop().world, API_VERSION)


@pytest.mark.parametrize(
    ("pairs", "param"),
    [
        ([("limit", "0")], "limit"),
        ([("limit", "101")], "limit"),
        ([("limit", "ten")], "limit"),
        ([("starting_after", "ch_gone")], "starting_after"),
        ([("ending_before", "ch_gone")], "ending_before"),
        ([("created[after]", "1")], "created[after]"),
        ([("created[gte]", "yesterday")], "created[gte]"),
        ([("colour", "red")], "colour"),
        ([("expand[]", "data.a.b.c.d.e")], "expand"),
        ([("expand[]", "data.amount")], "expand"),
        ([("expand[]", "data.colour")], "expand"),
    ],
)
def test_bad_parameters_are_refused_by_name(pairs: list[tuple[str, str]], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        _reads().list_resource(BY_PATH["charges"], pairs)

    assert (caught.value.status, caught.value.error["param"]) == (400, param)


def test_created_is_refused_where_stripe_has_no_such_filter() -> None:
    with pytest.raises(ApiError, match="unknown parameter: created"):
        _reads().list_resource(BY_PATH["payment_methods"], [("created[gte]", "1")])


def test_created_bounds_narrow_each_other() -> None:
    pairs = [("created[gt]", "10"), ("created[gte]", "5"), ("created[lte]", "20"), ("created[lt]", "30")]

    query = parse_list(pairs, table=None, resource="charge", filters=(), created=True).query

    assert (query.created_from, query.created_to) == (11, 21)


def test_canceled_subscriptions_hide_unless_asked_for() -> None:
    def statuses(*pairs: tuple[str, str]) -> set[str]:
        page = _reads().list_resource(BY_PATH["subscriptions"], [("limit", "100"), *pairs])
        return {one["status"] for one in page["data"]}

    assert "canceled" not in statuses()
    assert "canceled" in statuses(("status", "all"))
    assert statuses(("status", "canceled")) == {"canceled"}


def test_payout_scoped_transactions_add_up_to_the_payout() -> None:
    world = old_shop().world
    table = world.store.tables["payout"]
    payout = next(s for i in range(len(table.ids)) if (s := table.at(i)) and s["automatic"])

    page = _reads().list_resource(BY_PATH["balance_transactions"], [("payout", payout["id"]), ("limit", "100")])

    while page["has_more"]:
        after = ("starting_after", page["data"][-1]["id"])
        more = _reads().list_resource(
            BY_PATH["balance_transactions"], [("payout", payout["id"]), ("limit", "100"), after]
        )
        page = {"data": page["data"] + more["data"], "has_more": more["has_more"]}
    assert sum(one["net"] for one in page["data"]) == 0
    assert {one["net"] for one in page["data"] if one["type"] == "payout"} == {-payout["amount"]}


def test_children_are_paged_below_their_parent() -> None:
    world = old_shop().world
    table = world.store.tables["subscription"]
    long = next(s for i in range(len(table.ids)) if (s := table.at(i)) and len(s["_children"]) > 10)
    wanted = [child["id"] for child in long["_children"]]

    first = _reads().list_subscription_items([("subscription", long["id"])])
    rest = _reads().list_subscription_items([("subscription", long["id"]), ("starting_after", first["data"][-1]["id"])])

    assert first["has_more"]
    assert [one["id"] for one in first["data"] + rest["data"]] == wanted


def test_deleted_customer_is_a_stub_and_others_are_missing() -> None:
    world = old_shop().world
    customer = next(world.store.tables["customer"].deleted())
    product = next(world.store.tables["coupon"].deleted())

    assert _reads().retrieve(BY_PATH["customers"], customer, []) == {
        "id": customer,
        "object": "customer",
        "deleted": True,
    }
    with pytest.raises(ApiError) as caught:
        _reads().retrieve(BY_PATH["coupons"], product, [])
    assert caught.value.status == 404


def test_expanding_goes_through_lists_and_leaves_the_original_alone() -> None:
    world = old_shop().world
    reads = _reads()
    table = world.store.tables["invoice"]
    state = table.at(len(table.ids) - 1)
    assert state is not None
    invoice = reads.present("invoice", state)

    expanded = Expander(world, reads.present).expand(
        invoice, ["customer", "lines.data.pricing.price_details.price", "payments"]
    )

    assert expanded["lines"]["data"][0]["pricing"]["price_details"]["price"]["object"] == "price"
    assert isinstance(invoice["lines"]["data"][0]["pricing"]["price_details"]["price"], str)
    assert expanded["payments"]["object"] == "list"
    assert "payments" not in invoice


def test_previous_attributes_go_into_hashes_and_take_lists_whole() -> None:
    old = {"a": 1, "m": {"x": "1", "y": "2"}, "l": [1, 2], "same": 0}
    new = {"a": 2, "m": {"x": "1", "z": "3"}, "l": [1], "same": 0}

    assert previous_attributes(old, new) == {"a": 1, "m": {"y": "2", "z": None}, "l": [1, 2]}


def test_limits_count_accounts_and_endpoints_apart() -> None:
    limits = RateLimits(per_account=4, per_endpoint=2)

    def reasons(account: str, endpoint: str, count: int, now: float) -> list[str]:
        refused = []
        for _ in range(count):
            try:
                limits.take(account, endpoint, now)
            except ApiError as error:
                refused.append(error.headers["Stripe-Rate-Limited-Reason"])
        return refused

    assert reasons("a", "charges", 3, 0.0) == ["endpoint-rate"]
    assert reasons("a", "invoices", 2, 0.0) == ["global-rate"]
    assert reasons("b", "charges", 2, 0.0) == []
    assert reasons("a", "charges", 1, 1.0) == []


def test_keys_are_granted_revoked_rotated_and_tied_to_addresses() -> None:
    ring = KeyRing(random.Random(1), livemode=True)
    key = ring.create(["rak_charge_read", "rak_webhook_write", "rak_invoice_read"])

    assert key.secret.startswith("rk_live_")
    assert key.has("rak_webhook_read")
    assert key.has("rak_credit_note_read")
    assert not key.has("rak_customer_read")
    assert ring.grant(key.secret, ["rak_customer_read"]).has("rak_customer_read")
    assert not ring.revoke(key.secret, ["rak_charge_read"]).has("rak_charge_read")
    newer = ring.rotate(key.secret)
    assert newer.permissions == ring.keys[key.secret].permissions
    with pytest.raises(ApiError, match="Expired API Key"):
        ring.authenticate(key.secret, None)
    ring.restrict_addresses(newer.secret, ["10.0.0.1"])
    with pytest.raises(ApiError, match="does not allow requests from your IP address"):
        ring.authenticate(newer.secret, "127.0.0.1")
    with pytest.raises(ValueError, match="no permission named rak_everything"):
        ring.grant(newer.secret, ["rak_everything"])


def test_transactions_of_a_manual_payout_can_not_be_asked_for() -> None:
    shop = make_shop()
    manual = shop.world.add("payout", amount=1, automatic=False, destination=shop.bank)

    with pytest.raises(ApiError, match="only be filtered on automatic"):
        Reads(shop.world, API_VERSION).list_resource(BY_PATH["balance_transactions"], [("payout", manual)])
