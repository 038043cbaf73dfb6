"""A connection's life by commands alone: the real API, its database and a Stripe that answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from tests.background import Background, background
from tests.integration.connection_api.serving import execute, ready
from tests.integration.simulator.running import Running, run_simulator
from tests.unit.connection_api.serving import TOKEN
from tests.unit.console.terminal import Ended, run


@dataclass(frozen=True)
class Stage:
    """What commands speak to."""

    loop: Background
    stripe: Running
    database_url: str

    @property
    def key(self) -> str:
        return self.stripe.simulation.first_key

    def made(self, *arguments: str, input: str = "") -> Ended:
        """Run a command that succeeds, as JSON."""
        ended = run(*arguments, "--json", input=input)
        assert ended.code == 0, ended.err
        return ended

    def connect(self) -> str:
        self.made("destinations", "add", "Warehouse", input=self.database_url)
        made = self.made("connections", "add", "--destination", "warehouse", "--start-date", "2y", input=self.key)
        return str(made.json["id"])


@asynccontextmanager
async def open_stage(database_url: str) -> AsyncIterator[tuple[Running, str]]:
    async with (
        run_simulator(objects=50, livemode=True) as stripe,
        ready(database_url, stripe_api_base=stripe.url, public_url="https://hooks.example.com") as api,
    ):
        yield stripe, str(api.make_url("/"))


@pytest.fixture
def stage(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    # The API's log would end up in what the commands print.
    with capture_logs(), background() as loop, loop.holding(open_stage(database_url)) as (stripe, url):
        monkeypatch.setenv("TILLSTREAM_API_URL", url)
        monkeypatch.setenv("TILLSTREAM_API_TOKEN", TOKEN)
        yield Stage(loop, stripe, database_url)


def test_account_is_connected_and_shown(stage: Stage) -> None:
    connection_id = stage.connect()
    name = stage.made("connections", "show", connection_id).json["account_name"]
    listed = run("connections", "list", "--status", "backfilling")
    assert connection_id in listed.out
    shown = run("connections", "show", name)
    assert "◐ Backfilling 0 %" in shown.out
    assert "Warehouse (dst_" in shown.out
    syncs = stage.made("syncs", "list", "--connection", name, "--kind", "backfill").json
    assert [sync["status"] for sync in syncs] == ["queued"]
    assert "○ queued" in run("syncs", "show", syncs[0]["id"]).out


def test_key_is_checked_and_replaced(stage: Stage) -> None:
    connection_id = stage.connect()
    checked = run("keys", "check", "--connection", connection_id, input=stage.key)
    assert (checked.code, checked.err) == (0, "")
    assert "All Core resources  Read  passed" in checked.out
    narrow = stage.stripe.simulation.keys.create(["rak_charge_read"]).secret
    refused = run("keys", "check", input=narrow)
    assert refused.code == 1
    assert "missing, required" in refused.out
    assert run("connections", "update-key", connection_id, input=narrow).code == 1
    assert stage.made("connections", "update-key", connection_id, input=stage.key).json["key_version"] == 2


@pytest.mark.parametrize("key", ["sk_live_" + "a" * 30, "rk_live_" + "a" * 30])
def test_bad_key_is_refused_in_one_sentence(stage: Stage, key: str) -> None:
    ended = run("keys", "check", input=key)
    assert (ended.code, ended.out, ended.err[0]) == (1, "", "✗")
    assert len(ended.err.splitlines()) == 1
    assert key not in ended.err


def test_start_date_and_choice_are_changed(stage: Stage) -> None:
    connection_id = stage.connect()
    moved = stage.made("connections", "set-start-date", connection_id, "2025-01-31", "--yes")
    assert moved.json["start_date"] == "2025-01-31T00:00:00Z"
    asked = run("connections", "set-start-date", connection_id, "all")
    assert (asked.code, "give --yes" in asked.err) == (2, True)
    chosen = stage.made(
        "connections",
        "choose",
        connection_id,
        "--drop",
        "topup",
        "--add",
        "review",
        "--omit",
        "customer:email",
        "--yes",
    )
    assert {"review"} == set(chosen.json["resources"]) & {"review", "topup"}
    assert chosen.json["omitted_fields"] == {"customer": ["email"]}


def test_connection_waits_goes_on_and_is_compared(stage: Stage) -> None:
    connection_id = stage.connect()
    assert stage.made("connections", "pause", connection_id).json["status"]["word"] == "Paused"
    assert stage.made("connections", "resume", connection_id).json["state"] == "active"
    stage.made("connections", "rotate-webhook-secret", connection_id)
    one = stage.made("connections", "sync", connection_id, "--resource", "customer").json
    assert one["resources"] == ["customer"]
    assert stage.made("syncs", "pause", one["id"]).json["status"] == "paused"
    assert stage.made("syncs", "resume", one["id"]).json["status"] in ("queued", "running")
    assert stage.made("syncs", "cancel", one["id"], "--yes").json["status"] == "cancelled"
    exported = run("syncs", "export", "--status", "cancelled")
    assert one["id"] in exported.out
    assert one["id"] in json.dumps(stage.made("syncs", "export").json)


def test_removal_is_asked_for_and_audited(stage: Stage) -> None:
    connection_id = stage.connect()
    removal = stage.made("connections", "remove", connection_id, "--keep-rows", "--yes").json
    assert (removal["connection_id"], removal["deletes_rows"]) == (connection_id, False)
    assert "◐ under way" in run("connections", "removals").out
    assert removal["id"] in run("connections", "removals", removal["id"]).out
    assert "connection.created" in run("audit", "list", "--subject", connection_id).out
    assert run("audit", "verify").code == 0
    as_owner = f"{stage.database_url}?session_replication_role=replica"  # else triggers keep the log as it is
    stage.loop.run(execute(as_owner, "UPDATE audit_log SET subject = 'con_other' WHERE id = 1"))
    assert run("audit", "verify").code == 1


def test_token_opens_what_its_scope_allows(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage.made("tokens", "create", "nightly export").json
    with monkeypatch.context() as other:
        other.setenv("TILLSTREAM_API_TOKEN", made["token"])
        assert run("connections", "list").code == 0
        assert run("tokens", "list", "--json").problem["code"] == "forbidden"
    assert made["token"] not in run("tokens", "list", "--json").out
    stage.made("tokens", "revoke", made["id"], "--yes")
    monkeypatch.setenv("TILLSTREAM_API_TOKEN", made["token"])
    assert run("connections", "list", "--json").problem["code"] == "unauthenticated"


def test_destination_is_tested_changed_and_removed(stage: Stage) -> None:
    stage.made("destinations", "add", "Warehouse", "--schema", "raw", input=stage.database_url)
    assert run("destinations", "test", "Warehouse").code == 0
    assert run("destinations", "test", input="postgresql://nobody@127.0.0.1:1/nothing").code == 1
    assert stage.made("destinations", "change", "Warehouse", "--name", "Lake").json["name"] == "Lake"
    stage.made("destinations", "change", "lake", "--address", input=stage.database_url)
    stage.made("destinations", "remove", "lake", "--yes")
    assert stage.made("destinations", "list").json == []


def test_catalogue_is_listed(stage: Stage) -> None:
    assert {"charge", "customer"} <= {row["name"] for row in stage.made("resources", "list").json}
