"""Webhooks: signed, complete, tried again, and wrong only on demand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe

from tests.eventually import eventually
from tests.integration.simulator.running import Receiver, Running

PINNED = "2026-10-28.endive"


async def _subscribe(running: Running, receiver: Receiver, *events: str, **more: Any) -> str:
    wanted = {"url": receiver.url, "enabled_events": list(events or ("*",)), "api_version": PINNED, **more}
    created = await running.ask(lambda: running.client().v1.webhook_endpoints.create(wanted))  # type: ignore[arg-type]
    assert created.secret is not None
    return created.secret


async def test_delivered_webhook_passes_the_official_verification(running: Running, receiver: Receiver) -> None:
    secret = await _subscribe(running, receiver, "invoice.paid")

    await running.control("POST", "scenarios/renewal")
    await eventually(lambda: bool(receiver.received))

    body, signature = receiver.received[0]
    event = stripe.Webhook.construct_event(body, signature, secret)
    assert (event.type, event.api_version) == ("invoice.paid", PINNED)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + b" ", signature, secret)


async def test_webhook_carries_the_pinned_version_and_the_event_list_the_older_one(
    running: Running, receiver: Receiver
) -> None:
    await _subscribe(running, receiver, "customer.subscription.updated", "invoice.paid", "charge.succeeded")

    await running.control("POST", "scenarios/renewal")
    await eventually(lambda: len(receiver.received) >= 3)

    sent = {event["type"]: event["data"]["object"] for event in (json.loads(body) for body, _ in receiver.received)}
    _, page, _ = await running.get("/v1/events?limit=50")
    listed = {event["type"]: event for event in reversed(page["data"])}
    assert listed["invoice.paid"]["api_version"] == "2024-06-20"
    assert listed["invoice.paid"]["data"]["object"]["subscription"].startswith("sub_")
    assert "parent" not in listed["invoice.paid"]["data"]["object"]
    assert sent["invoice.paid"]["parent"]["subscription_details"]["subscription"].startswith("sub_")
    assert listed["charge.succeeded"]["data"]["object"]["invoice"].startswith("in_")
    assert "invoice" not in sent["charge.succeeded"]
    old = listed["customer.subscription.updated"]["data"]["object"]
    assert old["current_period_end"] > old["current_period_start"]
    assert "current_period_end" not in sent["customer.subscription.updated"]


async def test_webhook_is_tried_again_until_it_is_taken(running: Running, receiver: Receiver) -> None:
    receiver.statuses = [500, 503]
    await _subscribe(running, receiver, "invoice.paid")
    await running.control("POST", "faults", {"webhook_retry_seconds": 0.01})

    await running.control("POST", "scenarios/renewal")
    await eventually(lambda: len(receiver.received) == 3)

    assert len({body for body, _ in receiver.received}) == 1
    events = (await running.control("GET", "events"))["events"]
    paid = [event for event in events if event["type"] == "invoice.paid"][-1]
    assert paid["attempts"] == 3
    assert paid["delivered_ms"] > paid["created_ms"]
    assert paid["status"] == 200
    assert 0 < paid["seconds"] < 30


async def test_lost_webhooks_are_found_among_the_undelivered_events(running: Running, receiver: Receiver) -> None:
    await _subscribe(running, receiver, "invoice.paid")
    await running.control("POST", "faults", {"webhook_loss": 1.0})

    await running.control("POST", "scenarios/renewal")

    _, page, _ = await running.get("/v1/events?delivery_success=false")
    assert [event["type"] for event in page["data"]] == ["invoice.paid"]
    await running.control("POST", f"events/{page['data'][0]['id']}/resend")
    await eventually(lambda: bool(receiver.received))
    _, page, _ = await running.get("/v1/events?delivery_success=false")
    assert page["data"] == []


async def test_webhooks_come_twice_on_demand(running: Running, receiver: Receiver) -> None:
    await _subscribe(running, receiver, "invoice.paid")
    await running.control("POST", "faults", {"webhook_duplicate": 1.0, "webhook_reorder_seconds": 0.01})

    await running.control("POST", "scenarios/renewal")
    await eventually(lambda: len(receiver.received) == 2)

    assert json.loads(receiver.received[0][0])["id"] == json.loads(receiver.received[1][0])["id"]


async def test_disabled_endpoint_gets_nothing(running: Running, receiver: Receiver) -> None:
    await _subscribe(running, receiver)
    endpoint = next(iter(running.simulation.endpoints.by_id))
    await running.ask(lambda: running.client().v1.webhook_endpoints.update(endpoint, {"disabled": True}))

    await running.control("POST", "scenarios/renewal")
    await running.ask(lambda: running.client().v1.webhook_endpoints.update(endpoint, {"disabled": False}))
    await running.control("POST", "scenarios/update_account")
    await eventually(lambda: bool(receiver.received))

    assert {json.loads(body)["type"] for body, _ in receiver.received} == {"account.updated"}


async def test_webhooks_and_truth_agree_after_many_changes(running: Running, receiver: Receiver) -> None:
    await _subscribe(running, receiver)

    await running.control("POST", "business", {"changes_per_second": 400})
    await eventually(lambda: len(receiver.received) > 400)
    await running.control("POST", "business", {"changes_per_second": 0})
    await eventually(lambda: running.simulation.deliveries.pending == 0)

    newest: dict[str, dict[str, Any]] = {}
    world = running.simulation.platform
    bodies = {event["id"]: event for event in (json.loads(body) for body, _ in receiver.received)}
    for event in world.journal.events:
        if event.id in bodies and event.resource == "charge":
            newest[event.object_id] = bodies[event.id]["data"]["object"]
    assert len(newest) > 5
    assert {one: world.renderer.find("charge", one) for one in newest} == newest
