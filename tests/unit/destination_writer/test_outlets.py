"""A destination behind its deadline and its breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import Account, Written
from services.destination_writer.outlets import LONGEST_REST, Outlet
from shared.errors import DestinationRejectedError, DestinationUnavailableError
from tests.contracts import ACCOUNT
from tests.factories import make_part, make_winner
from tests.fakes import MemoryDestination


class SilentDestination(MemoryDestination):
    """Takes what it is given and never answers."""

    async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def fail(outlet: Outlet, deadline: float = 1) -> str:
    with pytest.raises(DestinationUnavailableError) as caught:
        await outlet.write(ACCOUNT, [make_winner()], deadline)
    return caught.value.message


async def test_write_that_takes_longer_than_its_deadline_is_unavailable(clock: Clock) -> None:
    outlet = Outlet(SilentDestination(), clock=clock)
    assert await fail(outlet, 0.01) == "The destination took longer than 0.01 s."
    assert outlet.is_resting


async def test_destination_that_failed_is_left_alone_and_then_tried_again(clock: Clock) -> None:
    destination = MemoryDestination()
    outlet = Outlet(destination, clock=clock)
    destination.is_down = True
    await fail(outlet)
    destination.is_down = False
    assert "a moment ago" in await fail(outlet)
    with pytest.raises(DestinationUnavailableError):
        await outlet.write_children(ACCOUNT, make_part("in_1", ["il_1"], stamp=1, is_complete=True), 1)
    clock.now += 0.5
    assert len(await outlet.write(ACCOUNT, [make_winner()], 1)) == 1
    assert not outlet.is_resting


async def test_rests_grow_up_to_half_a_minute(clock: Clock) -> None:
    destination = MemoryDestination()
    destination.is_down = True
    outlet = Outlet(destination, clock=clock)
    for _ in range(40):
        await fail(outlet)
        clock.now += LONGEST_REST
        assert not outlet.is_resting


async def test_refused_record_does_not_open_the_breaker(clock: Clock) -> None:
    outlet = Outlet(MemoryDestination(), clock=clock)
    with pytest.raises(DestinationRejectedError):
        await outlet.write(ACCOUNT, [make_winner(name="bad \u0000")], 1)
    assert not outlet.is_resting


async def test_nothing_to_write_asks_nobody(clock: Clock) -> None:
    unused: Any = None
    assert await Outlet(unused, clock=clock).write(ACCOUNT, [], 1) == []
