"""A destination of which something stored can't be read is away, like one that does not answer: it hurts no other."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from services.destination_writer.delivery import Outcome
from services.destination_writer.dispatch import Result
from shared.audit import Actor
from shared.delays import delays_of_connection
from tests.factories import CONNECTION, lines, make_part, make_record
from tests.integration.destination_writer.office import Office
from tests.integration.destination_writer.state import State

UNREADABLE = {
    "secret_unreadable": "UPDATE destinations SET secret = '\\x026b30', version = version + 1 WHERE id = $1",
    "destination_unreadable": "UPDATE destinations SET kind = 'sheet', version = version + 1 WHERE id = $1",
    "settings": "UPDATE destinations SET settings = '{\"url\": 1}', version = version + 1 WHERE id = $1",
}


@pytest.fixture
async def office(state: State) -> Office:
    bad, good = await state.add_destination("bad"), await state.add_destination("good")
    await state.add_connection(CONNECTION, bad, good)
    return Office(state, bad, good)


def outcomes(result: Result, destination_id: str) -> list[Outcome]:
    return [report.outcome for report in result.reports if report.destination_id == destination_id]


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_its_records_wait_and_the_other_destination_gets_its_own(office: Office, kind: str) -> None:
    """Nothing becomes a dead letter: the office fails when something is rejected."""
    await office.state.pool.execute(UNREADABLE[kind], office.bad_id)
    result = await office.deliver(make_record("cus_1"), make_record("in_1", resource="invoice", lines=lines("il_1")))
    assert outcomes(result, office.bad_id) == [Outcome.PARKED] * 2
    assert outcomes(result, office.good_id) == [Outcome.INSERTED] * 2
    await office.make_due()
    assert await office.retry.retry_due() == 0
    assert len(await office.parked()) == 2
    await office.outlets.close_outdated()
    await office.outlets.prepare_new()


async def test_parts_of_it_are_asked_for_again_and_comparisons_skipped(office: Office) -> None:
    await office.state.pool.execute(UNREADABLE["secret_unreadable"], office.bad_id)
    route = (await office.routes.read([CONNECTION]))[CONNECTION]
    part, result = make_part("in_1", ["il_1"], stamp=5, is_complete=False), Result()
    await office.dispatch._write_parts(office.bad_id, route, [part], result, 5)
    assert [one.object_id for one in result.refetches] == ["in_1"]
    await office.dispatch._compare(office.bad_id, route, [make_record()], result, 5)
    assert [one.compared for one in result.comparisons] == [None]


async def test_people_read_why_and_what_to_do_until_it_is_mended(office: Office) -> None:
    [address] = [row.address for row in await office.state.destinations.list_page() if row.id == office.bad_id]
    await office.state.pool.execute(UNREADABLE["secret_unreadable"], office.bad_id)
    await office.deliver(make_record())
    [delay] = await delays_of_connection(office.state.pool, CONNECTION)
    assert (delay.code, delay.destination_id) == ("secret_unreadable", office.bad_id)
    assert delay.fix
    assert "enter the secret anew" in delay.fix
    await office.state.destinations.change(office.bad_id, place=(address, SecretStr("new")), by=Actor("test"))
    await office.make_due()
    assert await office.retry.retry_due() == 1
    assert await delays_of_connection(office.state.pool, CONNECTION) == []
    assert await office.parked() == []
