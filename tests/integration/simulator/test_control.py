"""The simulator as a process, its control API and its command line."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from simulator.cli import cli
from simulator.client import ControlClient, ControlClientError
from tests.integration.simulator.running import Running, run_simulator

PINNED = {"Stripe-Version": "2026-10-28.endive"}


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """A simulator in a process of its own, and what it announced."""
    file = tmp_path / "url.json"
    command = ("-m", "simulator", "--port", "0", "--objects", "1500", "--url-file", str(file))
    one = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert one.stdout is not None
    announced = json.loads(await one.stdout.readline())
    yield one, announced
    if one.returncode is None:
        one.kill()
    await one.wait()


async def test_process_announces_itself_and_stops_when_told(
    process: tuple[asyncio.subprocess.Process, dict[str, str]],
) -> None:
    one, announced = process
    client = ControlClient(announced["url"])

    state = await asyncio.to_thread(client.get, "state")
    assert (state["api_key"], state["account"]) == (announced["api_key"], announced["account"])

    begun = time.monotonic()
    one.send_signal(signal.SIGTERM)
    assert await one.wait() == 0
    assert time.monotonic() - begun < 2


async def test_truth_is_what_a_retrieve_gives(running: Running) -> None:
    client = ControlClient(running.url)

    for resource, path in (("invoice", "invoices"), ("subscription", "subscriptions"), ("plan", "plans")):
        rows = await running.ask(lambda name=resource: list(client.iter_truth(name)))  # type: ignore[misc]
        live = [row for row in rows if not row["deleted"]]
        assert len(rows) == len(running.simulation.platform.store.tables[resource].ids)
        asked = "?expand[]=tiers" if resource == "plan" else ""
        _, retrieved, _ = await running.get(f"/v1/{path}/{live[-1]['id']}{asked}", **PINNED)
        assert live[-1]["object"] == retrieved


async def test_truth_counts_live_and_deleted_objects(running: Running) -> None:
    before = await running.control("GET", "truth")
    await running.control("POST", "scenarios/delete_customer")
    after = await running.control("GET", "truth")

    assert after["customer"]["deleted"] == before["customer"]["deleted"] + 1
    assert after["customer"]["live"] == before["customer"]["live"] - 1
    assert after["line_item"]["live"] >= after["invoice"]["live"]


async def test_truth_gives_children_beyond_what_a_parent_carries(running: Running) -> None:
    client = ControlClient(running.url)

    rows = await running.ask(lambda: list(client.iter_truth("subscription", children=True)))

    assert max(len(row["children"]) for row in rows) > 10
    assert {child["object"] for row in rows for child in row["children"]} == {"subscription_item"}


async def test_a_paused_business_changes_nothing(running: Running) -> None:
    await running.control("POST", "business", {"changes_per_second": 500})
    await running.control("POST", "business", {"changes_per_second": 0})
    first = await running.control("GET", "state")
    await asyncio.sleep(0)
    second = await running.control("GET", "state")

    assert first["events"] == second["events"]


async def test_connected_accounts_live_on_their_own(running: Running) -> None:
    account = running.simulation.shop.accounts[0]

    await running.control("POST", f"scenarios/renewal?account={account}")

    events = await running.control("GET", f"events?account={account}")
    assert events["events"][-1]["type"]
    _, listed, _ = await running.get("/v1/events?limit=1", **{"Stripe-Account": account})
    assert listed["data"][0]["account"] == account


async def test_errors_come_at_the_rate_that_was_set(running: Running) -> None:
    for fault, status in (
        ("http_500", 500),
        ("http_503", 503),
        ("http_402", 402),
        ("http_429", 429),
        ("lock_timeout", 429),
    ):
        await running.control("POST", "faults", {fault: 1.0})
        answered, body, headers = await running.get("/v1/charges")
        assert (answered, bool(body["error"]["message"])) == (status, True)
        assert ("Stripe-Rate-Limited-Reason" in headers) == (fault == "http_429")
        await running.control("DELETE", "faults")
    assert (await running.get("/v1/charges"))[0] == 200


async def test_a_cut_answer_ends_in_its_middle(running: Running) -> None:
    await running.control("POST", "faults", {"http_cut": 1.0})
    ends = Counter([await how_it_ends(running) for _ in range(20)])
    assert ends.keys() == {"half an answer", "a broken connection"}
    await running.control("DELETE", "faults")
    assert await how_it_ends(running) == "whole"


async def how_it_ends(running: Running) -> str:
    try:
        await running.get("/v1/charges")
    except ValueError:
        return "half an answer"
    except aiohttp.ClientPayloadError:
        return "a broken connection"
    return "whole"


async def test_a_slow_answer_shows_what_was_read_before(running: Running) -> None:
    await running.control("POST", "faults", {"http_slow": 1.0, "http_slow_seconds": 0.5})
    asking = [asyncio.create_task(running.get("/v1/events?limit=1")) for _ in range(10)]
    await asyncio.sleep(0.05)
    await running.control("POST", "scenarios/refund")
    (_, newest, _) = await running.get("/v1/events?limit=1")
    assert any(answer["data"] != newest["data"] for _, answer, _ in await asyncio.gather(*asking))


async def test_the_dates_of_answers_are_off_by_as_much_as_was_set(running: Running) -> None:
    await running.control("POST", "faults", {"date_skew_seconds": 60.0})
    dates = {(await running.get("/v1/account"))[2]["Date"] for _ in range(10)}
    moments = sorted(parsedate_to_datetime(date).timestamp() for date in dates)
    assert 5 < moments[-1] - moments[0] <= 121


async def test_every_answer_has_a_date_and_a_request_id(running: Running) -> None:
    for path in ("/v1/charges?limit=1", "/v1/charges/ch_gone", "/v1/nothing", "/nothing"):
        _, _, headers = await running.get(path)
        assert headers["Date"].endswith("GMT")
        assert headers["Request-Id"].startswith("req_")


async def test_requests_are_remembered_without_their_keys(running: Running) -> None:
    await running.get("/v1/charges?limit=3")

    entry = (await running.control("GET", "requests"))["requests"][-1]

    assert (entry["path"], entry["query"], entry["status"]) == ("/v1/charges", "limit=3", 200)
    assert running.simulation.first_key not in json.dumps(entry)


async def test_control_says_how_to_fix_a_bad_request(running: Running) -> None:
    for method, path, body, hint in (
        ("POST", "scenarios/dance", None, "There are: "),
        ("POST", "faults", {"colour": 1}, "There are: "),
        ("POST", "business", {"changes_per_second": -1}, "between 0 and"),
        ("GET", "truth?resource=cow", None, "GET /_control/truth lists them"),
        ("POST", "keys/rk_test_x/grant", {}, "GET /_control/keys lists them"),
    ):
        assert hint in (await running.control(method, path, body))["error"]


async def test_command_line_shows_changes_and_masks(running: Running) -> None:
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(cli, [*arguments, "--url", running.url])
        assert result.exit_code == 0, result.output
        return result.output

    secret = running.simulation.first_key
    assert secret not in await running.ask(lambda: run("state"))
    assert json.loads(await running.ask(lambda: run("rate", "3", "--json"))) == {"changes_per_second": 3.0}
    assert json.loads(await running.ask(lambda: run("scenario", "renewal", "--json")))["events"] > 5
    assert "rak_charge_read" not in await running.ask(lambda: run("keys", "revoke", secret, "rak_charge_read"))
    assert "rak_charge_read" in await running.ask(lambda: run("keys", "grant", secret, "rak_charge_read"))
    assert "webhook_loss: 0.5" in await running.ask(lambda: run("faults", "set", "webhook_loss=0.5"))
    assert "webhook_loss: 0.0" in await running.ask(lambda: run("faults", "clear"))
    first = (await running.ask(lambda: run("truth", "charge"))).splitlines()[0]
    assert json.loads(first)["object"]["object"] == "charge"


def test_command_line_says_what_to_do_when_no_simulator_answers() -> None:
    result = CliRunner().invoke(cli, ["state", "--url", "http://127.0.0.1:9"])

    assert result.exit_code == 1
    assert "tillstream simulator serve" in result.output
    with pytest.raises(ControlClientError, match="no address"):
        ControlClient("file:///etc/passwd")


async def test_stripes_clock_can_be_ahead() -> None:
    async with run_simulator(clock_skew_seconds=100.0) as running:
        await running.control("POST", "scenarios/renewal")
        _, page, headers = await running.get("/v1/events?limit=1")
        event = (await running.control("GET", "events"))["events"][-1]

        ahead = parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
        assert 95 < ahead < 101
        assert page["data"][0]["created"] - event["created_ms"] / 1000 > 95
