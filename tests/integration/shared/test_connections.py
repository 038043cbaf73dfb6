"""Connections: one account and mode once to each place, a key that only its row can open, a state with its cause."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.api_keys import parse_api_key
from shared.audit import Actor
from shared.connections import ConnectionStore, LiveBy
from shared.connections import State as ConnectionState
from shared.crypto import SecretUnreadableError, make_encryption_key, parse_key_ring
from shared.errors import ConflictError, ConnectionDisabledError, DatabaseUnavailableError, NotFoundError, PayloadError
from tests.integration.destination_writer.state import KEY_OF_STRIPE, State, make_settings, open_state


@pytest.fixture
async def state(database_url: str) -> AsyncIterator[State]:
    async with open_state(make_settings(database_url)) as opened:
        yield opened


async def test_a_new_connection_is_being_set_up(state: State) -> None:
    rows = await state.add_destination("rows")
    await state.add_connection("con_1", rows)
    connection = await state.connections.get("con_1")
    assert connection.state is ConnectionState.SETTING_UP
    assert connection.destination_ids == (rows,)
    assert connection.live_by is LiveBy.WEBHOOKS


async def test_an_account_goes_to_each_place_once(state: State) -> None:
    rows, other = await state.add_destination("rows"), await state.add_destination("other")
    await state.add_connection("con_1", rows)
    with pytest.raises(ConflictError, match="already connected to this destination"):
        await state.add_connection("con_2", other, rows)
    with pytest.raises(NotFoundError):
        await state.connections.get("con_2")


async def test_the_other_mode_of_an_account_may_go_to_the_same_place(state: State) -> None:
    rows = await state.add_destination("rows")
    await state.add_connection("con_1", rows)
    await state.connections.insert(
        "con_2",
        account=("acct_1", "Ada's shop"),
        key=parse_api_key(KEY_OF_STRIPE.replace("live", "test"), allow_test=True),
        destination_ids=[rows],
        start_date=None,
        resources=["charge"],
        by=Actor("test"),
        live_by=LiveBy.POLLING,
    )
    assert not (await state.connections.get("con_2")).livemode


async def test_a_destination_that_does_not_exist_is_refused(state: State) -> None:
    with pytest.raises(PayloadError, match="no such destination"):
        await state.add_connection("con_1", "dst_none")
    assert await state.connections.list_page() == []


async def test_a_key_comes_back_and_lies_encrypted(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    assert (await state.connections.api_key("con_1")).get_secret_value() == KEY_OF_STRIPE
    assert KEY_OF_STRIPE.encode() not in await state.value("SELECT api_key FROM connections")


async def test_a_key_does_not_open_in_the_row_of_another_connection(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    await state.add_connection("con_2", await state.add_destination("other"))
    await state.pool.execute("UPDATE connections SET api_key = (SELECT api_key FROM connections WHERE id = 'con_1')")
    with pytest.raises(SecretUnreadableError):
        await state.connections.api_key("con_2")


async def test_a_key_does_not_open_under_another_encryption_key(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    other = ConnectionStore(state.pool, parse_key_ring(make_encryption_key("test")))
    with pytest.raises(SecretUnreadableError):
        await other.api_key("con_1")


async def test_a_key_that_was_destroyed_is_gone(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    await state.pool.execute("UPDATE connections SET api_key = NULL")
    with pytest.raises(ConnectionDisabledError):
        await state.connections.api_key("con_1")


async def test_a_state_has_its_cause_and_loses_it_with_the_next(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    moved = await state.connections.set_state("con_1", ConnectionState.ACTION_REQUIRED, cause_code="c", cause="why")
    assert moved
    assert (await state.connections.get("con_1")).cause == "why"
    await state.connections.set_state("con_1", ConnectionState.ACTIVE)
    assert (await state.connections.get("con_1")).cause is None


async def test_a_state_is_not_left_where_it_must_not_be(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    await state.connections.set_state("con_1", ConnectionState.REMOVING)
    moved = await state.connections.set_state("con_1", ConnectionState.ACTIVE, unless=[ConnectionState.REMOVING])
    assert not moved
    assert [one.id for one in await state.connections.list_in_state(ConnectionState.REMOVING)] == ["con_1"]


async def test_the_mark_of_the_events_never_goes_back(state: State) -> None:
    await state.add_connection("con_1", await state.add_destination("rows"))
    for complete_to in (100, 50):
        await state.connections.advance_events("con_1", complete_to)
    assert (await state.connections.get("con_1")).events_complete_to == 100


async def test_connections_are_listed_page_by_page(state: State) -> None:
    for n in range(3):
        await state.add_connection(f"con_{n}", await state.add_destination(f"rows_{n}"))
    first = await state.connections.list_page(limit=2)
    rest = await state.connections.list_page(after=first[-1].id, limit=2)
    assert [one.id for one in [*first, *rest]] == ["con_0", "con_1", "con_2"]


async def test_a_database_that_is_away_is_a_passing_failure(state: State) -> None:
    state.pool.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await state.connections.get("con_1")
