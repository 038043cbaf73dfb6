"""Polling: often after news, rarely when quiet, and by one worker for each connection."""

from __future__ import annotations

import asyncio
from typing import Any

from services.sync_worker.gap_fill import GapFill
from shared.connections import Connection, State
from shared.refusals import Cause, Refused, find_refusals, note_refusals
from tests.eventually import eventually
from tests.integration.sync_worker.worlds import CONNECTION, World


async def polls(here: World) -> int:
    return len(await here.calls("/v1/events"))


async def test_news_is_found_without_a_webhook(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    await here.polling().poll_due()
    assert any(str(identity).startswith("ch_") for identity in here.published_ids())


async def test_a_connection_is_polled_again_only_after_its_pause(here: World) -> None:
    polling = here.polling(shortest=60)
    await polling.poll_due()
    before = await polls(here)
    await polling.poll_due()
    assert await polls(here) == before


async def test_two_workers_do_not_poll_the_same_connection(here: World) -> None:
    await here.polling("worker-1", shortest=60).poll_due()
    before = await polls(here)
    await here.polling("worker-2", shortest=60).poll_due()
    assert await polls(here) == before


async def test_the_turn_to_poll_outlasts_the_pause(here: World) -> None:
    await here.polling("worker-1", shortest=60).poll_due()
    left = await here.pool.fetchval("SELECT extract(epoch FROM until - now()) FROM leases")
    assert left > 60


async def test_another_worker_polls_once_the_turn_has_run_out(here: World) -> None:
    await here.polling("worker-1").poll_due()
    before = await polls(here)
    await here.pool.execute("UPDATE leases SET until = now() - interval '1 second'")
    await here.polling("worker-2").poll_due()
    assert await polls(here) > before


async def test_only_active_connections_are_polled(here: World) -> None:
    await here.connections.set_state(CONNECTION, State.PAUSED)
    await here.polling().poll_due()
    assert await polls(here) == 0


async def test_a_connection_with_a_webhook_is_not_polled(here: World) -> None:
    await here.pool.execute("UPDATE connections SET live_by = 'webhooks'")
    await here.polling().poll_due()
    assert await polls(here) == 0


async def test_a_failing_stripe_is_asked_again_later(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_event_read"]})
    await here.polling(shortest=60).poll_due()
    assert (await here.connection()).state is State.ACTIVE


class StuckGapFill(GapFill):
    """Never comes back for the first connection; notes the others."""

    def __init__(self) -> None:
        self.filled: list[str] = []

    async def fill(self, connection: Connection, *_what: Any, **_how: Any) -> int:
        if connection.id == CONNECTION:
            await asyncio.Event().wait()
        self.filled.append(connection.id)
        return 0


async def test_a_connection_that_is_slow_keeps_no_other_waiting(here: World) -> None:
    await here.add_connection("con_2")
    stuck = StuckGapFill()
    running = asyncio.create_task(here.polling(longest=0.1, gap_fill=stuck).run())
    await eventually(lambda: len(stuck.filled) > 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert set(stuck.filled) == {"con_2"}


async def test_the_pace_is_noted_for_people(here: World) -> None:
    await here.polling(shortest=4).poll_due()
    [row] = await here.pool.fetch("SELECT connection_id, pause_seconds, polled_at <= now() AS is_past FROM polls")
    assert dict(row) == {"connection_id": CONNECTION, "pause_seconds": 6, "is_past": True}


async def test_a_connection_whose_webhooks_are_refused_is_polled_until_one_is_accepted(here: World) -> None:
    await here.pool.execute("UPDATE connections SET live_by = 'webhooks'")
    await here.pool.execute(
        "INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ('whe_1', $1, 'https://x')", CONNECTION
    )
    await note_refusals(here.pool, {"whe_1": Refused(Cause.CLOCK, 3, 400)}, [])
    await here.control("POST", "scenarios/refund")
    await here.polling().poll_due()
    assert any(str(identity).startswith("ch_") for identity in here.published_ids())
    await note_refusals(here.pool, {}, ["whe_1"])
    before = await polls(here)
    await here.polling("another").poll_due()
    assert await polls(here) == before


async def refuse(here: World, cause: Cause) -> None:
    await here.pool.execute("UPDATE connections SET live_by = 'webhooks'")
    await here.pool.execute(
        "INSERT INTO webhook_endpoints (id, connection_id, url) VALUES ('whe_1', $1, 'https://x')", CONNECTION
    )
    await note_refusals(here.pool, {"whe_1": Refused(cause, 3, 1)}, [])


async def test_what_a_stranger_sends_makes_it_look_rarely_and_for_some_minutes(here: World) -> None:
    await here.polling("before").poll_due()
    await here.pool.execute("DELETE FROM leases")
    await refuse(here, Cause.SECRET)
    await here.polling(shortest=2, longest=60).poll_due()
    assert await here.pool.fetchval("SELECT pause_seconds FROM polls") == 60
    assert (await find_refusals(here.pool))[CONNECTION].proven_at is None
    await here.pool.execute("UPDATE webhook_refusals SET last_at = now() - interval '1 hour'")
    await here.pool.execute("DELETE FROM leases")
    before = await polls(here)
    await here.polling("later").poll_due()
    assert await polls(here) == before


async def test_event_that_no_webhook_told_shows_that_stripe_was_refused(here: World) -> None:
    await refuse(here, Cause.SECRET)
    await here.control("POST", "scenarios/refund")
    await here.polling().poll_due()
    assert (await find_refusals(here.pool))[CONNECTION].proven_at is not None


async def test_event_of_long_before_shows_nothing_of_what_is_refused(here: World) -> None:
    await here.control("POST", "scenarios/refund")
    await refuse(here, Cause.SECRET)
    await here.pool.execute("UPDATE webhook_refusals SET since = now() + interval '1 hour'")
    await here.polling().poll_due()
    assert here.published_ids()
    assert (await find_refusals(here.pool))[CONNECTION].proven_at is None
