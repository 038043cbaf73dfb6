"""A removal that is previewed and asked for; the sync worker carries it out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.cleanups import CleanupStore
from shared.connections import State
from shared.errors import ConflictError, PayloadError
from shared.removals import RemovalStore
from tests.integration.connection_api.stage import BY, Stage, set_up

ROWS = """
CREATE SCHEMA copy;
CREATE TABLE copy.charges (_account text, _livemode boolean, id text, data jsonb);
"""
ROW = "INSERT INTO copy.charges SELECT $1, true, 'ch_' || n, '{}' FROM generate_series(1, $2::int) n"


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with set_up(database_url) as stage:
        yield stage


async def test_preview_lists_exactly_what_would_go(stage: Stage) -> None:
    connection = await stage.connected()
    await stage.pool.execute(ROWS)
    await stage.pool.execute(ROW, connection.account_id, 7)
    await stage.pool.execute(ROW, "acct_other", 9)

    preview = await stage.use_cases().removals.preview(connection.id)

    (endpoint,) = stage.simulator.simulation.endpoints.by_id
    assert [(line.destination_name, line.table, line.rows) for line in preview.tables] == [("copy", "charges", 7)]
    assert (preview.account_name, preview.webhook_endpoint_id) == ("Till Shop", endpoint)
    assert (preview.syncs, preview.events, preview.unreachable) == (1, 0, ())


async def test_preview_names_a_destination_that_does_not_answer(stage: Stage) -> None:
    connection = await stage.connected()
    sql = "UPDATE destinations SET settings = jsonb_set(settings, '{port}', '1')"
    await stage.pool.execute(sql)

    preview = await stage.use_cases().removals.preview(connection.id)

    assert (preview.tables, preview.unreachable) == ((), ("copy",))


@pytest.mark.parametrize("delete_rows", [False, True])
async def test_request_stops_the_connection_at_once(stage: Stage, delete_rows: bool) -> None:
    connection = await stage.connected()

    removal_id = await stage.use_cases().removals.request(
        connection.id, account_name=" Till Shop ", delete_rows=delete_rows, by=BY
    )

    removal = await RemovalStore(stage.pool).get(removal_id)
    assert (removal.connection_id, removal.deletes_rows, removal.steps) == (connection.id, delete_rows, ())
    assert (await stage.connection(connection.id)).state is State.REMOVING
    assert len(await CleanupStore(stage.pool).of_connection(connection.id)) == delete_rows
    assert await stage.audited() == ["connection.created", "connection.removal_requested"]


async def test_another_name_removes_nothing(stage: Stage) -> None:
    connection = await stage.connected()

    with pytest.raises(PayloadError, match="Till Shop") as caught:
        await stage.use_cases().removals.request(connection.id, account_name="Tillshop", delete_rows=True, by=BY)

    assert caught.value.field == "account_name"
    assert (await stage.connection(connection.id)).state is State.ACTIVE


async def test_second_request_is_refused(stage: Stage) -> None:
    connection = await stage.connected()
    removals = stage.use_cases().removals
    await removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY)

    with pytest.raises(ConflictError, match="being removed already"):
        await removals.request(connection.id, account_name="Till Shop", delete_rows=True, by=BY)

    assert await CleanupStore(stage.pool).of_connection(connection.id) == []
