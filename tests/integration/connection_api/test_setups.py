"""An account that is connected in steps, and may be left in between."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from services.connection_api.life.setups import SetupFinishedError
from shared.errors import ConflictError, KeyRefusedError, NotFoundError, PayloadError
from simulator.resources import PERMISSIONS
from tests.integration.connection_api.stage import BY, Stage, set_up


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with set_up(database_url) as stage:
        yield stage


def key_of(stage: Stage) -> SecretStr:
    return SecretStr(stage.simulator.simulation.first_key)


async def test_set_up_is_kept_and_taken_up_again(stage: Stage) -> None:
    begun = await stage.use_cases().setups.begin(key_of(stage), [stage.destination_id], by=BY)
    later = stage.use_cases().setups

    assert await later.list() == [await later.get(begun.id)]
    assert begun.key_check["account_name"] == "Till Shop"
    assert stage.endpoints_at_stripe() == 0

    connection_id = await later.complete(begun.id, omitted_fields={"customer": ["email"]}, by=BY)

    connection = await stage.connection(connection_id)
    assert (connection.destination_ids, connection.omitted_fields) == (
        (stage.destination_id,),
        {"customer": ["email"]},
    )
    assert await later.list() == []
    assert await stage.audited() == ["setup.begun", "connection.created"]


async def test_set_up_that_is_finished_leads_to_its_connection(stage: Stage) -> None:
    setups = stage.use_cases().setups
    begun = await setups.begin(key_of(stage), [stage.destination_id], by=BY)
    connection_id = await setups.complete(begun.id, by=BY)

    assert await setups.complete(begun.id, by=BY) == connection_id
    with pytest.raises(SetupFinishedError) as finished:
        await setups.get(begun.id)
    assert finished.value.connection_id == connection_id
    assert len(await stage.connections()) == 1
    assert await stage.pool.fetchval("SELECT count(*) FROM setups") == 0


async def test_discarded_set_up_is_gone_with_its_key(stage: Stage) -> None:
    setups = stage.use_cases().setups
    begun = await setups.begin(key_of(stage), [stage.destination_id], by=BY)

    await setups.discard(begun.id, by=BY)

    with pytest.raises(NotFoundError):
        await setups.complete(begun.id, by=BY)
    assert await stage.pool.fetchval("SELECT count(*) FROM setups") == 0


async def test_set_up_that_nobody_finishes_expires(stage: Stage) -> None:
    setups = stage.use_cases().setups
    begun = await setups.begin(key_of(stage), [stage.destination_id], by=BY)
    await stage.pool.execute("UPDATE setups SET expires_at = now() - interval '1 s'")

    assert await setups.list() == []
    with pytest.raises(NotFoundError, match="has expired"):
        await setups.get(begun.id)


async def test_key_that_lacks_something_begins_nothing(stage: Stage) -> None:
    key = stage.simulator.simulation.keys.create(PERMISSIONS - {"rak_charge_read"})

    with pytest.raises(KeyRefusedError, match="rak_charge_read"):
        await stage.use_cases().setups.begin(SecretStr(key.secret), [stage.destination_id], by=BY)

    assert await stage.use_cases().setups.list() == []


async def test_unknown_destination_is_refused_before_stripe_is_asked(stage: Stage) -> None:
    with pytest.raises(PayloadError) as caught:
        await stage.use_cases().setups.begin(key_of(stage), ["dst_none"], by=BY)

    assert caught.value.field == "destination_ids"


async def test_account_that_the_destination_receives_already_is_refused_early(stage: Stage) -> None:
    await stage.connected()

    with pytest.raises(ConflictError, match="already connected to this destination"):
        await stage.use_cases().setups.begin(key_of(stage), [stage.destination_id], by=BY)
