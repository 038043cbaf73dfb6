"""What every destination must do; subclassed for each one, the fake included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from services.destination_writer.delivery import Outcome, Reason, Winner, fold
from services.destination_writer.destinations import Account, Cleaned, Destination
from services.destination_writer.omission import Tree
from shared.catalogue import BY_NAME, TABLES
from shared.errors import DestinationRejectedError, DestinationUnavailableError
from shared.messages import Origin
from tests.factories import lines, make_part, make_record, make_winner

ACCOUNT = Account("acct_1", livemode=True)


class InspectedDestination(Destination, Protocol):
    """A destination whose rows a test can read."""

    async def rows(self, table: str) -> dict[tuple[str, bool, str], dict[str, Any]]:
        """Return by (account, livemode, id): stamp, deleted, data, and parent of a child."""


class DestinationContract:
    """The tests; a subclass gives the fixture `destination`."""

    keeps_deleted = True  # rows of deleted objects stay; else `rows` shows their tombstones, without data

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
        assert (row["deleted"], row["stamp"]) == (True, 110)
        assert not self.keeps_deleted or row["data"]["name"] == "Ada"

    async def test_deletion_of_an_unknown_object_leaves_a_tombstone(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(stamp=110, is_deleted=True))
        await self.write(destination, make_winner(stamp=109, name="zombie"))
        assert (await self.row(destination, "cus_1"))["deleted"]

    async def test_deletion_wins_its_second(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(name="Ada"))
        assert await self.write(destination, make_winner(is_deleted=True)) == [Outcome.DELETED]
        assert await self.write(destination, make_winner(name="zombie")) == [Outcome.IGNORED]
        assert (await self.row(destination, "cus_1"))["deleted"]

    async def test_deletion_that_comes_again_changes_nothing_and_a_later_one_the_stamp(
        self, destination: InspectedDestination
    ) -> None:
        await self.write(destination, make_winner(name="Ada"))
        gone = make_winner(stamp=110, is_deleted=True)
        await self.write(destination, gone)
        before = await destination.rows("customers")
        assert await self.write(destination, gone) == [Outcome.UNCHANGED]
        assert await destination.rows("customers") == before
        assert await self.write(destination, make_winner(stamp=109, is_deleted=True)) == [Outcome.IGNORED]
        assert await self.write(destination, make_winner(stamp=120, is_deleted=True)) == [Outcome.UNCHANGED]
        assert await self.write(destination, make_winner(stamp=119, name="zombie")) == [Outcome.IGNORED]
        assert (await self.row(destination, "cus_1"))["stamp"] == 120

    async def test_child_that_went_is_not_brought_back_by_an_older_part_and_is_by_a_later_set(
        self, destination: InspectedDestination
    ) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", lines=lines("il_1", "il_2")))
        await self.write(destination, make_winner("in_1", 120, resource="invoice", lines=lines("il_2")))
        late = make_part("in_1", ["il_1"], stamp=110, is_complete=False)
        await destination.write_children(ACCOUNT, late)
        assert (await self.row(destination, "il_1", "invoice_line_items"))["deleted"]
        await self.write(destination, make_winner("in_1", 130, resource="invoice", lines=lines("il_1", "il_2")))
        assert not (await self.row(destination, "il_1", "invoice_line_items"))["deleted"]

    async def test_what_is_not_written_says_why(self, destination: InspectedDestination) -> None:
        async def reason(*args: Any, **fields: Any) -> Reason | None:
            return (await destination.write(ACCOUNT, [make_winner(*args, **fields)]))[0].reason

        assert await reason(stamp=100, name="a") is None
        assert await reason(stamp=100, name="a") is Reason.EQUAL
        assert await reason(stamp=101, name="a") is Reason.EQUAL
        assert await reason(stamp=100, name="b") is Reason.OLDER
        assert await reason(stamp=101, name="b") is Reason.TIE
        assert await reason(stamp=101, is_deleted=True) is None
        assert await reason(stamp=101, name="c") is Reason.TOMBSTONE
        assert await reason(stamp=100, name="c") is Reason.TOMBSTONE

    async def test_a_later_version_brings_a_recreated_object_back(self, destination: InspectedDestination) -> None:
        await self.write(destination, make_winner(is_deleted=True))
        outcome = Outcome.UPDATED if self.keeps_deleted else Outcome.INSERTED
        assert await self.write(destination, make_winner(stamp=120, name="again")) == [outcome]
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

    async def test_answer_that_may_show_more_than_the_newer_event_is_asked_for_again(
        self, destination: InspectedDestination
    ) -> None:
        await self.write(destination, make_winner(name="a", stamp=105))
        answer = make_winner(name="b", stamp=100, origin=Origin.REFETCHED)
        assert [one.ask_stripe for one in await destination.write(ACCOUNT, [answer])] == [True]
        for other in (
            make_winner(name="a", stamp=100, origin=Origin.REFETCHED),  # it shows the same
            make_winner(name="b", stamp=98, origin=Origin.REFETCHED),  # it was asked for before the event
            make_winner(name="b", stamp=100, origin=Origin.LISTED),  # nobody had a question
        ):
            assert [one.ask_stripe for one in await destination.write(ACCOUNT, [other])] == [False]

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

    async def test_closing_twice_is_harmless_and_final(self, destination: InspectedDestination) -> None:
        await destination.close()
        await destination.close()
        with pytest.raises(DestinationUnavailableError):
            await self.write(destination, make_winner())

    async def test_children_are_written_only_where_their_parent_is(self, destination: InspectedDestination) -> None:
        """A parent may have been refused, for its resource or its age, when its children come apart from it."""
        part = make_part("in_1", ["il_1"], stamp=200, is_complete=True)
        assert not await destination.write_children(ACCOUNT, part)
        await destination.write(Account(ACCOUNT.id, livemode=False), [make_winner("in_1", resource="invoice")])
        assert not await destination.write_children(ACCOUNT, part)
        await self.write(destination, make_winner("in_1", resource="invoice", is_deleted=True))
        assert not await destination.write_children(ACCOUNT, part)
        assert await destination.rows("invoice_line_items") == {}
        await self.write(destination, make_winner("in_1", 101, resource="invoice"))
        assert await destination.write_children(ACCOUNT, part)
        assert len(await destination.rows("invoice_line_items")) == 1

    @pytest.mark.parametrize(("parent", "is_written"), [({"created": 99}, False), ({"created": 100}, True), ({}, True)])
    async def test_children_go_with_the_age_of_their_parent(
        self, destination: InspectedDestination, parent: dict[str, int], is_written: bool
    ) -> None:
        await self.write(destination, make_winner("in_1", resource="invoice", **parent))
        part = replace(make_part("in_1", ["il_1"], stamp=200, is_complete=True), parent_from=100)
        assert await destination.write_children(ACCOUNT, part) is is_written


class CleanupContract:
    """What every destination must do when something has to go; a subclass gives the fixture `destination`."""

    rows_of_account = 7

    async def delete(
        self, destination: InspectedDestination, resource: str, created_before: int | None = None
    ) -> Counter[str]:
        """Delete rows and return how many of each table went."""
        source = BY_NAME[resource]
        return await walk(lambda id: destination.delete_rows(ACCOUNT, source, created_before=created_before, after=id))

    async def omit(self, destination: InspectedDestination, table: str, tree: Tree) -> Counter[str]:
        return await walk(lambda id: destination.omit_fields(ACCOUNT, TABLES[table], tree, after=id))

    async def test_rows_of_the_account_and_mode_are_deleted_and_no_others(
        self, destination: InspectedDestination
    ) -> None:
        others = (Account(ACCOUNT.id, livemode=False), Account("acct_2", livemode=True))
        for account in (ACCOUNT, *others):
            customers = [make_winner(f"cus_{n}", is_deleted=n == 3) for n in range(7)]
            await destination.write(account, [*customers, make_winner("ch_1", resource="charge")])
        assert await self.delete(destination, "customer") == {"customers": self.rows_of_account}
        keys = await destination.rows("customers")
        assert Counter(key[:2] for key in keys) == {(one.id, one.livemode): 7 for one in others}
        assert len(await destination.rows("charges")) == 3
        assert await self.delete(destination, "customer") == {}

    async def test_children_are_deleted_with_their_parents(self, destination: InspectedDestination) -> None:
        for account in (ACCOUNT, Account("acct_2", livemode=True)):
            await destination.write(account, [invoice("in_1", 99, "il_1", "il_2"), invoice("in_2", 100, "il_3")])
        assert await self.delete(destination, "invoice", 100) == {"invoices": 1, "invoice_line_items": 2}
        kept = {key[2] for key in await destination.rows("invoice_line_items") if key[0] == ACCOUNT.id}
        assert kept == {"il_3"}
        assert len(await destination.rows("invoice_line_items")) == 4

    async def test_only_what_tells_of_an_earlier_creation_is_deleted(self, destination: InspectedDestination) -> None:
        made: list[dict[str, Any]] = [
            {"created": 99}, {"created": 100}, {"date": 99}, {"date": 101}, {"created": None, "date": 1},
            {"created": 100, "date": 1}, {}, {"created": "1"}, {"created": 1e300}, {"created": -5}, {"created": True},
        ]  # fmt: skip
        await destination.write(ACCOUNT, [make_winner(f"cus_{n:02}", **fields) for n, fields in enumerate(made)])
        assert await self.delete(destination, "customer", 100) == {"customers": 4}
        assert {int(key[2][4:]) for key in await destination.rows("customers")} == {1, 3, 5, 6, 7, 8, 10}

    async def test_fields_are_taken_out_of_rows(self, destination: InspectedDestination) -> None:
        address = {"address": {"city": "Bern", "line1": "x"}, "name": "Ada"}
        customers = [make_winner(f"cus_{n}", shipping=address if n % 2 else None, odd=[{"a": 1}]) for n in range(7)]
        for account in (ACCOUNT, Account("acct_2", livemode=True)):
            await destination.write(account, customers)
        tree: Tree = {"shipping": {"address": {"line1": None}}, "missing": None}
        assert await self.omit(destination, "customers", tree) == {"customers": 3}
        rows = await destination.rows("customers")
        assert rows[ACCOUNT.id, True, "cus_1"]["data"]["shipping"] == {"address": {"city": "Bern"}, "name": "Ada"}
        assert rows[ACCOUNT.id, True, "cus_1"]["stamp"] == 100
        assert rows["acct_2", True, "cus_1"]["data"]["shipping"] == address
        assert await self.omit(destination, "customers", tree) == {}

    async def test_fields_are_taken_out_of_children_and_of_items_of_lists(
        self, destination: InspectedDestination
    ) -> None:
        await destination.write(ACCOUNT, [invoice("in_1", 99, "il_1", "il_2")])
        assert await self.omit(destination, "invoices", {"lines": {"data": {"amount": None}}}) == {"invoices": 1}
        assert await self.omit(destination, "invoice_line_items", {"amount": None}) == {"invoice_line_items": 2}
        [row] = (await destination.rows("invoices")).values()
        assert [line["id"] for line in row["data"]["lines"]["data"]] == ["il_1", "il_2"]
        assert not any("amount" in line for line in row["data"]["lines"]["data"])
        assert not any("amount" in row["data"] for row in (await destination.rows("invoice_line_items")).values())

    async def test_omitted_field_is_not_kept_as_what_was_before(self, destination: InspectedDestination) -> None:
        """What an event told of the document before it stays with the row, and tells what the field was."""
        event = make_record(name="b", event_type="customer.updated", previous={"name": "a", "email": "x@y.example"})
        await destination.write(ACCOUNT, fold([event]))
        assert await self.omit(destination, "customers", {"email": None}) == {"customers": 1}
        assert await self.omit(destination, "customers", {"email": None}) == {}

    async def test_destination_without_tables_has_nothing_to_clean(self, destination: InspectedDestination) -> None:
        assert await self.delete(destination, "invoice") == {}
        assert await self.omit(destination, "customers", {"name": None}) == {}


async def walk(step: Callable[[str | None], Awaitable[Cleaned]]) -> Counter[str]:
    """Take one step after the other to the end; return the rows of each table."""
    total: Counter[str] = Counter()
    cleaned = await step(None)
    while True:
        total.update(cleaned.rows)
        if cleaned.last_id is None:
            return +total
        cleaned = await step(cleaned.last_id)


def invoice(object_id: str, created: int, *line_ids: str) -> Winner:
    """Return an invoice with its lines."""
    return make_winner(object_id, resource="invoice", created=created, lines=lines(*line_ids))
