"""A form of the dashboard acts once, however often its button is pressed; one that is meant again acts again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from services.connection_api.access.idempotency import FIELD
from tests.integration.connection_api.changes import Stage, another_destination, staged
from tests.integration.connection_api.serving import execute
from tests.unit.connection_api.serving import BEARER

HTMX = {"HX-Request": "true"}
ONCE = re.compile(f'name="{FIELD}" value="([^"]+)"')


@dataclass(frozen=True)
class Person:
    """Somebody with a form before them."""

    stage: Stage

    async def opens(self, path: str) -> str:
        """Return the key of the form at the address."""
        answer = await self.stage.api.get(path, headers=BEARER | HTMX)
        found = ONCE.search(await answer.text())
        assert found, path
        return found[1]

    async def presses(self, path: str, **form: str) -> tuple[int, str | None]:
        """Return status and where the browser goes, or what it says."""
        answer = await self.stage.api.post(path, data=form, headers=BEARER | HTMX, allow_redirects=False)
        return answer.status, answer.headers.get("HX-Redirect") or answer.headers.get("HX-Trigger")

    async def count(self, action: str) -> int:
        sql = "SELECT count(*) FROM audit_log WHERE action = $1"
        return int((await execute(self.stage.database_url, sql, action))[0]["count"])


@pytest.fixture
async def person(database_url: str) -> AsyncIterator[Person]:
    async with staged(database_url) as stage:
        yield Person(stage)


async def setup_form(person: Person) -> dict[str, str]:
    return {"destination_id": await another_destination(person.stage), "api_key": key_of(person)}


def key_of(person: Person) -> str:
    return person.stage.stripe.simulation.first_key


async def test_update_key_swaps_once(person: Person) -> None:
    path = f"/connections/{person.stage.connection_id}/key"
    form = {FIELD: await person.opens(path), "api_key": key_of(person)}
    first, second = await asyncio.gather(person.presses(path, **form), person.presses(path, **form))
    assert first == second
    assert (first[0], await person.count("connection.key_updated")) == (204, 1)


async def test_continue_begins_one_set_up(person: Person) -> None:
    form = await setup_form(person)
    page = f"/connect/key?destination_id={form['destination_id']}"
    form[FIELD] = await person.opens(page)
    first, second = await asyncio.gather(*(person.presses("/connect/key", **form) for _ in range(2)))
    assert first == second
    assert (first[0], await person.count("setup.begun")) == (204, 1)


@pytest.mark.parametrize(
    ("path", "form", "action"),
    [
        ("verify", {"what": "full"}, "connection.verify_requested"),
        ("sync-again", {"what": "resources", "resources": "customer"}, "connection.sync_requested"),
    ],
)
async def test_what_is_queued_is_queued_once(person: Person, path: str, form: dict[str, str], action: str) -> None:
    address = f"/connections/{person.stage.connection_id}/{path}"
    sent: dict[str, Any] = {FIELD: await person.opens(address), **form}
    first, second = await asyncio.gather(*(person.presses(address, **sent) for _ in range(2)))
    assert first == second
    assert (first[0], await person.count(action)) == (204, 1)
    sent[FIELD] = await person.opens(address)
    assert (await person.presses(address, **sent))[0] == 204
    assert await person.count(action) == 2


async def test_sync_now_is_asked_once_by_one_key(person: Person) -> None:
    address = f"/connections/{person.stage.connection_id}/sync"
    for once in ("k1", "k1", "k2"):
        assert (await person.presses(address, **{FIELD: once}))[0] == 204
    assert await person.count("connection.sync_requested") == 2


async def test_refusal_is_not_kept(person: Person) -> None:
    address = f"/connections/{person.stage.connection_id}/removal"
    form = {FIELD: await person.opens(address), "account_name": "Another", "rows": "keep"}
    assert (await person.presses(address, **form))[0] == 422
    await execute(person.stage.database_url, "UPDATE connections SET account_name = 'Another'")
    assert (await person.presses(address, **form))[0] == 204


async def test_check_is_made_anew_each_time(person: Person) -> None:
    path = f"/connections/{person.stage.connection_id}/key"
    form = {FIELD: await person.opens(path), "api_key": key_of(person)}
    for _ in range(2):
        assert (await person.presses(f"{path}/check", **form))[0] == 200
    [row] = await execute(
        person.stage.database_url, "SELECT count(*) FROM audit_log WHERE action = 'connection.key_checked'"
    )
    assert row["count"] == 2


async def test_pause_in_a_second_tab_says_that_it_is_so(person: Person) -> None:
    address = f"/connections/{person.stage.connection_id}/pause"
    tabs = [await person.opens(address) for _ in range(2)]
    said = [await person.presses(address, **{FIELD: once}) for once in tabs]
    assert [status for status, _ in said] == [204, 204]
    assert "Syncing is paused." in str(said[0][1])
    assert "It is paused already." in str(said[1][1])
    assert await person.count("connection.paused") == 1


async def test_back_after_connect_leads_to_the_account(person: Person) -> None:
    form = await setup_form(person)
    _, address = await person.presses("/connect/key", **form)
    assert address
    connect = {"start": "all", "resources": "customer"}
    status, card = await person.presses(address, **connect)
    assert status == 204
    answer = await person.stage.api.get(address, headers=BEARER, allow_redirects=False)
    assert (answer.status, answer.headers["Location"].partition("#")[2]) == (303, str(card).partition("#")[2])
    assert (await person.presses(f"{address}/discard"))[0] == 204
