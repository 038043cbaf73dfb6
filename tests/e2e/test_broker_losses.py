"""A broker that loses what it had acknowledged, under load: every row still comes to equal Stripe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from shared.errors import KafkaUnavailableError
from shared.kafka import Outgoing, Producer, ensure_topics
from shared.topics import EVENTS
from tests.e2e.brokers import OwnBroker
from tests.e2e.deployment import Deployment, Part, deployed, until
from tests.integration.destination_writer.state import make_settings

# One stack at a time: each has a broker, a database and its processes.
pytestmark = pytest.mark.xdist_group("stack")

CHANGES = 20  # a second
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
RECOVERED_WITHIN = 6.0  # seconds; it takes less than two where nothing else runs
SILENT_FOR = 6.0  # seconds
NOTICED_WITHIN = 5.0  # seconds
ANSWERED = "tillstream_gateway_webhook_seconds_count"
ANSWERED_IN_TIME = 'tillstream_gateway_webhook_seconds_bucket{le="2.5"}'
UNWRITTEN = 30  # events that the broker has and no destination
TOPICS = ("tillstream.events.v1", "tillstream.snapshots.v1", "tillstream.commands.v1", "tillstream.dead-letters.v1")
AT_WORK = "SELECT EXISTS (SELECT FROM slices WHERE pages > 0)"
NOTICED = "tillstream_broker_losses_total"
ACCEPTED = 'tillstream_gateway_webhooks_total{outcome="published"}'


@dataclass
class Site:
    """A deployment with a broker of its own."""

    broker: OwnBroker
    deployment: Deployment
    gateway: Part
    worker: Part
    writer: Part


@pytest.fixture(scope="module")
def site(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    broker = OwnBroker(folder / "kafka")
    broker.start()
    try:
        with deployed(folder / "parts", module_database_url, broker.address) as deployment:
            deployment.start_simulator("--objects", "1500", "--live", "--no-rate-limits")
            parts = [deployment.start(name) for name in ("webhook-gateway", "sync-worker", "destination-writer")]
            api = deployment.start("connection-api")
            for part in (*parts, api):
                until(lambda part=part: part.probe() == 200, f"{part.name} is ready", because=part.text)
            deployment.connect(api)
            yield Site(broker, deployment, *parts)
    finally:
        broker.kill()


def restarted(broker: OwnBroker, empty: Callable[[], None]) -> None:
    broker.kill()
    empty()
    broker.start()


LOSSES: dict[str, Callable[[OwnBroker], None]] = {
    "everything": lambda broker: restarted(broker, broker.empty),
    "everything_but_its_id": lambda broker: restarted(broker, broker.empty_but_keep_its_id),
    "its_topics": lambda broker: broker.delete_topics(*TOPICS),
    "what_retention_took": lambda broker: broker.delete_records(*TOPICS[:2]),
}


def test_silent_broker_costs_a_webhook_no_more_than_its_second_try(site: Site) -> None:
    """Stripe is told in time to try again, no service is ended for it, and nothing counts as lost."""
    deployment, noticed = site.deployment, site.worker.metric(NOTICED)
    deployment.control.post("business", {"changes_per_second": CHANGES})
    until(lambda: deployment.value(AT_WORK), "something is written")
    site.broker.pause()
    parts = (site.gateway, site.worker, site.writer)
    for part in parts:
        until(lambda part=part: part.probe() == 503, f"{part.name} is not ready", within=NOTICED_WITHIN)
        assert part.probe("/livez") == 200
    time.sleep(SILENT_FOR)
    site.broker.resume()
    for part in parts:
        until(lambda part=part: part.probe() == 200, f"{part.name} is ready again", within=NOTICED_WITHIN)
    deployment.settle()
    assert deployment.verdicts() == []
    assert site.worker.metric(NOTICED) == noticed
    assert site.gateway.metric(ANSWERED_IN_TIME) == site.gateway.metric(ANSWERED) > 0


async def test_producer_recovers_by_itself_from_an_emptied_broker(site: Site) -> None:
    """It publishes again by itself, to topics that it has made anew."""
    settings = make_settings(NOWHERE, site.broker.address, "recovers")
    producer = Producer(settings, timeout_seconds=1.5)
    record = Outgoing(b"key", b"value", [])
    await ensure_topics(settings)
    await producer.publish(EVENTS, record)
    restarting = asyncio.create_task(asyncio.to_thread(restarted, site.broker, site.broker.empty))
    failed = 0
    ready_at = published_at = None
    while published_at is None:
        if ready_at is None and restarting.done():
            ready_at = time.monotonic()
        try:
            placed = await producer.publish(EVENTS, record)
            published_at = time.monotonic() if failed else None
        except KafkaUnavailableError:
            failed += 1
        await asyncio.sleep(0.02)
    await restarting
    await producer.stop()
    assert placed.offset <= failed  # one that was not acknowledged in time may be there all the same
    assert published_at - (ready_at or published_at) <= RECOVERED_WITHIN


@pytest.mark.parametrize(
    "loss", ["everything", *(pytest.param(loss, marks=pytest.mark.long) for loss in list(LOSSES)[1:])]
)
def test_nothing_is_lost_when_the_broker_loses(site: Site, loss: str) -> None:
    """Webhooks that were acknowledged, pages and answers lie unwritten on the broker when it loses them."""
    deployment = site.deployment
    noticed = site.worker.metric(NOTICED)
    deployment.control.post("business", {"changes_per_second": CHANGES})
    until(lambda: deployment.value(AT_WORK), "something is written")
    site.writer.pause()
    accepted = site.gateway.metric(ACCEPTED)
    until(lambda: site.gateway.metric(ACCEPTED) >= accepted + UNWRITTEN, "webhooks are acknowledged and not written")
    LOSSES[loss](site.broker)
    site.writer.resume()
    until(lambda: site.worker.metric(NOTICED) > noticed, "the loss is noticed", within=30, because=site.worker.text)
    deployment.settle()
    assert deployment.verdicts() == []
    assert all(part.process.poll() is None for part in (site.gateway, site.worker, site.writer))
