from __future__ import annotations

import copy
from typing import Any

from simulator.business.scenarios import SCENARIOS
from simulator.business.shop import Shop
from simulator.events import render_event
from simulator.journal import Event
from simulator.live import LiveBusiness
from simulator.shapes import API_VERSION
from tests.unit.simulator.worlds import NOW, make_shop, old_shop

# What Stripe changes without telling: an item's invoice.
_CHANGES_SILENTLY = {"invoiceitem"}


def _run(shop: Shop, scenario: str | None = None, times: int = 1) -> list[Event]:
    business = LiveBusiness(shop, now=lambda: NOW, rate=0)
    before = len(shop.world.journal.events)
    for _ in range(times):
        business.run(scenario)
    return shop.world.journal.events[before:]


def _body(shop: Shop, event: Event) -> dict[str, Any]:
    return render_event(shop.world, event, API_VERSION)


def test_same_seed_gives_the_same_account() -> None:
    first, second, other = make_shop(), make_shop(), make_shop(seed=8)

    def everything(shop: Shop) -> dict[str, Any]:
        return {name: (table.ids, table.packed) for name, table in shop.world.store.tables.items()}

    assert everything(first) == everything(second)
    assert [event.id for event in first.world.journal.events] == [event.id for event in second.world.journal.events]
    assert everything(first) != everything(other)


def test_history_has_the_wanted_size_and_is_spread_over_the_past() -> None:
    table = old_shop().world.store.tables["charge"]

    assert 8_000 <= old_shop().world.count < 8_100
    assert list(table.created) == sorted(table.created)
    assert table.created[0] < NOW - 700 * 86_400
    assert table.created[-1] > NOW - 5 * 86_400


def test_renewal_is_a_cascade_of_one_second() -> None:
    events = _run(make_shop(), "renewal")

    types = [event.type for event in events]
    assert {event.created for event in events} == {int(NOW)}
    assert types.index("invoice.created") < types.index("invoice.finalized") < types.index("invoice.paid")
    assert {"charge.succeeded", "payment_intent.succeeded", "invoice_payment.paid"} <= set(types)
    assert types.count("customer.subscription.updated") >= 2
    assert types.count("invoice.updated") >= 2


def test_every_event_type_is_one_of_stripes() -> None:
    shop = make_shop()

    types = {event.type for event in _run(shop, times=600)}

    assert types <= shop.world.shapes.event_types
    assert len(types) > 60


def test_every_scenario_makes_events() -> None:
    shop = make_shop()
    assert [scenario for scenario in sorted(SCENARIOS) if not _run(shop, scenario, times=20)] == []


def test_previous_attributes_undo_exactly_what_an_update_did() -> None:
    shop = make_shop()
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    checked = 0

    for event in _run(shop, times=600):
        body = _body(shop, event)["data"]
        versions = seen.setdefault((event.resource, event.object_id), [])
        if not versions or versions[-1] != body["object"]:  # one change may be told by several events
            versions.append(body["object"])
        if event.type.endswith(".updated") and len(versions) > 1:
            before = _overlaid(body["object"], body["previous_attributes"])
            assert _without_nulls(before) == _without_nulls(versions[-2]), event.type
            checked += 1

    assert checked > 300


def test_last_event_of_an_object_shows_its_current_state() -> None:
    shop = make_shop()
    world = shop.world
    last = {(event.resource, event.object_id): event for event in _run(shop, times=600)}

    current = 0
    for (resource, object_id), event in last.items():
        truth = world.renderer.find(resource, object_id) if resource in world.store.tables else None
        if truth is None or resource in _CHANGES_SILENTLY:
            continue
        assert _body(shop, event)["data"]["object"] == truth, event.type
        current += 1
    assert current > 300


def test_objects_refer_to_objects_that_exist() -> None:
    world = old_shop().world

    def exists(resource: str, object_id: str) -> bool:
        return object_id in world.store.tables[resource].positions

    for name, field in (("charge", "customer"), ("invoice", "customer"), ("refund", "charge"), ("dispute", "charge")):
        table = world.store.tables[name]
        states = [state for position in range(len(table.ids)) if (state := table.at(position))]
        assert states
        assert all(exists(field, state[field]) for state in states)
    charges = world.store.tables["charge"]
    paid = [state for position in range(len(charges.ids)) if (state := charges.at(position)) and state["paid"]]
    assert all(exists("balance_transaction", state["balance_transaction"]) for state in paid)


def test_long_invoices_carry_ten_lines_and_say_that_there_are_more() -> None:
    world = old_shop().world
    table = world.store.tables["invoice"]
    long = next(s for i in range(len(table.ids)) if (s := table.at(i)) and len(s["_children"]) > 10)

    lines = world.renderer.render("invoice", long)["lines"]

    assert (len(lines["data"]), lines["has_more"]) == (10, True)
    assert len(world.renderer.children("invoice", long)) > 10


def test_deleting_a_customer_ends_subscriptions_and_leaves_no_object() -> None:
    shop = make_shop()

    types = [event.type for event in _run(shop, "delete_customer", times=5)]

    assert types.count("customer.deleted") == 5
    assert list(shop.world.store.tables["customer"].deleted())


def _overlaid(value: dict[str, Any], previous: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(value)
    for key, old in previous.items():
        both_hashes = isinstance(old, dict) and isinstance(result.get(key), dict)
        result[key] = _overlaid(result[key], old) if both_hashes else old
    return result


def _without_nulls(value: Any) -> Any:
    """As with Stripe, null among previous attributes may stand for a key that was not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
