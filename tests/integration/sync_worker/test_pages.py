"""A page that can't be had or read is asked for in another way, and what stops a list is told while it stops it."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

from services.sync_worker.retrying import forget_ended
from shared.dead_letters import DeadLetter, parse_dead_letter, subject_of
from shared.delays import Delay, Work, delays_of_connection, delays_of_sync
from shared.syncs import Status, Sync
from shared.topics import DEAD_LETTERS
from tests.factories import make_message
from tests.integration.sync_worker.worlds import CONNECTION, World


async def make_odd(here: World, kind: str, *, above: int = 0, odd_id: str = "") -> None:
    fault = {"odd_path": "charges", "odd_kind": kind, "odd_above": above, "odd_id": odd_id}
    await here.control("POST", "faults", fault)


async def limits(here: World) -> list[int]:
    return [int(parse_qs(call["query"])["limit"][0]) for call in await here.calls("/v1/charges")]


async def finish(here: World, sync_id: str) -> Sync:
    await here.confirm_everything()
    await here.completion().finish_confirmed()
    return await here.syncs.get(sync_id)


async def go_on(here: World) -> None:
    await here.pool.execute("UPDATE slices SET lease_until = NULL WHERE status = 'planned'")
    await here.fetch_all()


def letters(here: World) -> list[DeadLetter]:
    sent = here.producer.records(DEAD_LETTERS)
    return [parse_dead_letter(make_message(one.value, headers=one.headers, key=one.key)) for one in sent]


async def delay_of(here: World, sync_id: str) -> Delay:
    [delay] = await delays_of_sync(here.pool, sync_id)
    assert delay.next_try_at > delay.since
    return delay


@pytest.mark.parametrize("kind", ["504", "cut", "empty"])
async def test_a_page_that_is_too_heavy_is_asked_for_with_half_of_its_objects(here: World, kind: str) -> None:
    await make_odd(here, kind, above=50)
    sync_id = await here.start("charge")
    await here.fetch_all()
    assert set(here.published_ids()) == here.truth("charge")
    assert (await limits(here))[:3] == [100, 50, 50]
    assert (await finish(here, sync_id)).status is Status.SUCCEEDED
    assert await delays_of_sync(here.pool, sync_id) == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("surrogate", "object_unreadable"),
        ("nan", "object_unreadable"),
        ("nested", "object_unreadable"),
        ("large", "record_too_large"),
    ],
)
async def test_one_object_that_cannot_be_taken_is_a_dead_letter_and_the_rest_goes_on(
    here: World, kind: str, code: str
) -> None:
    odd_id = sorted(here.truth("charge"))[7]
    await make_odd(here, kind, odd_id=odd_id)
    sync_id = await here.start("charge")
    await here.fetch_all()
    assert sorted(map(str, here.published_ids())) == sorted(here.truth("charge") - {odd_id})  # each once
    [letter] = letters(here)
    assert (letter.stage, letter.code, letter.connection_id) == ("read", code, CONNECTION)
    assert (subject_of(letter).resource, subject_of(letter).object_id) == ("charge", odd_id)
    sync = await finish(here, sync_id)
    assert (sync.status, sync.read, sync.counts.failed) == (Status.SUCCEEDED, len(here.truth("charge")), 1)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("html", "a page instead of data"),
        ("null", "no `data`"),
        ("object", "one charge where a list was asked for"),
        ("empty", "goes on, and shows nothing of it"),
        ("504", "An unknown error occurred"),
    ],
)
async def test_a_list_that_cannot_be_had_says_why_while_it_is_tried_again(here: World, kind: str, says: str) -> None:
    await make_odd(here, kind)
    sync_id = await here.start("charge", "customer")
    await here.fetch_all()
    assert set(here.published_ids()) == here.truth("customer")  # nobody waits for it
    assert (await here.syncs.get(sync_id)).status is Status.RUNNING
    delay = await delay_of(here, sync_id)
    assert says in delay.cause
    assert (delay.work, delay.connection_id) == (Work.SLICE, CONNECTION)
    await here.control("DELETE", "faults")
    await go_on(here)
    assert await delays_of_sync(here.pool, sync_id) == []
    assert set(here.published_ids()) == here.truth("customer") | here.truth("charge")


async def test_what_is_tried_again_counts_its_tries_and_is_forgotten_with_its_sync(here: World) -> None:
    await make_odd(here, "html")
    sync_id = await here.start("charge")
    await here.fetch_all()
    first = await delay_of(here, sync_id)
    await go_on(here)
    again = await delay_of(here, sync_id)
    assert (again.since, again.attempts > first.attempts) == (first.since, True)
    await here.syncs.cancel(sync_id)
    await forget_ended(here.pool)
    assert await delays_of_connection(here.pool, CONNECTION) == []


async def test_a_question_that_is_tried_again_is_told_until_it_is_answered(here: World) -> None:
    customer = min(here.truth("customer"))
    await here.ask("customer", customer)
    await here.control("POST", "faults", {"http_500": 1.0})
    assert await here.refetch().answer_due() == 1
    [delay] = await delays_of_connection(here.pool, CONNECTION)
    assert (delay.work, delay.code) == (Work.QUESTION, "stripe_unavailable")
    assert delay.cause.startswith("An unknown error occurred Tillstream asks again")
    await forget_ended(here.pool)
    assert len(await delays_of_connection(here.pool, CONNECTION)) == 1
    await here.control("DELETE", "faults")
    await here.pool.execute("UPDATE refetches SET due_at = now()")
    assert await here.refetch().answer_due() == 1
    assert here.published_ids() == [customer]
    assert await delays_of_connection(here.pool, CONNECTION) == []


async def test_an_event_feed_that_cannot_be_polled_is_told_until_it_is(here: World) -> None:
    polling = here.polling()
    await here.control("POST", "faults", {"http_500": 1.0})
    await polling.poll_due()
    [delay] = await delays_of_connection(here.pool, CONNECTION)
    assert delay.code == "stripe_unavailable"
    await forget_ended(here.pool)
    assert len(await delays_of_connection(here.pool, CONNECTION)) == 1
    await here.control("DELETE", "faults")
    await here.polling().poll_due()  # a worker that has started since
    assert await delays_of_connection(here.pool, CONNECTION) == []


@pytest.mark.parametrize("object_id", [".", ".."])
async def test_an_id_that_leads_elsewhere_is_asked_for_by_no_call_and_never_deleted(
    here: World, object_id: str
) -> None:
    await here.ask("coupon", object_id)
    assert await here.refetch().answer_due() == 1
    assert await here.calls() == []
    assert here.published_ids() == []
    [letter] = letters(here)
    assert (letter.code, subject_of(letter).object_id) == ("stripe_refused", object_id)
    assert await here.pool.fetchval("SELECT count(*) FROM refetches") == 0


async def test_an_object_that_is_refused_in_unknown_words_is_a_dead_letter(here: World) -> None:
    await here.control("POST", "faults", {"refused_path": "coupons/x", "refused_message": "Not this one."})
    await here.ask("coupon", "x")
    assert await here.refetch().answer_due() == 1
    [letter] = letters(here)
    assert (letter.stage, letter.code, letter.reason) == ("read", "stripe_refused", "Not this one.")
    assert json.loads(letter.body or b"null") is None
