"""Questions that have piled up: pages of the list answer them, and what stands on no page is asked about alone."""

from __future__ import annotations

import json
from typing import Any

from services.sync_worker.hint_spans import LEAST
from services.sync_worker.refetch_pages import CROWD, RefetchPages
from shared.messages import Origin
from shared.stripe_pages import PAGE_LIMIT
from tests.integration.sync_worker.worlds import CONNECTION, World

NOTE = """
INSERT INTO event_log (connection_id, event_id, type, resource, object_id, created, outcome)
VALUES ($1, 'evt_' || $2, $3, 'invoice', $2, $4, 'inserted')
"""


def pages(here: World) -> RefetchPages:
    return RefetchPages(here.pool, here.connections, here.clients, here.objects)


async def newest_invoices(here: World, count: int) -> list[dict[str, Any]]:
    async with here.session.get(f"{here.base}/_control/truth?resource=invoice") as answer:
        rows = [json.loads(line) for line in (await answer.text()).splitlines()]
    living = [row["object"] for row in rows if not row["deleted"]]
    found = sorted(living, key=lambda one: (one["created"], one["id"]))[-count:]
    assert len(found) == count
    return found


async def note(here: World, invoices: list[dict[str, Any]], *, kind: str = "invoice.created", later: int = 0) -> None:
    for one in invoices:
        await here.pool.execute(NOTE, CONNECTION, one["id"], kind, one["created"] + later)


async def ask(here: World, invoices: list[dict[str, Any]]) -> None:
    for one in invoices:
        await here.ask("invoice", one["id"])


async def open_questions(here: World) -> set[str]:
    return {row["object_id"] for row in await here.pool.fetch("SELECT object_id FROM refetches")}


async def answer_all(here: World) -> None:
    while await pages(here).answer_crowd():
        pass


async def test_a_crowd_is_answered_by_pages(here: World) -> None:
    invoices = await newest_invoices(here, 130)
    cut = {one["id"] for one in invoices if one["lines"]["has_more"]}
    await note(here, invoices)
    await ask(here, invoices)
    await answer_all(here)
    left = await open_questions(here)
    assert cut <= left
    assert len(left) < len(cut) + CROWD  # fewer are no crowd
    calls = await here.calls()
    assert not [call for call in calls if call["path"].startswith("/v1/invoices/")]
    assert 2 <= len(await here.calls("/v1/invoices")) <= 4
    answered = {one["id"] for one in invoices} - left
    assert answered <= {
        json.loads(body)["id"] for headers, body in here.records() if headers.origin is Origin.REFETCHED
    }


async def test_what_the_objects_name_is_read_together_too(here: World) -> None:
    invoices = await newest_invoices(here, 130)
    await note(here, invoices)
    await ask(here, invoices)
    await answer_all(here)
    answered = {one["id"] for one in invoices} - await open_questions(here)
    details = [
        line["parent"]["invoice_item_details"]
        for one in invoices
        if one["id"] in answered
        for line in one["lines"]["data"]
        if line["parent"]
    ]
    items = {one["invoice_item"] for one in details if one}
    assert len(items) >= LEAST
    assert items <= set(here.published_ids())
    assert len([call for call in await here.calls() if call["path"].startswith("/v1/invoiceitems")]) < len(items)


async def test_few_questions_are_left_to_be_asked_alone(here: World) -> None:
    invoices = await newest_invoices(here, CROWD - 1)
    await note(here, invoices)
    await ask(here, invoices)
    assert await pages(here).answer_crowd() == 0
    assert await here.calls("/v1/invoices") == []


async def test_objects_whose_creation_nobody_has_seen_are_left_to_be_asked_alone(here: World) -> None:
    invoices = await newest_invoices(here, CROWD)
    await note(here, invoices, kind="invoice.updated")
    await ask(here, invoices)
    assert await pages(here).answer_crowd() == 0
    assert await here.calls("/v1/invoices") == []


async def test_what_is_on_no_page_is_asked_about_alone(here: World) -> None:
    invoices = await newest_invoices(here, CROWD)
    await note(here, invoices, later=100_000_000)
    await ask(here, invoices)
    assert await pages(here).answer_crowd() == 0
    assert await pages(here).answer_crowd() == 0
    assert len(await here.calls("/v1/invoices")) == 1
    while await here.refetch().answer_due():
        pass
    assert await open_questions(here) == set()


async def test_what_stands_further_down_the_list_is_looked_for_on_another_page(here: World) -> None:
    invoices = await newest_invoices(here, PAGE_LIMIT + 2 * CROWD)
    older, newest = invoices[: 2 * CROWD], {"id": "in_gone", "created": invoices[-1]["created"]}
    await note(here, [*older, newest])
    await ask(here, [*older, newest])
    assert await pages(here).answer_crowd() == 0  # a page full of others
    assert await pages(here).answer_crowd() > CROWD
    assert not [call for call in await here.calls() if call["path"].startswith("/v1/invoices/")]
    tried = await here.pool.fetch("SELECT object_id FROM refetches WHERE attempts > 0")
    assert "in_gone" in {row["object_id"] for row in tried}


async def test_a_question_asked_again_while_the_page_is_read_stays_open(here: World) -> None:
    invoices = await newest_invoices(here, CROWD)
    await note(here, invoices)
    await ask(here, invoices)
    asked = next(one["id"] for one in invoices if not one["lines"]["has_more"])
    publish = here.producer.publish_all

    async def ask_meanwhile(*what: object) -> object:
        here.producer.publish_all = publish  # type: ignore[method-assign]
        await here.ask("invoice", asked)
        return await publish(*what)  # type: ignore[arg-type]

    here.producer.publish_all = ask_meanwhile  # type: ignore[method-assign, assignment]
    assert await pages(here).answer_crowd() > 0
    assert asked in await open_questions(here)
    assert asked in here.published_ids()


async def test_a_resource_that_may_not_be_read_is_not_asked_for(here: World) -> None:
    invoices = await newest_invoices(here, CROWD)
    await note(here, invoices)
    await ask(here, invoices)
    await here.control("POST", f"keys/{await here.key()}/revoke", {"permissions": ["rak_invoice_read"]})
    assert await pages(here).answer_crowd() == 0
    assert await open_questions(here) == {one["id"] for one in invoices}
    assert await here.refetch().answer_due() > 0  # notes the fault
    assert await pages(here).answer_crowd() == 0
    assert len(await here.calls("/v1/invoices")) == 1
