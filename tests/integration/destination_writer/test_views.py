"""Views with amounts in major units: made and kept by the writer, and never in the way of a row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from shared.catalogue import BY_NAME
from shared.db import make_pool
from shared.money import NO_DIGITS, THREE_DIGITS, in_major
from shared.postgres_survey import look, merge
from shared.postgres_tables import ROW_TABLES
from shared.postgres_views import LOOK, VIEWS, Condition, judge, look_arguments
from tests.contracts import ACCOUNT
from tests.factories import lines, make_winner
from tests.integration.destination_writer.postgres_rows import InspectedPostgres

SCHEMA = "Select"
CURRENCIES = (*sorted(NO_DIGITS | THREE_DIGITS), "usd", "isk", "ugx")


@pytest.fixture
async def destination(database_url: str) -> AsyncIterator[InspectedPostgres]:
    destination = InspectedPostgres(database_url, SCHEMA)
    await destination.prepare()
    yield destination
    await destination.close()


async def conditions(destination: InspectedPostgres) -> dict[str, Condition]:
    db = await asyncpg.connect(destination.url)
    try:
        rows = await db.fetch(LOOK, *look_arguments(SCHEMA))
    finally:
        await db.close()
    return {one.view.name: one.condition for one in judge(SCHEMA, rows)}


async def wrong(destination: InspectedPostgres) -> dict[str, Condition]:
    found = await conditions(destination)
    return {name: condition for name, condition in found.items() if condition is not Condition.WHOLE}


async def read(destination: InspectedPostgres, view: str) -> list[dict[str, Any]]:
    return [dict(row) for row in await destination.query(f'SELECT * FROM "{SCHEMA}".{view} ORDER BY id')]


async def charge(destination: InspectedPostgres, **fields: Any) -> None:
    await destination.write(ACCOUNT, [make_winner("ch_1", resource="charge", **fields)])


async def test_every_table_with_amounts_has_a_view(destination: InspectedPostgres) -> None:
    assert set((await conditions(destination)).values()) == {Condition.MISSING}
    await destination.extend()
    assert await wrong(destination) == {}
    for view in VIEWS.values():
        assert await read(destination, view.name) == []


async def test_amounts_are_exact_in_every_currency(destination: InspectedPostgres) -> None:
    await destination.extend()
    amount = 123_456_789_012_345_679
    made = [make_winner(f"ch_{c}", resource="charge", currency=c, amount=amount) for c in CURRENCIES]
    await destination.write(ACCOUNT, made)
    rows = {row["id"]: str(row["amount"]) for row in await read(destination, "v_charges")}
    assert rows == {f"ch_{currency}": str(in_major(amount, currency)) for currency in CURRENCIES}


async def test_currency_is_found_wherever_it_lies(destination: InspectedPostgres) -> None:
    await destination.extend()
    note = {"currency": "kwd", "total": 1234, "lines": lines("cnli_1", amount=1234)}
    await destination.write(ACCOUNT, [make_winner("cn_1", resource="credit_note", **note)])
    flat = {"flat_amount": {"amount": 1234, "currency": "jpy"}}
    await destination.write(ACCOUNT, [make_winner("txr_1", resource="tax_rate", **flat)])
    price = {"currency": "usd", "unit_amount": None, "unit_amount_decimal": "0.5"}
    await destination.write(ACCOUNT, [make_winner("price_1", resource="price", **price)])
    await charge(destination, amount=1234)  # no currency
    [line] = await read(destination, "v_credit_note_line_items")
    assert (line["amount"], line["currency"], line["_parent"]) == (Decimal("1.234"), "kwd", "cn_1")
    [rate] = await read(destination, "v_tax_rates")
    assert (str(rate["flat_amount_amount"]), rate["flat_amount_currency"]) == ("1234", "jpy")
    [price_row] = await read(destination, "v_prices")
    assert (price_row["unit_amount"], price_row["unit_amount_decimal"]) == (None, Decimal("0.005"))
    assert [row["amount"] for row in await read(destination, "v_charges")] == [None]


async def test_view_has_the_tables_columns_and_what_is_not_deleted(destination: InspectedPostgres) -> None:
    await destination.extend()
    await charge(destination, amount=1234, currency="usd", created=1_700_000_000)
    await destination.write(ACCOUNT, [make_winner("ch_2", resource="charge", amount=1, currency="usd")])
    await destination.write(ACCOUNT, [make_winner("ch_2", 200, resource="charge", is_deleted=True)])
    [row] = await read(destination, "v_charges")
    assert row["created"].timestamp() == 1_700_000_000
    assert list(row) == ["_account", "_livemode", "id", *(column.name for column in BY_NAME["charge"].columns)]


async def test_what_has_a_views_name_stays_as_it_is_and_stops_no_row(destination: InspectedPostgres) -> None:
    await destination.query(f'CREATE TABLE "{SCHEMA}".v_charges (mine text)')
    await destination.query(f"CREATE VIEW \"{SCHEMA}\".v_refunds AS SELECT 'mine' AS mine")
    await destination.extend()
    assert await wrong(destination) == {"v_charges": Condition.FOREIGN, "v_refunds": Condition.FOREIGN}
    assert await destination.query(f'SELECT mine FROM "{SCHEMA}".v_refunds') == [("mine",)]
    await charge(destination, amount=1, currency="usd")
    assert len(await destination.rows("charges")) == 1


async def test_writer_that_may_not_make_a_view_writes_rows_as_ever(
    destination: InspectedPostgres, database_url: str
) -> None:
    role = "views_writer"
    await destination.query(f"DROP ROLE IF EXISTS {role}")
    for sql in (
        f"CREATE ROLE {role} LOGIN PASSWORD 'weak'",
        f'GRANT USAGE ON SCHEMA "{SCHEMA}" TO {role}',
        f'GRANT ALL ON ALL TABLES IN SCHEMA "{SCHEMA}" TO {role}',
    ):
        await destination.query(sql)
    parts = urlsplit(database_url)
    address = f"{role}:weak@{parts.hostname}:{parts.port}"
    weak = InspectedPostgres(urlunsplit(parts._replace(netloc=address)), SCHEMA)
    try:
        await weak.extend()
        assert set((await conditions(destination)).values()) == {Condition.MISSING}
        await charge(weak, amount=1, currency="usd")
        assert len(await destination.rows("charges")) == 1
    finally:
        await weak.close()
        await destination.query(f"DROP OWNED BY {role}")
        await destination.query(f"DROP ROLE {role}")


async def test_columns_that_are_new_reach_the_view(destination: InspectedPostgres) -> None:
    await destination.extend()
    await destination.query(f'DROP VIEW "{SCHEMA}".v_charges')
    await destination.query(f'ALTER TABLE "{SCHEMA}".charges DROP COLUMN amount_captured')
    sql = f'CREATE VIEW "{SCHEMA}".v_charges AS SELECT id FROM "{SCHEMA}".charges'
    await destination.query(sql)
    await destination.query(f"COMMENT ON VIEW \"{SCHEMA}\".v_charges IS 'Made by Tillstream (older)'")
    assert await wrong(destination) == {"v_charges": Condition.OLD}
    await charge(destination, amount=250, amount_captured=250, currency="usd")
    await destination.extend()
    assert await wrong(destination) == {}
    [row] = await read(destination, "v_charges")
    assert row["amount_captured"] == Decimal("2.50")


async def test_view_on_which_something_depends_is_kept(destination: InspectedPostgres) -> None:
    await destination.extend()
    await destination.query(f'CREATE VIEW "{SCHEMA}".mine AS SELECT id FROM "{SCHEMA}".v_charges')
    await destination.query(f"COMMENT ON VIEW \"{SCHEMA}\".v_charges IS 'Made by Tillstream (older)'")
    await destination.query(f"COMMENT ON VIEW \"{SCHEMA}\".v_refunds IS 'Made by Tillstream (older)'")
    await destination.extend()
    assert await wrong(destination) == {"v_charges": Condition.OLD}
    await charge(destination, amount=1, currency="usd")
    assert await destination.query(f'SELECT id FROM "{SCHEMA}".mine') == [("ch_1",)]
    await destination.query(f'DROP VIEW "{SCHEMA}".mine')
    await destination.extend()
    assert await wrong(destination) == {}


async def test_view_of_a_table_that_was_renamed_is_made_anew(destination: InspectedPostgres) -> None:
    await destination.extend()
    await destination.query(f'ALTER TABLE "{SCHEMA}".charges RENAME TO charges_old')
    assert (await wrong(destination))["v_charges"] is Condition.IMPOSSIBLE
    again = InspectedPostgres(destination.url, SCHEMA)
    await charge(again, amount=100, currency="usd")
    await again.extend()
    assert await wrong(again) == {}
    assert [row["amount"] for row in await read(again, "v_charges")] == [Decimal("1.00")]
    await again.close()


async def test_cure_for_a_column_drops_the_view_before_and_the_writer_makes_it_again(
    destination: InspectedPostgres,
) -> None:
    await destination.extend()
    await destination.query(f'DROP VIEW "{SCHEMA}".v_charges')
    name = f'"{SCHEMA}".charges'
    await destination.query(f"ALTER TABLE {name} DROP COLUMN status")
    await destination.query(f"ALTER TABLE {name} ADD COLUMN status text")
    await destination.query(f'CREATE VIEW "{SCHEMA}".v_charges AS SELECT status FROM {name}')
    await destination.query(f"COMMENT ON VIEW \"{SCHEMA}\".v_charges IS 'Made by Tillstream (older)'")
    pool = await make_pool(destination.url, max_size=1)
    async with pool.acquire() as db:
        survey = await look(db, SCHEMA, ROW_TABLES.values())
    pool.terminate()
    fault = merge(survey, survey.table_faults(ROW_TABLES.values()))
    assert fault
    assert fault.sql
    for statement in fault.sql.splitlines():
        await destination.query(statement)
    await charge(destination, amount=100, currency="usd", status="succeeded")
    await destination.extend()
    assert await wrong(destination) == {}
    assert [row["status"] for row in await read(destination, "v_charges")] == ["succeeded"]


async def test_policies_hold_for_whoever_reads_a_view(destination: InspectedPostgres) -> None:
    await destination.extend()
    await charge(destination, amount=100, currency="usd")
    reader = "views_reader"
    await destination.query(f"DROP ROLE IF EXISTS {reader}")
    for sql in (
        f"CREATE ROLE {reader}",
        f'GRANT USAGE ON SCHEMA "{SCHEMA}" TO {reader}',
        f'GRANT SELECT ON ALL TABLES IN SCHEMA "{SCHEMA}" TO {reader}',
        f'ALTER TABLE "{SCHEMA}".charges ENABLE ROW LEVEL SECURITY',
    ):
        await destination.query(sql)
    db = await asyncpg.connect(destination.url)
    try:
        await db.execute(f"SET ROLE {reader}")
        assert await db.fetchval(f'SELECT count(*) FROM "{SCHEMA}".v_charges') == 0
    finally:
        await db.close()
        await destination.query(f"DROP OWNED BY {reader}")
        await destination.query(f"DROP ROLE {reader}")
