"""Writers come and go, processes sleep past their session or lease and wake up, and all of them end in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment, Part, deployed, until

# One stack at a time: each has its processes.
pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.long]

CHANGES = 20  # a second
STEP = 3.0  # seconds between two changes of the number of writers
PAST_THE_SESSION = 8.0  # seconds; a member is given up after 6
PAST_THE_LEASE = 12.0  # seconds; a slice is lent for 10
LONGEST_STALL = 10.0  # seconds
ENDS_WITHIN = 30.0  # seconds
STALL = """
SELECT coalesce(max(extract(epoch FROM gap)), 0)::float8 FROM (
    SELECT written_at - lag(written_at) OVER (ORDER BY written_at) AS gap FROM event_log WHERE received_at IS NOT NULL
) gaps
"""
PAGES_UNDER_WAY = "SELECT count(*) FROM slices WHERE status = 'planned' AND pages > 0 AND lease_until > now()"


@pytest.fixture
def site(
    module_database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Deployment]:
    with deployed(tmp_path / "parts", module_database_url, kafka_bootstrap_servers, topic_prefix=topic_prefix) as site:
        site.start_simulator("--objects", "3000", "--live", "--no-rate-limits")
        yield site


def started(site: Deployment, *services: str) -> list[Part]:
    parts = [site.start(service) for service in services]
    for part in parts:
        until(lambda part=part: part.probe() == 200, f"{part.name} is ready", because=part.text)
    return parts


def test_nothing_is_lost_while_processes_come_go_and_sleep(site: Deployment) -> None:
    gateway, worker, other, first, api = started(
        site, "webhook-gateway", "sync-worker", "sync-worker", "destination-writer", "connection-api"
    )
    site.control.post("faults", {"latency_before_ms": 50})  # so that a worker is put to sleep amid its pages
    site.connect(api)
    until(lambda: site.value(PAGES_UNDER_WAY) > 0, "pages are under way")
    worker.pause()
    time.sleep(PAST_THE_LEASE)
    worker.resume()
    site.control.delete("faults")
    until(site.is_idle, "the backfill is over")

    site.control.post("business", {"changes_per_second": CHANGES})
    time.sleep(STEP)
    writers = [first, *(site.start("destination-writer") for _ in range(3))]
    time.sleep(STEP)
    ended = [writer.terminate() for writer in writers[:2]]
    time.sleep(STEP)
    writers = [*writers[2:], site.start("destination-writer")]
    time.sleep(STEP)
    writers[0].pause()
    time.sleep(PAST_THE_SESSION)
    writers[0].resume()
    time.sleep(STEP)
    site.settle()

    assert site.verdicts() == []
    assert site.value("SELECT count(*) FROM dead_letters") == 0
    assert site.value(STALL) <= LONGEST_STALL
    ended += [part.terminate(within=ENDS_WITHIN) for part in (*writers, worker, other, gateway, api)]
    assert [code for code, _ in ended] == [0] * len(ended)
