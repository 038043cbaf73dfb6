"""A loop that has not turned for long makes `/livez` fail; one that waits for what is away turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shared.background import BACKGROUND, repeat, run_beside, until_available
from shared.errors import TransientError
from shared.heartbeat import STUCK_AFTER, Heartbeats, beat, heart, watched
from shared.http import make_app
from tests.eventually import eventually


class Time:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def heartbeats(time: Time) -> Iterator[Heartbeats]:
    found = Heartbeats(clock=time)
    with found.watching():
        yield found


async def test_a_loop_that_does_not_beat_is_stuck_and_one_that_beats_is_not(heartbeats: Heartbeats, time: Time) -> None:
    going = asyncio.Event()

    async def quick() -> None:
        await going.wait()
        beat()

    async def slow() -> None:
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(watched(quick())), asyncio.create_task(watched(slow()))]
    await eventually(lambda: len(heartbeats._hearts) == 2)
    time.now = STUCK_AFTER + 1
    assert {name.rpartition(".")[2] for name in heartbeats.stuck()} == {"quick", "slow"}
    going.set()
    await tasks[0]
    assert {name.rpartition(".")[2] for name in heartbeats.stuck()} == {"slow"}
    tasks[1].cancel()


async def test_a_loop_beats_for_the_one_that_it_is_a_part_of(heartbeats: Heartbeats, time: Time) -> None:
    with heart("outer"), heart("inner"):
        time.now = STUCK_AFTER + 1
        beat()
        assert heartbeats.stuck() == {}


async def test_a_loop_that_has_ended_is_not_stuck(heartbeats: Heartbeats, time: Time) -> None:
    with heart("ended"):
        pass
    time.now = STUCK_AFTER + 1
    assert heartbeats.stuck() == {}


async def test_tasks_of_a_loop_beat_for_it(heartbeats: Heartbeats, time: Time) -> None:
    async def work() -> None:
        beat()

    with heart("parent"):
        time.now = STUCK_AFTER + 1
        await asyncio.create_task(work())
        assert heartbeats.stuck() == {}


async def test_a_step_that_fails_for_what_is_away_turns(heartbeats: Heartbeats, time: Time) -> None:
    steps = 0

    async def step() -> int:
        nonlocal steps
        steps += 1
        time.now += STUCK_AFTER - 1
        raise TransientError

    loop = asyncio.create_task(repeat(step, interval_seconds=0, delayed="step_delayed"))
    await eventually(lambda: steps > 3)
    assert heartbeats.stuck() == {}
    loop.cancel()


async def test_waiting_for_what_is_away_beats(heartbeats: Heartbeats, time: Time) -> None:
    async def call() -> int:
        time.now += STUCK_AFTER + 1
        return 1

    with heart("start"):
        time.now = STUCK_AFTER + 1
        assert await until_available("database", call) == 1
        assert heartbeats.stuck() == {"start": STUCK_AFTER + 1}


async def test_service_whose_loop_hangs_is_not_alive_and_says_which(time: Time) -> None:
    async def hang() -> int:
        await asyncio.get_running_loop().create_future()
        return 0

    async def turn() -> int:
        return 0

    app = make_app(ready={})

    async def watched(app: web.Application) -> AsyncIterator[None]:
        app[BACKGROUND].heartbeats = Heartbeats(clock=time)
        yield

    app.cleanup_ctx.append(watched)
    run_beside(app, lambda: repeat(hang, interval_seconds=0, delayed="hangs"))
    run_beside(app, lambda: repeat(turn, interval_seconds=0, delayed="turns"))
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/livez")).status == 200
        time.now = STUCK_AFTER + 1
        answer = await client.get("/livez")
        assert (answer.status, await answer.json()) == (503, {"stuck": {"hangs": STUCK_AFTER + 1}})
