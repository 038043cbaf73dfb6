"""What a service depends on is asked once, however many want to know whether it is ready."""

from __future__ import annotations

import asyncio

import pytest

from shared.errors import TransientError
from shared.readiness import BAD_FOR, GOOD_FOR, Readiness


class Dependency:
    """Something that answers, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = True
        self.error: Exception | None = None
        self.now = 0.0

    async def __call__(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return self.answer

    def readiness(self) -> Readiness:
        return Readiness({"it": self}, clock=lambda: self.now)


@pytest.fixture
def dependency() -> Dependency:
    return Dependency()


async def test_many_probes_at_once_ask_once(dependency: Dependency) -> None:
    readiness = dependency.readiness()
    assert await asyncio.gather(*(readiness.answers() for _ in range(50))) == [{"it": True}] * 50
    assert dependency.asked == 1


async def test_an_answer_holds_for_a_while_and_a_bad_one_for_less(dependency: Dependency) -> None:
    readiness = dependency.readiness()
    await readiness.answers()
    dependency.answer, dependency.now = False, GOOD_FOR - 0.1
    assert await readiness.answers() == {"it": True}
    dependency.now = GOOD_FOR
    assert await readiness.answers() == {"it": False}
    dependency.answer = True
    dependency.now += BAD_FOR
    assert await readiness.answers() == {"it": True}


async def test_what_fails_for_now_does_not_answer(dependency: Dependency) -> None:
    dependency.error = TransientError()
    assert await dependency.readiness().answers() == {"it": False}
