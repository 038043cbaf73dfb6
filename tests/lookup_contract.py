"""What every destination must find in its rows without changing them; subclassed for each one, the fake included."""

from __future__ import annotations

from typing import Any

import pytest

from services.destination_writer.destinations import Account, Older
from shared.catalogue import BY_NAME
from tests.contracts import ACCOUNT, InspectedDestination, invoice
from tests.factories import lines, make_record, make_winner


class LookupContract:
    """What every destination must find; a subclass gives the fixture `destination`."""

    async def find(self, destination: InspectedDestination, older: Older, resource: str = "customer") -> list[str]:
        """Walk through all spans; return the ids in the order in which they were found."""
        found: list[str] = []
        span = await destination.find_older(ACCOUNT, BY_NAME[resource], older)
        while span.last_id is not None:
            found += span.ids
            span = await destination.find_older(ACCOUNT, BY_NAME[resource], older, after=span.last_id)
        return [*found, *span.ids]

    async def test_live_rows_that_a_list_has_not_shown_are_found(self, destination: InspectedDestination) -> None:
        for account in (ACCOUNT, Account(ACCOUNT.id, livemode=False)):
            await destination.write(account, [make_winner(f"cus_{n}", stamp=98 + n) for n in range(5)])
        await destination.write(ACCOUNT, [make_winner("cus_1", stamp=99, is_deleted=True)])
        await destination.write(ACCOUNT, [make_winner("cus_9", stamp=90, is_deleted=True)])
        assert await self.find(destination, Older(100)) == ["cus_0"]
        await destination.write(ACCOUNT, [make_winner("cus_0", stamp=100)])  # equal, so only the stamp advances
        assert await self.find(destination, Older(100)) == []
        assert await self.find(destination, Older(200)) == ["cus_0", "cus_2", "cus_3", "cus_4"]

    async def test_only_rows_of_the_listed_range_are_found(self, destination: InspectedDestination) -> None:
        made: list[dict[str, Any]] = [
            {"created": 99}, {"created": 100}, {"created": 109}, {"created": 110}, {"date": 99}, {"date": 105}, {},
        ]  # fmt: skip
        await destination.write(ACCOUNT, [make_winner(f"cus_{n}", **fields) for n, fields in enumerate(made)])
        found = await self.find(destination, Older(200, made_from=100, made_until=110))
        assert found == ["cus_1", "cus_2", "cus_5", "cus_6"]

    async def test_what_belongs_to_a_test_clock_is_not_missed_in_a_list(
        self, destination: InspectedDestination
    ) -> None:
        await destination.write(ACCOUNT, [make_winner("cus_1", test_clock="clock_1"), make_winner("cus_2")])
        assert await self.find(destination, Older(200)) == ["cus_2"]

    async def test_rows_are_compared_in_the_order_of_the_records(self, destination: InspectedDestination) -> None:
        await destination.write(
            ACCOUNT,
            [
                make_winner("cus_1", name="Ada"),
                make_winner("cus_2", name="Eve"),
                make_winner("cus_3", stamp=300),
                make_winner("ch_1", resource="charge"),
                make_winner("cus_4", is_deleted=True),
            ],
        )
        records = [
            make_record("cus_2", 200, name="Ada"),
            make_record("ch_1", 200, resource="charge"),
            make_record("cus_1", 200, name="Ada"),
            make_record("cus_3", 200, name="Ada"),
            make_record("cus_4", 200),
            make_record("cus_5", 200),
            make_record("ch_2", 200, resource="charge", is_deleted=True),
            make_record("cus_1b", 200, is_deleted=True),
        ]
        await destination.write(ACCOUNT, [make_winner("cus_1b")])
        before = await destination.rows("customers")
        found = await destination.compare(ACCOUNT, records)
        findings = ["different", "equal", "equal", "newer", "missing", "missing", "equal", "extra"]
        assert [one.finding for one in found] == findings
        assert found[0].fields == ("name",)
        assert await destination.rows("customers") == before

    async def test_other_accounts_rows_are_not_compared(self, destination: InspectedDestination) -> None:
        await destination.write(Account("acct_2", livemode=True), [make_winner()])
        [found] = await destination.compare(ACCOUNT, [make_record(stamp=200)])
        assert found.finding == "missing"

    @pytest.mark.parametrize(
        ("shown", "is_right"),
        [
            (lines("il_1", "il_2"), True),
            (lines("il_1"), False),
            (lines("il_1", "il_2", "il_3"), False),
            (lines("il_1", "il_2", amount=2), False),
            (lines("il_1", has_more=True), True),  # a set that is cut tells nothing of the rest
        ],
    )
    async def test_whole_child_sets_are_compared_with_their_parent(
        self, destination: InspectedDestination, shown: dict[str, Any], is_right: bool
    ) -> None:
        await destination.write(ACCOUNT, [invoice("in_1", 50, "il_1", "il_2"), invoice("in_2", 50, "il_9")])
        record = make_record("in_1", 200, resource="invoice", created=50, lines=shown)
        # The parent's own row is as shown; what differs is the set in its table.
        [found] = await destination.compare(ACCOUNT, [record])
        assert ("lines (invoice_line_items)" in found.fields) is not is_right

    async def test_destination_without_tables_has_nothing_to_find(self, destination: InspectedDestination) -> None:
        assert await self.find(destination, Older(200)) == []
