"""A destination is filled again: each connection that delivers to it gets a full backfill, and nobody else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.crypto import make_encryption_key
from tests.integration.connection_api.serving import execute, ready
from tests.integration.destination_writer.state import State, open_state
from tests.integration.destination_writer.state import make_settings as writer_settings
from tests.unit.connection_api.serving import BEARER, Client

QUEUED = "SELECT connection_id, kind, trigger, resources FROM syncs WHERE status = 'queued' ORDER BY 1"


@pytest.fixture
async def state(database_url: str) -> AsyncIterator[State]:
    async with open_state(writer_settings(database_url)) as state:
        yield state


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url, encryption_keys=make_encryption_key("test")) as client:
        yield client


async def rebuild(api: Client, destination_id: str) -> tuple[int, Any]:
    answer = await api.post(f"/v1/destinations/{destination_id}/rebuild", headers=BEARER)
    return answer.status, await answer.json()


async def connected(state: State, connection_id: str, destination_id: str, account: str = "acct_1") -> None:
    await state.add_connection(connection_id, destination_id)
    await state.pool.execute(
        "UPDATE connections SET state = 'active', account_id = $2 WHERE id = $1", connection_id, account
    )


async def test_everything_that_is_delivered_there_is_queued(api: Client, state: State, database_url: str) -> None:
    there, elsewhere = await state.add_destination("there"), await state.add_destination("elsewhere")
    await connected(state, "con_1", there)
    await connected(state, "con_2", elsewhere)
    status, answer = await rebuild(api, there)
    assert (status, [sync["connection_id"] for sync in answer["syncs"]]) == (202, ["con_1"])
    [queued] = await execute(database_url, QUEUED)
    assert (queued["kind"], queued["trigger"]) == ("backfill", "destination rebuilt")
    assert set(queued["resources"]) == set((await state.connections.get("con_1")).resources)


async def test_writers_open_the_destination_again(api: Client, state: State) -> None:
    """So that its schema and tables are made, although no record comes."""
    there = await state.add_destination("there")
    await connected(state, "con_1", there)
    await rebuild(api, there)
    assert (await state.destinations.get(there)).version == 2


async def test_a_rebuild_that_waits_is_not_queued_twice(api: Client, state: State, database_url: str) -> None:
    there = await state.add_destination("there")
    await connected(state, "con_1", there)
    first, second = await rebuild(api, there), await rebuild(api, there)
    assert first[1]["syncs"][0]["id"] == second[1]["syncs"][0]["id"]
    assert len(await execute(database_url, QUEUED)) == 1


async def test_what_nobody_delivers_to_can_not_be_filled(api: Client, state: State) -> None:
    status, problem = await rebuild(api, await state.add_destination("unused"))
    assert (status, problem["code"]) == (409, "conflict")
    assert (await rebuild(api, "dst_none"))[0] == 404
