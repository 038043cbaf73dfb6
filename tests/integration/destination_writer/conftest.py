"""The state database of a test of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.destination_writer.state import State, make_settings, open_state


@pytest.fixture
async def state(database_url: str) -> AsyncIterator[State]:
    async with open_state(make_settings(database_url)) as state:
        yield state
