"""What the tests of the API share: a pool of the database that the API under test works on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.db import Pool, make_pool


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url, max_size=2)
    yield pool
    pool.terminate()
