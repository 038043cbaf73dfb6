"""What every destination must do with a stamp that lies ahead of every clock; subclassed for each one, the fake too.

Whoever once had a signing secret could have dated an event ahead: nothing may make that last.
"""

from __future__ import annotations

import time
from typing import Any

from services.destination_writer.delivery import Outcome, Winner
from services.destination_writer.destinations import Older
from shared.catalogue import BY_NAME
from shared.messages import Origin
from tests.contracts import ACCOUNT, InspectedDestination
from tests.factories import lines, make_record, make_winner

FUTURE = 4_102_444_800  # the year 2100


class FutureContract:
    """The tests; a subclass gives the fixture `destination`."""

    async def outcome_of(self, destination: InspectedDestination, winner: Winner) -> Outcome:
        [written] = await destination.write(ACCOUNT, [winner])
        return written.outcome

    async def customer(self, destination: InspectedDestination) -> dict[str, Any]:
        return (await destination.rows("customers"))[ACCOUNT.id, ACCOUNT.livemode, "cus_1"]

    async def test_answer_of_stripe_overwrites_it(self, destination: InspectedDestination) -> None:
        await self.outcome_of(destination, make_winner("cus_1", FUTURE, name="forged"))
        [late] = await destination.write(ACCOUNT, [make_winner("cus_1", 200, name="Ada")])
        assert (late.outcome, late.ask_stripe) == (Outcome.IGNORED, True)  # an event can't tell: Stripe is asked
        answer = make_winner("cus_1", 300, origin=Origin.REFETCHED, name="Ada")
        assert await self.outcome_of(destination, answer) is Outcome.UPDATED
        row = await self.customer(destination)
        assert (row["stamp"], row["data"]["name"]) == (300, "Ada")
        assert await self.outcome_of(destination, make_winner("cus_1", 301, name="Eve")) is Outcome.UPDATED

    async def test_row_minutes_ahead_is_different_and_overwritten(self, destination: InspectedDestination) -> None:
        """What the door lets pass, since a clock may be set badly, is not right for it once it is a row."""
        now = int(time.time())
        await self.outcome_of(destination, make_winner("cus_1", now + 600, name="forged"))
        [found] = await destination.compare(ACCOUNT, [make_record("cus_1", now, origin=Origin.LISTED, name="Ada")])
        assert (found.finding, found.fields) == ("different", ("name", "_stamp"))
        answer = make_winner("cus_1", now, origin=Origin.REFETCHED, name="Ada")
        assert await self.outcome_of(destination, answer) is Outcome.UPDATED
        row = await self.customer(destination)
        assert (row["stamp"], row["data"]["name"]) == (now, "Ada")

    async def test_answer_that_has_lain_for_an_hour_overwrites_nothing_newer(
        self, destination: InspectedDestination
    ) -> None:
        now = int(time.time())
        await self.outcome_of(destination, make_winner("cus_1", now - 60, name="Eve"))
        late = make_record("cus_1", now - 3600, origin=Origin.LISTED, name="Ada")
        [found] = await destination.compare(ACCOUNT, [late])
        assert found.finding == "newer"
        for is_deleted in (False, True):
            answer = make_winner("cus_1", now - 3600, origin=Origin.LISTED, name="Ada", is_deleted=is_deleted)
            assert await self.outcome_of(destination, answer) is Outcome.IGNORED
        row = await self.customer(destination)
        assert (row["stamp"], row["data"]["name"], row["deleted"]) == (now - 60, "Eve", False)

    async def test_answer_tells_the_clock_where_ours_is_slow(self, destination: InspectedDestination) -> None:
        """As if our clock were half an hour slow: what Stripe answered a moment ago says how late it is."""
        stripes_now = int(time.time()) + 1800
        await self.outcome_of(destination, make_winner("cus_1", stripes_now, name="Eve"))
        answer = make_winner("cus_1", stripes_now - 60, origin=Origin.LISTED, name="Ada")
        [found] = await destination.compare(ACCOUNT, [answer.record])
        assert found.finding == "newer"
        assert await self.outcome_of(destination, answer) is Outcome.IGNORED
        assert (await self.customer(destination))["data"]["name"] == "Eve"

    async def test_answer_of_stripe_overwrites_a_deletion(self, destination: InspectedDestination) -> None:
        await self.outcome_of(destination, make_winner("cus_1", 100, name="Ada"))
        await self.outcome_of(destination, make_winner("cus_1", FUTURE, is_deleted=True))
        await self.outcome_of(destination, make_winner("cus_1", 300, origin=Origin.LISTED, name="Ada"))
        assert not (await self.customer(destination))["deleted"]

    async def test_answer_that_there_is_no_such_object_deletes_it(self, destination: InspectedDestination) -> None:
        await self.outcome_of(destination, make_winner("cus_1", FUTURE, name="forged"))
        gone = make_winner("cus_1", 300, origin=Origin.REFETCHED, is_deleted=True)
        assert await self.outcome_of(destination, gone) is Outcome.DELETED
        assert (await self.customer(destination))["deleted"]

    async def test_children_go_with_the_answer_of_stripe(self, destination: InspectedDestination) -> None:
        forged = make_winner("in_1", FUTURE, resource="invoice", lines=lines("il_1", "il_2", amount=9))
        await self.outcome_of(destination, forged)
        answer = make_winner("in_1", 300, resource="invoice", origin=Origin.REFETCHED, lines=lines("il_1"))
        await self.outcome_of(destination, answer)
        found = await destination.rows("invoice_line_items")
        told = {key[2]: (row["deleted"], row["stamp"]) for key, row in found.items()}
        assert told == {"il_1": (False, 300), "il_2": (True, 300)}

    async def test_row_from_the_future_is_different_and_a_list_misses_it(
        self, destination: InspectedDestination
    ) -> None:
        """It would be newer than everything that Stripe tells."""
        await destination.write(ACCOUNT, [make_winner("cus_1", FUTURE, name="forged"), make_winner("cus_2", 150)])
        [found] = await destination.compare(ACCOUNT, [make_record("cus_1", 200, name="Ada")])
        assert (found.finding, found.fields) == ("different", ("name", "_stamp"))
        span = await destination.find_older(ACCOUNT, BY_NAME["customer"], Older(100))
        assert span.ids == ("cus_1",)
