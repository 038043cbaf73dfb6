"""A removal that is cut off, at whatever moment, goes on and counts right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar, cast

from shared.audit import AuditLog
from shared.removals import Step
from tests.eventually import eventually
from tests.integration.sync_worker.belongings import (
    CANARY,
    FILL,
    LETTERS,
    ask,
    counts,
    endpoints,
    endpoints_at_stripe,
    fill,
    free,
    notes,
    numbers,
    of,
    places_of,
    receipt,
)
from tests.integration.sync_worker.worlds import CONNECTION, World

T = TypeVar("T")


class CutOff(Awaitable[T]):
    """Runs a coroutine and cancels it the `after`-th time that it waits for something."""

    def __init__(self, work: Awaitable[T], after: int) -> None:
        self.work, self.after, self.waits = work, after, 0

    def __await__(self) -> Generator[Any, Any, T]:
        running, failure = self.work.__await__(), None
        while True:
            try:
                awaited = running.throw(failure) if failure else running.send(None)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.waits += 1
            if self.waits == self.after:
                cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            failure = None
            try:
                yield awaited
            except BaseException as error:
                failure = error


async def cut_off(here: World, after: int) -> bool:
    """Carry a removal out until it waits for the `after`-th time; tell whether it came to its end before."""

    async def run() -> None:
        await CutOff(here.removing().carry_out_one(), after)

    task = asyncio.create_task(run())
    await asyncio.gather(task, return_exceptions=True)
    await free(here)
    return not task.cancelled()


SLICES = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources)
SELECT 'syn_' || $1 || n, $1, 'manual', $2, 'succeeded', '{}' FROM generate_series(1, 3) n;
INSERT INTO slices (sync_id, connection_id, resource) SELECT id, $1, 'customer' FROM syncs WHERE connection_id = $1;
"""
COUNTED = {"event_log": 7, "dead_letters": 5, "syncs": 3, "slices": 3, "delivery_hours": 3, "connections": 1}


async def test_a_removal_that_is_cut_off_at_any_wait_goes_on_and_counts_right(here: World) -> None:
    """One connection for each moment: cut off there, taken up again, and the same in the end."""
    cuts = 0
    for after in range(1, 500):
        connection_id = f"con_cut_{after}"
        await here.add_connection(connection_id)
        connection = await here.connections.get(connection_id)
        async with here.clients.calling(connection) as api:
            await endpoints(here).ensure(connection, api, ["customer.updated"])
        for sql in (FILL, LETTERS, SLICES):
            await here.pool.execute(of(sql, connection_id))
        await ask(here, connection_id)
        has_ended = await cut_off(here, after)
        await here.removing().carry_out_one()
        done = await receipt(here, connection_id)
        assert done.is_done, after
        assert notes(done) == [], after
        found = counts(done)
        assert found[Step.ENDPOINT] == {"webhook_endpoints": 1}, after
        assert found[Step.KEY] == {"keys": 1, "webhook_secrets": 1, "setups": 1}, after
        assert COUNTED.items() <= found[Step.HISTORY].items(), after
        assert len(await AuditLog(here.pool).list_newest(subject=connection_id)) == 2, after
        if has_ended:
            break
        cuts += 1
    assert cuts > 50
    assert await endpoints_at_stripe(here) == []
    assert await places_of(here, CANARY) == set()


async def test_two_workers_at_the_same_removal_count_once(here: World) -> None:
    """One that slept past its lease goes on beside the one that took over."""
    await fill(here)
    before = await numbers(here)
    await ask(here)
    first = asyncio.create_task(here.removing().carry_out_one())
    await eventually(lambda: is_lent(here))
    await free(here)
    await asyncio.gather(first, here.removing().carry_out_one())
    done = await receipt(here)
    assert counts(done)[Step.HISTORY] == before
    assert [step.name for step in done.steps] == list(Step)
    assert len(await AuditLog(here.pool).list_newest(subject=CONNECTION)) == 2


async def is_lent(here: World) -> bool:
    return bool(await here.pool.fetchval("SELECT lease_until IS NOT NULL FROM removals"))
