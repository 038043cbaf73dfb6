"""A comparison finds exactly the rows that are not what Stripe has, and a repair puts them right."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from shared.audit import Actor
from shared.comparisons import ComparisonStore, is_comparable
from shared.db import transaction
from shared.syncs import Sync
from tests.eventually import eventually
from tests.integration.drift.pipeline import EVERYTHING, SYNCED, Pipeline, pipeline

BY = Actor("test")
Found = set[tuple[str, str, str]]  # kind, resource, id


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def here(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pipeline]:
    """An account in which nothing happens, so that nothing is on its way when a row is looked at again."""
    for where in ("destination_writer.findings", "sync_worker.absences"):
        monkeypatch.setattr(f"services.{where}.SECOND_LOOK", timedelta(seconds=1))
    async with pipeline(database_url, kafka_bootstrap_servers, topic_prefix) as made:
        await made.searched()
        await made.answered()
        yield made


async def differences(here: Pipeline, sync: Sync) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return the fields that differ by kind, resource and id."""
    found = await ComparisonStore(here.pool).differences(sync.id, limit=1000)
    return {(one.kind, one.resource, one.object_id): one.fields for one in found}


async def totals(here: Pipeline, sync: Sync) -> dict[str, int]:
    rows = await ComparisonStore(here.pool).counts(sync.id)
    names = ("compared", "different", "missing", "extra", "skipped")
    return {name: sum(getattr(row, name) for row in rows) for name in names}


async def repair(here: Pipeline, sync: Sync) -> None:
    async with transaction(here.pool) as db:
        await ComparisonStore(here.pool).repair(sync.id, db=db)
    await here.answered()


async def test_a_healthy_connection_under_load_has_no_differences(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    servers = (database_url, kafka_bootstrap_servers, topic_prefix)
    async with pipeline(*servers, resources=EVERYTHING, objects=1000, changes_per_second=10) as here:
        for is_full in (True, False):
            sync = await here.verify(is_full=is_full)
            found = await totals(here, sync)
            assert await differences(here, sync) == {}
            assert {found[name] for name in ("different", "missing", "extra", "skipped")} == {0}
        listed = {row.resource for row in await ComparisonStore(here.pool).counts(sync.id)}
        assert found["compared"] > 500
        assert "balance" not in listed
    assert not is_comparable("balance")


async def test_exactly_what_was_damaged_is_named_and_a_repair_makes_it_right(here: Pipeline) -> None:
    changed, lost, hidden = await here.ids("customer", 3)
    [invoice] = [
        row["id"] for row in await here.pool.fetch("SELECT _parent AS id FROM copy.invoice_line_items LIMIT 1")
    ]
    [charge] = await here.ids("charge")
    await here.damage("""UPDATE {}.customers SET data = data || '{"name": "Eve"}' WHERE id = $1""", changed)
    await here.damage("DELETE FROM {}.customers WHERE id = $1", lost)
    await here.damage("UPDATE {}.customers SET _deleted = true, _deleted_at = now() WHERE id = $1", hidden)
    await here.damage("DELETE FROM {}.invoice_line_items WHERE _parent = $1", invoice)
    await here.damage(
        """INSERT INTO {}.charges (_account, _livemode, id, data, _stamp, _listed)
           SELECT _account, _livemode, 'ch_ghost', data || '{"id": "ch_ghost"}', _stamp, _listed
           FROM {}.charges WHERE id = $1""",
        charge,
    )
    before = await here.pool.fetchrow("SELECT sum(n_tup_upd + n_tup_ins) FROM pg_stat_user_tables")

    sync = await here.verify()
    assert await differences(here, sync) == {
        ("different", "customer", changed): ("name",),
        ("missing", "customer", lost): (),
        ("missing", "customer", hidden): (),
        ("different", "invoice", invoice): ("lines (invoice_line_items)",),
        ("extra", "charge", "ch_ghost"): (),
    }
    assert (await totals(here, sync)) | {"compared": 0} == {
        "compared": 0, "different": 2, "missing": 2, "extra": 1, "skipped": 0,
    }  # fmt: skip
    assert before is not None
    assert await here.wrong(SYNCED) != {}  # it writes nothing by itself

    await repair(here, sync)

    async def is_right() -> bool:
        return await here.wrong(SYNCED) == {}

    await eventually(is_right, within=60)
    again = await here.verify()
    assert await differences(here, again) == {}


async def test_a_comparison_writes_no_row(here: Pipeline) -> None:
    sql = "SELECT json_agg((id, _stamp, xmin::text) ORDER BY id)::text FROM copy.customers"
    before = await here.pool.fetchval(sql)
    await here.verify(resources=["customer"])
    assert json.loads(await here.pool.fetchval(sql)) == json.loads(before)


async def test_what_is_not_synced_is_no_difference(here: Pipeline) -> None:
    """A field that is left out, and an object before the start date, are not what the destination should have."""
    await here.pool.execute("UPDATE connections SET start_date = (SELECT max(created) FROM copy.customers)")
    await here.pool.execute("""UPDATE connections SET omitted_fields = '{"customer": ["email", "address"]}'""")
    await here.damage("UPDATE {}.customers SET data = data - 'email' - 'address'")
    older = "created < (SELECT start_date FROM connections)"
    assert await here.damage(f"DELETE FROM {{}}.customers WHERE {older}") > 0
    sync = await here.verify()
    assert await differences(here, sync) == {}


async def test_a_sample_reads_few_pages_of_each_list(
    database_url: str, kafka_bootstrap_servers: str, topic_prefix: str
) -> None:
    servers = (database_url, kafka_bootstrap_servers, topic_prefix)
    async with pipeline(*servers, resources=("charge", "coupon"), objects=6000) as here:
        sync = await here.verify(is_full=False)
        pages = dict(
            await here.pool.fetch("SELECT resource, sum(pages)::int FROM slices WHERE sync_id = $1 GROUP BY 1", sync.id)
        )
        assert pages["charge"] == 5
        # One object of each list is read alone, if its newest part has any.
        assert 1 <= sync.stripe_calls - sum(pages.values()) <= len(pages)
        assert (await totals(here, sync))["different"] == 0


async def test_more_differences_than_are_named_are_counted(here: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.destination_writer.second_look.KEPT", 3)
    gone = await here.damage("DELETE FROM {}.customers")
    sync = await here.verify(resources=["customer"])
    assert len(await differences(here, sync)) == 3
    assert (await totals(here, sync))["missing"] == gone


async def test_a_destination_that_is_away_has_its_rows_skipped(here: Pipeline) -> None:
    await here.pool.execute("ALTER TABLE copy.customers RENAME COLUMN data TO gone")
    sync = await here.verify(resources=["customer"], is_full=False)
    found = await totals(here, sync)
    assert (found["compared"], found["different"]) == (0, 0)
    assert found["skipped"] > 0
