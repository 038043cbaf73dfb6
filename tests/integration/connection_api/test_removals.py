"""A removal that is previewed and asked for; the sync worker carries it out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.cleanups import CleanupStore
from shared.connections import State
from shared.errors import ConflictError, NotFoundError, PayloadError
from shared.removals import RemovalStore
from tests.integration.connection_api.stage import BY, Stage, set_up

DATA = Path(__file__).parent / "data"
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


NAMES: list[tuple[str, str]] = [
    (case["name"], typed)
    for case in json.loads((DATA / "names.json").read_text(encoding="utf-8"))
    for typed in case["typed"]
]


@pytest.mark.parametrize(("name", "typed"), NAMES)
async def test_name_is_compared_as_it_is_seen(stage: Stage, name: str, typed: str) -> None:
    connection = await stage.connected()
    await stage.pool.execute("UPDATE connections SET account_name = $1", name)

    typed = typed.replace("acct_…", connection.account_id)
    await stage.use_cases().removals.request(connection.id, account_name=typed, delete_rows=False, by=BY)

    assert (await stage.connection(connection.id)).state is State.REMOVING


async def test_second_request_is_the_same_removal(stage: Stage) -> None:
    connection = await stage.connected()
    removals = stage.use_cases().removals
    first = await removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY)
    assert await removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY) == first
    assert (await stage.audited()).count("connection.removal_requested") == 1


async def test_second_request_changes_the_choice_about_rows(stage: Stage) -> None:
    connection = await stage.connected()
    removals, store, cleanups = stage.use_cases().removals, RemovalStore(stage.pool), CleanupStore(stage.pool)
    removal_id = await removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY)

    await removals.request(connection.id, account_name="Till Shop", delete_rows=True, by=BY)
    assert (await store.get(removal_id)).deletes_rows
    assert [one.is_done for one in await cleanups.of_connection(connection.id)] == [False]

    await removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY)
    assert [one.is_done for one in await cleanups.of_connection(connection.id)] == [True]
    assert (await stage.audited())[-2:] == ["removal.choice_changed", "removal.rows_given_up"]


async def test_rows_that_were_kept_can_not_be_deleted_any_more(stage: Stage) -> None:
    connection = await stage.connected()
    removals = stage.use_cases().removals
    await removals.request(connection.id, account_name="Till Shop", delete_rows=False, by=BY)
    step = [{"name": "rows", "at": "2026-11-25T12:00:00+00:00", "counts": {}, "note": None}]
    await stage.pool.execute("UPDATE removals SET steps = $1", step)
    with pytest.raises(ConflictError, match="The rows were kept"):
        await removals.request(connection.id, account_name="Till Shop", delete_rows=True, by=BY)


async def test_rows_in_a_destination_that_is_gone_can_be_given_up(stage: Stage) -> None:
    connection = await stage.connected()
    removals, store, cleanups = stage.use_cases().removals, RemovalStore(stage.pool), CleanupStore(stage.pool)
    removal_id = await removals.request(connection.id, account_name="Till Shop", delete_rows=True, by=BY)
    await stage.pool.execute("UPDATE cleanups SET not_before = now()")
    cleanup = await cleanups.claim()
    assert cleanup
    for _ in range(3):
        await cleanups.postpone(cleanup.id, seconds=60, code="destination_unavailable", cause="It is away.")
    [wait] = await store.waits(await store.get(removal_id))
    assert (wait.cause, wait.code, wait.attempts) == ("It is away.", "destination_unavailable", 3)
    assert (wait.destination_id, wait.next_try_at > wait.since) == (stage.destination_id, True)

    await removals.give_up_rows(removal_id, by=BY)
    await removals.give_up_rows(removal_id, by=BY)  # it is so already

    assert await store.waits(await store.get(removal_id)) == []
    await cleanups.finish(cleanup.id)  # the writer that was at it
    [left] = await cleanups.of_connection(connection.id)
    assert left.is_done
    assert left.cause == f"A person gave up taking rows out of {stage.destination_id}, so they were left there."
    assert (await stage.audited()).count("removal.rows_given_up") == 1


async def test_rows_of_no_removal_can_not_be_given_up(stage: Stage) -> None:
    with pytest.raises(NotFoundError):
        await stage.use_cases().removals.give_up_rows("rem_none", by=BY)
