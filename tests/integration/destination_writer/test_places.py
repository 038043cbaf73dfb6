"""What keeps rows out of a Postgres until a person mends it is told, and one table keeps no other waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.destination_writer.app import open_as
from services.destination_writer.outlets import Outlets
from services.destination_writer.troubles import Troubles
from shared.audit import Actor
from shared.catalogue import BY_NAME
from shared.cleanups import request_cleanup
from shared.db import transaction
from shared.delays import Delay, delays_of_destination
from shared.destinations import parse_postgres_url
from shared.errors import DestinationBlockedError, DestinationRejectedError, DestinationUnavailableError
from shared.installation import installation_id
from shared.postgres_mark import Claimant
from shared.postgres_probe import claim_place
from tests.contracts import ACCOUNT
from tests.databases import address_of, drop
from tests.eventually import eventually
from tests.factories import CONNECTION, make_record, make_winner
from tests.integration.connection_api.test_destinations import role
from tests.integration.connection_api.test_places import elsewhere, make_foreign
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.postgres_rows import InspectedPostgres
from tests.integration.destination_writer.state import State

BY = Actor("test")
DEADLINE = 20.0  # seconds: nothing here is about being quick


@pytest.fixture
async def weak(database_url: str) -> AsyncIterator[str]:
    """The address of a user who owns the schema `rows` and is no superuser."""
    async with role(database_url) as address:
        await run(database_url, f"CREATE SCHEMA rows AUTHORIZATION {urlsplit(address).username}")
        yield address


async def run(url: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def make_office(state: State, *destination_ids: str) -> Office:
    """Return a writer's parts over real Postgres destinations."""
    await state.add_connection(CONNECTION, *destination_ids)
    own_id = await installation_id(state.pool)
    outlets = Outlets(state.destinations, open_as(own_id, state.destinations), Troubles(state.pool))
    return Office(state, destination_ids[0], destination_ids[-1], outlets)


async def add(state: State, name: str, url: str, schema: str) -> str:
    return await state.destinations.insert(name, *parse_postgres_url(url, schema=schema), by=BY)


async def delays(office: Office, destination_id: str) -> list[Delay]:
    return await delays_of_destination(office.state.pool, destination_id)


async def written(url: str, schema: str, table: str) -> list[str]:
    return [row["id"] for row in await run(url, f"SELECT id FROM {schema}.{table} ORDER BY 1")]


async def cleaned(office: Office) -> list[tuple[str, str]]:
    """Carry the cleanup out; a destination that refused is left alone for a moment before."""

    async def is_done() -> bool:
        await office.make_due()
        await office.cleaning.clean_next()
        return bool(await office.state.value("SELECT status FROM cleanups") == "done")

    await eventually(is_done)
    return [(status, cause) for status, cause in await office.state.rows("SELECT status, cause FROM cleanups")]


async def try_again(office: Office) -> None:
    """Let what waits be tried as if its time, and that of what refused, had come."""
    for outlet in list(office.outlets._outlets.values()):
        await outlet.close()
    office.outlets._outlets.clear()
    await office.outlets.look_again()
    await office.make_due()
    while await office.retry.retry_due():
        pass


async def test_table_of_another_tool_keeps_no_other_waiting(state: State, weak: str, database_url: str) -> None:
    await run(database_url, "DROP SCHEMA rows")
    await make_foreign(database_url, "rows")
    destination_id = await add(state, "rows", database_url, "rows")
    office = await make_office(state, destination_id)
    records = [make_record(), make_record("co_1", resource="coupon"), make_record("ch_1", resource="charge")]
    await office.deliver(*records, deadline_seconds=DEADLINE)
    assert await office.parked() == [("cus_1", 100)]
    assert await written(database_url, "rows", "coupons") == ["co_1"]
    assert await written(database_url, "rows", "charges") == ["ch_1"]
    [delay] = await delays(office, destination_id)
    assert (delay.code, delay.work_id) == ("destination_foreign_tables", f"{destination_id}:customers")
    assert "rows.customers (42" in delay.cause
    assert 'ALTER TABLE "rows"."customers" RENAME' in (delay.fix or "")
    await run(database_url, "ALTER TABLE rows.customers RENAME TO customers_old")
    await try_again(office)
    assert (await office.parked(), await delays(office, destination_id)) == ([], [])
    assert await written(database_url, "rows", "customers") == ["cus_1"]
    await office.outlets.close()


REFUSED = (
    (
        "ALTER TABLE rows.customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        ("destination_row_security", "42501"),
        "ALTER TABLE rows.customers DISABLE ROW LEVEL SECURITY",
    ),
    (
        "REVOKE INSERT ON rows.customers FROM {user}",
        ("destination_table_rights", "42501"),
        "GRANT INSERT ON rows.customers TO {user}",
    ),
    (
        "ALTER TABLE rows.customers DROP CONSTRAINT customers_pkey",
        ("destination_key_missing", "42P10"),
        "ALTER TABLE rows.customers ADD PRIMARY KEY (_account, _livemode, id)",
    ),
    (
        "ALTER ROLE {user} IN DATABASE {database} SET statement_timeout = '2s'",
        ("destination_statement_timeout", "57014"),
        "ALTER ROLE {user} IN DATABASE {database} RESET statement_timeout",
    ),
)


@pytest.mark.parametrize(("broken", "told", "mended"), REFUSED, ids=[one[1][0] for one in REFUSED])
async def test_reason_for_a_person_is_told_at_the_first_refusal_and_ends_with_it(
    state: State, weak: str, database_url: str, broken: str, told: tuple[str, str], mended: str
) -> None:
    destination_id = await add(state, "rows", weak, "rows")
    office = await make_office(state, destination_id)
    await office.deliver(make_record(), deadline_seconds=DEADLINE)
    names = {"user": urlsplit(weak).username, "database": urlsplit(weak).path[1:]}
    await run(database_url, broken.format(**names))
    if told[1] == "57014":  # a lock that is held until the end of the test's own session
        holder = await asyncpg.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE rows.customers IN SHARE MODE")
        for outlet in office.outlets._outlets.values():
            await outlet.close()
        office.outlets._outlets.clear()
    await office.deliver(make_record(stamp=200, name="new"), deadline_seconds=DEADLINE)
    [delay] = await delays(office, destination_id)
    assert (delay.code, told[1] in delay.cause, "rows.customers" in delay.cause) == (told[0], True, True), delay
    assert delay.fix
    assert await office.parked() == [("cus_1", 200)]
    if told[1] == "57014":
        await holder.close()
    await run(database_url, mended.format(**names))
    await try_again(office)
    assert (await office.parked(), await delays(office, destination_id)) == ([], [])
    assert await written(database_url, "rows", "customers") == ["cus_1"]
    await office.outlets.close()


async def test_place_of_two_names_is_filled_by_one_and_the_other_writes_and_takes_nothing(
    state: State, database_url: str
) -> None:
    """Two that were kept before there were marks: the first one that is opened gets the place."""
    first = await add(state, "first", database_url, "rows")
    second = await add(state, "second", elsewhere(database_url), "rows")
    office = await make_office(state, first, second)
    await (await office.outlets.get(first)).prepare()
    await office.deliver(make_record(), deadline_seconds=DEADLINE)
    assert await written(database_url, "rows", "customers") == ["cus_1"]
    assert await office.state.rows("SELECT destination_id FROM parked_records") == [(second,)]
    [delay] = await delays(office, second)
    assert (delay.code, delay.work_id, "first" in delay.cause) == ("destination_taken", second, True)
    assert await delays(office, first) == []

    await state.pool.execute("DELETE FROM connection_destinations WHERE destination_id = $1", first)
    async with transaction(state.pool) as db:
        await request_cleanup(db, CONNECTION, second, (ACCOUNT.id, True), resources=list(BY_NAME))
    await state.pool.execute("UPDATE connections SET state = 'removing'")
    [(status, cause)] = await cleaned(office)
    assert (status, "Rows were left" in cause, "first" in cause) == ("done", True, True)
    assert await written(database_url, "rows", "customers") == ["cus_1"]
    await office.outlets.close()


async def test_rows_that_another_connection_delivers_to_the_same_place_stay(state: State, database_url: str) -> None:
    first = await add(state, "first", database_url, "rows")
    second = await add(state, "second", elsewhere(database_url), "rows")
    office = await make_office(state, first)
    await state.add_connection("con_2", second)
    await office.deliver(make_record(), deadline_seconds=DEADLINE)
    await state.pool.execute("UPDATE destinations SET place = (SELECT place FROM destinations WHERE place IS NOT NULL)")
    async with transaction(state.pool) as db:
        await request_cleanup(db, CONNECTION, first, (ACCOUNT.id, True), resources=list(BY_NAME))
    await state.pool.execute("UPDATE connections SET state = 'removing' WHERE id = $1", CONNECTION)
    [(status, cause)] = await cleaned(office)
    assert (status, "second" in cause) == ("done", True)
    assert await written(database_url, "rows", "customers") == ["cus_1"]
    await office.outlets.close()


async def test_place_that_was_taken_over_is_written_by_its_new_owner_alone(state: State, database_url: str) -> None:
    first = await add(state, "first", database_url, "rows")
    office = await make_office(state, first)
    await office.deliver(make_record(), deadline_seconds=DEADLINE)
    other = Claimant("ins_other", "dst_x", state.destinations)
    place = parse_postgres_url(elsewhere(database_url), schema="rows")
    assert (await claim_place(*place, other)) is not None
    assert (await claim_place(*place, other, take_over=True)) is None
    with pytest.raises(DestinationBlockedError, match="ins_other"):  # as the writers look now and then
        await (await office.outlets.get(first)).prepare()
    await office.deliver(make_record(stamp=200, name="new"), deadline_seconds=DEADLINE)
    assert await office.parked() == [("cus_1", 200)]
    assert [one.code for one in await delays(office, first)] == ["destination_taken"]
    await office.outlets.close()


async def test_columns_that_the_catalogue_has_gained_reach_rows_that_exist(database_url: str) -> None:
    destination = InspectedPostgres(database_url, "rows")
    await destination.write(ACCOUNT, [make_winner(email="ada@b.example", balance=-250)])
    await destination.query("ALTER TABLE rows.customers DROP COLUMN email, DROP COLUMN balance, DROP COLUMN _listed")
    await destination.query("DROP INDEX rows.subscription_items_parent")
    await destination.extend()
    [row] = await destination.query("SELECT email, balance, _listed FROM rows.customers")
    assert tuple(row) == ("ada@b.example", -250, True)
    assert await destination.query("SELECT FROM pg_indexes WHERE indexname = 'subscription_items_parent'")
    await destination.write(ACCOUNT, [make_winner(stamp=200, email="eve@b.example")])
    [row] = await destination.query("SELECT email FROM rows.customers")
    assert row["email"] == "eve@b.example"
    await destination.close()


async def test_columns_that_only_the_owner_may_add_are_named_and_rows_are_written_without_them(
    weak: str, database_url: str
) -> None:
    made = InspectedPostgres(database_url, "rows")
    await made.prepare()
    await made.query("ALTER TABLE rows.customers DROP COLUMN email")
    user = urlsplit(weak).username
    await made.query(f"GRANT ALL ON SCHEMA rows TO {user}")
    await made.query(f"GRANT ALL ON ALL TABLES IN SCHEMA rows TO {user}")
    destination = InspectedPostgres(weak, "rows")
    await destination.write(ACCOUNT, [make_winner(email="ada@b.example")])
    with pytest.raises(DestinationBlockedError, match="email") as blocked:
        await destination.extend()
    [block] = blocked.value.blocks
    await made.query((block.fix or "").partition("run: ")[2])
    await destination.extend()
    [row] = await made.query("SELECT email FROM rows.customers")
    assert row["email"] == "ada@b.example"
    for one in (destination, made):
        await one.close()


async def test_login_that_is_refused_is_told_as_such(state: State, weak: str, database_url: str) -> None:
    destination_id = await add(state, "rows", weak, "rows")
    office = await make_office(state, destination_id)
    await run(database_url, f"ALTER ROLE {urlsplit(weak).username} PASSWORD 'another'")
    await office.deliver(make_record(), deadline_seconds=DEADLINE)
    assert [one.code for one in await delays(office, destination_id)] == ["destination_login_failed"]
    await office.outlets.close()


async def test_text_that_an_encoding_lacks_is_not_called_a_nul(database_url: str) -> None:
    name = urlsplit(database_url).path[1:] + "_l"
    await run(
        database_url,
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    try:
        destination = InspectedPostgres(address_of(database_url, name), "rows")
        await destination.write(ACCOUNT, [make_winner(name="Zoë")])
        with pytest.raises(DestinationRejectedError, match="encoding") as refused:
            await destination.write(ACCOUNT, [make_winner("cus_2", name="Łódź ŵ")])
        assert "NUL" not in refused.value.message
        with pytest.raises(DestinationRejectedError, match="NUL"):
            await destination.write(ACCOUNT, [make_winner("cus_3", name="\u0000")])
        await destination.close()
    finally:
        await drop(database_url, name)


async def test_what_may_pass_by_itself_is_told_once_it_has_lasted(state: State, database_url: str) -> None:
    now = [0.0]
    destination_id = await add(state, "rows", database_url, "rows")
    troubles = Troubles(state.pool, lambda: now[0])
    away = DestinationUnavailableError("The destination does not answer.")
    await troubles.failed(destination_id, away)
    assert await delays_of_destination(state.pool, destination_id) == []
    now[0] = 11.0
    await troubles.failed(destination_id, away)
    [delay] = await delays_of_destination(state.pool, destination_id)
    assert (delay.code, delay.fix, delay.cause) == ("destination_unavailable", None, away.message)
    await troubles.succeeded(destination_id)
    assert await delays_of_destination(state.pool, destination_id) == []
