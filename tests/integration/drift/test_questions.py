"""A comparison confirms no difference while Stripe is being asked about the object: the answer may make it right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.destination_writer.second_look import POLL_INTERVAL
from shared.catalogue import BY_NAME
from shared.comparisons import ComparisonStore
from tests.eventually import eventually
from tests.integration.drift.pipeline import CONNECTION, PATIENCE, Pipeline, pipeline

RESOURCES = ("balance_transaction", "charge", "customer", "invoiceitem")
# Somebody else answers it: nobody takes it up until the lease is given back.
ASK = """
INSERT INTO refetches (connection_id, resource, object_id, reason, due_at, lease_until)
VALUES ($1, $2, $3, 'test', $4::text::timestamptz, now() + interval '1 hour')
"""
LOOKED_AT = """
SELECT EXISTS (SELECT FROM differences WHERE status = 'suspected' AND object_id = $1 AND due_at > now() + $2::interval)
"""
AFTER_A_LOOK = timedelta(seconds=5)  # a look puts it off by more, the first waits less


@pytest.fixture
async def here(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pipeline]:
    for name in ("findings.SECOND_LOOK", "findings.LATE_LOOK"):
        monkeypatch.setattr(f"services.destination_writer.{name}", timedelta(seconds=2 * POLL_INTERVAL))
    monkeypatch.setattr("services.destination_writer.second_look.PAUSE", timedelta(seconds=10))
    async with pipeline(database_url, kafka_bootstrap_servers, topic_prefix, resources=RESOURCES) as made:
        await made.searched()
        await made.answered()
        yield made


async def missing(here: Pipeline, sync_id: str) -> int:
    await here.ended(sync_id)
    return sum(one.missing for one in await ComparisonStore(here.pool).counts(sync_id))


@pytest.mark.parametrize(
    ("resource", "is_list"), [("customer", False), ("invoiceitem", False), ("balance_transaction", True)]
)
async def test_difference_waits_for_the_answer_about_its_object(here: Pipeline, resource: str, is_list: bool) -> None:
    """Also where it is the newest part of the list that is asked for."""
    [lost] = [row["id"] for row in await here.pool.fetch(
        f"SELECT id FROM copy.{BY_NAME[resource].table} ORDER BY _stamp DESC, id LIMIT 1"
    )]  # fmt: skip
    await here.damage(f"DELETE FROM {{}}.{BY_NAME[resource].table} WHERE id = $1", lost)
    # The list was last read before the object was made.
    await here.pool.execute("DELETE FROM list_tails")
    await here.pool.execute("UPDATE connections SET created_at = now() - interval '1000 days'")
    await here.pool.execute(ASK, CONNECTION, resource, "*" if is_list else lost, "now")
    sync_id = await here.compare(resources=[resource])
    await eventually(here.holds(LOOKED_AT, lost, AFTER_A_LOOK), within=PATIENCE)
    assert (await ComparisonStore(here.pool).differences(sync_id)) == []

    await here.pool.execute("UPDATE refetches SET lease_until = NULL")
    assert await missing(here, sync_id) == 0
    assert await here.wrong([resource]) == {}


async def test_question_that_nobody_answers_soon_keeps_no_comparison_open(here: Pipeline) -> None:
    [lost] = await here.ids("customer")
    await here.damage("DELETE FROM {}.customers WHERE id = $1", lost)
    await here.pool.execute(ASK, CONNECTION, "customer", lost, "infinity")
    assert await missing(here, await here.compare(resources=["customer"])) == 1
