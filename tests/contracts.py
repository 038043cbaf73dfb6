"""What every destination must do; subclassed for each one, the fake included."""

from __future__ import annotations

import json
from typing import Any, Protocol

import pytest

from services.destination_writer.delivery import Outcome, Winner, fold
from services.destination_writer.destinations import Account, Destination
from shared.errors import DestinationRejectedError
from shared.messages import Origin
from tests.factories import lines, make_part, make_record, make_winner

ACCOUNT = Account("acct_1", livemode=True)


class InspectedDestination(Destination, Protocol):
    """A destination whose rows a test can read."""

    async def rows(self, table: str) -> dict[tuple[str, bool, str], dict[str, Any]]:
        """Return by (account, livemode, id): stamp, deleted, data, and parent of a child."""


class DestinationContract:
    """The tests; a subclass gives the fixture `destination`."""

    async def row(self, destination: InspectedDestination, object_id: str, table: str = "customers") -> dict[str, Any]:
        return (await destination.rows(table))[ACCOUNT.id, ACCOUNT.livemode, object_id]

    async def write(self, destination: InspectedDestination, *winners: Winner) -> list[Outcome]:
        return [written.outcome for written in await destination.write(ACCOUNT, winners)]

    async def test_preparing_twice_is_harmless(self, destination: InspectedDestination) -> None:
        await destination.prepare()
        await destination.prepare()
        assert await destination.rows("customers") == {}

    async def test_new_object_is_inserted(self, destination: InspectedDestination) -> None:
        assert await self.write(destination, make_winner(name="Ada")) == [Outcome.INSERTED]
        row = await self.row(destination, "cus_1")
        assert (row["stamp"], row["deleted"], row["data"]["name"]) == (100, False, "Ada")

    async def test_later_stamp_wins(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="old"))
        assert await self.write(destination, make_winner(stamp=101, name="new")) == [Outcome.UPDATED]
        assert (await self.row(destination, "cus_1"))["data"]["name"] == "new"

    async def test_old_event_does_not_overwrite_newer_row(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="new"))
        assert await self.write(destination, make_winner(stamp=99, name="old")) == [Outcome.IGNORED]
        assert (await self.row(destination, "cus_1"))["data"]["name"] == "new"

    async def test_exact_replay_writes_nothing(self, destination: InspectedDestination) -> None:
        winner = make_winner(name="Ada")
        await self.write(destination, winner)
        before = await destination.rows("customers")
        assert await self.write(destination, winner) == [Outcome.UNCHANGED]
        assert await destination.rows("customers") == before

    async def test_equal_body_with_a_later_stamp_advances_only_the_stamp(
        self, destination: InspectedDestination
    ) -> None:
        await self.write(destination, make_winner(name="Ada"))
        assert await self.write(destination, make_winner(stamp=150, name="Ada")) == [Outcome.UNCHANGED]
        assert (await self.row(destination, "cus_1"))["stamp"] == 150

    async def test_deleted_stays_deleted_for_an_older_update(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="Ada"))
        assert await self.write(destination, make_winner(stamp=110, is_deleted=True)) == [Outcome.DELETED]
        late = make_winner(stamp=109, name="zombie", origin=Origin.LISTED)
        assert await self.write(destination, late) == [Outcome.IGNORED]
        row = await self.row(destination, "cus_1")
        assert (row["deleted"], row["data"]["name"]) == (True, "Ada")

    async def test_deletion_of_an_unknown_object_leaves_a_tombstone(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(stamp=110, is_deleted=True))
        await self.write(destination, make_winner(stamp=109, name="zombie"))
        assert (await self.row(destination, "cus_1"))["deleted"]

    async def test_deletion_wins_its_second(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="Ada"))
        assert await self.write(destination, make_winner(is_deleted=True)) == [Outcome.DELETED]
        assert await self.write(destination, make_winner(name="zombie")) == [Outcome.IGNORED]
        assert (await self.row(destination, "cus_1"))["deleted"]

    async def test_a_later_version_brings_a_recreated_object_back(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(is_deleted=True))
        assert await self.write(destination, make_winner(stamp=120, name="again")) == [Outcome.UPDATED]
        assert not (await self.row(destination, "cus_1"))["deleted"]

    async def test_tie_is_settled_by_previous_attributes(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="a", balance=0))
        follows = make_winner(name="b", balance=0, event_type="customer.updated", previous={"name": "a"})
        assert await self.write(destination, follows) == [Outcome.UPDATED]
        assert (await self.row(destination, "cus_1"))["data"]["name"] == "b"

    async def test_creation_loses_its_second(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="b"))
        assert await self.write(destination, make_winner(name="a", event_type="customer.created")) == [Outcome.IGNORED]

    async def test_tie_that_nothing_settles_asks_stripe(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="a"))
        written = await destination.write(ACCOUNT, [make_winner(name="b", origin=Origin.LISTED)])
        assert written[0].ask_stripe

    async def test_chain_of_one_second_follows_the_row_before_it(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="a"))
        chain = fold(
            [
                make_record(name="b", event_type="customer.updated", previous={"name": "a"}),
                make_record(name="c", event_type="customer.updated", previous={"name": "b"}),
            ]
        )
        assert await self.write(destination, *chain) == [Outcome.UPDATED]
        assert (await self.row(destination, "cus_1"))["data"]["name"] == "c"

    async def test_event_close_to_a_listing_of_a_silent_resource_asks_stripe(
        self, destination: InspectedDestination
    ) -> None:
        listed = make_winner("coupon_1", resource="coupon", origin=Origin.LISTED, times_redeemed=2)
        await self.write(destination, listed)
        event = make_winner("coupon_1", 103, resource="coupon", event_type="coupon.updated", times_redeemed=1)
        assert (await destination.write(ACCOUNT, [event]))[0].ask_stripe

    async def test_listing_close_to_an_event_of_a_silent_resource_asks_stripe(
        self, destination: InspectedDestination
    ) -> None:
        """The item was created, then billed without an event, and listed within the margin of its creation."""
        event = make_winner("ii_1", 103, resource="invoiceitem", event_type="invoiceitem.created", invoice=None)
        await self.write(destination, event)
        listed = make_winner("ii_1", 100, resource="invoiceitem", origin=Origin.LISTED, invoice="in_1")
        assert (await destination.write(ACCOUNT, [listed]))[0].ask_stripe

    async def test_accounts_and_modes_keep_their_own_rows(self, destination: InspectedDestination) -> None:
        for account in (ACCOUNT, Account("acct_1", livemode=False), Account("acct_2", livemode=True)):
            await destination.write(account, [make_winner(name=f"{account.id} {account.livemode}")])
        assert len(await destination.rows("customers")) == 3

    async def test_batch_spans_tables(self, destination: InspectedDestination) -> None:
        outcomes = await self.write(
            destination, make_winner("in_1", resource="invoice"), make_winner("cus_1"), make_winner("cus_0")
        )
        assert outcomes == [Outcome.INSERTED] * 3

    async def test_children_come_and_go_with_their_parent(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", lines=lines("il_1", "il_2")))
        await self.write(destination, make_winner("in_1", 101, resource="invoice", lines=lines("il_2", "il_3")))
        rows = await destination.rows("invoice_line_items")
        assert {key[2]: row["deleted"] for key, row in rows.items()} == {"il_1": True, "il_2": False, "il_3": False}
        assert rows[ACCOUNT.id, True, "il_3"]["parent"] == "in_1"

    async def test_children_of_an_older_parent_are_left_alone(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner("in_1", 101, resource="invoice", lines=lines("il_2")))
        await self.write(destination, make_winner("in_1", 100, resource="invoice", lines=lines("il_1")))
        assert {key[2] for key in await destination.rows("invoice_line_items")} == {"il_2"}

    async def test_cut_list_deletes_nothing(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", lines=lines("il_1", "il_2")))
        cut = make_winner("in_1", 101, resource="invoice", lines=lines("il_3", has_more=True))
        assert (await destination.write(ACCOUNT, [cut]))[0].is_cut
        rows = await destination.rows("invoice_line_items")
        assert not any(row["deleted"] for row in rows.values())

    async def test_complete_walk_of_children_removes_what_it_did_not_show(
        self, destination: InspectedDestination
    ) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", lines=lines("il_1", "il_2")))
        await destination.write_children(ACCOUNT, make_part("in_1", ["il_2"], stamp=200, is_complete=False))
        await destination.write_children(ACCOUNT, make_part("in_1", ["il_3"], stamp=200, is_complete=True))
        rows = await destination.rows("invoice_line_items")
        assert {key[2]: row["deleted"] for key, row in rows.items()} == {"il_1": True, "il_2": False, "il_3": False}

    async def test_children_of_a_deleted_parent_are_deleted(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", lines=lines("il_1")))
        await self.write(destination, make_winner("in_1", 101, resource="invoice", is_deleted=True))
        assert (await destination.rows("invoice_line_items"))[ACCOUNT.id, True, "il_1"]["deleted"]

    async def test_unknown_fields_and_odd_types_are_kept(self, destination: InspectedDestination) -> None:
        odd = make_winner(created="yesterday", balance={"a": 1}, brand_new=[1, {"x": None}], delinquent=3)
        assert await self.write(destination, odd) == [Outcome.INSERTED]
        assert (await self.row(destination, "cus_1"))["data"] == json.loads(odd.record.body)

    async def test_record_that_can_never_be_written_is_rejected(self, destination: InspectedDestination) -> None:
        with pytest.raises(DestinationRejectedError):
            await self.write(destination, make_winner("cus_2", name="bad \u0000"), make_winner("cus_3"))
        assert await destination.rows("customers") == {}

    async def test_closing_twice_is_harmless(self, destination: InspectedDestination) -> None:
        await destination.close()
        await destination.close()
