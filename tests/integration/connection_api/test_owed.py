"""What a connection owes: each row of ARCHITECTURE's table made real, and read on the card, in REST and by command.

The seven words are a promise: a connection is live only if nothing of all this is owed.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from rich.console import Console

from services.connection_api.account_filter import AccountFilter
from services.connection_api.debts import SOURCES
from services.connection_api.overview import Overview
from services.connection_api.status import Word
from services.console.connection_view import connection_view
from services.destination_writer.breaker import Breaker, DeliveryStoppedError
from services.destination_writer.parking import Parking
from services.destination_writer.records import Position, Record
from shared.catalogue import BY_NAME
from shared.connections import ConnectionStore, State
from shared.crypto import make_encryption_key, parse_key_ring
from shared.db import Pool, make_pool
from shared.delays import Work, note_delay
from shared.errors import DestinationRejectedError
from shared.messages import Origin
from shared.refusals import Cause
from shared.syncs import Kind, SyncStore
from tests.browser.sample import add_connection, add_destination
from tests.browser.site import make_dashboard
from tests.integration.connection_api.owing_rows import (
    DIFFERENCE,
    END,
    FAILED,
    FAULT,
    LETTER,
    LONG_AGO,
    REFUSAL,
    REMOVAL,
    START,
    VERIFIED,
)
from tests.integration.connection_api.serving import ready
from tests.unit.connection_api.serving import BEARER

Make = Callable[[Pool], Awaitable[object]]


def record(number: int) -> Record:
    """Return a record of a charge."""
    position = Position("tillstream.events.v1", 0, number)
    return Record("con_1", BY_NAME["charge"], f"ch_{number}", 1_700_000_000, b"{}", Origin.EVENT, position)


async def refuse(pool: Pool) -> None:
    """Let the destination refuse records until its writer stops, as the breaker does."""
    reason = "a constraint of the table forbids a value (SQLSTATE 23514)."
    for number, text in enumerate(("something else", reason)):
        await pool.execute(LETTER, text, number)
    breaker = Breaker(pool)
    for _ in range(99):
        await breaker.failed(("dst_1", "con_1"), DestinationRejectedError(reason))
    with pytest.raises(DeliveryStoppedError):
        await breaker.failed(("dst_1", "con_1"), DestinationRejectedError(reason))


async def fail(pool: Pool) -> None:
    for number in range(100):
        await pool.execute(LETTER, "a constraint of the table forbids a value (SQLSTATE 23514)", number)


async def park(pool: Pool, *, cap: int = 1000) -> None:
    """Let five records wait, as a writer does for a destination that takes too long."""
    await Parking(pool, cap=cap).park("dst_1", [record(n) for n in range(5)], reason="The destination took longer.")
    await pool.execute(f"UPDATE parked_records SET parked_at = {LONG_AGO}")


async def hold(pool: Pool) -> None:
    """Hold records although delivery goes on."""
    await park(pool)
    await pool.execute("UPDATE parked_records SET next_try_at = now() + interval '100 years'")


async def end(pool: Pool, sync_id: str, status: str = "succeeded") -> None:
    await pool.execute(START, sync_id)
    await pool.execute(END, sync_id, status)


async def read_unwell(pool: Pool, *, kind: Kind = Kind.BACKFILL, code: str = "stripe_refused") -> str:
    """Let a sync fail, because Stripe refused the list of charges."""
    sync_id = await SyncStore(pool).create("con_1", kind, trigger="test", resources=["charge", "customer"])
    await pool.execute(FAILED, sync_id, "charge", code)
    await end(pool, sync_id, "failed")
    return sync_id


def delayed(work: Work, fix: str | None, **of: str) -> Make:
    """Note a delay that is older than a moment, as whoever tries again does."""

    async def make(pool: Pool) -> None:
        next_try_at = datetime.now(UTC) + timedelta(seconds=20)
        for _ in range(12):
            await note_delay(
                pool, work, "1", code="42501", cause="The table charges belongs to postgres.", fix=fix,
                next_try_at=next_try_at, **of,
            )  # fmt: skip
        await pool.execute(f"UPDATE delays SET since = {LONG_AGO}")

    return make


async def differ(pool: Pool) -> None:
    await pool.execute(VERIFIED)
    await pool.execute(DIFFERENCE)


async def list_again(pool: Pool) -> None:
    await SyncStore(pool).create("con_1", Kind.MANUAL, trigger="destination caught up", resources=["charge"])


def run(sql: str, *values: object) -> Make:
    async def make(pool: Pool) -> None:
        await pool.execute(sql, *values)

    return make


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    make: Make
    word: Word
    sentence: str
    fix: str | None = None
    remedy: str | None = None
    button: str | None = None
    command: str | None = None


KEY_IS_DEAD = run("UPDATE connections SET state = 'action_required', cause = 'API Key is invalid.'")
SLOW = "UPDATE connections SET live_by = 'polling', events_complete_to = extract(epoch FROM now())::bigint - 750"
MISSING = run(FAULT, "charge", "missing_permissions", "Missing permissions.", "rak_charge_read")
ENDPOINT = run(FAULT, "webhook_endpoint", "webhook_missing", "Webhook missing: Stripe has no room.", None)
PLATFORM = run(FAULT, "account", "stripe_refused", "Stripe refuses to give accounts, and says: No.", None)
CASES = (
    Case("key", KEY_IS_DEAD, Word.ACTION_REQUIRED, "API Key is invalid.", None, "update_key", "Update API Key",
         "connections update-key con_1"),
    Case("stop", refuse, Word.ACTION_REQUIRED,
         "Warehouse refused 100 of the last 100 records, so what comes is kept and not sent there: a constraint of the "
         "table forbids a value (SQLSTATE 23514).",
         "Mend the cause first, then press Deliver again: until then each record would only fail again.",
         "deliver_again", "Deliver again", "connections deliver-again con_1"),
    Case("fault", MISSING, Word.ACTION_REQUIRED, "Missing permissions: Charges and Refunds (rak_charge_read).", None,
         "update_key", "Update API Key", "connections update-key con_1"),
    Case("endpoint", ENDPOINT, Word.ACTION_REQUIRED, "Webhook missing: Stripe has no room."),
    Case("platform", PLATFORM, Word.ACTION_REQUIRED, "Stripe refuses to give accounts, and says: No."),
    Case("clock", run(REFUSAL, Cause.CLOCK, 400, None), Word.ACTION_REQUIRED,
         "Webhooks are refused: the clock differs by +400 s. Changes come by asking Stripe meanwhile.",
         "Set the clock of the machine that runs the webhook gateway, best by NTP."),
    Case("secret", run(REFUSAL, Cause.SECRET, 4000, 3), Word.ACTION_REQUIRED,
         "Webhooks are refused: the signing secret does not fit.", None,
         "rotate_secret", "Rotate webhook secret", "connections rotate-webhook-secret con_1"),
    Case("rights", delayed(Work.DESTINATION, "Run: ALTER TABLE charges OWNER TO loader.", destination_id="dst_1"),
         Word.ACTION_REQUIRED, "Warehouse can't be written: The table charges belongs to postgres.",
         "Run: ALTER TABLE charges OWNER TO loader.", "check_destination", "Show destination",
         "destinations test dst_1"),
    Case("unread", read_unwell, Word.ACTION_REQUIRED,
         "Charges could not be read, so rows may be missing: Stripe refused: no such widget.",
         "Press Sync again and choose it; or take it out of What is synced.", "sync_again", "Sync again",
         "connections sync con_1"),
    Case("difference", differ, Word.ACTION_REQUIRED, "4 rows are not what Stripe has", None, "repair",
         "Show differences", "verify con_1 --full --repair"),
    Case("failed", fail, Word.ACTION_REQUIRED, "100 records failed and are not written.",
         "Mend the cause, then press Replay; or press Discard for what nobody needs.", "show_failed",
         "Show the failed records", "dead-letters groups --connection con_1"),
    Case("held", hold, Word.ACTION_REQUIRED, "5 records wait for Warehouse, held back although delivery goes on.",
         "Press Deliver again.", "deliver_again", "Deliver again"),
    Case("gap", lambda pool: park(pool, cap=2), Word.DELAYED,
         "Warehouse is behind, and 3 changes found no room to wait for it."),
    Case("relist", list_again, Word.DELAYED, "A destination had no room for some changes."),
    Case("parked", park, Word.DELAYED,
         "5 records wait for Warehouse, the oldest for 18 minutes: The destination took longer. Nothing is lost"),
    Case("slice", delayed(Work.SLICE, None, connection_id="con_1"), Word.DELAYED, "A list waits: The table charges"),
    Case("compare", lambda pool: read_unwell(pool, kind=Kind.RECONCILE), Word.DELAYED,
         "Charges: the last comparison with Stripe failed. Stripe refused: no such widget."),
    Case("events", run(SLOW), Word.DELAYED, "Changes arrive 12 minutes late."),
)  # fmt: skip


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await make_pool(database_url)
    await add_destination(pool)
    await add_connection(pool, "con_1", "Halcyon Coffee")
    await pool.execute("UPDATE connections SET resources = '{charge,customer,account}'")
    yield pool
    pool.terminate()


async def status_of(pool: Pool) -> Any:
    return (await Overview().one(pool, "con_1", now=datetime.now(UTC))).status


async def told_by_rest(database_url: str) -> dict[str, Any]:
    async with ready(database_url) as api, api.get("/v1/connections/con_1", headers=BEARER) as answer:
        found: dict[str, Any] = await answer.json()
        return found


def told_by_command(connection: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=10_000)
    console.print(connection_view(connection, {}, datetime.now(UTC)))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


async def told_by_page(pool: Pool, path: str) -> str:
    async with TestClient(TestServer(make_dashboard(pool))) as client, client.get(path) as answer:
        return (await answer.text()).replace("&#39;", "'")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_is_owed_is_said_on_the_card_in_rest_and_by_command(
    database_url: str, pool: Pool, case: Case
) -> None:
    assert (await status_of(pool)).word is Word.LIVE

    await case.make(pool)

    card, told = await told_by_page(pool, "/"), await told_by_rest(database_url)
    command, status = told_by_command(told), told["status"]
    assert (status["word"], status["remedy"]) == (case.word, case.remedy)
    for where in (card, status["sentence"], command):
        assert case.sentence in where
    assert case.word in card
    if case.fix:
        assert status["fix"] == case.fix
        assert case.fix in card
        assert case.fix in command
    if case.button:
        assert f">{case.button}</" in card
    if case.command:
        assert f"tillstream {case.command}" in command
    shown = await Overview().read(pool, AccountFilter(status=case.word), now=datetime.now(UTC))
    assert [one.id for one in shown.cards] == ["con_1"]


def test_every_kind_of_the_table_is_made_real() -> None:
    made = {"stop", "fault", "refusal", "delay", "unread", "difference", "failed", "held", "gap", "relist", "parked"}

    assert {source.name for source in SOURCES} == made


async def test_the_failed_records_of_a_stop_are_those_of_its_cause(database_url: str, pool: Pool) -> None:
    await refuse(pool)

    [owed] = (await told_by_rest(database_url))["owed"]

    group = await pool.fetchval("SELECT group_id FROM dead_letters WHERE reason LIKE 'a constraint%'")
    assert owed["letters"] == group
    assert f"/dead-letters/groups/{group}" in await told_by_page(pool, "/")


async def test_the_worst_is_said_and_all_are_listed(database_url: str, pool: Pool) -> None:
    await park(pool)
    await refuse(pool)
    await differ(pool)

    told = await told_by_rest(database_url)
    async with ready(database_url) as api, api.get("/connections/con_1", headers=BEARER) as answer:
        page = (await answer.text()).replace("&#39;", "'")

    assert told["status"]["sentence"].endswith("(SQLSTATE 23514). One more thing is owed.")
    assert [one["code"] for one in told["owed"]] == ["delivery_stopped", "differences_found"]
    for one in told["owed"]:
        assert one["sentence"] in page


async def test_records_that_wait_are_told_with_the_reason_that_is_known(database_url: str, pool: Pool) -> None:
    await park(pool)
    await delayed(Work.DESTINATION, None, destination_id="dst_1")(pool)

    [owed] = (await told_by_rest(database_url))["owed"]

    assert owed["sentence"] == (
        "Warehouse can't be written: The table charges belongs to postgres. 5 records wait for it."
    )
    assert owed["attempts"] == 12
    assert owed["next_try_at"]
    assert "tried 12 times" in await told_by_page(pool, "/")


async def test_what_succeeds_at_the_second_try_is_not_owed(pool: Pool) -> None:
    await note_delay(
        pool, Work.SLICE, "1", code="x", cause="Busy.", next_try_at=datetime.now(UTC), connection_id="con_1"
    )

    assert (await status_of(pool)).word is Word.LIVE


async def test_a_product_that_the_account_lacks_is_not_owed(pool: Pool) -> None:
    await read_unwell(pool, code="resource_unavailable")

    assert (await status_of(pool)).word is Word.LIVE


async def test_a_list_that_was_read_since_is_not_owed(pool: Pool) -> None:
    await read_unwell(pool)
    other = await SyncStore(pool).create("con_1", Kind.MANUAL, trigger="test", resources=["customer"])
    await end(pool, other)
    assert (await status_of(pool)).word is Word.ACTION_REQUIRED

    again = await SyncStore(pool).create("con_1", Kind.MANUAL, trigger="test", resources=["charge"])
    assert (await status_of(pool)).sentence.endswith("It is read again at the moment.")
    await end(pool, again)

    assert (await status_of(pool)).word is Word.LIVE


async def test_a_list_of_which_a_part_was_read_since_is_still_owed(pool: Pool) -> None:
    await read_unwell(pool)
    later = datetime.now(UTC) - timedelta(days=7)
    part = await SyncStore(pool).create("con_1", Kind.MANUAL, trigger="test", resources=["charge"], range_start=later)
    await end(pool, part)

    assert (await status_of(pool)).word is Word.ACTION_REQUIRED


async def test_a_resource_that_nobody_syncs_any_more_is_not_owed(pool: Pool) -> None:
    await read_unwell(pool)
    await pool.execute("UPDATE connections SET resources = '{customer}'")

    assert (await status_of(pool)).word is Word.LIVE


async def test_differences_that_are_repaired_or_compared_again_are_not_owed(pool: Pool) -> None:
    await differ(pool)
    await pool.execute("UPDATE differences SET repaired_at = now() WHERE object_id <> 'ch_1'")
    assert (await status_of(pool)).sentence.startswith("1 row is not what Stripe has")
    await pool.execute(VERIFIED.replace("syn_v", "syn_w").replace("interval '1 hour'", "interval '1 minute'"))

    assert (await status_of(pool)).word is Word.LIVE


async def test_refusals_of_a_moment_are_not_owed(pool: Pool) -> None:
    await pool.execute(REFUSAL, Cause.CLOCK, 400, None)
    await pool.execute("UPDATE webhook_refusals SET since = now() - interval '1 minute'")

    assert (await status_of(pool)).word is Word.LIVE


@pytest.mark.parametrize("cause", [Cause.SECRET, Cause.UNSIGNED])
@pytest.mark.parametrize("missed", [None, 1])
async def test_what_a_stranger_sends_is_not_owed(pool: Pool, cause: Cause, missed: int | None) -> None:
    await pool.execute(REFUSAL, cause, 4000, missed)

    assert (await status_of(pool)).word is Word.LIVE
    shown = await Overview().read(pool, AccountFilter(status=Word.LIVE), now=datetime.now(UTC))
    assert [one.id for one in shown.cards] == ["con_1"]


async def test_a_secret_that_can_not_be_read_is_owed_at_once(pool: Pool) -> None:
    await pool.execute(REFUSAL, Cause.UNREADABLE, None, None)

    assert (await status_of(pool)).word is Word.ACTION_REQUIRED


@pytest.mark.parametrize("gone", ["DELETE FROM dead_letters", "UPDATE dead_letters SET destination_id = 'dst_gone'"])
async def test_failed_records_that_nobody_lacks_are_not_owed(pool: Pool, gone: str) -> None:
    await fail(pool)
    await pool.execute(gone)

    assert (await status_of(pool)).word is Word.LIVE


async def test_a_removal_that_waits_says_why(database_url: str, pool: Pool) -> None:
    await pool.execute("UPDATE connections SET state = 'removing'")
    await pool.execute(REMOVAL, "Warehouse does not answer.")

    told = "The removal waits: Warehouse does not answer. It is tried again by itself."
    card, status = await told_by_page(pool, "/"), (await told_by_rest(database_url))["status"]
    assert (status["word"], status["sentence"]) == (Word.REMOVING, told)
    assert told in card
    assert "/connections/con_1/removal" in card


async def test_a_pause_says_that_it_is_a_pause(pool: Pool) -> None:
    await park(pool)
    keys = parse_key_ring(make_encryption_key("k1"))
    await ConnectionStore(pool, keys).set_state("con_1", State.PAUSED)

    assert (await status_of(pool)).word is Word.PAUSED
