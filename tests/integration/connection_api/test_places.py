"""One place has one owner, whatever names it has, and what is in it is looked at before it is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiohttp import ClientResponse

from services.connection_api.life.places import DestinationTakenError, DestinationUnusableError, Places
from services.destination_writer.destinations.postgres import PostgresDestination
from shared.destinations import parse_postgres_url
from shared.postgres_probe import ProbeStep
from tests.contracts import ACCOUNT
from tests.databases import address_of, drop
from tests.factories import make_winner
from tests.integration.connection_api.serving import execute, ready
from tests.integration.connection_api.stage import BY, set_up
from tests.integration.connection_api.test_destinations import STEPS, failure, probed, replaced, role
from tests.unit.connection_api.serving import BEARER, Client

FOREIGN = (
    "CREATE TABLE {schema}.customers (id text PRIMARY KEY, email text, name text, created integer)",
    "CREATE TABLE {schema}.invoices (id text PRIMARY KEY, customer text, total bigint, created integer)",
    "CREATE TABLE {schema}.subscription_items (id text PRIMARY KEY, subscription text, price text)",
    "INSERT INTO {schema}.customers VALUES ('cus_old', 'old@example.com', 'Old', 1600000000)",
)
RELATIONS = """
SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = $1 AND relkind = 'r' ORDER BY 1
"""


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Client]:
    async with ready(database_url) as client:
        yield client


def elsewhere(url: str) -> str:
    """Return another name of the same place."""
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    return url.replace("@127.0.0.1:", "@localhost:")


async def add(api: Client, name: str, url: str, **body: Any) -> ClientResponse:
    return await api.post("/v1/destinations", json={"name": name, "url": url} | body, headers=BEARER)


async def refusal(answer: ClientResponse) -> tuple[int, str, str]:
    problem = await answer.json()
    return answer.status, problem["code"], problem["detail"]


async def make_foreign(database_url: str, schema: str) -> None:
    await execute(database_url, f"CREATE SCHEMA {schema}")
    for statement in FOREIGN:
        await execute(database_url, statement.format(schema=schema))


async def test_same_place_by_another_name_is_refused_and_told_whose_it_is(api: Client, database_url: str) -> None:
    first = json.loads(await (await add(api, "Rows", database_url)).text())
    status, code, detail = await refusal(await add(api, "Again", elsewhere(database_url)))
    assert (status, code) == (409, "destination_taken")
    assert "Rows" in detail
    assert first["id"] in detail
    listed = await (await api.get("/v1/destinations", headers=BEARER)).json()
    assert [one["name"] for one in listed["data"]] == ["Rows"]
    assert (await add(api, "Beside", elsewhere(database_url), schema="beside")).status == 201


async def test_place_is_taken_over_on_purpose_and_back(api: Client, database_url: str) -> None:
    first = json.loads(await (await add(api, "Rows", database_url)).text())
    second = await add(api, "Again", elsewhere(database_url), take_over=True)
    assert second.status == 201, await second.text()
    trial = await (await api.post(f"/v1/destinations/{first['id']}/test", headers=BEARER)).json()
    assert (trial["passed"], trial["steps"][-1]["code"]) == (False, "destination_taken")
    assert "Again" in trial["steps"][-1]["message"]
    back = await api.patch(f"/v1/destinations/{first['id']}", json={"take_over": True}, headers=BEARER)
    assert back.status == 200, await back.text()
    trial = await (await api.post(f"/v1/destinations/{first['id']}/test", headers=BEARER)).json()
    assert trial["passed"]
    versions = await execute(database_url, "SELECT version FROM destinations ORDER BY name")
    assert [row["version"] for row in versions] == [3, 3], "both are opened anew, so the writers see it at once"


async def test_schema_of_another_installation_is_refused_and_named(api: Client, database_url: str) -> None:
    assert (await add(api, "Rows", database_url)).status == 201
    await execute(database_url, "UPDATE stripe._tillstream SET installation_id = 'ins_other', destination_id = 'dst_x'")
    status, code, detail = await refusal(await add(api, "Again", elsewhere(database_url)))
    assert (status, code) == (409, "destination_taken")
    assert "ins_other" in detail
    assert "dst_x" in detail


async def test_of_two_that_are_added_at_once_one_is_kept(api: Client, database_url: str) -> None:
    answers = await asyncio.gather(add(api, "A", database_url), add(api, "B", elsewhere(database_url)))
    assert sorted(answer.status for answer in answers) == [201, 409]
    [kept] = await execute(database_url, "SELECT id FROM destinations")
    [mark] = await execute(database_url, "SELECT destination_id FROM stripe._tillstream")
    assert mark["destination_id"] == kept["id"]


async def test_address_does_not_move_to_the_place_of_another(api: Client, database_url: str) -> None:
    """Neither by its own name nor by another one: the schema stays, so only another database can be moved to."""
    name = urlsplit(database_url).path[1:] + "_b"
    await execute(database_url, f"CREATE DATABASE {name}")
    try:
        assert (await add(api, "Rows", database_url)).status == 201
        second = json.loads(await (await add(api, "Other", address_of(database_url, name))).text())
        path = f"/v1/destinations/{second['id']}"
        answer = await api.patch(path, json={"url": elsewhere(database_url)}, headers=BEARER)
        assert (await refusal(answer))[:2] == (409, "destination_taken")
        same = await api.patch(path, json={"url": elsewhere(address_of(database_url, name))}, headers=BEARER)
        assert same.status == 200, await same.text()
    finally:
        await drop(database_url, name)


async def test_mark_of_a_destination_that_was_removed_keeps_nobody_away(api: Client, database_url: str) -> None:
    first = json.loads(await (await add(api, "Rows", database_url)).text())
    assert (await api.delete(f"/v1/destinations/{first['id']}", headers=BEARER)).status == 204
    assert (await add(api, "Again", elsewhere(database_url))).status == 201


async def test_mark_that_came_with_a_copy_keeps_nobody_away(api: Client, database_url: str) -> None:
    """A dump that was restored brings the mark of the place that it was taken from."""
    assert (await add(api, "Rows", database_url)).status == 201
    await execute(database_url, "CREATE SCHEMA copied")
    await execute(database_url, "CREATE TABLE copied._tillstream (LIKE stripe._tillstream INCLUDING ALL)")
    await execute(database_url, "INSERT INTO copied._tillstream SELECT * FROM stripe._tillstream")
    assert (await add(api, "Copy", database_url, schema="copied")).status == 201


async def test_schema_of_another_tool_is_refused_by_name_and_nothing_is_written(api: Client, database_url: str) -> None:
    await make_foreign(database_url, "stripe")
    status, code, detail = await refusal(await add(api, "Rows", database_url))
    assert (status, code) == (422, "destination_foreign_tables")
    assert "customers (it lacks the column _account), invoices" in detail
    assert "subscription_items" in detail
    relations = [row["relname"] for row in await execute(database_url, RELATIONS, "stripe")]
    assert relations == ["customers", "invoices", "subscription_items"]


async def test_connecting_to_a_schema_of_another_tool_is_refused_and_its_removal_can_be_previewed(
    database_url: str,
) -> None:
    async with set_up(database_url) as stage:
        connection = await stage.connected()
        await make_foreign(database_url, "copy")
        preview = await stage.use_cases().removals.preview(connection.id)
        assert (preview.tables, preview.unreachable) == ((), ())
        await stage.pool.execute("DELETE FROM connections")
        with pytest.raises(DestinationUnusableError, match="customers") as refused:
            await stage.connected()
        assert (refused.value.code, refused.value.field) == ("destination_foreign_tables", "destination_ids")


async def test_connecting_to_a_place_of_another_is_refused(database_url: str) -> None:
    async with set_up(database_url) as stage:
        places = Places(stage.pool, stage.settings)
        again = parse_postgres_url(elsewhere(database_url), schema="copy")
        other = await places.add("other", *again, by=BY)
        assert (await places.probe_kept(other))[-1].passed
        with pytest.raises(DestinationTakenError, match="other"):
            await stage.connected()


@pytest.fixture
async def made(database_url: str) -> AsyncIterator[str]:
    """The address of a user who owns all of our tables, in the schema `probed`."""
    async with role(database_url) as weak:
        user = urlsplit(weak).username
        await execute(database_url, f"CREATE SCHEMA probed AUTHORIZATION {user}")
        destination = PostgresDestination(*parse_postgres_url(weak, schema="probed"))
        await destination.prepare()
        await destination.close()
        yield weak


BROKEN = (
    (
        "ALTER TABLE probed.charges ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "destination_row_security",
        "charges",
    ),
    ("ALTER TABLE probed.charges OWNER TO {admin}", "destination_table_rights", "charges"),
    ("REVOKE UPDATE ON probed.refunds FROM {user}", "destination_table_rights", "refunds"),
    ("ALTER TABLE probed.charges DROP CONSTRAINT charges_pkey", "destination_key_missing", "charges"),
    ("ALTER TABLE probed.charges ALTER COLUMN _stamp TYPE numeric", "destination_column", "charges"),
    ("ALTER TABLE probed.charges ADD COLUMN mine text NOT NULL", "destination_column", "mine"),
    ("ALTER TABLE probed.charges DROP COLUMN _stamp", "destination_foreign_tables", "_stamp"),
    ("DROP TABLE probed.charges; CREATE VIEW probed.charges AS SELECT 1 AS id", "destination_foreign_tables", "a view"),
    (
        "ALTER ROLE {user} IN DATABASE {database} SET statement_timeout = '900ms'",
        "destination_statement_timeout",
        "900",
    ),
)


@pytest.mark.parametrize(("statement", "code", "named"), BROKEN, ids=[one[0][:50] for one in BROKEN])
async def test_what_keeps_rows_out_is_named_with_the_statement_that_mends_it(
    database_url: str, made: str, statement: str, code: str, named: str
) -> None:
    assert [step.name for step in await probed(made) if step.passed] == STEPS
    admin, user = urlsplit(database_url).username, urlsplit(made).username
    names = {"admin": admin, "user": user, "database": urlsplit(database_url).path[1:]}
    for one in statement.format(**names).split(";"):
        await execute(database_url, one)
    step = await failure(made)
    assert step.code == code, step
    assert named in step.message
    await mend(database_url, step)
    assert [one.name for one in await probed(made) if one.passed] == STEPS


async def mend(database_url: str, step: ProbeStep) -> None:
    """Run what the step gives to be copied."""
    assert step.sql
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(step.sql)
    finally:
        await connection.close()


async def test_restored_tables_of_another_owner_are_whole_when_all_rights_are_granted(
    database_url: str, made: str
) -> None:
    async with role(database_url) as other:
        user = urlsplit(other).username
        await execute(database_url, f"GRANT ALL ON SCHEMA probed TO {user}")
        await execute(database_url, f"GRANT ALL ON ALL TABLES IN SCHEMA probed TO {user}")
        assert [one.name for one in await probed(other) if one.passed] == STEPS
        destination = PostgresDestination(*parse_postgres_url(other, schema="probed"))
        [written] = await destination.write(ACCOUNT, [make_winner()])
        await destination.close()
        assert written.outcome == "inserted"


async def test_database_that_is_not_in_utf8_is_refused_with_the_statement_that_makes_one(database_url: str) -> None:
    name = urlsplit(database_url).path[1:] + "_l"
    await execute(
        database_url,
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    try:
        step = await failure(replaced(database_url, database=name))
        assert (step.name, step.code) == ("settings", "destination_encoding")
        assert "LATIN1" in step.message
        assert step.sql
        assert "ENCODING 'UTF8' TEMPLATE template0" in step.sql
        await execute(database_url, step.sql)
        assert [one.name for one in await probed(replaced(database_url, database=f"{name}_utf8"))] == STEPS
    finally:
        await drop(database_url, name)
        await drop(database_url, f"{name}_utf8")
