"""Stripe's own client can't tell the simulator from Stripe, for what Tillstream uses."""

from __future__ import annotations

import pytest
import stripe

from simulator.resources import RESOURCES
from tests.integration.simulator.running import Running


async def test_client_walks_through_every_object_exactly_once(running: Running) -> None:
    client = running.client()

    listed = await running.ask(lambda: [one.id for one in client.v1.charges.list({"limit": 100}).auto_paging_iter()])

    table = running.simulation.platform.store.tables["charge"]
    assert listed == table.ids[::-1]


async def test_client_walks_backwards(running: Running) -> None:
    client = running.client()
    table = running.simulation.platform.store.tables["invoice"]

    params = {"limit": 7, "ending_before": table.ids[0]}
    listed = await running.ask(
        lambda: [one.id for one in client.v1.invoices.list(params).auto_paging_iter()]  # type: ignore[arg-type]
    )

    assert listed == table.ids[1:]


async def test_client_retrieves_what_it_listed(running: Running) -> None:
    client = running.client()

    listed = await running.ask(lambda: client.v1.subscriptions.list({"status": "all", "limit": 1}).data[0])
    retrieved = await running.ask(lambda: client.v1.subscriptions.retrieve(listed.id))

    assert retrieved.to_dict() == listed.to_dict()
    assert retrieved["items"].data[0].price.object == "price"


async def test_client_expands(running: Running) -> None:
    client = running.client()

    plain = await running.ask(lambda: client.v1.charges.list({"limit": 1}).data[0])
    expanded = await running.ask(
        lambda: client.v1.charges.list({"limit": 1, "expand": ["data.refunds", "data.customer"]}).data[0]
    )

    assert isinstance(plain.customer, str)
    assert "refunds" not in plain
    assert expanded.refunds is not None
    assert expanded.refunds.url == f"/v1/charges/{plain.id}/refunds"
    assert isinstance(expanded.customer, stripe.Customer)


async def test_client_manages_webhook_endpoints(running: Running) -> None:
    endpoints = running.client().v1.webhook_endpoints
    wanted = {
        "url": "https://example.com/hooks",
        "enabled_events": ["charge.succeeded", "invoice.paid"],
        "api_version": "2026-10-28.endive",
        "metadata": {"tillstream": "yes"},
    }

    created = await running.ask(lambda: endpoints.create(wanted))  # type: ignore[arg-type]
    updated = await running.ask(lambda: endpoints.update(created.id, {"disabled": True, "enabled_events": ["*"]}))
    listed = await running.ask(lambda: endpoints.list().data)
    deleted = await running.ask(lambda: endpoints.delete(created.id))

    assert created.secret is not None
    assert created.secret.startswith("whsec_")
    assert (updated.status, updated.enabled_events, updated.api_version) == ("disabled", ["*"], "2026-10-28.endive")
    assert [one.id for one in listed] == [created.id]
    assert listed[0].to_dict()["metadata"] == {"tillstream": "yes"}
    assert "secret" not in listed[0]
    assert deleted.deleted is True


async def test_same_idempotency_key_creates_one_endpoint(running: Running) -> None:
    endpoints = running.client().v1.webhook_endpoints
    wanted = {"url": "https://example.com/hooks", "enabled_events": ["charge.succeeded"]}

    first, second = [
        await running.ask(lambda: endpoints.create(wanted, {"idempotency_key": "once"}))  # type: ignore[arg-type]
        for _ in range(2)
    ]

    assert first.id == second.id
    assert len(running.simulation.endpoints.by_id) == 1


async def test_seventeenth_webhook_endpoint_is_refused(running: Running) -> None:
    endpoints = running.client().v1.webhook_endpoints
    wanted = {"url": "https://example.com/hooks", "enabled_events": ["*"]}
    for _ in range(16):
        await running.ask(lambda: endpoints.create(wanted))  # type: ignore[arg-type]

    with pytest.raises(stripe.InvalidRequestError, match="maximum of 16 test webhook endpoints"):
        await running.ask(lambda: endpoints.create(wanted))  # type: ignore[arg-type]


async def test_client_raises_authentication_error_for_unknown_and_expired_keys(running: Running) -> None:
    unknown = running.client("rk_test_nobodyknowsthis0042")
    with pytest.raises(stripe.AuthenticationError, match=r"Invalid API Key provided: rk_test_\*+0042"):
        await running.ask(lambda: unknown.v1.charges.list())

    old = running.simulation.first_key
    running.simulation.keys.rotate(old)
    with pytest.raises(stripe.AuthenticationError) as caught:
        await running.ask(lambda: running.client(old).v1.charges.list())
    assert caught.value.json_body["error"]["code"] == "api_key_expired"  # type: ignore[index]


async def test_client_raises_permission_error_that_names_the_permission(running: Running) -> None:
    running.simulation.keys.revoke(running.simulation.first_key, ["rak_charge_read"])

    with pytest.raises(stripe.PermissionError, match=r"'rak_charge_read' permission would allow") as caught:
        await running.ask(lambda: running.client().v1.refunds.list())

    assert running.simulation.platform.account_id in str(caught.value)


async def test_client_raises_invalid_request_error_for_missing_objects(running: Running) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await running.ask(lambda: running.client().v1.charges.retrieve("ch_gone"))

    assert (caught.value.http_status, caught.value.code, caught.value.param) == (404, "resource_missing", "id")


async def test_client_raises_rate_limit_error_with_its_reason(running: Running) -> None:
    running.simulation.limits.enabled = True
    running.simulation.limits.per_endpoint = 2

    charges = running.client().v1.charges

    with pytest.raises(stripe.RateLimitError) as caught:
        await running.ask(lambda: [charges.list() for _ in range(10)])

    assert caught.value.headers is not None
    assert caught.value.headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"


async def test_client_reads_connected_accounts_apart(running: Running) -> None:
    account = running.simulation.shop.accounts[0]

    own = await running.ask(lambda: running.client().v1.charges.list().data[0].id)
    theirs = await running.ask(lambda: running.client(account=account).v1.charges.list().data[0].id)

    assert own != theirs
    with pytest.raises(stripe.PermissionError) as caught:
        await running.ask(lambda: running.client(account="acct_nobody").v1.charges.list())
    assert caught.value.json_body["error"]["code"] == "account_invalid"  # type: ignore[index]


@pytest.mark.parametrize("row", [row for row in RESOURCES if row.required is None], ids=lambda row: row.name)
async def test_every_resource_is_listed_and_retrieved(running: Running, row: object) -> None:
    path = f"/v1/{row.path}"  # type: ignore[attr-defined]

    status, page, _ = await running.get(f"{path}?limit=2", **{"Stripe-Version": "2026-10-28.endive"})
    one = page["data"][0]
    _, retrieved, _ = await running.get(f"{path}/{one['id']}", **{"Stripe-Version": "2026-10-28.endive"})

    assert (status, page["url"]) == (200, path)
    assert retrieved == one


async def test_idempotency_key_is_refused_with_other_parameters(running: Running) -> None:
    endpoints = running.client().v1.webhook_endpoints
    first = {"url": "https://example.com/a", "enabled_events": ["charge.succeeded"]}
    other = {**first, "url": "https://example.com/b"}
    await running.ask(lambda: endpoints.create(first, {"idempotency_key": "once"}))  # type: ignore[arg-type]

    with pytest.raises(stripe.IdempotencyError):
        await running.ask(lambda: endpoints.create(other, {"idempotency_key": "once"}))  # type: ignore[arg-type]
