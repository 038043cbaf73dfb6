"""Questions about objects: answered when they are due, once each, and again when they were asked again meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from services.sync_worker.refetch import BATCH, BATCHES, TAIL_PAUSE
from shared.errors import KafkaUnavailableError
from shared.kafka import Outgoing
from shared.messages import Origin, RecordHeaders
from shared.topics import Topic
from tests.eventually import eventually
from tests.integration.sync_worker.worlds import World


async def open_questions(here: World) -> list[str]:
    return [row["object_id"] for row in await here.pool.fetch("SELECT object_id FROM refetches ORDER BY 1")]


async def test_a_question_is_answered_once(here: World) -> None:
    identity = min(here.truth("charge"))
    await here.ask("charge", identity)
    assert await here.refetch().answer_due() == 1
    assert await here.refetch().answer_due() == 0
    assert here.published_ids() == [identity]


async def test_an_answer_says_where_it_comes_from(here: World) -> None:
    await here.ask("charge", min(here.truth("charge")))
    await here.refetch().answer_due()
    [(headers, _)] = here.records()
    assert headers.origin is Origin.REFETCHED


async def test_a_question_that_is_not_due_waits(here: World) -> None:
    await here.ask("charge", min(here.truth("charge")), due_at="now() + interval '7 seconds'")
    assert await here.refetch().answer_due() == 0


async def test_two_workers_do_not_answer_the_same_question(here: World) -> None:
    await here.ask("charge", min(here.truth("charge")))
    await here.pool.execute("UPDATE refetches SET lease_until = now() + interval '10 seconds'")
    assert await here.refetch().answer_due() == 0


async def test_a_question_asked_again_while_it_is_answered_is_answered_once_more(here: World) -> None:
    identity = min(here.truth("charge"))
    await here.ask("charge", identity)
    publish = here.producer.publish_all

    async def ask_meanwhile(*what: object) -> object:
        here.producer.publish_all = publish  # type: ignore[method-assign]
        await here.ask("charge", identity)
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = ask_meanwhile  # type: ignore[method-assign, assignment]
    await here.refetch().answer_due()
    assert await here.refetch().answer_due() == 1
    assert here.published_ids() == [identity, identity]


async def test_newest_of_a_list_that_is_asked_for_all_the_time_is_read_with_a_pause(here: World) -> None:
    await here.ask("balance_transaction", "*")
    publish = here.producer.publish_all

    async def ask_meanwhile(*what: object) -> object:
        await here.ask("balance_transaction", "*")
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = ask_meanwhile  # type: ignore[method-assign, assignment]
    await here.refetch().answer_due()
    left = await here.pool.fetchval("SELECT due_at - now() FROM refetches")
    assert timedelta(seconds=1) < left <= timedelta(seconds=TAIL_PAUSE)


async def test_an_object_that_is_gone_is_answered_by_its_deletion(here: World) -> None:
    await here.ask("charge", "ch_gone")
    await here.refetch().answer_due()
    [(headers, body)] = here.records()
    assert headers.is_deleted
    assert b"ch_gone" in body
    assert here.simulation.now() - 15 < headers.stamp <= here.simulation.now() - 5


async def test_a_slow_answer_holds_up_its_own_batch_alone(here: World) -> None:
    identities = sorted(here.truth("charge"))[: BATCH * BATCHES + 1]
    assert len(identities) > BATCH * BATCHES
    publish = here.producer.publish_all

    async def publish_all_but_the_first(topic: Topic, records: Sequence[Outgoing]) -> object:
        if any(record.key.endswith(identities[0].encode()) for record in records):
            await asyncio.get_running_loop().create_future()
        return await publish(topic, records)

    here.producer.publish_all = publish_all_but_the_first  # type: ignore[method-assign, assignment]
    for identity in identities:
        await here.ask("charge", identity)
    answering = asyncio.create_task(here.refetch().run())

    async def only_the_slow_one_is_open() -> bool:
        return await open_questions(here) == identities[:1]

    await eventually(only_the_slow_one_is_open, within=20)
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


async def test_a_passing_failure_keeps_the_question(here: World) -> None:
    await here.ask("charge", min(here.truth("charge")))
    due_at = await here.pool.fetchval("SELECT due_at FROM refetches")
    here.producer.error = KafkaUnavailableError()
    await here.refetch().answer_due()
    assert len(await open_questions(here)) == 1
    assert await here.pool.fetchval("SELECT lease_until IS NULL AND due_at > $1 FROM refetches", due_at)


async def test_a_question_that_may_not_be_asked_waits_for_the_permission(here: World) -> None:
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_customer_read"]})
    await here.ask("customer", min(here.truth("customer")))
    await here.refetch().answer_due()
    assert await here.refetch().answer_due() == 0
    assert len(await open_questions(here)) == 1


async def test_a_question_that_stripe_refuses_is_given_up(here: World) -> None:
    await here.ask("test_clock", "clock_1")
    await here.refetch().answer_due()
    assert await open_questions(here) == []


async def test_an_id_that_a_merchant_chose_is_asked_for_as_it_is(here: World) -> None:
    await here.ask("coupon", "50% off now?")
    await here.refetch().answer_due()
    [(headers, body)] = here.records()
    assert (headers.is_deleted, b"50% off now?" in body) == (True, True)
    assert RecordHeaders.decode(here.producer.published[0][1].headers).resource == "coupon"
