"""What is chosen for the whole installation."""

from __future__ import annotations

import pytest

from shared.version import VERSION
from tests.integration.connection_api.serving import execute, ready
from tests.unit.connection_api.serving import BEARER

HTML = BEARER | {"Accept": "text/html", "Cookie": "tillstream_zone=Asia/Tokyo"}


async def test_a_zone_that_is_chosen_comes_before_the_browsers(database_url: str) -> None:
    async with ready(database_url) as api:
        assert await (await api.get("/v1/settings", headers=BEARER)).json() == {"time_zone": None, "version": VERSION}
        assert "(Asia/Tokyo)" in await (await api.get("/syncs", headers=HTML)).text()
        answer = await api.post("/settings/time-zone", data={"time_zone": "Europe/Berlin"}, headers=HTML)
        assert "The time zone is saved." in await answer.text()
        page = await (await api.get("/syncs", headers=HTML)).text()
        assert "(Europe/Berlin)" in page
        assert '<html lang="en" data-zone="Europe/Berlin">' in page
        answer = await api.put("/v1/settings", json={"time_zone": None}, headers=BEARER)
        assert (await answer.json())["time_zone"] is None
    assert [row["details"] for row in await execute(database_url, "SELECT details FROM audit_log ORDER BY id")]


@pytest.mark.parametrize("wrong", ["Europe/Bielefeld", "../etc/passwd", "x" * 65, "\x00", "Europe"])
async def test_a_zone_that_nobody_knows_is_refused(database_url: str, wrong: str) -> None:
    async with ready(database_url) as api:
        answer = await api.put("/v1/settings", json={"time_zone": wrong}, headers=BEARER)
        assert answer.status == 422
        answer = await api.post("/settings/time-zone", data={"time_zone": wrong}, headers=HTML)
        assert answer.status == 422
    assert await execute(database_url, "SELECT * FROM choices") == []


async def test_the_public_url_is_tried_by_a_button_and_over_rest(database_url: str) -> None:
    async with ready(database_url, public_url="http://127.0.0.1:1/hooks") as api:
        answer = await (await api.get("/v1/public-url", headers=BEARER)).json()
        assert answer["public_url"] == "http://127.0.0.1:1/hooks"
        assert (answer["is_fine"], answer["sentence"]) == (False, "Nothing listens there.")
        page = await api.post("/settings/public-url/test", headers=HTML)
        assert "Nothing listens there." in await page.text()
        part = await api.post("/settings/public-url/test", headers=HTML | {"HX-Request": "true"})
        text = await part.text()
        assert "Nothing listens there." in text
        assert "<html" not in text
    async with ready(database_url) as api:
        assert "changes are found by polling" in await (await api.get("/settings", headers=HTML)).text()
