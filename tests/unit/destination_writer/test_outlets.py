"""A destination behind its deadline and its breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import structlog
from pydantic import SecretStr

from services.destination_writer.delivery import Winner
from services.destination_writer.destinations import Account, Cleaned, Destination, Written
from services.destination_writer.outlets import EXTENDED_INTERVAL, LONGEST_REST, Outlet, Outlets
from shared.catalogue import BY_NAME
from shared.destinations import Destination as DestinationRow
from shared.destinations import DestinationStore, PostgresAddress
from shared.errors import (
    Block,
    DatabaseUnavailableError,
    DestinationBlockedError,
    DestinationRejectedError,
    DestinationUnavailableError,
)
from tests.contracts import ACCOUNT
from tests.eventually import eventually
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


async def test_what_was_dropped_meanwhile_is_made_again_after_a_while(clock: Clock) -> None:
    destination = MemoryDestination()
    outlet = Outlet(destination, clock=clock)
    for now, extended in ((0.0, 1), (EXTENDED_INTERVAL - 1, 1), (EXTENDED_INTERVAL, 2)):
        clock.now = now
        await outlet.extend()
        assert destination.extended == extended, now


async def test_destination_that_failed_is_left_alone_and_then_tried_again(clock: Clock) -> None:
    destination = MemoryDestination()
    outlet = Outlet(destination, clock=clock)
    destination.is_down = True
    reason = await fail(outlet)
    destination.is_down = False
    assert await fail(outlet) == reason
    with pytest.raises(DestinationUnavailableError):
        await outlet.write_children(ACCOUNT, make_part("in_1", ["il_1"], stamp=1, is_complete=True), 1)
    clock.now += 0.5
    assert len(await outlet.write(ACCOUNT, [make_winner()], 1)) == 1
    assert not outlet.is_resting


async def test_whoever_meets_a_rest_is_told_what_to_mend(clock: Clock) -> None:
    """A removal that waits shows what it was told last: that the destination rests would hide the reason."""

    class Gone(MemoryDestination):
        async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
            raise DestinationBlockedError(Block("destination_database_missing", "There is no database.", "Make it."))

    outlet = Outlet(Gone(), clock=clock)
    assert {await fail(outlet) for _ in range(3)} == {"There is no database. Make it."}
    assert outlet.is_resting


async def test_rests_grow_up_to_a_minute(clock: Clock) -> None:
    destination = MemoryDestination()
    destination.is_down = True
    outlet = Outlet(destination, clock=clock)
    for _ in range(40):
        await fail(outlet)
        clock.now += LONGEST_REST
        assert not outlet.is_resting


async def test_slow_destination_is_spared_live_events_until_it_is_quick_again(clock: Clock) -> None:
    """What is parked goes on, and shows how quick it is; a batch of live events waits for it no more."""

    class Sluggish(MemoryDestination):
        seconds = 2.0

        async def write(self, account: Account, winners: Sequence[Winner]) -> list[Written]:
            clock.now += self.seconds
            await asyncio.sleep(self.seconds / 20)
            return await super().write(account, winners)

    destination = Sluggish()
    outlet = Outlet(destination, clock=clock)
    for _ in range(3):
        await fail(outlet, 0.05)
        clock.now += 2.0
    for seconds in (2.0, 2.0, 0.01):
        destination.seconds = seconds
        began = clock.now
        await fail(outlet, 0.05)
        assert clock.now == began
        assert len(await outlet.write(ACCOUNT, [make_winner()], 10, is_try=True)) == 1
        assert len(await outlet.write(ACCOUNT, [make_winner()], 10)) == 1
    assert len(await outlet.write(ACCOUNT, [make_winner()], 0.05)) == 1


async def test_refused_record_does_not_open_the_breaker(clock: Clock) -> None:
    outlet = Outlet(MemoryDestination(), clock=clock)
    with pytest.raises(DestinationRejectedError):
        await outlet.write(ACCOUNT, [make_winner(name="bad \u0000")], 1)
    assert not outlet.is_resting


async def test_nothing_to_write_asks_nobody(clock: Clock) -> None:
    unused: Any = None
    assert await Outlet(unused, clock=clock).write(ACCOUNT, [], 1) == []


@dataclass
class FakeStore:
    """The destinations of the state database."""

    versions: dict[str, int] = field(default_factory=dict)
    is_down: bool = False
    page: int = 2

    async def list_page(self, *, after: str = "") -> list[DestinationRow]:
        if self.is_down:
            raise DatabaseUnavailableError
        return [await self.get(one) for one in sorted(self.versions) if one > after][: self.page]

    async def get(self, destination_id: str) -> DestinationRow:
        address = PostgresAddress("db.example", 5432, "shop", "writer", "stripe")
        return DestinationRow(destination_id, destination_id, address, self.versions[destination_id], datetime.now(UTC))

    async def password(self, destination_id: str) -> SecretStr:
        return SecretStr("secret")

    async def forget_unopened(self, destination_id: str) -> None:
        assert destination_id in self.versions


class UnpreparedDestination(MemoryDestination):
    """Never comes to the end of its preparation."""

    async def prepare(self) -> None:
        await asyncio.get_running_loop().create_future()


class Opened:
    """Outlets over a fake store; remembers what was opened. `dst_silent` does not answer."""

    def __init__(self, *ids: str) -> None:
        self.store = FakeStore(dict.fromkeys(ids, 1))
        self.destinations: list[tuple[str, MemoryDestination]] = []
        self.outlets = Outlets(cast(DestinationStore, self.store), self.open)

    def open(self, row: DestinationRow, password: SecretStr) -> MemoryDestination:
        kind = UnpreparedDestination if row.id == "dst_silent" else MemoryDestination
        self.destinations.append((row.id, kind()))
        return self.destinations[-1][1]

    def closed(self) -> list[str]:
        return [name for name, destination in self.destinations if destination.is_closed]


async def test_destination_with_another_address_or_password_is_opened_anew() -> None:
    opened = Opened("dst_1", "dst_2", "dst_3")
    await opened.outlets.prepare_new()
    before = await opened.outlets.get("dst_3")
    opened.store.versions["dst_3"] = 2
    await opened.outlets.close_outdated()
    assert opened.closed() == ["dst_3"]
    await opened.outlets.prepare_new()
    after = await opened.outlets.get("dst_3")
    assert after is not before
    assert len(await after.write(ACCOUNT, [make_winner()], 1)) == 1
    await opened.outlets.close_outdated()
    assert opened.closed() == ["dst_3"]


async def test_write_that_still_has_what_was_closed_is_unavailable_and_so_is_parked() -> None:
    opened = Opened("dst_1")
    outlet = await opened.outlets.get("dst_1")
    opened.store.versions["dst_1"] = 2
    await opened.outlets.close_outdated()
    await fail(outlet)


async def test_destination_that_was_deleted_is_closed() -> None:
    opened = Opened("dst_1", "dst_2", "dst_3")
    await opened.outlets.prepare_new()
    del opened.store.versions["dst_2"]
    await opened.outlets.close_outdated()
    assert opened.closed() == ["dst_2"]


async def test_changes_are_seen_within_two_seconds_also_while_another_destination_does_not_answer() -> None:
    opened = Opened("dst_1", "dst_silent")
    outlets = asyncio.create_task(opened.outlets.run())
    try:
        await eventually(lambda: len(opened.destinations) == 2)
        opened.store.versions["dst_1"] = 2
        await eventually(lambda: opened.closed() == ["dst_1"], within=2)
    finally:
        outlets.cancel()


async def test_state_database_that_is_away_closes_nothing() -> None:
    opened = Opened("dst_1")
    await opened.outlets.prepare_new()
    opened.store.is_down = True
    with structlog.testing.capture_logs() as logs:
        outlets = asyncio.create_task(opened.outlets.run())
        await eventually(lambda: len(logs) >= 2)
        outlets.cancel()
    assert (opened.closed(), {line["event"] for line in logs}) == ([], {"look_at_destinations_delayed"})


async def test_cleanup_leaves_alone_what_failed_a_moment_ago(clock: Clock) -> None:
    destination = MemoryDestination()
    outlet = Outlet(destination, clock=clock)
    await outlet.write(ACCOUNT, [make_winner()], 1)

    async def step(at: Destination, after: str | None) -> Cleaned:
        return await at.delete_rows(ACCOUNT, BY_NAME["customer"], after=after)

    destination.is_down = True
    await fail(outlet)
    destination.is_down = False
    with pytest.raises(DestinationUnavailableError):
        await outlet.clean(step, None, 1)
    clock.now += 0.5
    assert (await outlet.clean(step, None, 1)).rows == {"customers": 1}
