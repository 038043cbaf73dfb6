"""Fixtures of the simulator's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.simulator.running import Receiver, Running, run_receiver, run_simulator


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with run_simulator() as simulator:
        yield simulator


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with run_receiver() as one:
        yield one
