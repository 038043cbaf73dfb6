"""The state database of a test of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.destination_writer.ledger import Ledger
from tests.integration.destination_writer.state import State, make_settings, open_state


@pytest.fixture
async def state(database_url: str) -> AsyncIterator[State]:
    async with open_state(make_settings(database_url)) as state:
        yield state


@pytest.fixture
async def slice_id(state: State) -> int:
    await state.add_connection("con_1", await state.add_destination("stripe"))
    return await state.add_slice("con_1")


@pytest.fixture
def ledger(state: State) -> Ledger:
    return Ledger(state.pool, "cluster-1")
