"""What the sync worker makes of a broker that comes back with less than it had."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from services.sync_worker.broker import Seen
from services.sync_worker.broker_watch import LOST, BrokerWatch
from services.sync_worker.gap_fill import OVERLAP
from shared.broker_log import CurrentLog
from shared.errors import KafkaUnavailableError
from shared.syncs import EVENT_FEED, Kind, Status
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, World

SNAPSHOTS = ("tillstream.snapshots.v1", 0)
LONG_AGO = "UPDATE broker_logs SET seen_at = now() - interval '1 minute'"
SYNCS = "SELECT count(*) FROM syncs WHERE trigger = $1"


class FakeBroker:
    """A broker that shows what it is told to show."""

    def __init__(self, starts: int = 0, ends: int = 1_000_000) -> None:
        self.seen = Seen(CLUSTER, None, {SNAPSHOTS: starts}, {SNAPSHOTS: ends})

    async def look(self) -> Seen:
        return self.seen

    async def leave_mark(self, mark: str) -> None:
        self.seen = replace(self.seen, mark=mark)


class Watch:
    """A watch that has looked once."""

    def __init__(self, here: World, broker: FakeBroker) -> None:
        self.broker, self.log = broker, CurrentLog("")
        self.look = BrokerWatch(here.pool, here.connections, here.syncs, broker, self.log).look


@pytest.fixture
async def watch(here: World) -> Watch:
    watch = Watch(here, FakeBroker())
    await watch.look()
    return watch


async def losses(here: World) -> int:
    return int(await here.pool.fetchval(SYNCS, LOST)) // 2  # the feed, and the lists that it leaves out


async def test_a_broker_that_stays_as_it_is_loses_nothing(here: World, watch: Watch) -> None:
    await here.start("charge")
    await here.fetch_all()
    await watch.look()
    assert (watch.log.id, await losses(here)) == (CLUSTER, 0)


@pytest.mark.parametrize("change", [{"cluster_id": "cluster-2"}, {"mark": None}, {"ends": {SNAPSHOTS: 1}}])
async def test_what_lay_there_unwritten_runs_again(here: World, watch: Watch, change: dict[str, object]) -> None:
    """Whether the cluster is another one, our mark is gone, or a partition ends before what was published."""
    await here.start("charge")
    await here.fetch_all()
    await here.pool.execute(LONG_AGO)
    watch.broker.seen = replace(watch.broker.seen, **change)  # type: ignore[arg-type]
    await watch.look()
    assert watch.log.id == f"{watch.broker.seen.cluster_id}/2"
    await here.completion(watch.log.id).finish_confirmed()
    here.producer.published.clear()
    while await here.backfill(cluster=watch.log.id).fetch_one():
        pass
    assert set(here.published_ids()) >= here.truth("charge")


async def test_the_feed_is_read_again_from_where_events_are_surely_written(here: World, watch: Watch) -> None:
    written = int(time.time()) - 3600
    await here.pool.execute(
        "UPDATE connections SET events_written_to = $1::bigint, events_complete_to = $1 + 3000", written
    )
    watch.broker.seen = replace(watch.broker.seen, mark=None)
    await watch.look()
    assert (await here.connection()).events_complete_to == written
    [gap_fill] = [sync for sync in await here.syncs.list_newest() if sync.kind is Kind.GAP_FILL]
    assert gap_fill.range_start is not None
    assert int(gap_fill.range_start.timestamp()) == written - OVERLAP


async def test_a_fill_that_was_under_way_does_not_hide_the_loss(here: World, watch: Watch) -> None:
    """What it had published lies on the log that was lost, so it may not say that the events are complete."""
    await here.fill()
    before = (await here.connection()).events_complete_to
    watch.broker.seen = replace(watch.broker.seen, mark=None)
    await watch.look()
    await here.connections.advance_events(CONNECTION, int(time.time()) + 1000, log_id=CLUSTER)
    after = (await here.connection()).events_complete_to
    assert before is not None
    assert after is not None
    assert after <= before


async def test_events_count_as_written_once_the_slice_of_the_feed_is_confirmed(here: World) -> None:
    await here.control("POST", "scenarios/renewal", {})
    sync_id = await here.start(EVENT_FEED)
    await here.fetch_all()
    await here.completion().finish_confirmed()
    assert await here.pool.fetchval("SELECT events_written_to FROM connections") is None
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED
    assert await here.pool.fetchval("SELECT events_written_to = events_complete_to FROM connections")


@pytest.mark.parametrize("object_id", ["one", "*"])
async def test_an_answer_that_was_lost_is_asked_for_again(here: World, watch: Watch, object_id: str) -> None:
    asked = min(here.truth("charge")) if object_id == "one" else object_id
    began = int(time.time()) - 300 * 86_400
    await here.pool.execute("INSERT INTO list_tails VALUES ($1, 'charge', $2)", CONNECTION, began)
    await here.refresh("charge", asked)
    watch.broker.seen = replace(watch.broker.seen, mark=None)
    await watch.look()
    assert await here.pool.fetchval("SELECT object_id FROM refetches WHERE resource = 'charge'") == asked
    listed_to = await here.pool.fetchval("SELECT listed_to FROM list_tails WHERE resource = 'charge'")
    assert listed_to <= began


async def test_an_answer_that_was_written_is_not_asked_for_again(here: World, watch: Watch) -> None:
    await here.refresh("charge", min(here.truth("charge")))
    await here.pool.execute(
        "UPDATE writer_progress SET next_offset = 1000 WHERE (topic, partition) = ($1, $2)", *SNAPSHOTS
    )
    await watch.look()
    watch.broker.seen = replace(watch.broker.seen, mark=None)
    await watch.look()
    assert await here.pool.fetchval("SELECT count(*) FROM refetches") == 0


async def test_what_retention_took_unwritten_runs_again_on_the_same_log(here: World, watch: Watch) -> None:
    await here.start("charge")
    await here.fetch_all()
    watch.broker.seen = replace(watch.broker.seen, starts={SNAPSHOTS: 1_000_000})
    await here.fill()
    await watch.look()
    await watch.look()
    assert (watch.log.id, await losses(here)) == (CLUSTER, 1)
    await here.completion().finish_confirmed()
    assert await here.pool.fetchval("SELECT count(*) FROM slices WHERE status = 'planned' AND cursor IS NULL") >= 1


async def test_a_gap_holds_a_slice_open_until_it_is_looked_into(here: World, watch: Watch) -> None:
    """A record that became a dead letter leaves a gap; nothing is lost by it."""
    sync_id = await here.start("charge")
    await here.fetch_all()
    await here.confirm_everything()
    await here.pool.execute("INSERT INTO broker_gaps VALUES ($1, $2, $3, 0)", CLUSTER, *SNAPSHOTS)
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    await watch.look()
    await here.completion().finish_confirmed()
    assert (await here.syncs.get(sync_id)).status is Status.SUCCEEDED
    assert await losses(here) == 0


async def test_a_broker_that_others_still_find_is_not_replaced(here: World, watch: Watch) -> None:
    """While services move to another broker, some still see the old one: nobody may jump back and forth."""
    other = Watch(here, FakeBroker())
    other.broker.seen = replace(other.broker.seen, cluster_id="cluster-2")
    with pytest.raises(KafkaUnavailableError):
        await other.look()
    await here.pool.execute(LONG_AGO)
    await other.look()
    assert other.log.id == "cluster-2/2"
