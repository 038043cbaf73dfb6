"""Rows and fields that have to go: all of them, nothing else, and whatever is cut off in the middle."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from services.destination_writer.destinations import Account, Cleaned
from services.destination_writer.dispatch import Result
from shared.catalogue import BY_NAME
from shared.cleanups import Cleanup, CleanupStore, Kind, request_cleanup
from shared.db import Pool, transaction
from tests.contracts import ACCOUNT, invoice
from tests.eventually import eventually
from tests.factories import CONNECTION, lines, make_record, make_winner
from tests.fakes import MemoryDestination
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.integration.destination_writer.state import State

NEIGHBOURS = (Account(ACCOUNT.id, livemode=False), Account("acct_2", livemode=True))
DATE = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = int(DATE.timestamp())
CHANGED = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome, changes)
VALUES ($1, $2, 'x', $3, 'id', 1, 'updated', 'sealed')
"""


@pytest.fixture(autouse=True)
def logs() -> Any:
    with structlog.testing.capture_logs() as found:
        yield found


@pytest.fixture
async def office(state: State) -> Office:
    bad, good = await state.add_destination("bad"), await state.add_destination("good")
    await state.add_connection(CONNECTION, bad, good)
    return Office(state, bad, good)


async def remove(office: Office) -> None:
    await office.state.pool.execute("UPDATE connections SET state = 'removing'")


async def ask(
    office: Office,
    *,
    kind: Kind = Kind.ROWS,
    resources: Sequence[str] = tuple(BY_NAME),
    created_before: datetime | None = None,
    fields: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Ask for a cleanup of the bad destination that is due at once."""
    async with transaction(office.state.pool) as db:
        return await request_cleanup(
            db,
            CONNECTION,
            office.bad_id,
            (ACCOUNT.id, ACCOUNT.livemode),
            kind=kind,
            resources=resources,
            created_before=created_before,
            fields=fields,
            after=timedelta(0),
        )


async def fill(office: Office, *, count: int = 7) -> MemoryDestination:
    """Give the bad destination rows of the connection's account and of others."""
    destination = office.destinations[office.bad_id]
    assert isinstance(destination, MemoryDestination)
    for account in (ACCOUNT, *NEIGHBOURS):
        customers = [make_winner(f"cus_{n}", created=SECOND - 4 + n, email="x@y.example") for n in range(count)]
        await destination.write(account, [*customers, invoice("in_1", SECOND - 1, "il_1"), invoice("in_2", SECOND)])
    return destination


def left(destination: MemoryDestination, account: Account = ACCOUNT) -> Counter[str]:
    """Return how many rows of the account each table holds."""
    keys = ((table, key) for table, rows in destination.tables.items() for key in rows)
    return Counter(table for table, key in keys if key[:2] == (account.id, account.livemode))


def data_of(destination: MemoryDestination, account: Account) -> list[Any]:
    rows = (item for rows in destination.tables.values() for item in rows.items())
    return [row["data"] for key, row in rows if key[:2] == (account.id, account.livemode)]


async def cleanup_of(office: Office) -> Cleanup:
    [cleanup] = await office.cleanups.of_connection(CONNECTION)
    return cleanup


ALL = {"customers": 7, "invoices": 2, "invoice_line_items": 1}


async def test_removed_connection_has_its_rows_deleted_and_counted(office: Office) -> None:
    destination = await fill(office)
    await ask(office)
    await remove(office)
    assert await office.cleaning.clean_next()
    cleanup = await cleanup_of(office)
    assert (cleanup.is_done, cleanup.affected, cleanup.cause) == (True, ALL, None)
    assert left(destination) == {}
    assert [left(destination, account) for account in NEIGHBOURS] == [ALL, ALL]
    assert not await office.cleaning.clean_next()


async def test_only_what_was_made_before_the_date_goes(office: Office) -> None:
    destination = await fill(office)
    await office.state.pool.execute("UPDATE connections SET start_date = $1", DATE)
    await ask(office, created_before=DATE)
    await office.cleaning.clean_next()
    assert (await cleanup_of(office)).affected == {"customers": 4, "invoices": 1, "invoice_line_items": 1}
    assert left(destination) == {"customers": 3, "invoices": 1}


async def test_only_the_given_resources_go(office: Office) -> None:
    destination = await fill(office)
    await office.state.pool.execute("UPDATE connections SET resources = '{invoice}'")
    await ask(office, resources=["customer", "no_longer_known"])
    await office.cleaning.clean_next()
    assert (await cleanup_of(office)).affected == {"customers": 7}
    assert left(destination) == {"invoices": 2, "invoice_line_items": 1}


@pytest.mark.parametrize(
    ("start", "created_before", "customers"),
    [(None, DATE, 7), (DATE - timedelta(seconds=2), DATE, 5), (DATE, DATE + timedelta(days=1), 3), (DATE, None, 7)],
)
async def test_what_the_connection_wants_by_now_is_kept(
    office: Office, start: datetime | None, created_before: datetime | None, customers: int
) -> None:
    """The start date was moved back before the cleanup came to it, and a backfill fetches the rows again."""
    destination = await fill(office)
    await office.state.pool.execute("UPDATE connections SET start_date = $1", start)
    await ask(office, created_before=created_before)
    await office.cleaning.clean_next()
    assert ((await cleanup_of(office)).is_done, left(destination)["customers"]) == (True, customers)


async def test_destination_that_is_not_delivered_to_any_more_is_cleaned_whole(office: Office) -> None:
    destination = await fill(office)
    await office.state.pool.execute("DELETE FROM connection_destinations WHERE destination_id = $1", office.bad_id)
    await ask(office)
    await office.cleaning.clean_next()
    assert left(destination) == {}


async def test_omitted_fields_are_taken_out_of_rows_and_children_and_of_what_is_parked(office: Office) -> None:
    destination = await fill(office)
    fields = {"customer": ["email", "missing.one"], "invoice": ["lines.data.amount"]}
    await office.parking.park(office.bad_id, [make_record("cus_9", email="x@y.example")], reason="away")
    await office.state.pool.execute("UPDATE connections SET omitted_fields = $1", fields)
    await ask(office, kind=Kind.FIELDS, resources=list(fields), fields=fields)
    await office.cleaning.clean_next()
    cleanup = await cleanup_of(office)
    assert (cleanup.is_done, cleanup.affected) == (True, {"customers": 7, "invoices": 1, "invoice_line_items": 1})
    for account in (ACCOUNT, *NEIGHBOURS):
        text = json.dumps(data_of(destination, account))
        assert ("email" in text, "amount" in text, "il_1" in text) == (account != ACCOUNT, account != ACCOUNT, True)
    assert [b"email" in body for (body,) in await office.state.rows("SELECT body FROM parked_records")] == [False]


async def test_what_events_have_changed_is_forgotten_with_the_fields_of_its_resource(office: Office) -> None:
    await fill(office)
    for number, resource in enumerate(("customer", "charge")):
        await office.state.pool.execute(CHANGED, CONNECTION, f"evt_{number}", resource)
    fields = {"customer": ["email"]}
    await office.state.pool.execute("UPDATE connections SET omitted_fields = $1", fields)
    await ask(office, kind=Kind.FIELDS, resources=list(fields), fields=fields)
    await office.cleaning.clean_next()
    rows = await office.state.rows("SELECT resource, changes IS NULL FROM event_log ORDER BY event_id")
    assert [tuple(row) for row in rows] == [("customer", True), ("charge", False)]


async def test_children_whose_whole_list_is_omitted_go(office: Office) -> None:
    destination = await fill(office)
    fields = {"invoice": ["lines"]}
    await office.state.pool.execute("UPDATE connections SET omitted_fields = $1", fields)
    await ask(office, kind=Kind.FIELDS, resources=["invoice"], fields=fields)
    await office.cleaning.clean_next()
    assert (await cleanup_of(office)).affected == {"invoices": 2, "invoice_line_items": 1}
    assert left(destination) == {"customers": 7, "invoices": 2}


async def test_field_that_is_wanted_again_by_now_stays(office: Office) -> None:
    destination = await fill(office)
    await office.state.pool.execute("UPDATE connections SET omitted_fields = $1", {"customer": ["created_by"]})
    await ask(office, kind=Kind.FIELDS, resources=[], fields={"customer": ["email"], "no_longer_known": ["email"]})
    await office.cleaning.clean_next()
    assert ((await cleanup_of(office)).is_done, (await cleanup_of(office)).affected) == (True, {})
    assert all("email" in row["data"] for row in (await destination.rows("customers")).values())


async def test_destination_that_is_away_is_cleaned_once_it_is_back(office: Office) -> None:
    destination = await fill(office)
    await ask(office)
    await remove(office)
    destination.is_down = True
    assert await office.cleaning.clean_next()
    cleanup = await cleanup_of(office)
    assert (cleanup.is_done, cleanup.cause) == (False, "The destination does not answer.")
    await office.rested()
    assert await office.cleaning.clean_next()
    destination.is_down = False
    await office.rested()
    await office.cleaning.clean_next()
    cleanup = await cleanup_of(office)
    assert (cleanup.is_done, cleanup.affected, cleanup.cause) == (True, ALL, None)


async def test_pauses_grow_up_to_a_minute(office: Office) -> None:
    (await fill(office)).is_down = True
    await ask(office)
    await remove(office)
    pauses = []
    for _ in range(12):
        await office.make_due()
        await office.cleaning.clean_next()
        pauses.append(await office.state.value("SELECT extract(epoch FROM not_before - now())::float8 FROM cleanups"))
    assert max(pauses[:1]) <= 1
    assert 2 < max(pauses) <= 60


class CutOffStore(CleanupStore):
    """Notes so many steps, and then never answers again."""

    def __init__(self, pool: Pool, steps: int) -> None:
        super().__init__(pool)
        self.steps = steps
        self.is_cut_off = asyncio.Event()

    async def note(self, cleanup_id: str, affected: Mapping[str, int]) -> None:
        await super().note(cleanup_id, affected)
        self.steps -= 1
        if self.steps < 0:
            self.is_cut_off.set()
            await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("steps", range(0, 12, 2))
async def test_cleanup_that_was_cut_off_is_finished_by_another_writer(office: Office, steps: int) -> None:
    destination = await fill(office)
    await ask(office)
    await remove(office)
    store = CutOffStore(office.state.pool, steps)
    killed = asyncio.create_task(office.cleaning_by(store).clean_next())
    await asyncio.wait_for(store.is_cut_off.wait(), 10)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert not await office.cleaning.clean_next()  # it is lent for a while
    await office.state.pool.execute("UPDATE cleanups SET lease_until = now()")
    assert await office.cleaning.clean_next()
    cleanup = await cleanup_of(office)
    assert (cleanup.is_done, cleanup.affected) == (True, ALL)
    assert (left(destination), left(destination, NEIGHBOURS[0])) == ({}, ALL)


async def test_rows_that_come_while_it_works_are_found_by_another_walk(office: Office) -> None:
    """A batch that was begun before the change may still be written."""

    class Late(MemoryDestination):
        async def delete_rows(self, account: Account, source: Any, **bounds: Any) -> Cleaned:
            cleaned = await super().delete_rows(account, source, **bounds)
            if source.name == "invoice" and self.writes == 1:
                await self.write(ACCOUNT, [make_winner("cus_late")])
            return cleaned

    destination = Late()
    office.destinations[office.bad_id] = destination
    await destination.write(ACCOUNT, [make_winner("cus_1")])
    await ask(office, resources=["customer", "invoice"])
    await remove(office)
    await office.cleaning.clean_next()
    assert (left(destination), (await cleanup_of(office)).affected) == ({}, {"customers": 2})


async def test_cleanup_of_a_connection_that_is_gone_is_forgotten_and_touches_nothing(office: Office) -> None:
    """Its account may be connected again by then."""
    destination = await fill(office)
    await ask(office)
    await office.state.pool.execute("DELETE FROM connections")
    assert not await office.cleaning.clean_next()
    cleaning = asyncio.create_task(office.cleaning.run())
    try:
        await eventually(lambda: is_forgotten(office))
    finally:
        cleaning.cancel()
    assert left(destination) == ALL


async def is_counted(office: Office) -> bool:
    return bool((await cleanup_of(office)).affected)


async def is_forgotten(office: Office) -> bool:
    return not await office.cleanups.of_connection(CONNECTION)


async def test_late_records_of_a_removed_connection_are_not_written_after_its_rows_went(office: Office) -> None:
    destination = await fill(office)
    await ask(office)
    await remove(office)
    await office.cleaning.clean_next()
    result: Result = await office.deliver(make_record(), make_record("in_1", resource="invoice", lines=lines("il_1")))
    assert (result.reports, left(destination)) == ([], {})


async def test_two_writers_clean_a_real_destination_side_by_side(office: Office, database_url: str) -> None:
    """The second has taken the cleanup over although the first is still at work."""
    destinations = [InspectedPostgres(database_url, "copy") for _ in range(2)]
    try:
        for start in range(0, 12_000, 2000):
            customers = [make_winner(f"cus_{n:05}", created=SECOND) for n in range(start, start + 2000)]
            await destinations[0].write(ACCOUNT, customers)
        await destinations[0].write(NEIGHBOURS[0], [make_winner("cus_1")])
        office.destinations[office.bad_id], office.destinations[office.good_id] = destinations
        await ask(office)
        await remove(office)
        first = asyncio.create_task(office.cleaning.clean_next())
        await eventually(lambda: is_counted(office))
        while not (await office.cleaning.clean_next() or first.done()):
            await office.state.pool.execute("UPDATE cleanups SET lease_until = now()")
        await first
        assert (await cleanup_of(office)).affected == {"customers": 12_000}
        assert [key[1] for key in await destinations[0].rows("customers")] == [False]
    finally:
        await asyncio.gather(*(destination.close() for destination in destinations))
