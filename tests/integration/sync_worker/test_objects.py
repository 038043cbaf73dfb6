"""One object asked for brings all that hangs on it: cut lists of children, the newest of a list, what it names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.sync_worker.objects import TAIL_OVERLAP, Objects
from services.sync_worker.publishing import Publisher
from shared.broker_log import CurrentLog
from shared.catalogue import BY_NAME
from shared.messages import Origin, RecordHeaders
from shared.stripe_api import StripeApi, Unlimited
from shared.topics import SNAPSHOTS
from tests.integration.sync_worker.worlds import CLUSTER, CONNECTION, World
from tests.unit.shared.fake_stripe import KEY


@dataclass(slots=True)
class Invoice:
    """A Stripe with one invoice of many lines; `vanishing` go away after they were listed once."""

    lines: list[str]
    vanishing: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    is_gone: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(request.path_qs)
        if request.path == "/v1/invoices/in_1":
            inline = {"object": "list", "data": [{"id": one} for one in self.lines[:10]], "has_more": True}
            return web.json_response({"id": "in_1", "object": "invoice", "lines": inline})
        after = request.query.get("starting_after")
        if self.is_gone or (after and after not in self.lines):
            error = {"code": "resource_missing", "message": "No such object"}
            return web.json_response({"error": error}, status=404 if self.is_gone else 400)
        start = self.lines.index(after) + 1 if after else 0
        page, rest = self.lines[start : start + 100], self.lines[start + 100 :]
        self.lines = [one for one in self.lines if one not in self.vanishing or one not in page]
        return web.json_response({"object": "list", "data": [{"id": one} for one in page], "has_more": bool(rest)})


@asynccontextmanager
async def asking(stripe: Invoice) -> AsyncIterator[StripeApi]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stripe.answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield StripeApi(session, base=str(server.make_url("")), key=KEY, budget=Unlimited())


async def refresh(here: World, stripe: Invoice) -> dict[tuple[str, int], int]:
    objects = Objects(here.pool, Publisher(here.producer, CurrentLog(CLUSTER)))  # type: ignore[arg-type]
    async with asking(stripe) as api:
        return await objects.refresh(await here.connection(), api, BY_NAME["invoice"], "in_1")


def parts(here: World) -> list[tuple[RecordHeaders, list[str]]]:
    found = [(headers, json.loads(body)) for headers, body in here.records() if headers.parent_id]
    return [(headers, [one["id"] for one in body["data"]]) for headers, body in found]


LINES = [f"il_{n}" for n in range(250)]


async def test_a_cut_list_of_children_is_walked_to_its_end(here: World) -> None:
    await refresh(here, Invoice(list(LINES)))
    assert [one for _, ids in parts(here) for one in ids] == LINES


async def test_only_the_last_part_completes_the_set(here: World) -> None:
    await refresh(here, Invoice(list(LINES)))
    assert [headers.is_complete for headers, _ in parts(here)] == [False, False, True]


async def test_the_parts_of_a_set_share_its_stamp_and_its_parents_key(here: World) -> None:
    await refresh(here, Invoice(list(LINES)))
    assert len({headers.stamp for headers, _ in parts(here)}) == 1
    assert len({record.key for record in here.producer.records(SNAPSHOTS)}) == 1


async def test_the_parts_count_for_the_end_of_the_sync(here: World) -> None:
    offsets = await refresh(here, Invoice(list(LINES)))
    assert max(offsets.values()) == len(here.producer.published) - 1


async def test_a_line_that_goes_away_in_mid_walk_begins_the_set_anew(here: World) -> None:
    await refresh(here, Invoice(list(LINES), vanishing={"il_99"}))
    last = [ids for _, ids in parts(here)][-3:]
    assert [one for ids in last for one in ids] == [one for one in LINES if one != "il_99"]
    assert parts(here)[-1][0].is_complete


async def test_a_parent_that_goes_away_in_mid_walk_completes_no_set(here: World) -> None:
    stripe = Invoice(list(LINES), is_gone=True)
    with pytest.raises(Exception, match="No such object"):
        await refresh(here, stripe)
    assert parts(here) == []


async def test_the_newest_of_a_list_are_read_since_they_were_read_last(here: World) -> None:
    listed_to = int(here.simulation.now()) - 3600
    await here.pool.execute("INSERT INTO list_tails VALUES ($1, 'charge', $2)", CONNECTION, listed_to)
    await here.control("POST", "scenarios/buy")
    await here.refresh("charge", "*")
    [call] = await here.calls("/v1/charges")
    assert dict(_query(call))["created[gte]"] == str(listed_to - TAIL_OVERLAP)
    assert {headers.origin for headers, _ in here.records()} == {Origin.LISTED}


async def test_a_mark_never_lies_after_what_was_read(here: World) -> None:
    await here.refresh("charge", "*")
    listed_to = await here.pool.fetchval("SELECT listed_to FROM list_tails")
    assert listed_to <= here.simulation.now() - 5


async def test_a_list_that_hides_objects_is_read_once_for_each_state(here: World) -> None:
    await here.refresh("price", "*")
    walks = [dict(_query(call)).get("active") for call in await here.calls("/v1/prices")]
    assert sorted(set(walks), key=str) == sorted({dict(walk).get("active") for walk in BY_NAME["price"].walks}, key=str)


async def test_a_deleted_customer_is_a_deletion_with_the_stamp_of_the_answer(here: World) -> None:
    before = here.truth("customer")
    await here.control("POST", "scenarios/delete_customer")
    [gone] = before - here.truth("customer")
    await here.refresh("customer", gone)
    [(headers, _)] = here.records()
    assert headers.is_deleted
    assert here.simulation.now() - 15 < headers.stamp <= here.simulation.now() - 5


def _query(call: dict[str, Any]) -> list[tuple[str, str]]:
    return parse_qsl(call["query"])
