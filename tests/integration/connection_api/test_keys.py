"""Keys that are checked and replaced, with a simulated Stripe and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from shared.connections import State
from shared.crypto import make_encryption_key, parse_key_ring
from shared.errors import ConflictError, KeyRefusedError
from shared.key_check import Grant
from shared.syncs import Kind
from simulator.resources import PERMISSIONS
from tests.integration.connection_api.stage import BY, Stage, set_up
from tests.integration.simulator.running import run_simulator


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with set_up(database_url) as stage:
        yield stage


def new_key(stage: Stage, *, without: str = "") -> SecretStr:
    granted = PERMISSIONS - {without} | ({"rak_webhook_read"} if without == "rak_webhook_write" else set())
    return SecretStr(stage.simulator.simulation.keys.create(granted).secret)


async def test_check_ticks_every_group_and_leaves_nothing_behind(stage: Stage) -> None:
    report = await stage.use_cases().keys.check(new_key(stage))

    assert [(group.title, group.access, group.passed) for group in report.groups] == [
        ("All Core resources", "Read", True),
        ("All Connect resources", "Read", True),
        ("All Billing resources", "Read", True),
        ("Webhook Endpoints", "Write", True),
    ]
    assert (report.passed, report.account_name, report.sentence) == (
        True,
        "Till Shop",
        "The key has every permission that this account has.",
    )
    assert stage.endpoints_at_stripe() == 0
    assert await stage.pool.fetchval("SELECT count(*) FROM endpoint_probes") == 0


@pytest.mark.parametrize(
    ("without", "title"), [("rak_charge_read", "All Core resources"), ("rak_webhook_write", "Webhook Endpoints")]
)
async def test_check_names_what_is_missing_and_where(stage: Stage, without: str, title: str) -> None:
    report = await stage.use_cases().keys.check(new_key(stage, without=without))

    assert [group.title for group in report.groups if not group.passed] == [title]
    assert not report.passed
    assert without in report.sentence
    assert report.sentence.startswith("Missing permissions: ")
    missing = [line for group in report.groups for line in group.permissions if line.grant is Grant.MISSING]
    assert [(line.slug, line.required) for line in missing] == [(without, True)]


async def test_permission_that_only_optional_resources_need_is_no_reason_to_refuse(stage: Stage) -> None:
    report = await stage.use_cases().keys.check(new_key(stage, without="rak_quote_read"))

    assert report.passed
    assert report.sentence == (
        "The key has every permission that is required. Not granted, so these can't be chosen: Quotes (rak_quote_read)."
    )


async def test_endpoint_of_a_check_that_was_cut_off_is_deleted_later(stage: Stage) -> None:
    key, at_stripe = new_key(stage), stage.at_stripe()
    probe = at_stripe.endpoints
    made = await probe._make("whe_left", at_stripe.client(key), ["account.updated"])
    sealed = stage.settings.key_ring.encrypt(key.get_secret_value(), owner="whe_left", name="api_key")
    sql = "INSERT INTO endpoint_probes (id, api_key, created_at) VALUES ('whe_left', $1, now() - interval '1 hour')"
    await stage.pool.execute(sql, sealed)
    assert made.id in stage.simulator.simulation.endpoints.by_id

    await at_stripe.sweep_probes()

    assert stage.endpoints_at_stripe() == 0
    assert await stage.pool.fetchval("SELECT count(*) FROM endpoint_probes") == 0


async def test_one_probe_that_can_not_be_cleaned_up_holds_up_no_other(stage: Stage) -> None:
    key, at_stripe = new_key(stage), stage.at_stripe()
    foreign = parse_key_ring(make_encryption_key("k9")).encrypt("rk", owner="whe_lost", name="api_key")
    refused = new_key(stage, without="rak_webhook_write")
    made = await at_stripe.endpoints._make("whe_left", at_stripe.client(key), ["account.updated"])
    sql = "INSERT INTO endpoint_probes (id, api_key, created_at) VALUES ($1, $2, now() - interval '1 hour')"
    ring = stage.settings.key_ring
    await stage.pool.execute(sql, "whe_lost", foreign)
    for probe_id, secret in (("whe_barred", refused), ("whe_left", key)):
        sealed = ring.encrypt(secret.get_secret_value(), owner=probe_id, name="api_key")
        await stage.pool.execute(sql, probe_id, sealed)
    assert made.id in stage.simulator.simulation.endpoints.by_id

    await at_stripe.sweep_probes()

    assert stage.endpoints_at_stripe() == 0
    assert await stage.pool.fetchval("SELECT count(*) FROM endpoint_probes") == 0


async def test_new_key_replaces_the_old_one_and_the_gap_is_filled(stage: Stage) -> None:
    connection = await stage.connected()
    await stage.store.set_state(connection.id, State.ACTION_REQUIRED, cause_code="api_key_invalid", cause="Dead.")
    key = new_key(stage)

    await stage.use_cases().keys.update(connection.id, key, by=BY)

    now = await stage.connection(connection.id)
    assert (now.state, now.cause, now.key_version) == (State.ACTIVE, None, 2)
    assert now.key_hint.endswith(key.get_secret_value()[-4:])
    assert (await stage.store.api_key(connection.id)).get_secret_value() == key.get_secret_value()
    newest = (await stage.syncs(connection.id))[0]
    assert (newest.kind, newest.trigger) == (Kind.RECONCILE, "key updated")
    assert await stage.audited() == ["connection.created", "connection.key_updated"]
    assert stage.endpoints_at_stripe() == 1


async def test_audit_log_tells_of_every_check_of_a_next_key_and_the_history_of_syncs_does_not(stage: Stage) -> None:
    connection = await stage.connected()
    before = await stage.syncs(connection.id)
    keys = stage.use_cases().keys
    await keys.check(new_key(stage, without="rak_charge_read"), connection_id=connection.id, by=BY)
    with pytest.raises(KeyRefusedError):
        await keys.check(SecretStr("rk_live_" + "zZ9" * 20), connection_id=connection.id, by=BY)
    await keys.check(new_key(stage), connection_id=connection.id, by=BY)

    rows = await stage.pool.fetch("SELECT * FROM audit_log WHERE action = 'connection.key_checked' ORDER BY id")
    assert [(row["actor"], row["details"]["result"]) for row in rows] == [
        (BY.name, "missing_permissions"),
        (BY.name, "api_key_invalid"),
        (BY.name, "passed"),
    ]
    assert await stage.syncs(connection.id) == before


@pytest.mark.parametrize("without", ["rak_charge_read", "rak_webhook_write"])
async def test_key_that_lacks_a_permission_leaves_the_old_one(stage: Stage, without: str) -> None:
    connection = await stage.connected()

    with pytest.raises(KeyRefusedError, match=without):
        await stage.use_cases().keys.update(connection.id, new_key(stage, without=without), by=BY)

    assert await stage.connection(connection.id) == connection
    assert await stage.audited() == ["connection.created", "connection.key_checked"]


async def test_key_of_another_mode_is_refused_before_any_call(stage: Stage) -> None:
    connection = await stage.connected()
    settings = stage.settings.model_copy(update={"allow_test_keys": True})
    keys = Stage(stage.simulator, stage.pool, settings, stage.producer, "").use_cases().keys

    with pytest.raises(KeyRefusedError, match="test mode key, and Till Shop is connected in live mode") as caught:
        await keys.update(connection.id, SecretStr("rk_test_" + "a1" * 20), by=BY)

    assert caught.value.code == "api_key_other_mode"


async def test_key_of_another_account_is_refused_and_both_are_named(stage: Stage) -> None:
    connection = await stage.connected()
    async with run_simulator(objects=50, livemode=True, seed=99) as other:
        settings = stage.settings.model_copy(update={"stripe_api_base": other.url})
        keys = Stage(other, stage.pool, settings, stage.producer, "").use_cases().keys
        with pytest.raises(
            KeyRefusedError, match=f"belongs to the account .* not to {connection.account_id}"
        ) as caught:
            await keys.update(connection.id, SecretStr(other.simulation.first_key), by=BY)

    assert caught.value.code == "api_key_other_account"
    assert await stage.connection(connection.id) == connection


async def test_two_people_at_once_leave_one_whole_key(stage: Stage) -> None:
    connection = await stage.connected()
    keys, use_case = [new_key(stage) for _ in range(4)], stage.use_cases().keys

    await asyncio.gather(*(use_case.update(connection.id, key, by=BY) for key in keys))

    now = await stage.connection(connection.id)
    stored = (await stage.store.api_key(connection.id)).get_secret_value()
    assert stored in [key.get_secret_value() for key in keys]
    assert now.key_hint.endswith(stored[-4:])
    assert now.key_version == 5


async def test_set_up_that_the_old_key_stopped_is_finished_with_the_new_one(stage: Stage) -> None:
    connection = await stage.connected()
    await stage.pool.execute("DELETE FROM syncs")
    await stage.pool.execute("UPDATE connections SET state = 'action_required', events_complete_to = NULL")

    await stage.use_cases().keys.update(connection.id, new_key(stage), by=BY)

    now = await stage.connection(connection.id)
    assert (now.state, now.events_complete_to is None) == (State.ACTIVE, False)
    assert [sync.kind for sync in await stage.syncs(connection.id)] == [Kind.BACKFILL]


async def test_paused_connection_stays_paused_with_its_new_key(stage: Stage) -> None:
    connection = await stage.connected()
    await stage.connect().pause(connection.id, by=BY)

    await stage.use_cases().keys.update(connection.id, new_key(stage), by=BY)

    assert (await stage.connection(connection.id)).state is State.PAUSED


async def test_webhook_secret_is_rotated_while_the_old_one_still_counts(stage: Stage) -> None:
    connection = await stage.connected()
    (before,) = stage.simulator.simulation.endpoints.by_id.values()

    await stage.use_cases().keys.rotate_webhook_secret(connection.id, by=BY)

    (after,) = stage.simulator.simulation.endpoints.by_id.values()
    assert (after.url, after.enabled_events) == (before.url, before.enabled_events)
    assert after.secret != before.secret
    lives = await stage.pool.fetch("SELECT expires_at - now() AS lives FROM webhook_secrets ORDER BY id")
    assert [row["lives"] and 3500 < row["lives"].total_seconds() < 3601 for row in lives] == [True, None]


async def test_connection_that_polls_has_no_secret_to_rotate(stage: Stage) -> None:
    connection_id = await stage.connect(public_url=None).connect(stage.wanted(), by=BY)

    with pytest.raises(ConflictError, match="found by polling"):
        await stage.use_cases(public_url=None).keys.rotate_webhook_secret(connection_id, by=BY)
