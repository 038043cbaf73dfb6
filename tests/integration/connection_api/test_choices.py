"""What is synced, changed while a connection lives."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.cleanups import CleanupStore
from shared.cleanups import Kind as CleanupKind
from shared.errors import ConflictError, PayloadError
from shared.syncs import Kind
from tests.integration.connection_api.stage import BY, Stage, set_up


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with set_up(database_url) as stage:
        yield stage


async def test_resource_that_is_added_gets_its_events_and_its_own_backfill(stage: Stage) -> None:
    connection = await stage.connected(resources=("charge", "customer"))

    await stage.use_cases().choices.choose(connection.id, resources=["charge", "customer", "coupon"], by=BY)

    (endpoint,) = stage.simulator.simulation.endpoints.by_id.values()
    assert "coupon.created" in endpoint.enabled_events
    backfill = (await stage.syncs(connection.id))[0]
    assert (backfill.kind, backfill.trigger, backfill.resources) == (Kind.BACKFILL, "choice changed", ("coupon",))
    assert (await stage.connection(connection.id)).resources == ("charge", "customer", "coupon")


async def test_resource_that_is_taken_away_costs_nothing(stage: Stage) -> None:
    connection = await stage.connected(resources=("charge", "customer"))
    before = await stage.syncs(connection.id)

    await stage.use_cases().choices.choose(connection.id, resources=["charge"], by=BY)

    assert await stage.syncs(connection.id) == before


async def test_field_that_is_left_out_is_taken_out_of_rows_and_comes_back_by_a_backfill(stage: Stage) -> None:
    connection = await stage.connected(resources=("charge", "customer"))
    choices, cleanups = stage.use_cases().choices, CleanupStore(stage.pool)

    await choices.choose(connection.id, omitted_fields={"customer": ["email", "phone"]}, by=BY)
    await choices.choose(connection.id, omitted_fields={"customer": ["email", "name"]}, by=BY)

    first, second = await cleanups.of_connection(connection.id)
    assert (first.kind, first.fields) == (CleanupKind.FIELDS, {"customer": ["email", "phone"]})
    assert second.fields == {"customer": ["name"]}
    again = (await stage.syncs(connection.id))[0]
    assert (again.kind, again.resources) == (Kind.BACKFILL, ("customer",))


async def test_destination_that_is_added_gets_all_history(stage: Stage) -> None:
    connection = await stage.connected(resources=("charge", "customer"))
    second = await stage.add_destination("second")

    await stage.use_cases().choices.choose(connection.id, destination_ids=[stage.destination_id, second], by=BY)

    assert set((await stage.connection(connection.id)).destination_ids) == {stage.destination_id, second}
    backfill = (await stage.syncs(connection.id))[0]
    assert (backfill.trigger, backfill.resources) == ("destination added", ("charge", "customer"))

    await stage.use_cases().choices.choose(connection.id, destination_ids=[second], by=BY)

    assert (await stage.connection(connection.id)).destination_ids == (second,)
    assert (await stage.syncs(connection.id))[0] == backfill


async def test_destination_that_receives_the_account_already_is_refused(stage: Stage) -> None:
    connection = await stage.connected()
    other = await stage.add_destination("other")
    await stage.connect().connect(stage.wanted(destination_ids=(other,)), by=BY)

    with pytest.raises(ConflictError):
        await stage.use_cases().choices.choose(connection.id, destination_ids=[stage.destination_id, other], by=BY)

    assert (await stage.connection(connection.id)).destination_ids == (stage.destination_id,)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"resources": ["nothing"]}, "resources"),
        ({"omitted_fields": {"nothing": ["email"]}}, "omitted_fields"),
        ({"omitted_fields": {"customer": ["id"]}}, "omitted_fields"),
        ({"destination_ids": ["dst_none"]}, "destination_ids"),
    ],
)
async def test_what_cannot_be_chosen_is_named(stage: Stage, change: dict[str, object], field: str) -> None:
    connection = await stage.connected()

    with pytest.raises(PayloadError) as caught:
        await stage.use_cases().choices.choose(connection.id, **change, by=BY)

    assert caught.value.field == field
    assert await stage.connection(connection.id) == connection
