"""A destination that was emptied by hand is rebuilt to the same checksum; one that is whole is not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import SCHEMA, TOKEN, Deployment, Part, deployed, until
from tests.infrastructure import REPOSITORY

# One stack at a time: each has its processes.
pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.long]

TABLES = """
SELECT table_name FROM information_schema.tables WHERE table_schema = $1 AND table_type = 'BASE TABLE' ORDER BY 1
"""
CHECKSUM = "SELECT md5(string_agg(id || ' ' || data::text, '\n' ORDER BY id)) FROM {schema}.{table} WHERE NOT _deleted"
LOST = "DELETE FROM {schema}.{table} WHERE hashtext(id) % 3 = 0"
CHANGED = "SELECT inserted + updated + deleted FROM syncs WHERE trigger = 'destination rebuilt'"
DONE = "SELECT count(*) FROM syncs WHERE trigger = 'destination rebuilt' AND status = 'succeeded'"


@pytest.fixture
def site(
    module_database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> Iterator[tuple[Deployment, Part]]:
    with deployed(tmp_path / "parts", module_database_url, kafka_bootstrap_servers, topic_prefix=topic_prefix) as site:
        site.start_simulator("--objects", "1500", "--live", "--no-rate-limits")
        parts = [site.start(n) for n in ("webhook-gateway", "sync-worker", "destination-writer", "connection-api")]
        for part in parts:
            until(lambda part=part: part.probe() == 200, f"{part.name} is ready", because=part.text)
        site.connect(parts[-1])
        until(site.is_idle, "the backfill is over")
        yield site, parts[-1]


def checksums(site: Deployment) -> dict[str, str]:
    """Return one checksum per table, over the ids and documents of its live rows."""
    return {table: site.value(CHECKSUM.format(schema=SCHEMA, table=table)) for table in site.query(TABLES, SCHEMA)}


def rebuild(site: Deployment, api: Part) -> None:
    """Run the command, as a person would."""
    environ = os.environ | {"TILLSTREAM_API_URL": api.url, "TILLSTREAM_API_TOKEN": TOKEN, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "services", "destinations", "rebuild", "Rows", "--yes", "--json"]
    ran = subprocess.run(command, env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    until(site.is_idle, "the gap fill after it is over")


def test_rebuild_brings_back_what_was_lost_and_changes_nothing_else(site: tuple[Deployment, Part]) -> None:
    deployment, api = site
    whole = checksums(deployment)
    assert len(whole) > 20

    rebuild(deployment, api)
    assert checksums(deployment) == whole
    assert deployment.query(CHANGED) == [0]

    for table in whole:
        deployment.query(LOST.format(schema=SCHEMA, table=table))
    assert checksums(deployment) != whole
    rebuild(deployment, api)
    assert checksums(deployment) == whole

    deployment.query(f"DROP SCHEMA {SCHEMA} CASCADE")
    rebuild(deployment, api)
    assert checksums(deployment) == whole
    assert deployment.value(DONE) == 3
